/* Uses include/cprof.h without linking anything: prints what the calls return, keeps errno. */
#include "../../include/cprof.h"

#include "victim.h"

NAMED void *kept_for_the_snapshot(void)
{
    void *p = malloc(opaque(4000));
    KEEP(p);
    return p;
}

int main(void)
{
    void *kept = kept_for_the_snapshot();
    KEEP(kept);
    errno = 77;
    const int active = cprof_active(), result = cprof_snapshot();
    printf("active %d, snapshot %s, errno %d\n", active, result ? strerror(result) : "written",
           errno);
    return 0;
}
