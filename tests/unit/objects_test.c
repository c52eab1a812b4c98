#include "agent/objects.h"

#include <errno.h>

#include "agent/heap.h"
#include "agent/modules.h"
#include "agent/process.h"
#include "agent/sample.h"
#include "agent/snapshot.h"
#include "agent/stack.h"
#include "base/arena.h"
#include "tests/unit/help.h"

static const struct snapshot_options options = {.use_symbols = true, .labels = ""};

static void set_up(void)
{
    arena_set_cap((size_t)256 << 20, 0);
    process_init();
    modules_init();
    profile_init();
}

static struct objects *new_objects(const char *name, bool has_bytes)
{
    struct objects *objects = NULL;

    CHECK_INT(objects_new(name, has_bytes, &objects), 0, name);
    return objects;
}

static struct snapshot take(struct objects *objects)
{
    struct snapshot snapshot;

    CHECK_INT(snapshot_take(&snapshot, objects_profile(objects), &options), 0, "take");
    return snapshot;
}

static int64_t sum(const struct snapshot *snapshot, size_t type)
{
    int64_t sum = 0;

    for (size_t i = 0; i < snapshot->input.n_samples; i++)
        sum += snapshot->input.samples[i].values[type];
    return sum;
}

/* ---- names ---- */

TEST_ALONE(names_that_are_no_names_are_refused)
{
    char long_name[OBJECTS_NAME_MAX + 2];
    struct objects *objects = NULL;
    static const struct {
        const char *name;
        int err;
    } cases[] = {
        {"",             -EINVAL},
        {"a b",          -EINVAL},
        {"a\tb",         -EINVAL},
        {"a\n",          -EINVAL},
        {" a",           -EINVAL},
        {"goroutine",    -EEXIST},
        {"symbol",       -EEXIST},
        {"heap",         -EEXIST},
        {"allocs",       -EEXIST},
        {"threadcreate", -EEXIST},
        {"known",        -EEXIST},
        {"Heap",         0      },
        {"a/b",          0      },
        {"\xff",         0      },
        {"%e",           0      },
        {"a-b.c+d",      0      },
    };

    set_up();
    new_objects("known", false);
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        CHECK_INT(objects_new(cases[i].name, false, &objects), cases[i].err, cases[i].name);
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    CHECK_INT(objects_new(long_name, false, &objects), -EINVAL, "256 bytes");
    long_name[OBJECTS_NAME_MAX] = '\0';
    CHECK_INT(objects_new(long_name, false, &objects), 0, "255 bytes");
}

TEST_ALONE(profiles_are_found_and_sorted)
{
    static const char *const names[] = {"zebra", "b", "heap2", "a/b", "conn", "b2"};
    const char *last = "";
    size_t n = 0;

    set_up();
    for (size_t i = 0; i < COUNT_OF(names); i++)
        new_objects(names[i], false);
    for (const struct profile *at = NULL; (at = profile_next(at)); n++) {
        if (strcmp(last, at->name) >= 0)
            FAIL("%s comes after %s", at->name, last);
        CHECK(profile_find(at->name) == at);
        last = at->name;
    }
    CHECK_INT(n, n_profiles + COUNT_OF(names), "profiles");
    CHECK(objects_find("conn") && !objects_find("con") && !objects_find("conn2"));
    CHECK(!objects_find("heap") && profile_find("heap") == &profiles[0]);
    CHECK(!profile_find("zebras"));
}

static _Atomic uint32_t n_won;

static void make_all(int i)
{
    (void)i;
    for (int k = 0; k < 100; k++) {
        char name[16];
        struct objects *objects;
        snprintf(name, sizeof name, "p%d", k);
        add_relaxed(&n_won, objects_new(name, false, &objects) == 0);
    }
}

TEST_ALONE(of_threads_that_make_the_same_profile_one_does)
{
    set_up();
    in_threads(8, make_all);
    CHECK_INT(load_relaxed(&n_won), 100, "profiles that were made");
}

TEST_ALONE(there_is_room_for_4096_profiles_and_they_are_small)
{
    struct objects *objects;
    char name[32];

    set_up();
    const size_t before = arena_used_bytes();
    for (int i = 0; i < SOURCES_MADE_MAX; i++) {
        snprintf(name, sizeof name, "profile.%d", i);
        objects = new_objects(name, i % 2);
        CHECK_INT(objects_add(objects, 1, 1, 0), 0, "add");
    }
    CHECK_INT(objects_new("more", false, &objects), -ENOSPC, "one more");
    CHECK_AT_MOST((arena_used_bytes() - before) / SOURCES_MADE_MAX, 2048, "bytes a profile");
}

