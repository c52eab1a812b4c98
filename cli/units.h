/* units - numbers as `go tool pprof` prints them: 512.02kB, 1.50MB, 1.20s, 12.34%.
 *
 * Bytes go in steps of 1024, times up to hours; every other unit is printed as it is, "count"
 * without a word; other characters than printable ASCII become '?'. One table has one unit,
 * chosen by units_for_table(). */
#ifndef CPROF_CLI_UNITS_H
#define CPROF_CLI_UNITS_H

#include <stdint.h>

/* Any double has at most 310 digits; the word is cut. */
enum { UNITS_TEXT_MAX = 400 };

/* `value` of unit `from` in unit `to`; "auto": in the largest unit of which there is at least
 * one. */
void units_format(char text[UNITS_TEXT_MAX], int64_t value, const char *from, const char *to);

/* `value` of unit `from` in unit `to`, or 0 when they are not of one kind. */
double units_convert(double value, const char *from, const char *to);

/* The unit of a table whose smallest value but 0 is `min` and whose total is `max`. */
const char *units_for_table(int64_t min, int64_t max, const char *unit);

/* |value| / total in percent, two significant digits or more. */
void units_percent(char text[UNITS_TEXT_MAX], int64_t value, int64_t total);

#endif
