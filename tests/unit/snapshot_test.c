#include "agent/snapshot.h"

#include "agent/contention.h"
#include "agent/threadcreate.h"

#include <ctype.h>
#include <errno.h>
#include <gnu/libc-version.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "agent/handles.h"
#include "agent/heap.h"
#include "agent/locations.h"
#include "agent/modules.h"
#include "agent/process.h"
#include "agent/sampler.h"
#include "agent/stack.h"
#include "base/arena.h"
#include "tests/unit/help.h"
#include "tests/unit/streams.h"

static const struct snapshot_options with_symbols = {.use_symbols = true, .labels = ""};
static const struct snapshot_options without_symbols = {.use_symbols = false, .labels = ""};
static const struct profile *const heap = &profiles[0];

static void set_up(void)
{
    arena_set_cap(64 << 20, 0);
    process_init();
    modules_init();
    profile_init();
    heap_init(1, false);
}

NOINLINE static int a_leaf(int x)
{
    __asm__ volatile("");
    return x + 1;
}

NOINLINE static int a_caller(int x)
{
    return a_leaf(x) + 1;
}

/* Counts `bytes` in one object under a made-up stack. */
static struct record *count_under(const uintptr_t *pcs, size_t n, bool truncated,
                                  uint64_t bytes)
{
    struct record *record =
        record_intern(SOURCE_HEAP, stacktab_intern(pcs, n, truncated), bytes);

    add_relaxed(&record_shard(record)->values[0], SAMPLER_OBJECT); /* allocated objects */
    add_relaxed(&record_shard(record)->values[1], bytes);          /* allocated bytes */
    return record;
}

static void count_own_stack(uint64_t bytes)
{
    const uintptr_t pcs[] = {(uintptr_t)a_leaf + 2, (uintptr_t)a_caller + 2,
                             (uintptr_t)gnu_get_libc_version + 1};

    count_under(pcs, 3, false, bytes);
}

/* ---- what every snapshot must be ---- */

static void check_mapping(const struct pprof_mapping *mapping)
{
    CHECK(mapping->start < mapping->limit);
    CHECK(mapping->file && *mapping->file);
    CHECK(!strstr(mapping->file, " (deleted)"));
    for (const char *c = mapping->build_id ? mapping->build_id : ""; *c; c++)
        CHECK(isdigit(*c) || (*c >= 'a' && *c <= 'f'));
}

static void check_input(const struct pprof_input *input)
{
    char exe[1024] = "";

    CHECK(readlink("/proc/self/exe", exe, sizeof exe - 1) > 0);
    CHECK_AT_LEAST(input->n_mappings, 2, "mappings");
    CHECK_STR(input->mappings[0].file, exe, "the first mapping");
    for (size_t i = 0; i < input->n_mappings; i++)
        check_mapping(&input->mappings[i]);
    for (size_t i = 0; i < input->n_locations; i++) {
        const struct pprof_location *location = &input->locations[i];
        CHECK_AT_MOST(location->mapping, input->n_mappings, "mapping id");
        if (location->mapping) {
            const struct pprof_mapping *mapping = &input->mappings[location->mapping - 1];
            if (location->address < mapping->start || location->address >= mapping->limit)
                FAIL("location %zu: %" PRIx64 " is not in [%" PRIx64 ", %" PRIx64 ")", i,
                     location->address, mapping->start, mapping->limit);
        } else {
            CHECK_INT(location->address, 0, "address of a pseudo frame");
        }
        for (size_t k = 0; k < i; k++)
            if (location->mapping && input->locations[k].address == location->address &&
                input->locations[k].mapping == location->mapping)
                FAIL("locations %zu and %zu are the same", k, i);
        for (uint32_t l = 0; l < location->n_lines; l++)
            CHECK(location->lines[l].function >= 1 &&
                  location->lines[l].function <= input->n_functions);
    }
    for (size_t i = 0; i < input->n_functions; i++) {
        CHECK(input->functions[i].name && *input->functions[i].name);
        for (size_t k = 0; k < i; k++)
            CHECK(strcmp(input->functions[k].name, input->functions[i].name) != 0);
    }
    for (size_t i = 0; i < input->n_samples; i++) {
        const struct pprof_sample *sample = &input->samples[i];
        CHECK_AT_LEAST(sample->n_locations, 1, "frames");
        for (uint32_t k = 0; k < sample->n_locations; k++)
            CHECK(sample->locations[k] >= 1 && sample->locations[k] <= input->n_locations);
        for (size_t t = 0; t < input->n_types; t++)
            CHECK(sample->values[t] >= 0);
    }
    CHECK(input->time_ns > 1700000000ll * 1000000000);
    CHECK(input->period >= 1);
}