TEST_ALONE(without_memory_there_is_no_new_profile)
{
    struct objects *objects;
    char name[32];
    int err = 0;

    set_up();
    arena_set_cap(arena_used_bytes() + (128 << 10), 0);
    for (int i = 0; err == 0 && i < SOURCES_MADE_MAX; i++) {
        snprintf(name, sizeof name, "profile.%d", i);
        err = objects_new(name, false, &objects);
    }
    CHECK_INT(err, -ENOSPC, "new");
}

/* ---- values ---- */

TEST_ALONE(what_is_there_is_counted)
{
    set_up();
    struct objects *objects = new_objects("conn", false);
    CHECK_INT(objects_add(objects, 0, 0, 0), 0, "add");
    CHECK_INT(objects_add(objects, UINT64_MAX, 0, 0), 0, "add");
    CHECK_INT(objects_add(objects, 0, 0, 0), -EEXIST, "add again");
    CHECK_INT(objects_count(objects), 2, "count");
    CHECK_INT(objects_remove(objects, 5), false, "remove what is not there");
    CHECK_INT(objects_remove(objects, 0), true, "remove");
    CHECK_INT(objects_remove(objects, 0), false, "remove again");
    CHECK_INT(objects_count(objects), 1, "count");
    CHECK_INT(objects_n_added(objects), 2, "added");
}

TEST_ALONE(what_is_taken_can_be_put_back)
{
    set_up();
    struct objects *objects = new_objects("p", true);
    struct object object;

    objects_add(objects, 5, 100, 0);
    CHECK(objects_has(objects, 5) && !objects_has(objects, 6));
    CHECK(!objects_take(objects, 6, &object));
    CHECK(objects_take(objects, 5, &object) && !objects_has(objects, 5));
    CHECK_INT(objects_count(objects), 0, "taken");
    objects_put_back(objects, &object);
    CHECK_INT(objects_count(objects), 1, "put back");
    const struct snapshot back = take(objects);
    CHECK_INT(sum(&back, 1), 100, "bytes");
    CHECK(objects_take(objects, 5, &object));
    objects_add(objects, 5, 7, 0); /* another one by then */
    objects_put_back(objects, &object);
    const struct snapshot other = take(objects);
    CHECK_INT(sum(&other, 0), 1, "the other");
    CHECK_INT(sum(&other, 1), 7, "and its bytes");
}

TEST_ALONE(the_snapshot_has_what_is_live_only)
{
    set_up();
    struct objects *plain = new_objects("conn-s", false), *heavy = new_objects("gpu", true);
    for (uint64_t i = 0; i < 10; i++) {
        objects_add(plain, i, 1000, 0);
        objects_add(heavy, i, 100 * i, 0);
    }
    objects_remove(plain, 3);
    objects_remove(heavy, 9);

    struct snapshot snapshot = take(plain);
    CHECK_INT(snapshot.input.n_types, 1, "types");
    CHECK_STR(snapshot.input.types[0].type, "conn_s", "type");
    CHECK_STR(snapshot.input.types[0].unit, "count", "unit");
    CHECK_STR(snapshot.input.period_type.type, "conn_s", "period type");
    CHECK_INT(snapshot.input.period, 1, "period");
    CHECK_INT(sum(&snapshot, 0), 9, "conn");
    snapshot_drop(&snapshot);

    snapshot = take(heavy);
    CHECK_INT(snapshot.input.n_types, 2, "types");
    CHECK_STR(snapshot.input.types[1].type, "gpu_space", "type");
    CHECK_STR(snapshot.input.types[1].unit, "bytes", "unit");
    CHECK_INT(sum(&snapshot, 0), 9, "gpu");
    CHECK_INT(sum(&snapshot, 1), 3600, "gpu_space");
    snapshot_drop(&snapshot);
}

TEST_ALONE(a_profile_whose_values_are_all_gone_is_empty)
{
    set_up();
    struct objects *objects = new_objects("gpu", true);
    for (uint64_t i = 0; i < 10; i++)
        objects_add(objects, i, i, 0);
    for (uint64_t i = 0; i < 10; i++)
        objects_remove(objects, i);
    struct snapshot snapshot = take(objects);
    CHECK_INT(snapshot.input.n_samples, 0, "samples");
    snapshot_drop(&snapshot);
}

static bool has_comment(const struct snapshot *snapshot, const char *text)
{
    for (size_t i = 0; i < snapshot->input.n_comments; i++)
        if (strstr(snapshot->input.comments[i], text))
            return true;
    return false;
}

static void sum_ages(const struct object *object, void *arg)
{
    *(uint64_t *)arg += object->age_s;
}

