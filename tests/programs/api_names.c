/* Profiles with names that no file can have, some of which become the same in a file's name. */
#include "../../include/cprof.h"

#include "victim.h"

int main(void)
{
    static const char *const names[] = {"sqlite.db", "a/b",  "a_b", "a:b", "../up",
                                        "%e",        "\xff", "é",   "a-b", "empty"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cprof_profile *profile = cprof_profile_new(names[i]);
        check(profile != NULL, names[i]);
        for (uintptr_t k = 0; k <= i && strcmp(names[i], "empty") != 0; k++)
            check(cprof_profile_add(profile, (void *)k, 0) == 0, "add");
    }
    return 0;
}
