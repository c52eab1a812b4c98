/* A page at a known place: the loader calls libhalf_loaded before it has relocated anything of it. */
#include <sched.h>

struct steps {
    _Atomic int is_other_loaded, is_resolving, is_looked_through;
};
#define STEPS ((struct steps *)0x200000000)
