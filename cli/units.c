#include "cli/units.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/compiler.h"

struct unit {
    const char *name;     /* printed */
    const char *words[3]; /* accepted, any case, with or without a final s */
    double factor;
};

struct kind {
    struct unit units[6];
    const char *small; /* printed when not even the smallest unit fits */
    double small_factor;
};

#define KIB 1024.0
/* clang-format off: version 14 crashes on it */
static const struct kind kinds[] = {
    {
     .units =
            {
                {"B", {"b", "byte"}, 1},
                {"kB", {"kb", "kbyte", "kilobyte"}, KIB},
                {"MB", {"mb", "mbyte", "megabyte"}, KIB *KIB},
                {"GB", {"gb", "gbyte", "gigabyte"}, KIB *KIB *KIB},
                {"TB", {"tb", "tbyte", "terabyte"}, KIB *KIB *KIB *KIB},
                {"PB", {"pb", "pbyte", "petabyte"}, KIB *KIB *KIB *KIB *KIB},
            }, .small = "B",
     .small_factor = 1,
     },
    {
     .units =
            {
                {"ns", {"ns", "nanosecond"}, 1},
                {"us", {"us", "microsecond"}, 1e3},
                {"ms", {"ms", "millisecond"}, 1e6},
                {"s", {"s", "sec", "second"}, 1e9},
                {"hrs", {"hour", "hr"}, 3600e9},
            },        .small = "s",
     .small_factor = 1e9,
     },
};
/* clang-format on */

/* "Bytes", "byte" and "b" are the same; a final s of two letters ("ms") belongs to the word. */
static bool same_word(const char *word, const char *unit)
{
    size_t length = strlen(unit);

    if (length > 2 && (unit[length - 1] == 's' || unit[length - 1] == 'S'))
        length--;
    return strlen(word) == length && strncasecmp(word, unit, length) == 0;
}

static const struct unit *find(const struct kind *kind, const char *unit)
{
    for (size_t i = 0; i < COUNT_OF(kind->units) && kind->units[i].name; i++)
        for (size_t k = 0; k < COUNT_OF(kind->units[i].words) && kind->units[i].words[k]; k++)
            if (same_word(kind->units[i].words[k], unit))
                return &kind->units[i];
    return NULL;
}

/* The largest unit of which `value` (of the smallest unit) has at least one. */
static const struct unit *largest(const struct kind *kind, double value)
{
    const struct unit *best = NULL;

    for (size_t i = 0; i < COUNT_OF(kind->units) && kind->units[i].name; i++)
        if (value / kind->units[i].factor >= 1)
            best = &kind->units[i];
    return best;
}

static bool is_one_of(const char *word, const char *const *words)
{
    for (; *words; words++)
        if (!strcmp(word, *words))
            return true;
    return false;
}

/* `value` in unit `to`; the word to print goes to *ret_unit. */
static double scale(double value, const char *from, const char *to, const char **ret_unit)
{
    static const char *const silent[] = {"count", "sample", "unit", "auto", NULL};

    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        const struct unit *unit = find(&kinds[i], from);
        if (!unit)
            continue;
        value *= unit->factor;
        unit = strcmp(to, "auto") ? find(&kinds[i], to) : largest(&kinds[i], fabs(value));
        *ret_unit = unit ? unit->name : kinds[i].small;
        return value / (unit ? unit->factor : kinds[i].small_factor);
    }
    *ret_unit = is_one_of(to, silent) ? "" : to;
    return value;
}

double units_convert(double value, const char *from, const char *to)
{
    const char *unit;

    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (find(&kinds[i], from) && find(&kinds[i], to))
            return scale(value, from, to, &unit);
    return 0;
}

const char *units_for_table(int64_t min, int64_t max, const char *unit)
{
    const char *min_unit, *max_unit;

    scale((double)(min ? min : max), unit, "auto", &min_unit);
    scale((double)max, unit, "auto", &max_unit);
    if (min && min_unit != max_unit && (double)min * 100 < (double)max)
        scale((double)min * 100, unit, "auto", &min_unit);
    return *min_unit ? min_unit : unit;
}

/* Units come from files; those of a number are words of printable ASCII. */
static void copy_printable(char *to, size_t size, const char *from)
{
    for (; *from && size > 1; from++, size--)
        *to++ = *from < ' ' || *from > '~' ? '?' : *from;
    *to = '\0';
}

void units_format(char text[UNITS_TEXT_MAX], int64_t value, const char *from, const char *to)
{
    const char *unit;
    const double scaled = scale((double)value, from, to, &unit);
    char digits[UNITS_TEXT_MAX], word[40];

    copy_printable(word, sizeof word, unit);
    snprintf(digits, sizeof digits, "%.2f", scaled);
    char *fraction = strchr(digits, '.');
    if (fraction && !strcmp(fraction, ".00"))
        *fraction = '\0';
    if (!strcmp(digits, "0") || !strcmp(digits, "-0"))
        snprintf(text, UNITS_TEXT_MAX, "0");
    else
        snprintf(text, UNITS_TEXT_MAX, "%.320s%s", digits, word);
}

void units_percent(char text[UNITS_TEXT_MAX], int64_t value, int64_t total)
{
    const double percent = total ? fabs((double)value / (double)total) * 100 : 0;

    if (percent >= 99.95 && percent <= 100.05)
        snprintf(text, UNITS_TEXT_MAX, "  100%%");
    else
        snprintf(text, UNITS_TEXT_MAX, percent >= 1 ? "%5.2f%%" : "%5.2g%%", percent);
}
