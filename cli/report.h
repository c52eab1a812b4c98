/* report - the table of functions that `cprof top` and `cprof text` print.
 *
 * The same columns and numbers as `go tool pprof -top`: percentages are of all samples, also
 * with a filter; units are the table's; rows are sorted by flat (--cum: by cum), then by the
 * other, then by name. */
#ifndef CPROF_CLI_REPORT_H
#define CPROF_CLI_REPORT_H

#include <stddef.h>

struct report_style {
    const char *verb;
    const char *doc;         /* for --help */
    size_t n_rows;           /* 0: all */
    double dropped_fraction; /* nodes with less than this part of the total are not shown */
};

/* Parses the verb's command line and prints the table.  Returns the exit status. */
int report_main(int argc, char **argv, const struct report_style *style);

#endif
