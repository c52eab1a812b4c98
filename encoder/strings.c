#include "encoder/strings.h"

#include <errno.h>
#include <string.h>

#include "base/compiler.h"

/* Eight bytes at a time: function names are long and there are tens of thousands of them.
 * The upper half is the well mixed one. */
static uint32_t hash(const char *text)
{
    const uint64_t prime = 0x9e3779b97f4a7c15;
    const size_t length = strlen(text);
    uint64_t h = length;

    for (size_t i = 0; i < length; i += 8) {
        uint64_t word = 0;
        memcpy(&word, text + i, length - i < 8 ? length - i : 8);
        h = (h ^ word) * prime;
        h ^= h >> 32;
    }
    return (uint32_t)(h * prime >> 32);
}

static size_t n_slots_for(size_t n_texts_max)
{
    return n_texts_max + n_texts_max / 2 + 1;
}

size_t strings_workspace_bytes(size_t n_texts_max)
{
    const size_t alignment = 2 * 16; /* of two pieces */

    return (n_texts_max + 1) * sizeof(char *) + n_slots_for(n_texts_max) * sizeof(uint32_t) +
           alignment;
}

int strings_init(struct strings *strings, size_t n_texts_max, struct workspace *work)
{
    if (n_texts_max > UINT32_MAX / 2)
        return -ENOMEM;
    const size_t n_slots = n_slots_for(n_texts_max);
    *strings = (struct strings){
        .texts = workspace_take_array(work, n_texts_max + 1, sizeof *strings->texts),
        .slots = workspace_take_array(work, n_slots, sizeof *strings->slots),
        .n_texts = 1,
        .n_texts_max = (uint32_t)n_texts_max + 1,
        .n_slots = (uint32_t)n_slots,
    };
    if (!strings->texts || !strings->slots)
        return -ENOMEM;
    strings->texts[0] = "";
    return 0;
}

int64_t strings_number(struct strings *strings, const char *text)
{
    if (!text || !*text)
        return 0;
    /* Scales the hash to the table instead of a division. */
    uint32_t slot = (uint32_t)((uint64_t)hash(text) * strings->n_slots >> 32);
    for (; strings->slots[slot]; slot = slot + 1 < strings->n_slots ? slot + 1 : 0) {
        if (!strcmp(strings->texts[strings->slots[slot]], text))
            return strings->slots[slot];
    }
    if (strings->n_texts == strings->n_texts_max)
        return -ENOMEM;
    const uint32_t number = strings->n_texts++;
    strings->texts[number] = text;
    strings->slots[slot] = number;
    return number;
}

/* Bytes of the character that `s` starts with, or 0 when that is not a valid one.  The NUL at
 * the end is no continuation byte, so nothing behind it is read. */
static size_t utf8_character(const unsigned char *s)
{
    static const struct {
        unsigned char first, last; /* of the lead byte */
        unsigned char low, high;   /* of the second byte: no overlong forms, no surrogates */
        size_t n_bytes;
    } forms[] = {
        {0x01, 0x7f, 0,    0,    1},
        {0xc2, 0xdf, 0x80, 0xbf, 2},
        {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3},
        {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4},
        {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    size_t f = 0;

    while (f < COUNT_OF(forms) && (s[0] < forms[f].first || s[0] > forms[f].last))
        f++;
    if (f == COUNT_OF(forms))
        return 0;
    if (forms[f].n_bytes > 1 && (s[1] < forms[f].low || s[1] > forms[f].high))
        return 0;
    for (size_t i = 2; i < forms[f].n_bytes; i++) {
        if (s[i] < 0x80 || s[i] > 0xbf)
            return 0;
    }
    return forms[f].n_bytes;
}

/* Bytes until the end or the first byte >= 0x80. */
static size_t ascii_run(const char *text)
{
    size_t n = 0;

    while (text[n] && !(text[n] & 0x80))
        n++;
    return n;
}

void utf8_copy(char *ret_text, const char *text)
{
    static const char replacement[UTF8_GROWTH] = {'\xef', '\xbf', '\xbd'};

    for (;;) {
        const size_t n_ascii = ascii_run(text);
        memcpy(ret_text, text, n_ascii);
        ret_text += n_ascii;
        text += n_ascii;
        if (!*text)
            break;
        const size_t n = utf8_character((const unsigned char *)text);
        memcpy(ret_text, n ? text : replacement, n ? n : sizeof replacement);
        ret_text += n ? n : sizeof replacement;
        text += n ? n : 1;
    }
    *ret_text = '\0';
}
