/* A thousand profiles with one value each, made in no order. Prints whether the list is sorted and whole. */
#include "../../include/cprof.h"

#include "victim.h"

struct list {
    char last[300];
    int n, n_own, is_sorted;
};

static void look(cprof_profile *profile, void *arg)
{
    struct list *list = arg;
    const char *name = cprof_profile_name(profile);

    list->is_sorted &= strcmp(list->last, name) < 0;
    list->n_own += strncmp(name, "own_", 4) == 0;
    list->n++;
    snprintf(list->last, sizeof list->last, "%s", name);
}

NAMED void opens(cprof_profile *profile)
{
    check(cprof_profile_add(profile, profile, 0) == 0, "add");
    KEEP(profile);
}

int main(void)
{
    struct list list = {.is_sorted = 1};

    for (unsigned i = 0; i < 1000; i++) {
        char name[32];
        const unsigned k = i * 617 % 1000;
        snprintf(name, sizeof name, "own_%c%c%c", 'a' + k / 100, 'a' + k / 10 % 10,
                 'a' + k % 10);
        opens(cprof_profile_new(name));
    }
    cprof_profiles(look, &list);
    printf("%d of them own, sorted %d, with the agent's %d\n", list.n_own, list.is_sorted,
           list.n > list.n_own);
    return 0;
}
