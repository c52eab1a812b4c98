/* agent - start: the order of everything.
 *
 * The constructor runs before main, usually single-threaded.  Until it is through, the wrappers pass on what
 * they get; a part that cannot start switches itself off and says so, and the program goes on. */
#ifndef CPROF_AGENT_AGENT_H
#define CPROF_AGENT_AGENT_H

#include <stdbool.h>
#include <stdint.h>

/* False: CPROF=off, or the agent switched itself off at start; the wrappers only pass on. */
bool agent_is_active(void);

/* True also while it is off and may be started (HTTP): the program gets its own profiles, which take values
 * from the start on, and its seccomp filters are looked at. */
bool agent_takes_profiles(void);

/* Starts and stops what is collected while the program runs: bits of enum config_profile, of those that are
 * built; others are ignored.  A started one has the rate of the settings and goes on from what it had counted; a
 * stopped one counts no more and is still written.  Returns what is on now.  Also wakes an agent that is off
 * (CPROF=off, CPROF_EXE), whose hooks only pass on until then: its exit and interval snapshots and signals begin, too.  The agent's
 * thread, one at a time. */
uint32_t agent_start_profiles(uint32_t which);
uint32_t agent_stop_profiles(uint32_t which);
uint32_t agent_profiles(void);

/* Off for ever, after the last snapshot: from now on nothing but the real functions is called. */
void agent_disarm(void);

#endif
