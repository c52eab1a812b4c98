/* text - formatting and parsing without stdio, locale or malloc.
 *
 * A struct text appends to memory that its owner gave it.  What does not fit is cut and remembered
 * in `cut`; the text is always NUL-terminated.
 *
 * Signal-safe; one text belongs to one job. */
#ifndef CPROF_BASE_TEXT_H
#define CPROF_BASE_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"

struct text {
    char *data;
    size_t size, capacity; /* without and with the final NUL */
    bool cut;
};

/* capacity >= 1. */
void text_init(struct text *text, char *data, size_t capacity);

void text_add_bytes(struct text *text, const char *bytes, size_t n);
void text_add(struct text *text, const char *string);
void text_add_char(struct text *text, char c);
void text_add_u64(struct text *text, uint64_t value, unsigned min_digits);
void text_add_i64(struct text *text, int64_t value);
void text_add_hex(struct text *text, uint64_t value);

/* A small printf: %s %c %d %ld %u %lu %zu %x %lx (x prints no 0x) and %%. */
void text_addf(struct text *text, const char *format, ...) PRINTF(2, 3);
void text_addv(struct text *text, const char *format, va_list args) PRINTF(2, 0);

/* Decimal digits at *at, which moves behind them. 0, -EINVAL (no digit), -ERANGE. */
int text_parse_u64(const char **at, uint64_t *ret_value);
/* What a hexadecimal digit stands for, in either case; -1: it is none. */
int text_hex_digit(char c);
/* Hexadecimal digits without a prefix; the same errors. */
int text_parse_hex(const char **at, uint64_t *ret_value);

/* What errno `err` (positive) means, in strerror's words; "Unknown error" when it is a rare one. */
const char *text_errno(int err);

/* Shell pattern with * and ? over the whole of `string`. */
bool text_glob(const char *pattern, const char *string);

/* Levenshtein distance of two short strings (up to 63 characters each; longer ones: 64). */
unsigned text_distance(const char *a, const char *b);

/* Goes on with the hash of what came before, TEXT_HASH_BEGIN at first: FNV-1a, 64 bits (Fowler, Noll, Vo). */
static const uint64_t TEXT_HASH_BEGIN = 0xcbf29ce484222325;
static inline uint64_t text_hash_u64(uint64_t hash, uint64_t value)
{
    return (hash ^ value) * 0x100000001b3;
}
static inline uint64_t text_hash(uint64_t hash, const char *string)
{
    for (; *string; string++)
        hash = text_hash_u64(hash, (unsigned char)*string);
    return hash;
}

/* Bytes before the first `end` or the NUL. */
static inline size_t text_size_to(const char *string, char end)
{
    return (size_t)(strchrnul(string, end) - string);
}

bool text_starts_with(const char *string, const char *prefix);

/* The value of the variable name[0..size) in an environment; NULL: not set. */
const char *text_find_variable(const char *const *environment, const char *name, size_t size);

#endif
