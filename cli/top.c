/* top - the functions that matter most: the first rows, nothing below half a percent. */
#include "cli/report.h"
#include "cli/verb.h"

int top_main(int argc, char **argv)
{
    static const struct report_style style = {
        .verb = "top",
        .doc =
            "Prints the functions that matter most in the profile FILE.\v"
            "flat is what a function did itself, cum what it and everything it called did; "
            "percentages are of the whole profile, sum% adds up flat%.  Functions whose cum is "
            "below 0.5% are left out; `cprof text FILE' prints all.",
        .n_rows = 20,
        .dropped_fraction = 0.005,
    };

    return report_main(argc, argv, &style);
}