/* Encodes it; the bytes of the profile, free() them. */
static unsigned char *encode(const struct pprof_input *input, size_t *ret_size)
{
    struct workspace work = {.size = pprof_workspace_bytes(input)};
    struct sink_memory sink;
    char *data = malloc(4 << 20);

    work.base = arena_map_job(work.size);
    sink_memory_init(&sink, data, 4 << 20);
    CHECK_INT(pprof_encode(input, &sink.sink, &work), 0, "encode");
    arena_unmap(work.base, work.size);
    unsigned char *content = gunzip(data, sink.size, ret_size);
    CHECK(content != NULL);
    free(data);
    return content;
}

static void check_encodes(const struct pprof_input *input)
{
    size_t size;

    check_input(input);
    free(encode(input, &size));
}

/* The name of a sample's frame, 0 being the innermost. */
static const char *frame(const struct pprof_input *input, size_t sample, size_t k)
{
    if (sample >= input->n_samples || k >= input->samples[sample].n_locations)
        return "(no such frame)";
    const struct pprof_location *location =
        &input->locations[input->samples[sample].locations[k] - 1];
    return location->n_lines ? input->functions[location->lines[0].function - 1].name
                             : "(no name)";
}

static struct snapshot take(const struct snapshot_options *options)
{
    struct snapshot snapshot;

    CHECK_INT(snapshot_take(&snapshot, heap, options), 0, "take");
    return snapshot;
}

/* ---- */

TEST_ALONE(functions_of_the_program_and_of_libraries_are_named)
{
    set_up();
    count_own_stack(100);
    struct snapshot snapshot = take(&with_symbols);
    check_encodes(&snapshot.input);
    CHECK_INT(snapshot.input.n_samples, 1, "samples");
    CHECK_STR(frame(&snapshot.input, 0, 0), "a_leaf", "leaf");
    CHECK_STR(frame(&snapshot.input, 0, 1), "a_caller", "caller");
    CHECK_STR(frame(&snapshot.input, 0, 2), "gnu_get_libc_version", "root");
    const int64_t *values = snapshot.input.samples[0].values;
    CHECK_INT(values[0], 1, "alloc_objects");
    CHECK_INT(values[1], 100, "alloc_space");
    CHECK_INT(values[2], 1, "inuse_objects");
    CHECK_INT(values[3], 100, "inuse_space");
    CHECK_INT(snapshot.input.samples[0].n_labels, 1, "labels");
    CHECK_STR(snapshot.input.samples[0].labels[0].key, "bytes", "label");
    CHECK_INT(snapshot.input.samples[0].labels[0].number, 100, "label");
    CHECK(snapshot.input.mappings[0].has_functions);
    snapshot_drop(&snapshot);
}

