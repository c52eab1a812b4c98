/* mutex - what waiting for a condition has in common with unlocking: its mutex is released. */
#ifndef CPROF_INTERPOSE_MUTEX_H
#define CPROF_INTERPOSE_MUTEX_H

#include <pthread.h>
#include <stdint.h>

#include "base/compiler.h"

/* What the caller owes for having held it, who is about to release it; 0: nothing. */
HIDDEN int64_t mutex_charge(const pthread_mutex_t *mutex);

#endif
