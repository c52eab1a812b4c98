#include "agent/stacktab.h"

#include <gnu/libc-version.h>

#include "agent/locations.h"
#include "agent/modules.h"
#include "base/arena.h"
#include "tests/unit/help.h"

static void set_up(void)
{
    arena_set_cap(256 << 20, 0);
    modules_init();
}

NOINLINE static int a_function(int x)
{
    return x + 1;
}

/* A made-up stack: number i of many, n frames. */
static void make_frames(uintptr_t *pcs, size_t n, uint64_t i)
{
    for (size_t k = 0; k < n; k++)
        pcs[k] = 0x7e0000000000 + (i >> k % 8 * 4 & 15) * 64 + k * 4096;
}

TEST_ALONE(the_same_frames_are_the_same_stack)
{
    uintptr_t pcs[16], copy[16];

    set_up();
    for (size_t n = 0; n <= 16; n++)
        for (uint64_t i = 0; i < 100; i++) {
            make_frames(pcs, n, i);
            struct stack *stack = stacktab_intern(pcs, n, false);
            memcpy(copy, pcs, sizeof pcs);
            CHECK(stack != &stack_overflow);
            CHECK(stacktab_intern(copy, n, false) == stack);
            CHECK_INT(stack->n_frames, n, "frames");
            CHECK_INT(memcmp(stack->pcs, pcs, n * sizeof *pcs), 0, "program counters");
        }
}

TEST_ALONE(a_difference_in_any_frame_length_or_truncation_makes_another_stack)
{
    uintptr_t pcs[20];

    set_up();
    make_frames(pcs, 20, 4711);
    struct stack *stack = stacktab_intern(pcs, 20, false);
    CHECK(stacktab_intern(pcs, 19, false) != stack);
    CHECK(stacktab_intern(pcs + 1, 19, false) != stack);
    CHECK(stacktab_intern(pcs, 20, true) != stack);
    CHECK_INT(stacktab_intern(pcs, 20, true)->truncated, true, "truncated");
    CHECK_INT(stack->truncated, false, "truncated");
    for (size_t k = 0; k < 20; k++)
        for (unsigned bit = 0; bit < 47; bit++) {
            pcs[k] ^= (uintptr_t)1 << bit;
            if (stacktab_intern(pcs, 20, false) == stack)
                FAIL("frame %zu bit %u: the same stack", k, bit);
            pcs[k] ^= (uintptr_t)1 << bit;
        }
    const uintptr_t swap = pcs[3];
    pcs[3] = pcs[4];
    pcs[4] = swap;
    CHECK(stacktab_intern(pcs, 20, false) != stack);
    pcs[4] = pcs[3];
    pcs[3] = swap;
    CHECK(stacktab_intern(pcs, 20, false) == stack);
}

TEST_ALONE(locations_lie_inside_the_calls)
{
    const uintptr_t pcs[] = {(uintptr_t)gnu_get_libc_version + 1, (uintptr_t)a_function + 1,
                             0x1234};

    set_up();
    const struct stack *stack = stacktab_intern(pcs, 3, false);
    for (int i = 0; i < 3; i++)
        CHECK_HEX(location_get(stack->locations[i])->address, pcs[i] - 1, "address");
    const struct module *libc = modules_get(location_get(stack->locations[0])->module);
    const struct module *own = modules_get(location_get(stack->locations[1])->module);
    CHECK_STR(module_name(libc), "libc.so.6", "module");
    CHECK_STR(module_name(own), "stacktab_test", "module");
    CHECK_INT(location_get(stack->locations[2])->module, MODULE_UNKNOWN, "module");
}

TEST_ALONE(the_empty_stack_is_a_stack)
{
    set_up();
    const uintptr_t none = 0;
    struct stack *stack = stacktab_intern(&none, 0, false);
    CHECK(stack != &stack_overflow);
    CHECK_INT(stack->n_frames, 0, "frames");
    CHECK(stacktab_intern(&none, 0, false) == stack);
}

TEST_ALONE(the_deepest_stack_keeps_all_its_frames)
{
    static uintptr_t pcs[1024];

    set_up();
    for (size_t k = 0; k < 1024; k++)
        pcs[k] = 0x10000 + k * 16;
    const struct stack *stack = stacktab_intern(pcs, 1024, true);
    CHECK_INT(stack->n_frames, 1024, "frames");
    for (size_t k = 0; k < 1024; k++)
        CHECK_HEX(location_get(stack->locations[k])->address, pcs[k] - 1, "address");
}

TEST_ALONE(count_is_the_number_of_distinct_stacks)
{
    enum { N = 50000 };
    uintptr_t pcs[8];

    set_up();
    for (int round = 0; round < 2; round++)
        for (uint64_t i = 0; i < N; i++) {
            make_frames(pcs, 8, i);
            stacktab_intern(pcs, 8, false);
        }
    CHECK_INT(stacktab_count(), N, "stacks");
}