TEST_ALONE(the_file_holds_the_names)
{
    size_t size;

    set_up();
    count_own_stack(100);
    struct snapshot snapshot = take(&with_symbols);
    unsigned char *content = encode(&snapshot.input, &size);
    static const char *const names[] = {"a_leaf", "a_caller", "inuse_space", "snapshot_test"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (!memmem(content, size, names[i], strlen(names[i])))
            FAIL("%s is not in the file", names[i]);
    free(content);
    snapshot_drop(&snapshot);
}

static const char *const plugin =
    "typedef void f(void *);\n"
    "__attribute__((noinline)) void plugin_inner(f *work, void *arg) { work(arg); }\n"
    "void plugin(f *work, void *arg) { plugin_inner(work, arg); }\n";
typedef void plugin_function(void (*work)(void *), void *arg);

static void allocate_one(void *p)
{
    heap_on_alloc(p, 1000, heap_on_due(1000));
}

TEST_ALONE(a_captured_stack_is_shown_with_its_names)
{
    void *handle = dlopen(make_library("libplugin.so", plugin, ""), RTLD_NOW);
    plugin_function *call = (plugin_function *)dlsym(handle, "plugin");

    set_up();
    if (stack_init() < 0)
        SKIP("no unwinder");
    thread_self.random = sampler_seed();
    call(allocate_one, (void *)0x10000);
    struct snapshot snapshot = take(&with_symbols);
    check_encodes(&snapshot.input);
    CHECK_INT(snapshot.input.n_samples, 1, "samples");
    CHECK_STR(frame(&snapshot.input, 0, 0), "plugin_inner", "leaf");
    CHECK_STR(frame(&snapshot.input, 0, 1), "plugin", "caller");
    snapshot_drop(&snapshot);
}

TEST_ALONE(without_symbols_there_are_addresses)
{
    set_up();
    count_own_stack(100);
    struct snapshot snapshot = take(&without_symbols);
    check_encodes(&snapshot.input);
    CHECK_INT(snapshot.input.n_functions, 0, "functions");
    CHECK_STR(frame(&snapshot.input, 0, 0), "(no name)", "leaf");
    CHECK(!snapshot.input.mappings[0].has_functions);
    snapshot_drop(&snapshot);
}

TEST_ALONE(an_empty_profile_is_a_profile)
{
    set_up();
    struct snapshot snapshot = take(&with_symbols);
    check_encodes(&snapshot.input);
    CHECK_INT(snapshot.input.n_samples, 0, "samples");
    snapshot_drop(&snapshot);
}

TEST_ALONE(what_is_not_known_has_pseudo_frames)
{
    const uintptr_t pcs[] = {(uintptr_t)a_leaf + 2, 0x1235};
    int n_overflow = 0, n_lost = 0, n_truncated = 0, n_unknown = 0;

    set_up();
    count_under(pcs, 1, true, 16);  /* truncated */
    count_under(pcs, 2, false, 32); /* code that is gone */
    count_under(pcs, 0, false, 48); /* no stack */
    struct record *overflow = record_intern(SOURCE_HEAP, &stack_overflow, 64);
    add_relaxed(&record_shard(overflow)->values[0], SAMPLER_OBJECT);
    add_relaxed(&record_shard(overflow)->values[1], 64);
    struct snapshot snapshot = take(&with_symbols);
    check_encodes(&snapshot.input);
    CHECK_INT(snapshot.input.n_samples, 4, "samples");
    for (size_t i = 0; i < 4; i++) {
        const uint32_t n = snapshot.input.samples[i].n_locations;
        const char *last = frame(&snapshot.input, i, n - 1);
        n_overflow += strcmp(last, "[overflow]") == 0 && n == 1;
        n_lost += strcmp(last, "[lost]") == 0 && n == 1;
        n_truncated += strcmp(last, "[truncated]") == 0 && n == 2;
        n_unknown += strcmp(last, "[unknown]") == 0 && n == 2;
        if (n == 2)
            CHECK_STR(frame(&snapshot.input, i, 0), "a_leaf", "leaf");
    }
    CHECK_INT(n_overflow, 1, "[overflow]");
    CHECK_INT(n_lost, 1, "[lost]");
    CHECK_INT(n_truncated, 1, "[truncated]");
    CHECK_INT(n_unknown, 1, "[unknown]");
    snapshot_drop(&snapshot);
}

TEST_ALONE(stacks_that_differ_in_unknown_code_only_are_one_sample)
{
    uintptr_t pcs[] = {(uintptr_t)a_leaf + 2, 0};
    int64_t bytes = 0;

    set_up();
    for (int i = 0; i < 100; i++) {
        pcs[1] = 0x2001 + (uintptr_t)i * 64;
        count_under(pcs, 2, false, 48);
    }
    struct snapshot snapshot = take(&with_symbols);
    check_encodes(&snapshot.input);
    CHECK_INT(snapshot.input.n_samples, 1, "samples");
    for (size_t i = 0; i < snapshot.input.n_samples; i++)
        bytes += snapshot.input.samples[i].values[1];
    CHECK_INT(bytes, 4800, "bytes");
    snapshot_drop(&snapshot);
}

TEST_ALONE(code_of_an_unloaded_library_keeps_mapping_and_name)
{
    const char *path = make_library("libplugin.so", plugin, "");
    void *handle = dlopen(path, RTLD_NOW);
    bool has_mapping = false;

    set_up();
    const uintptr_t pcs[] = {(uintptr_t)dlsym(handle, "plugin") + 1, (uintptr_t)a_caller + 2};
    count_under(pcs, 2, false, 64);
    dlclose(handle);
    modules_on_unload();
    struct snapshot snapshot = take(&with_symbols);
    check_encodes(&snapshot.input);
    CHECK_STR(frame(&snapshot.input, 0, 0), "plugin", "leaf");
    CHECK_STR(frame(&snapshot.input, 0, 1), "a_caller", "caller");
    for (size_t i = 0; i < snapshot.input.n_mappings; i++)
        has_mapping |= strstr(snapshot.input.mappings[i].file, "libplugin.so") &&
                       snapshot.input.mappings[i].build_id;
    CHECK(has_mapping);
    snapshot_drop(&snapshot);
}

TEST_ALONE(min_age_leaves_what_is_old_enough)
{
    struct snapshot_options options = with_symbols;

    set_up();
    thread_self.random = sampler_seed();
    allocate_one((void *)0x10000);
    struct snapshot snapshot = take(&options);
    CHECK_INT(snapshot.input.n_samples, 1, "samples of any age");
    snapshot_drop(&snapshot);
    options.min_age_s = 1000;
    snapshot = take(&options);
    check_encodes(&snapshot.input);
    CHECK_INT(snapshot.input.n_samples, 0, "samples of 1000 s");
    bool said = false;
    for (size_t i = 0; i < snapshot.input.n_comments; i++)
        said |= strstr(snapshot.input.comments[i], "older than 1000 s") != NULL;
    CHECK(said);
    snapshot_drop(&snapshot);
}

TEST_ALONE(all_profiles_can_be_taken)
{
    set_up();
    thread_self.random = sampler_seed();
    allocate_one((void *)0x10000);
    contention_init(1, 1, 0);
    contention_on_release(1000);
    struct contention wait;
    contention_begin(&wait, WAIT_JOIN, NULL);
    contention_end(&wait, CONTENTION_GOT_IT);
    threadcreate_set_on(true);
    threadcreate_on_create((uintptr_t)set_up);
    handles_set(HANDLES_DESCRIPTORS | HANDLES_STREAMS);
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    handles_add(SOURCE_CONNECTION, fds, 2);
    handles_add_stream((void *)0x20000, -1, false);
    for (size_t i = 0; i < n_profiles; i++) {
        struct snapshot snapshot;
        CHECK_INT(snapshot_take(&snapshot, &profiles[i], &with_symbols), 0, profiles[i].name);
        check_encodes(&snapshot.input);
        if (profiles[i].source == SOURCE_FD) /* others are open, too */
            CHECK_AT_LEAST(snapshot.input.n_samples, 2, profiles[i].name);
        else
            CHECK_INT(snapshot.input.n_samples, 1, profiles[i].name);
        CHECK_INT(snapshot.input.n_types, profiles[i].n_types, profiles[i].name);
        snapshot_drop(&snapshot);
    }
}

TEST_ALONE(comments_say_what_was_profiled)
{
    const struct snapshot_options options = {
        .labels = "env=test", .host = "a-host", .service = "shop"};
    char all[8192] = "", pid[32];
    static const char *const parts[] = {"profile: heap",  "agent: cprof ",   "exe: /",
                                        "host: a-host",   "service: shop",   "labels: env=test",
                                        "start: ",        "samples kept: 1", "stacks: 1",
                                        "agent memory: ", "process RSS: "};

    set_up();
    thread_self.random = sampler_seed();
    allocate_one((void *)0x10000);
    struct snapshot snapshot = take(&options);
    for (size_t i = 0; i < snapshot.input.n_comments; i++) {
        strcat(all, snapshot.input.comments[i]);
        strcat(all, "\n");
    }
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        check_contains(all, parts[i], "comments");
    snprintf(pid, sizeof pid, "pid: %d\n", getpid());
    check_contains(all, pid, "comments");
    snapshot_drop(&snapshot);
}

/* ---- memory ---- */

TEST_ALONE(drop_gives_everything_back_but_names)
{
    set_up();
    count_own_stack(100);
    struct snapshot first = take(&with_symbols); /* the names stay */
    snapshot_drop(&first);
    const size_t used_bytes = arena_used_bytes();
    for (int i = 0; i < 10; i++) {
        struct snapshot snapshot = take(&with_symbols);
        CHECK(arena_used_bytes() > used_bytes);
        snapshot_drop(&snapshot);
        CHECK_INT(arena_used_bytes(), used_bytes, "used");
    }
}

/* Every object that was allocated is in it; true: under its stack, and not under [overflow]. */
static bool is_whole(const struct pprof_input *input, int64_t n_objects)
{
    int64_t sum = 0;

    for (size_t i = 0; i < input->n_samples; i++)
        sum += input->samples[i].values[0];
    CHECK_INT(sum, n_objects, "objects");
    return input->n_samples == (size_t)n_objects;
}

TEST_ALONE(where_the_cap_leaves_no_room_it_is_enomem_and_nothing_is_lost)
{
    struct snapshot snapshot;
    int n_failed = 0, n_whole = 0, n_partial = 0;

    set_up();
    for (uint64_t i = 0; i < 200; i++)
        count_own_stack(16 + i);
    const size_t used_bytes = arena_used_bytes();
    for (size_t room = 0; room < 1 << 20; room += 4096) {
        arena_set_cap(used_bytes + room, 0);
        const int err = snapshot_take(&snapshot, heap, &without_symbols);
        CHECK(err == 0 || err == -ENOMEM);
        n_failed += err != 0;
        if (err == 0 && is_whole(&snapshot.input, 200))
            n_whole++;
        else if (err == 0)
            n_partial++;
        if (err == 0)
            snapshot_drop(&snapshot);
        CHECK_INT(arena_used_bytes(), used_bytes, "used");
    }
    CHECK_AT_LEAST(n_failed, 1, "failed");
    CHECK_AT_LEAST(n_whole, 1, "whole");
    CHECK_AT_LEAST(n_partial, 1, "with [overflow]");
}

/* ---- promises ---- */

static _Atomic bool is_counting;
static _Atomic size_t n_mallocs;

static void count_malloc(void)
{
    if (load_relaxed(&is_counting))
        add_relaxed(&n_mallocs, 1);
}

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
                                              void (*on_free)(const volatile void *));
