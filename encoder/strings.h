/* strings - the string table of one profile: every distinct text gets a number.
 *
 * texts[number] borrows the caller's string; slots is an open hash table of numbers (0: empty
 * slot) at most two thirds full.  Number 0 is "" and also stands for NULL.  Numbers are given
 * out in order of first use, so the table is written as texts[0], texts[1], ...
 *
 * Texts are compared byte by byte, before utf8_copy() repairs them: two different broken
 * texts may look equal in the profile.
 *
 * Signal-safe, no malloc; one table belongs to one job. */
#ifndef CPROF_ENCODER_STRINGS_H
#define CPROF_ENCODER_STRINGS_H

#include <stddef.h>
#include <stdint.h>

#include "base/workspace.h"

/* A broken byte becomes the three bytes of U+FFFD. */
enum { UTF8_GROWTH = 3 };

struct strings {
    const char **texts;
    uint32_t *slots;
    uint32_t n_texts; /* with "" */
    uint32_t n_texts_max, n_slots;
};

/* What strings_init() takes from the workspace. */
size_t strings_workspace_bytes(size_t n_texts_max);

/* A table of "" and `n_texts_max` other texts.  -ENOMEM. */
int strings_init(struct strings *strings, size_t n_texts_max, struct workspace *work);

/* The number of `text`, which must outlive the table.  -ENOMEM: the table is full. */
int64_t strings_number(struct strings *strings, const char *text);

/* Copies `text` as valid UTF-8 (RFC 3629): each byte that is not part of a character becomes
 * U+FFFD.  ret_text has room for UTF8_GROWTH * strlen(text) + 1 bytes. */
void utf8_copy(char *ret_text, const char *text);

#endif
