/* A connection that is opened through a helper: skip says whose it is. */
#include "../../include/cprof.h"

#include "victim.h"

static cprof_profile *profile;

NAMED void helper(uintptr_t value, int skip)
{
    check(cprof_profile_add(profile, (void *)value, skip) == 0, "add");
    KEEP(value);
}

NAMED void opens(uintptr_t value, int skip)
{
    helper(value, skip);
    KEEP(value);
}

int main(void)
{
    static const int skips[] = {0, -3, 1, 1000, 2000000000};

    profile = cprof_profile_new("conn");
    for (size_t i = 0; i < sizeof skips / sizeof *skips; i++)
        opens(i, skips[i]);
    return 0;
}
