/* A library that has a profile of its own and knows cprof only by the header; flags: -ldl */
#include "../../include/cprof.h"

#include "victim.h"

NAMED int plug_opens(const void *value)
{
    cprof_profile *profile = cprof_profile_lookup("plug");
    const int err = cprof_profile_add(profile ? profile : cprof_profile_new("plug"), value, 0);
    KEEP(value);
    return err;
}
