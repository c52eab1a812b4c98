/* rules_fuzz - the rules file.  Whatever stands there, the rules that come out must be ones that can be followed.
 *
 * What was read is never given back (arena.h): after a minute or so all that is left to find is how the reader does
 * without memory. */
#include <stdlib.h>
#include <string.h>

#include "agent/rules.h"
#include "base/arena.h"

enum { MEMORY_BYTES = 1200 << 20 };

static size_t n_said;

static void count(void *arg, const char *text)
{
    (void)arg;
    n_said++;
    if (strncmp(text, "fuzz:", 5) != 0 || !strchr(text, ';'))
        abort();
}

static void check_value(const struct rules_value *value)
{
    if (value->kind > RULES_AT_ARG ||
        (value->kind >= RULES_ARG && (value->arg < 1 || value->arg > RULES_ARG_MAX)))
        abort();
}

static void check_action(const struct rules_action *action)
{
    check_value(&action->key);
    if (!action->profile || action->n_conditions > RULES_CONDITIONS_MAX ||
        action->size.n_factors > RULES_FACTORS_MAX ||
        (action->size.n_factors && !action->profile->has_size && !action->is_release) ||
        (action->is_release && action->key.kind == RULES_RET))
        abort();
    for (size_t i = 0; i < action->n_conditions; i++)
        check_value(&action->conditions[i].value);
    for (size_t i = 0; i < action->size.n_factors; i++)
        check_value(&action->size.factors[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct rules rules;

    arena_set_cap(MEMORY_BYTES, 0);
    n_said = 0;
    rules = (struct rules){.complain = count};
    rules_parse(&rules, "fuzz", (const char *)data, size);
    if (rules.n_errors != n_said || rules.n_profiles > RULES_PROFILES_MAX ||
        rules.n_functions > RULES_FUNCTIONS_MAX)
        abort();
    for (size_t i = 0; i < rules.n_functions; i++)
        for (const struct rules_action *a = rules.functions[i]->actions; a; a = a->next)
            check_action(a);
    return 0;
}
