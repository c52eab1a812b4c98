/* verb - what the verbs of the command have in common.
 *
 * A verb is one function, `int name_main(int argc, char **argv)`, in a file of its own and a
 * line in cli/verbs.def. Its argv[0] is "cprof name", so that argp's messages begin with it.
 * It returns the exit status of the command. */
#ifndef CPROF_CLI_VERB_H
#define CPROF_CLI_VERB_H

#include <stdbool.h>
#include <stdio.h>

#include "base/compiler.h"

/* As env(1) and timeout(1): every other status is that of the started program. */
enum { STATUS_ERROR = 125, STATUS_CANNOT_EXECUTE = 126, STATUS_NOT_FOUND = 127 };

#define VERB(name, function, help) int function(int argc, char **argv);
#include "cli/verbs.def"
#undef VERB

/* One line on stderr, "cprof: VERB: ...".  Returns STATUS_ERROR. */
int verb_error(const char *verb, const char *format, ...) PRINTF(2, 3);

/* The last thing a verb prints: the command that makes sense now, `words` and then the quoted
 * `file`. Returns 0, or STATUS_ERROR after a message when stdout could not be written
 * completely. */
int verb_done(const char *verb, const char *words, const char *file);

/* True when escapes are welcome on `stream`: a terminal, no NO_COLOR. */
bool verb_colours(FILE *stream);

/* Text from a file, which may be foreign: control characters, thus escapes, become '?',
 * bytes that are not UTF-8 U+FFFD. */
void verb_put_text(const char *text, FILE *stream);

#endif
