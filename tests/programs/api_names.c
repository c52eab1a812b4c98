/* Profiles with names that no file can have, some of which become the same in a file's name. */
#include "../../include/cprof.h"

#include "victim.h"

#define TEN_BYTES   "0123456789"
#define FIFTY_BYTES TEN_BYTES TEN_BYTES TEN_BYTES TEN_BYTES TEN_BYTES
#define MOST_BYTES  FIFTY_BYTES FIFTY_BYTES FIFTY_BYTES FIFTY_BYTES FIFTY_BYTES "five"

int main(void)
{
    static const char *const names[] = {"sqlite.db", "a/b",   "a_b",          "a:b",
                                        "../up",     "%e",    "\xff",         "é",
                                        "a-b",       "empty", MOST_BYTES "1", MOST_BYTES "2"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cprof_profile *profile = cprof_profile_new(names[i]);
        check(profile != NULL, names[i]);
        for (uintptr_t k = 0; k <= i && strcmp(names[i], "empty") != 0; k++)
            check(cprof_profile_add(profile, (void *)k, 0) == 0, "add");
    }
    return 0;
}
