#include "agent/hooks.h"

#include <sys/mman.h>
#include <unistd.h>

#include "agent/modules.h"
#include "base/arena.h"
#include "tests/unit/help.h"

enum { PAGE_BYTES = 4096 };

static void set_up(void)
{
    arena_set_cap(64 << 20, 0);
    modules_init();
}

/* Three pages of which the last cannot be read. */
static char *map_with_end(void)
{
    char *map = mmap(NULL, (size_t)3 * PAGE_BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    mprotect(map + (ptrdiff_t)2 * PAGE_BYTES, PAGE_BYTES, PROT_NONE);
    return map;
}

TEST(only_what_can_be_read_is_read)
{
    char *map = map_with_end();
    char *end = map + (ptrdiff_t)2 * PAGE_BYTES;
    int local = 0;

    CHECK(hooks_can_read((uintptr_t)&local, sizeof local));
    CHECK(hooks_can_read((uintptr_t)end - 8, 8));
    CHECK(!hooks_can_read((uintptr_t)end - 7, 8));
    CHECK(!hooks_can_read((uintptr_t)end, 4));
    CHECK(!hooks_can_read(0, 8));
    CHECK(!hooks_can_read(5, 8));
    CHECK(!hooks_can_read(UINTPTR_MAX - 3, 8));
    CHECK(!hooks_can_read((uintptr_t)1 << 60, 8));
}

TEST(stack_arguments_are_copied_up_to_the_end_of_the_stack)
{
    const char *end = map_with_end() + (ptrdiff_t)2 * PAGE_BYTES;
    static const struct {
        int bytes_below;
        uint64_t words;
    } cases[] = {
        {PAGE_BYTES, 32},
        {256,        32},
        {240,        30},
        {16,         2 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        CHECK_INT(hooks_stack_words((const void *)(end - cases[i].bytes_below)), cases[i].words,
                  "words");
    CHECK_INT(hooks_stack_words((const void *)(end - PAGE_BYTES - 16)), 32,
              "into the next page");
}

#if defined(__aarch64__)
static const uint32_t return_code[] = {0xa8c17bfd,
                                       0xd65f03c0}; /* ldp x29, x30, [sp], #16; ret */
#else
static const uint8_t return_code[] = {0xc3};
#endif

TEST(a_return_is_found_in_the_object_of_the_caller_and_known_as_none_of_the_program)
{
    const void *const callers[] = {(const void *)(uintptr_t)set_up,
                                   (const void *)(uintptr_t)getpid};

    set_up();
    for (size_t i = 0; i < COUNT_OF(callers); i++) {
        const uintptr_t at = hooks_find_return((uintptr_t)callers[i]);
        CHECK(memcmp((const void *)at, return_code, sizeof return_code) == 0);  // NOLINT
        CHECK(modules_is_same_object((const void *)at, callers[i]));            // NOLINT
        CHECK(hooks_is_return(at) && !hooks_is_return(at + 1));
        CHECK_HEX(hooks_find_return((uintptr_t)callers[i] + 1), at, "the second time");
        CHECK_INT(unwind_place_of(at), UNWIND_BARE, "how a walk passes it");
    }
    CHECK_HEX(hooks_find_return((uintptr_t)&callers), 0, "no object");
}
