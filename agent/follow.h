/* follow - what the rules (rules.h) do when one of their functions is called.
 *
 * Each profile of the rules is a profile of live objects (objects.h).  A function that a rule names becomes a target
 * of the hooks (hooks.h): before a call its releases take their objects out, so that another thread that gets the same
 * handle right after finds no old one; after it those of which the condition failed are put back, and its acquires
 * put in what the call has opened, under the stack of the caller.
 *
 * An object that is there already was closed out of sight: it gets the new stack.  What a rule says to look at and
 * cannot be read (a wrong rule: no pointer) is no object, which is said once.
 *
 * Any thread, signal handlers, vfork children (whose calls do not count); errno is kept. */
#ifndef CPROF_AGENT_FOLLOW_H
#define CPROF_AGENT_FOLLOW_H

#include <stdbool.h>

#include "agent/config.h"

/* Once, from the constructor: reads CPROF_RULES, complains, and hooks what is loaded. */
void follow_init(const struct config *config);

/* A snapshot was taken, by who holds the turn; `is_last`: none comes after it.  Says once which rules have had no effect or do not fit.  Signal-safe. */
void follow_report(bool is_last);

#endif
