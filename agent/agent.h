/* agent - start: the order of everything.
 *
 * The constructor runs before main, usually single-threaded.  Until it is through, the wrappers pass on what
 * they get; a part that cannot start switches itself off and says so, and the program goes on. */
#ifndef CPROF_AGENT_AGENT_H
#define CPROF_AGENT_AGENT_H

#include <stdbool.h>

/* False: CPROF=off, or the agent switched itself off at start; the wrappers only pass on. */
bool agent_is_active(void);

#endif
