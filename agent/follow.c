/* follow - see follow.h. */
#include "agent/follow.h"

#include <errno.h>
#include <string.h>

#include "agent/hooks.h"
#include "agent/objects.h"
#include "agent/process.h"
#include "agent/rules.h"
#include "agent/thread.h"
#include "base/arena.h"
#include "base/compiler.h"
#include "base/log.h"
#include "base/text.h"

static struct rules *rules;

/* Functions of the rules, and those by which objects come. */
enum { LOADERS = 2, TARGETS_MAX = RULES_FUNCTIONS_MAX + LOADERS };
static struct hook_target *targets;
static size_t n_targets;

static _Atomic(const char *)
    unreadable; /* function of which a rule asked for what cannot be read */

/* ---- values of a call ---- */

static bool read_arg(const struct hook_call *call, unsigned arg, uint64_t *ret_value)
{
    if (arg <= HOOK_REGISTERS) {
        *ret_value = call->registers[arg - 1];
        return true;
    }
    const uint64_t *word = &call->stack[arg - HOOK_REGISTERS - 1];
    if (!hooks_can_read((uintptr_t)word, sizeof *word))
        return false;
    *ret_value = *word;
    return true;
}

static bool read_at(uint64_t address, bool is_int, uint64_t *ret_value)
{
    const size_t size = is_int ? sizeof(int32_t) : sizeof *ret_value;

    if (!hooks_can_read(address, size))
        return false;
    *ret_value = 0;
    memcpy(ret_value, (const void *)address, size);  // NOLINT
    return true;
}

static bool read_value(const struct hook_call *call, const struct rules_value *value,
                       int64_t *ret_value)
{
    uint64_t raw = 0;
    bool is_read = true;

    switch ((enum rules_kind)value->kind) {
    case RULES_NUMBER: raw = (uint64_t)value->number; break;
    case RULES_RET: raw = call->result; break;
    case RULES_ARG: is_read = read_arg(call, value->arg, &raw); break;
    case RULES_AT_ARG:
        is_read = read_arg(call, value->arg, &raw) && read_at(raw, value->is_int, &raw);
    }
    if (unlikely(!is_read))
        store_relaxed(&unreadable, load_relaxed(&call->hook->target)->name);
    *ret_value = value->is_int ? (int32_t)raw : (int64_t)raw;
    return is_read;
}

/* Conditions on the result are for after the call, the others of a release for before it. */
static bool is_met(const struct hook_call *call, const struct rules_action *action,
                   bool of_result)
{
    for (size_t i = 0; i < action->n_conditions; i++) {
        const struct rules_condition *condition = &action->conditions[i];
        int64_t value;
        if (action->is_release && (condition->value.kind == RULES_RET) != of_result)
            continue;
        if (!read_value(call, &condition->value, &value) || !rules_is_true(condition, value))
            return false;
    }
    return true;
}

/* A product beyond 63 bits, or with a negative factor, is no size. */
static uint64_t size_of(const struct hook_call *call, const struct rules_size *size)
{
    int64_t product = 1, factor;

    for (size_t i = 0; i < size->n_factors; i++)
        if (!read_value(call, &size->factors[i], &factor) || factor < 0 ||
            __builtin_mul_overflow(product, factor, &product))
            return 0;
    return size->n_factors ? (uint64_t)product : 0;
}

/* ---- a call ---- */

static const struct rules_action *actions_of(const struct hook_call *call)
{
    const struct hook_target *target = load_relaxed(&call->hook->target);
    const struct rules_function *function = target->use;

    return function ? function->actions : NULL;
}

static bool is_elsewhere(const struct hook_call *call, const struct rules_action *action)
{
    return action->is_outside && call->hook->flags & HOOK_INSIDE;
}

static void take_out(struct hook_call *call, const struct rules_action *action)
{
    struct objects *objects = action->profile->objects;
    struct object object;
    int64_t key;

    if (!objects || is_elsewhere(call, action) || !is_met(call, action, false) ||
        !read_value(call, &action->key, &key) || !objects_has(objects, (uint64_t)key) ||
        thread_is_borrowed())
        return;
    if (objects_take(objects, (uint64_t)key, &object) && action->needs_result)
        call->taken[call->n_taken++] = (struct hook_taken){
            .action = action,
            .object = object,
        };
}

void hook_before(struct hook_call *call)
{
    const int saved_errno = errno;

    call->n_taken = 0;
    for (const struct rules_action *a = actions_of(call); a; a = a->next)
        if (a->is_release)
            take_out(call, a);
    errno = saved_errno;
}

