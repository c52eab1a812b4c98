/* text - see text.h. */
#include "base/text.h"

#include <errno.h>
#include <string.h>

void text_init(struct text *text, char *data, size_t capacity)
{
    *text = (struct text){.data = data, .capacity = capacity};
    data[0] = '\0';
}

void text_add_bytes(struct text *text, const char *bytes, size_t n)
{
    const size_t room = text->capacity - 1 - text->size;

    if (n > room) {
        n = room;
        text->cut = true;
    }
    memcpy(text->data + text->size, bytes, n);
    text->size += n;
    text->data[text->size] = '\0';
}

void text_add(struct text *text, const char *string)
{
    text_add_bytes(text, string, strlen(string));
}

void text_add_char(struct text *text, char c)
{
    text_add_bytes(text, &c, 1);
}

static void add_number(struct text *text, uint64_t value, unsigned base, unsigned min_digits)
{
    char digits[32];
    size_t n = 0;

    do {
        digits[sizeof digits - ++n] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value || n < min_digits);
    text_add_bytes(text, digits + sizeof digits - n, n);
}

void text_add_u64(struct text *text, uint64_t value, unsigned min_digits)
{
    add_number(text, value, 10, min_digits < 20 ? min_digits : 20);
}

void text_add_i64(struct text *text, int64_t value)
{
    if (value < 0)
        text_add_char(text, '-');
    text_add_u64(text, value < 0 ? -(uint64_t)value : (uint64_t)value, 1);
}

void text_add_hex(struct text *text, uint64_t value)
{
    add_number(text, value, 16, 1);
}

/* One conversion at *at (behind the '%'); returns what follows it. */
static const char *add_conversion(struct text *text, const char *at, va_list *args)
{
    const bool wide = *at == 'l' || *at == 'z';

    if (wide)
        at++;
    switch (*at) {
    case 's': text_add(text, va_arg(*args, const char *)); break;
    case 'c': text_add_char(text, (char)va_arg(*args, int)); break;
    case 'd': text_add_i64(text, wide ? va_arg(*args, long) : va_arg(*args, int)); break;
    case 'u':
        text_add_u64(text, wide ? va_arg(*args, unsigned long) : va_arg(*args, unsigned), 1);
        break;
    case 'x':
        text_add_hex(text, wide ? va_arg(*args, unsigned long) : va_arg(*args, unsigned));
        break;
    default: text_add_char(text, *at); break;
    }
    return *at ? at + 1 : at;
}

void text_addv(struct text *text, const char *format, va_list args)
{
    va_list copy;

    va_copy(copy, args);
    for (const char *at = format; *at;) {
        const size_t plain = text_size_to(at, '%');
        text_add_bytes(text, at, plain);
        at += plain;
        if (*at == '%')
            at = add_conversion(text, at + 1, &copy);
    }
    va_end(copy);
}

void text_addf(struct text *text, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    text_addv(text, format, args);
    va_end(args);
}

int text_parse_u64(const char **at, uint64_t *ret_value)
{
    const char *c = *at;
    uint64_t value = 0;

    if (*c < '0' || *c > '9')
        return -EINVAL;
    for (; *c >= '0' && *c <= '9'; c++) {
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*c - '0'), &value))
            return -ERANGE;
    }
    *at = c;
    *ret_value = value;
    return 0;
}

int text_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int text_parse_hex(const char **at, uint64_t *ret_value)
{
    const char *c = *at;
    uint64_t value = 0;

    if (text_hex_digit(*c) < 0)
        return -EINVAL;
    for (; text_hex_digit(*c) >= 0; c++) {
        if (value >> 60)
            return -ERANGE;
        value = value << 4 | (uint64_t)text_hex_digit(*c);
    }
    *at = c;
    *ret_value = value;
    return 0;
}

const char *text_errno(int err)
{
    switch (err) {
#define ERRNO(name, words) \
    case name: \
        return words;
#include "base/errno.def"
#undef ERRNO
    default: return "Unknown error";
    }
}

bool text_glob(const char *pattern, const char *string)
{
    const char *star = NULL, *retry = NULL;

    while (*string) {
        if (*pattern == '*') {
            star = ++pattern;
            retry = string;
        } else if (*pattern == '?' || *pattern == *string) {
            pattern++;
            string++;
        } else if (star) {
            pattern = star;
            string = ++retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    const unsigned least = a < b ? a : b;

    return least < c ? least : c;
}

/* Wagner and Fischer's dynamic programme, one row at a time. */
unsigned text_distance(const char *a, const char *b)
{
    const size_t n_a = strlen(a), n_b = strlen(b);
    unsigned char row[64];

    if (n_a >= sizeof row || n_b >= sizeof row)
        return sizeof row;
    for (size_t j = 0; j <= n_b; j++)
        row[j] = (unsigned char)j;
    for (size_t i = 1; i <= n_a; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned char)i;
        for (size_t j = 1; j <= n_b; j++) {
            const unsigned above = row[j];
            row[j] = (unsigned char)min3(above + 1, row[j - 1] + 1u,
                                         diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[n_b];
}

bool text_starts_with(const char *string, const char *prefix)
{
    return strncmp(string, prefix, strlen(prefix)) == 0;
}

const char *text_find_variable(const char *const *environment, const char *name, size_t size)
{
    for (; *environment; environment++)
        if (strncmp(*environment, name, size) == 0 && (*environment)[size] == '=')
            return *environment + size + 1;
    return NULL;
}