static void on_malloc(const volatile void *p, size_t size)
{
    (void)p, (void)size;
    count_malloc();
}
static void on_free(const volatile void *p)
{
    (void)p;
}
static void count_mallocs(void)
{
    __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
}
#else
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
EXPORT void *malloc(size_t size)
{
    count_malloc();
    return __libc_malloc(size);
}
EXPORT void *calloc(size_t n, size_t size)
{
    count_malloc();
    return __libc_calloc(n, size);
}
EXPORT void *realloc(void *p, size_t size)
{
    count_malloc();
    return __libc_realloc(p, size);
}
static void count_mallocs(void)
{
}
#endif

TEST_ALONE(taking_and_encoding_allocate_nothing_and_leave_no_descriptor)
{
    static char data[1 << 20];
    struct snapshot snapshot;
    struct sink_memory sink;
    void *handle = dlopen(make_library("libplugin.so", plugin, ""), RTLD_NOW);
    plugin_function *call = (plugin_function *)dlsym(handle, "plugin");

    set_up();
    stack_init();
    thread_self.random = sampler_seed();
    count_own_stack(100);
    count_mallocs();
    store_relaxed(&is_counting, true);
    void *volatile block = malloc(1); /* compilers leave out what nobody looks at */
    free(block);
    CHECK_INT(load_relaxed(&n_mallocs), 1, "the counter counts");
    store_relaxed(&n_mallocs, 0);

    const int lowest = dup(0);
    close(lowest);
    call(allocate_one, (void *)0x10000);
    for (size_t i = 0; i < n_profiles; i++) {
        const int err = snapshot_take(&snapshot, &profiles[i], &with_symbols);
        struct workspace work = {.size = pprof_workspace_bytes(&snapshot.input)};
        work.base = arena_map_job(work.size);
        sink_memory_init(&sink, data, sizeof data);
        const int encode_err = pprof_encode(&snapshot.input, &sink.sink, &work);
        arena_unmap(work.base, work.size);
        snapshot_drop(&snapshot);
        store_relaxed(&is_counting, false);
        CHECK_INT(err, 0, profiles[i].name);
        CHECK_INT(encode_err, 0, profiles[i].name);
        store_relaxed(&is_counting, true);
    }
    heap_on_free((void *)0x10000);
    store_relaxed(&is_counting, false);
    CHECK_INT(load_relaxed(&n_mallocs), 0, "mallocs");
    const int next = dup(0);
    CHECK_INT(next, lowest, "lowest free descriptor");
    close(next);
}

TEST_ALONE(errno_is_kept)
{
    struct snapshot snapshot;

    set_up();
    count_own_stack(100);
    errno = 4711;
    snapshot_take(&snapshot, heap, &with_symbols);
    snapshot_drop(&snapshot);
    CHECK_INT(errno, 4711, "errno");
}

static _Atomic int n_running;

static void allocate_or_look(int i)
{
    if (i == 0) {
        do {
            struct snapshot snapshot = take(&with_symbols);
            check_encodes(&snapshot.input);
            snapshot_drop(&snapshot);
        } while (load_relaxed(&n_running));
        return;
    }
    for (uintptr_t k = 0; k < 20000 / SCALE; k++) {
        void *p = (void *)((uintptr_t)i << 32 | (k % 100 + 1) << 12);
        heap_on_alloc(p, k % 2000, heap_on_due(k % 2000));
        heap_on_free(p);
    }
    sub_relaxed(&n_running, 1);
}

TEST_ALONE(the_program_goes_on_meanwhile)
{
    set_up();
    store_relaxed(&n_running, 3);
    in_threads(4, allocate_or_look);
}