static void put_back(const struct hook_call *call)
{
    for (size_t i = 0; i < call->n_taken; i++) {
        const struct hook_taken *taken = &call->taken[i];
        if (!is_met(call, taken->action, true))
            objects_put_back(taken->action->profile->objects, &taken->object);
    }
}

static void put_in(const struct hook_call *call, const struct rules_action *action)
{
    struct objects *objects = action->profile->objects;
    int64_t key;

    if (!objects || is_elsewhere(call, action) || !is_met(call, action, false) ||
        !read_value(call, &action->key, &key) || thread_is_borrowed())
        return;
    const uint64_t bytes = size_of(call, &action->size);
    if (objects_add(objects, (uint64_t)key, bytes, 0) != -EEXIST)
        return;
    objects_remove(objects, (uint64_t)key);
    objects_add(objects, (uint64_t)key, bytes, 0);
}

static void hook_new_objects(void);

void hook_after(struct hook_call *call)
{
    const int saved_errno = errno;
    const struct hook_target *target = load_relaxed(&call->hook->target);

    if (unlikely(target->flags & HOOK_LOADS && call->result) && !process_is_borrowed())
        hook_new_objects();
    put_back(call);
    for (const struct rules_action *a = actions_of(call); a; a = a->next)
        if (!a->is_release)
            put_in(call, a);
    errno = saved_errno;
}

/* ---- what is hooked, and what is not ---- */

static const char no_slot[] = "no loaded object calls it through a slot";
static const char no_definition[] = "no loaded object defines it";

static bool acquires(const struct hook_target *target)
{
    const struct rules_function *function = target->use;

    for (const struct rules_action *a = function ? function->actions : NULL; a; a = a->next)
        if (!a->is_release)
            return true;
    return false;
}

/* Acquires that have no effect although their library is there, as `f, g, ...`.  Where one of them has an effect
 * the program does not use the others; and the other programs of a process tree need not have the
 * library, so of that only report_details() speaks. */
static void list_unseen(struct text *names)
{
    for (size_t i = 0; i < n_targets; i++) {
        const struct hook_target *target = &targets[i];
        if (!acquires(target))
            continue;
        if (load_relaxed(&target->n_slots) || load_relaxed(&target->n_missed)) {
            names->size = 0;
            return;
        }
        if (load_relaxed(&target->is_optional))
            text_addf(names, "%s%s", names->size ? ", " : "", target->name);
    }
}

static void report_unseen(void)
{
    static _Atomic bool is_reported;
    char names[512];
    struct text text;

    text_init(&text, names, sizeof names);
    list_unseen(&text);
    if (text.size && !swap_acq_rel(&is_reported, true))
        log_warn("rules: %s: loaded, but no object calls it through a slot (only its own "
                 "library does, or by dlsym); nothing was seen",
                 names);
}

/* Closes what `profile` opens, and opens nothing of it: a function that does both says nothing of the others. */
static bool only_releases(const struct hook_target *target, const struct rules_profile *profile)
{
    const struct rules_function *function = target->use;
    bool releases = false;

    for (const struct rules_action *a = function ? function->actions : NULL; a; a = a->next) {
        if (a->profile == profile && !a->is_release)
            return false;
        releases |= a->profile == profile;
    }
    return releases;
}

/* The releases of `profile` and why no call of them can be seen, as `f (why), g (why), ...`.  None where one is seen, or is
 * libc's: the program just does not use it.  What no object defines may be loaded yet, until the last snapshot. */
static void list_unreleased(const struct rules_profile *profile, bool is_last,
                            struct text *names)
{
    for (size_t i = 0; i < n_targets; i++) {
        const struct hook_target *target = &targets[i];
        const bool is_defined = load_relaxed(&target->is_defined);
        if (!only_releases(target, profile))
            continue;
        if (load_relaxed(&target->n_slots) || load_relaxed(&target->n_missed) ||
            (is_defined && !load_relaxed(&target->is_optional))) {
            names->size = 0;
            return;
        }
        if (is_defined || is_last)
            text_addf(names, "%s%s (%s)", names->size ? ", " : "", target->name,
                      is_defined ? no_slot : no_definition);
    }
}

static void report_unreleased(struct rules_profile *profile, bool is_last)
{
    char names[512];
    struct text text;

    if (profile->is_reported || !profile->objects || !objects_n_added(profile->objects))
        return;
    text_init(&text, names, sizeof names);
    list_unreleased(profile, is_last, &text);
    profile->is_reported = text.size != 0;
    if (text.size)
        log_warn(
            "rules: profile %s: no release of it is seen: %s; all that was opened looks open",
            profile->name, names);
}

