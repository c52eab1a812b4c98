/* labels - see labels.h. */
#include "agent/labels.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "agent/thread.h"
#include "base/arena.h"
#include "base/text.h"
#include "base/trie.h"

struct label {
    struct trie_item item;
    const char *value; /* behind the key */
    char key[];
};

static struct trie all LARGE;

struct label_key {
    struct trie_key key;
    const char *name, *value;
};

static bool is_same(struct trie_item *item, const struct trie_key *key)
{
    const struct label *label = (const void *)item;
    const struct label_key *wanted = (const void *)key;

    return strcmp(label->key, wanted->name) == 0 && strcmp(label->value, wanted->value) == 0;
}

static struct trie_item *make(const struct trie_key *key)
{
    const struct label_key *wanted = (const void *)key;
    const size_t key_size = strlen(wanted->name) + 1, value_size = strlen(wanted->value) + 1;
    struct label *label = arena_alloc(sizeof *label + key_size + value_size);

    if (!label)
        return NULL;
    label->item.hash = key->hash;
    memcpy(label->key, wanted->name, key_size);
    label->value = memcpy(label->key + key_size, wanted->value, value_size);
    return &label->item;
}

static struct label *intern(const char *name, const char *value)
{
    const uint64_t hash = text_hash(text_hash(TEXT_HASH_BEGIN, name), value);
    const struct label_key key = {
        .key = {.hash = hash ^ hash >> 32, .is_same = is_same, .make = make},
        .name = name,
        .value = value,
    };

    return (struct label *)trie_intern(&all, &key.key, NULL);
}

/* Keys of the agent's own labels. */
static bool is_reserved(const char *key)
{
    static const char *const reserved[] = {"bytes", "wait", "state", "thread", "tid", "entry"};

    for (size_t i = 0; i < COUNT_OF(reserved); i++)
        if (strcmp(key, reserved[i]) == 0)
            return true;
    return false;
}

/* The place of the key, or else the first free one; LABELS_PER_THREAD: neither is there. */
static size_t find_place(struct thread *thread, const char *key)
{
    size_t place = LABELS_PER_THREAD;

    for (size_t i = LABELS_PER_THREAD; i-- > 0;) {
        const struct label *label = load_relaxed(&thread->labels[i]);
        if (label && strcmp(label->key, key) == 0)
            return i;
        if (!label)
            place = i;
    }
    return place;
}

int labels_set(const char *key, const char *value)
{
    struct thread *thread = thread_own_record();
    struct label *label = NULL;

    if (!key || !*key || strnlen(key, LABEL_BYTES_MAX + 1) > LABEL_BYTES_MAX ||
        is_reserved(key) || (value && strnlen(value, LABEL_BYTES_MAX + 1) > LABEL_BYTES_MAX))
        return EINVAL;
    if (!thread)
        return ENOMEM;
    const size_t place = find_place(thread, key);
    if (place == LABELS_PER_THREAD)
        return value ? ENOSPC : 0;
    if (value && !(label = intern(key, value)))
        return ENOMEM;
    store_release(&thread->labels[place], label); /* pairs with labels_of */
    return 0;
}

uint32_t labels_of(const struct thread *thread, struct pprof_label *ret_labels)
{
    uint32_t n = 0;

    for (size_t i = 0; i < LABELS_PER_THREAD; i++) {
        const struct label *label =
            load_acquire(&thread->labels[i]); /* pairs with labels_set */
        bool is_known = !label;
        for (uint32_t k = 0; k < n && !is_known; k++)
            is_known = strcmp(ret_labels[k].key, label->key) == 0;
        if (!is_known)
            ret_labels[n++] = (struct pprof_label){.key = label->key, .text = label->value};
    }
    return n;
}

void labels_forget(struct thread *thread)
{
    for (size_t i = 0; i < LABELS_PER_THREAD; i++)
        store_relaxed(&thread->labels[i], NULL);
}