TEST_ALONE(comments_say_how_old_values_are_and_what_was_dropped)
{
    struct snapshot_options old = options;
    uint64_t ages = 0;

    set_up();
    struct objects *objects = new_objects("gpu", true);
    objects_add(objects, 1, 4096, 0);
    thread_count_drop(objects_profile(objects)->source, DROP_LIVE_FULL);
    struct snapshot snapshot = take(objects);
    CHECK(has_comment(&snapshot, "profile: gpu"));
    CHECK(has_comment(&snapshot, "in use, age under 1m: 1 objects, 4096 bytes"));
    CHECK(has_comment(&snapshot, "samples kept: 1"));
    CHECK(has_comment(&snapshot, "dropped: 1 memory cap"));
    snapshot_drop(&snapshot);
    objects_each(objects, sum_ages, &ages);
    CHECK_AT_MOST(ages, 10, "seconds");

    old.min_age_s = 1000;
    CHECK_INT(snapshot_take(&snapshot, objects_profile(objects), &old), 0, "take");
    CHECK_INT(snapshot.input.n_samples, 0, "samples older than 1000 s");
    snapshot_drop(&snapshot);
    old.min_age_s = 0;
    CHECK_INT(snapshot_take(&snapshot, objects_profile(objects), &old), 0, "take");
    CHECK_INT(snapshot.input.n_samples, 1, "samples of any age");
    snapshot_drop(&snapshot);
}

TEST_ALONE(counts_of_one_profile_are_not_those_of_another)
{
    set_up();
    struct objects *a = new_objects("a", false), *b = new_objects("b", false);
    objects_add(a, 1, 0, 0);
    objects_add(b, 1, 0, 0);
    objects_add(b, 2, 0, 0);
    thread_count_drop(objects_profile(a)->source, DROP_LIVE_FULL);
    CHECK_INT(objects_count(a), 1, "a");
    CHECK_INT(objects_count(b), 2, "b");
    CHECK_INT(thread_sum_dropped(objects_profile(a)->source, DROP_LIVE_FULL), 1, "a");
    CHECK_INT(thread_sum_dropped(objects_profile(b)->source, DROP_LIVE_FULL), 0, "b");
    CHECK_INT(thread_sum_dropped(SOURCE_HEAP, DROP_LIVE_FULL), 0, "heap");
}

TEST_ALONE(without_memory_values_are_refused_and_stacks_overflow)
{
    uint64_t n = 0;
    int err = 0;

    set_up();
    struct objects *objects = new_objects("conn", false);
    objects_add(objects, UINT64_MAX, 0, 0);
    const struct profile *profile = objects_profile(objects);
    arena_set_cap(arena_used_bytes() + (256 << 10), 0);
    while (n < 1000000 && (err = objects_add(objects, n, 0, 0)) == 0)
        n++;
    CHECK_INT(err, -ENOMEM, "add");
    CHECK_INT(objects_count(objects), n + 1, "count");
    CHECK_INT(thread_sum_dropped(profile->source, DROP_LIVE_FULL), 1, "dropped");
    CHECK(record_intern(profile->source, &stack_overflow, 0)->source == profile->source);
}

/* ---- the stack ---- */

static const char *const plugin =
    "typedef void f(void *);\n"
    "__attribute__((noinline)) void plugin_inner(f *work, void *arg) { work(arg); "
    "__asm__(\"\"); }\n"
    "void plugin_outer(f *work, void *arg) { plugin_inner(work, arg); __asm__(\"\"); }\n";

static struct objects *target;

static void add_value(void *skip)
{
    objects_add(target, (uintptr_t)skip, 0, (uint32_t)(uintptr_t)skip);
    __asm__ volatile("");
}

static const char *leaf(const struct snapshot *snapshot)
{
    const struct pprof_input *input = &snapshot->input;

    if (input->n_samples != 1)
        return "(not one sample)";
    const struct pprof_location *location =
        &input->locations[input->samples[0].locations[0] - 1];
    return input->functions[location->lines[0].function - 1].name;
}

TEST_ALONE(skip_leaves_out_frames_of_the_caller)
{
    void *handle = dlopen(make_library("libplugin.so", plugin, ""), RTLD_NOW);
    void (*call)(void (*)(void *), void *) =
        (void (*)(void (*)(void *), void *))dlsym(handle, "plugin_outer");
    static const struct {
        uint32_t skip;
        const char *leaf;
    } cases[] = {
        {0,    "plugin_inner"},
        {1,    "plugin_outer"},
        {500,  "[lost]"      },
        {4000, "[lost]"      },
    };

    set_up();
    if (stack_init() < 0)
        SKIP("no unwinder");
    target = new_objects("conn", false);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        call(add_value, (void *)(uintptr_t)cases[i].skip);
        struct snapshot snapshot = take(target);
        CHECK_STR(leaf(&snapshot), cases[i].leaf, "the innermost frame");
        snapshot_drop(&snapshot);
        objects_remove(target, cases[i].skip);
    }
}