void follow_report(bool is_last)
{
    const char *name = load_relaxed(&unreadable);

    report_unseen();
    for (size_t i = 0; rules && i < rules->n_profiles; i++)
        report_unreleased(rules->profiles[i], is_last);
    if (name)
        log_warn_once("rules: %s: what a rule looks at cannot be read (no pointer?); those "
                      "calls are not counted",
                      name);
}

static void report_target(struct hook_target *target)
{
    const char *why = load_relaxed(&target->why);

    if (why && !target->is_reported) {
        target->is_reported = true;
        log_warn("rules: %s: %s; calls through it are not seen", target->name, why);
    }
}

static void report_missed(void)
{
    for (size_t i = 0; i < n_targets; i++)
        report_target(&targets[i]);
}

static void report_details(void)
{
    for (size_t i = 0; i < n_targets; i++) {
        const struct hook_target *target = &targets[i];
        const unsigned n = load_relaxed(&target->n_slots);
        if (!target->use)
            continue;
        if (n)
            log_info("rules: %s: called through %u slots; followed", target->name, n);
        else
            log_info("rules: %s: %s; looked for again after each dlopen()", target->name,
                     load_relaxed(&target->is_defined) ? no_slot : no_definition);
    }
}

static void hook_new_objects(void)
{
    hooks_scan();
    report_missed();
}

/* ---- the start ---- */

static bool is_any(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

static const char *const loaders[] = {"dlopen", "dlmopen", NULL};

static uint32_t flags_of(const struct rules_function *function)
{
    static const char *const ask_for_caller[] = {"dlopen", "dlmopen", "dlsym", "dlvsym", NULL};
    uint32_t flags = 0;

    for (const struct rules_action *a = function->actions; a; a = a->next)
        if (a->profile->objects)
            flags |=
                (a->is_release ? HOOK_BEFORE : HOOK_AFTER) | (a->needs_result ? HOOK_AFTER : 0);
    if (flags & HOOK_AFTER && is_any(function->name, ask_for_caller))
        flags |= HOOK_CALLER;
    return flags;
}

static void add_functions(void)
{
    for (size_t i = 0; i < rules->n_functions; i++) {
        struct rules_function *function = rules->functions[i];
        const uint32_t flags = flags_of(function);
        if (flags)
            targets[n_targets++] =
                (struct hook_target){.name = function->name, .flags = flags, .use = function};
    }
}

static struct hook_target *find_target(const char *name)
{
    for (size_t i = 0; i < n_targets; i++)
        if (strcmp(targets[i].name, name) == 0)
            return &targets[i];
    targets[n_targets].name = name;
    return &targets[n_targets++];
}

static void add_loaders(void)
{
    for (const char *const *name = loaders; *name; name++)
        find_target(*name)->flags |= HOOK_AFTER | HOOK_CALLER | HOOK_LOADS;
}

static void say(void *arg, const char *text)
{
    (void)arg;
    log_warn("rules: %s", text);
}

static void make_profile(struct rules_profile *profile)
{
    struct objects *objects = NULL;
    const int err = objects_new(profile->name, profile->has_size, &objects);

    profile->objects = objects;
    if (err == -EEXIST)
        log_warn("rules: %s:%u: profile %s: there is one of this name; expected another name",
                 profile->file, profile->line, profile->name);
    else if (err < 0)
        log_warn("rules: %s:%u: profile %s: %s; its rules are left out", profile->file,
                 profile->line, profile->name, text_errno(-err));
}

static bool read_rules(const char *paths)
{
    rules = arena_alloc(sizeof *rules);
    targets = arena_alloc(sizeof *targets * TARGETS_MAX);
    if (!rules || !targets) {
        log_warn("rules: CPROF_RULES=%s: %s; no rule is followed", paths, text_errno(ENOMEM));
        return false;
    }
    rules->complain = say;
    rules_read(rules, paths);
    for (size_t i = 0; i < rules->n_profiles; i++)
        if (rules->profiles[i]->n_acquires)
            make_profile(rules->profiles[i]);
    return true;
}

void follow_init(const struct config *config)
{
    if (config->is_off || !*config->rules)
        return;
    if (!hooks_is_supported()) {
        log_warn("rules: CPROF_RULES=%s: built for another machine; no rule is followed",
                 config->rules);
        return;
    }
    if (!read_rules(config->rules))
        return;
    add_functions();
    if (!n_targets)
        return;
    add_loaders();
    hooks_init(targets, n_targets);
    hook_new_objects();
    report_details();
}
