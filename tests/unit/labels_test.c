#include "agent/labels.h"

#include <errno.h>

#include "agent/thread.h"
#include "base/arena.h"
#include "tests/unit/help.h"

static void set_up(void)
{
    arena_set_cap(64 << 20, 0);
}

static const char *value_of(const char *key)
{
    static _Thread_local struct pprof_label labels[LABELS_PER_THREAD];
    const uint32_t n = labels_of(thread_own_record(), labels);

    for (uint32_t i = 0; i < n; i++)
        if (strcmp(labels[i].key, key) == 0)
            return labels[i].text;
    return NULL;
}

TEST_ALONE(a_label_is_set_changed_and_taken_off)
{
    set_up();
    CHECK(value_of("tenant") == NULL);
    CHECK_INT(labels_set("tenant", "acme"), 0, "set");
    CHECK_INT(labels_set("job", "nightly"), 0, "set");
    CHECK_STR(value_of("tenant"), "acme", "tenant");
    CHECK_INT(labels_set("tenant", ""), 0, "changed");
    CHECK_STR(value_of("tenant"), "", "tenant");
    CHECK_INT(labels_set("tenant", NULL), 0, "taken off");
    CHECK(value_of("tenant") == NULL);
    CHECK_STR(value_of("job"), "nightly", "the other");
    CHECK_INT(labels_set("tenant", NULL), 0, "taken off again");
}

TEST_ALONE(the_fifth_finds_no_place_until_one_goes)
{
    set_up();
    const char *const keys[] = {"a", "b", "c", "d"};
    for (int i = 0; i < LABELS_PER_THREAD; i++)
        CHECK_INT(labels_set(keys[i], "x"), 0, keys[i]);
    CHECK_INT(labels_set("e", "x"), ENOSPC, "fifth");
    CHECK_INT(labels_set("c", "y"), 0, "a known one");
    CHECK_INT(labels_set("b", NULL), 0, "taken off");
    CHECK_INT(labels_set("e", "x"), 0, "in its place");
    CHECK_STR(value_of("c"), "y", "c");
}

TEST_ALONE(what_is_no_label_is_refused)
{
    char text[LABEL_BYTES_MAX + 2];

    set_up();
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    CHECK_INT(labels_set(NULL, "x"), EINVAL, "no key");
    CHECK_INT(labels_set("", "x"), EINVAL, "empty key");
    CHECK_INT(labels_set("state", "x"), EINVAL, "the agent's key");
    CHECK_INT(labels_set(text, "x"), EINVAL, "long key");
    CHECK_INT(labels_set("x", text), EINVAL, "long value");
    text[LABEL_BYTES_MAX] = '\0';
    CHECK_INT(labels_set(text, text), 0, "255 bytes each");
    CHECK_STR(value_of(text), text, "255 bytes each");
}

static void set_many(int i)
{
    char value[16];

    for (int k = 0; k < 10000 / SCALE; k++) {
        snprintf(value, sizeof value, "%d", k % 50);
        CHECK_INT(labels_set("k", value), 0, "set");
        CHECK_STR(value_of("k"), value, "own");
    }
    CHECK_INT(labels_set("thread-number", i % 2 ? "odd" : "even"), 0, "set");
}

TEST_ALONE(threads_have_their_own_and_equal_ones_take_no_memory)
{
    set_up();
    in_threads(4, set_many);
    const size_t used = arena_used_bytes();
    in_threads(4, set_many);
    CHECK_AT_MOST(arena_used_bytes(), used + (64 << 10), "bytes");
    CHECK(value_of("k") == NULL);
}

TEST_ALONE(without_memory_the_old_value_stays)
{
    set_up();
    CHECK_INT(labels_set("k", "old"), 0, "set");
    arena_set_cap(0, 0);
    while (arena_alloc(16))
        ;
    CHECK_INT(labels_set("k", "new"), ENOMEM, "set");
    CHECK_STR(value_of("k"), "old", "k");
}