TEST_ALONE(without_memory_it_is_the_overflow_and_known_stacks_are_found)
{
    enum { N = 20000 };
    static struct stack *stacks[N];
    uintptr_t pcs[8];
    uint64_t n = 0;

    arena_set_cap(512 << 10, 0);
    modules_init();
    for (; n < N; n++) {
        make_frames(pcs, 8, n);
        stacks[n] = stacktab_intern(pcs, 8, false);
        if (stacks[n] == &stack_overflow)
            break;
    }
    while (arena_alloc(16))
        ;
    CHECK_AT_LEAST(n, 1000, "stacks in 512 KiB");
    CHECK_AT_MOST(n, N - 1, "stacks in 512 KiB");
    CHECK_INT(stacktab_count(), n, "stacks");
    make_frames(pcs, 8, n + 7);
    CHECK(stacktab_intern(pcs, 8, false) == &stack_overflow);
    for (uint64_t i = 0; i < n; i++) {
        make_frames(pcs, 8, i);
        CHECK(stacktab_intern(pcs, 8, false) == stacks[i]);
    }
    CHECK_INT(stack_overflow.n_frames, 0, "frames of the overflow");
}

enum { N_THREADS = 4, N_STACKS = 20000 };
static struct stack *of_thread[N_THREADS][N_STACKS];

static void intern_all(int i)
{
    uintptr_t pcs[12];

    for (uint64_t k = 0; k < N_STACKS; k++) {
        make_frames(pcs, 12, k);
        of_thread[i][k] = stacktab_intern(pcs, 12, false);
        if (memcmp(of_thread[i][k]->pcs, pcs, sizeof pcs) != 0)
            FAIL("thread %d: stack %" PRIu64 " has other frames", i, k);
    }
}

TEST_ALONE(threads_that_intern_the_same_stacks_get_the_same_pointers)
{
    set_up();
    in_threads(N_THREADS, intern_all);
    for (int i = 1; i < N_THREADS; i++)
        CHECK_INT(memcmp(of_thread[0], of_thread[i], sizeof of_thread[0]), 0, "stacks");
    CHECK_INT(stacktab_count(), N_STACKS, "stacks");
}

TEST_ALONE(unloading_elsewhere_keeps_the_stack)
{
    const uintptr_t pcs[] = {(uintptr_t)a_function + 1, 0x1234};

    set_up();
    struct stack *stack = stacktab_intern(pcs, 2, false);
    for (int i = 0; i < 10; i++) {
        modules_on_unload();
        CHECK(stacktab_intern(pcs, 2, false) == stack);
    }
    CHECK_INT(stacktab_count(), 1, "stacks");
}

static const char *const plugin = "int plugin(int x) { return x + 1; }";

TEST_ALONE(after_an_unload_the_same_numbers_mean_another_stack)
{
    const char *path = make_library("libplugin.so", plugin, "");

    set_up();
    void *handle = dlopen(path, RTLD_NOW);
    const uintptr_t pcs[] = {(uintptr_t)dlsym(handle, "plugin") + 1, (uintptr_t)a_function + 1};
    const struct stack *stack = stacktab_intern(pcs, 2, false);
    const uint16_t module = location_get(stack->locations[0])->module;
    CHECK_STR(module_name(modules_get(module)), "libplugin.so", "module");
    dlclose(handle);
    modules_on_unload();
    const struct stack *later = stacktab_intern(pcs, 2, false);
    CHECK(later != stack);
    CHECK_INT(location_get(later->locations[0])->module, MODULE_UNKNOWN, "module afterwards");
    CHECK_INT(later->locations[1], stack->locations[1], "the frame that is still there");
    CHECK_INT(location_get(stack->locations[0])->module, module, "the old stack's module");
}

/* A plugin that is loaded and unloaded for ever: its stacks are known after the first time. */
TEST_ALONE(a_plugin_that_comes_and_goes_does_not_make_stacks_for_ever)
{
    const char *path = make_library("libplugin.so", plugin, "");
    size_t after_ten = 0, used_bytes = 0;

    set_up();
    for (int i = 0; i < 60; i++) {
        void *handle = dlopen(path, RTLD_NOW);
        const uintptr_t pcs[] = {(uintptr_t)dlsym(handle, "plugin") + 1,
                                 (uintptr_t)a_function + 1};
        const struct stack *stack = stacktab_intern(pcs, 2, false);
        CHECK(location_get(stack->locations[0])->module != MODULE_UNKNOWN);
        dlclose(handle);
        modules_on_unload();
        if (i == 10) {
            after_ten = stacktab_count();
            used_bytes = arena_used_bytes();
        }
    }
    CHECK_AT_MOST(stacktab_count(), after_ten, "stacks");
    CHECK_AT_MOST(arena_used_bytes(), used_bytes, "memory");
}
