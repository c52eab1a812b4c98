/* text - every function of a profile, for files and for other programs to read. */
#include "cli/report.h"
#include "cli/verb.h"

int text_main(int argc, char **argv)
{
    static const struct report_style style = {
        .verb = "text",
        .doc = "Prints every function in the profile FILE.\v"
               "flat is what a function did itself, cum what it and everything it called did; "
               "percentages are of the whole profile, sum% adds up flat%.",
    };

    return report_main(argc, argv, &style);
}
