/* program - can this command be profiled?  What exec(2) and the dynamic loader will do with it.
 *
 * Nothing is started.  The answer is for the caller's rights and this machine. */
#ifndef CPROF_CLI_PROGRAM_H
#define CPROF_CLI_PROGRAM_H

#include <limits.h>

struct program {
    char path[PATH_MAX]; /* what exec gets */
    int status;          /* exit status when it cannot be profiled */
    char why[512];       /* and the reason */
};

/* Looks `command` up as execvp() does and reads the file, of a script its interpreter's.
 * 0, or -1 with status (125, 126 or 127) and why. */
int program_find(struct program *program, const char *command);

#endif