TEST_ALONE(what_is_skipped_does_not_count_as_depth)
{
    void *handle = dlopen(make_library("libplugin.so", plugin, ""), RTLD_NOW);
    void (*call)(void (*)(void *), void *) =
        (void (*)(void (*)(void *), void *))dlsym(handle, "plugin_outer");

    set_up();
    if (stack_init() < 0)
        SKIP("no unwinder");
    sample_set_depth(1);
    target = new_objects("conn", false);
    call(add_value, (void *)1);
    struct snapshot snapshot = take(target);
    CHECK_STR(leaf(&snapshot), "plugin_outer", "the innermost frame");
    CHECK_INT(snapshot.input.samples[0].n_locations, 2, "frames, with [truncated]");
    snapshot_drop(&snapshot);
}

TEST_ALONE(inside_the_agent_a_value_is_kept_without_its_stack)
{
    set_up();
    target = new_objects("conn", false);
    CHECK(guard_enter());
    CHECK_INT(objects_add(target, 1, 0, 0), 0, "add");
    guard_leave();
    struct snapshot snapshot = take(target);
    CHECK_STR(leaf(&snapshot), "[lost]", "the innermost frame");
    CHECK(has_comment(&snapshot, "dropped: 1 inside the agent"));
    snapshot_drop(&snapshot);
}

TEST_ALONE(errno_is_kept)
{
    set_up();
    target = new_objects("conn", false);
    errno = 77;
    objects_add(target, 1, 0, 0);
    objects_add(target, 1, 0, 0);
    objects_remove(target, 1);
    CHECK_INT(errno, 77, "errno");
}

/* ---- threads ---- */

enum { N_THREADS = 8, N_EACH = 20000 / SCALE };
static _Atomic int n_at_work;

static void add_and_remove(int i)
{
    for (uint64_t k = 0; k < N_EACH; k++) {
        const uint64_t value = k * N_THREADS + (uint64_t)i;
        if (objects_add(target, value, 10, 0) != 0 ||
            (k >= 100 && !objects_remove(target, value - 100 * N_THREADS)))
            FAIL("thread %d, value %d", i, (int)k);
    }
    sub_relaxed(&n_at_work, 1);
}

static void work_or_look(int i)
{
    if (i > 0) {
        add_and_remove(i);
        return;
    }
    do {
        struct snapshot snapshot = take(target);
        CHECK_AT_MOST(sum(&snapshot, 0), N_THREADS * 101 + N_THREADS * N_EACH, "values");
        for (size_t s = 0; s < snapshot.input.n_samples; s++)
            CHECK(snapshot.input.samples[s].values[0] >= 0 &&
                  snapshot.input.samples[s].values[1] >= 0);
        snapshot_drop(&snapshot);
    } while (load_relaxed(&n_at_work));
}

TEST_ALONE(threads_add_and_remove_while_snapshots_are_taken)
{
    set_up();
    target = new_objects("gpu", true);
    store_relaxed(&n_at_work, N_THREADS - 1);
    in_threads(N_THREADS, work_or_look);
    struct snapshot snapshot = take(target);
    CHECK_INT(sum(&snapshot, 0), (N_THREADS - 1) * 100, "values");
    CHECK_INT(sum(&snapshot, 1), (N_THREADS - 1) * 1000, "bytes");
    CHECK_INT(objects_count(target), (N_THREADS - 1) * 100, "count");
    snapshot_drop(&snapshot);
}

TEST_ALONE(what_is_put_back_is_as_it_was)
{
    struct object object;

    set_up();
    target = new_objects("gpu", true);
    objects_add(target, 5, 4096, 0);
    CHECK_INT(objects_take(target, 6, &object), false, "another");
    CHECK_INT(objects_take(target, 5, &object), true, "take");
    CHECK_INT(objects_count(target), 0, "count");
    objects_put_back(target, &object);
    CHECK_INT(objects_count(target), 1, "count");
    CHECK_INT(objects_n_added(target), 1, "added");
    struct snapshot snapshot = take(target);
    CHECK_INT(sum(&snapshot, 1), 4096, "bytes");
    snapshot_drop(&snapshot);
    objects_take(target, 5, &object);
    objects_add(target, 5, 1, 0);
    objects_put_back(target, &object);
    CHECK_INT(objects_count(target), 1, "added anew meanwhile");
}
