/* version - of the agent, the command and their documentation; the only place. */
#ifndef CPROF_BASE_VERSION_H
#define CPROF_BASE_VERSION_H

#define CPROF_VERSION "0.1.0"

#endif
