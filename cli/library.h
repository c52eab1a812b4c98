/* library - libcprof.so under a name that LD_PRELOAD can hold.
 *
 * LD_PRELOAD is a list separated by colons and spaces, with no way to quote one.  Where the path of the library has
 * such a character it gets a link without: one for each place of installation, libcprof-HASH.so in a directory
 * cprof-UID of the user's in $XDG_RUNTIME_DIR, $TMPDIR or /tmp.  The link stays, because the program's children and
 * theirs preload by the same name long after us; the next run finds it.  Nobody but root and the user can
 * write where it lies. */
#ifndef CPROF_CLI_LIBRARY_H
#define CPROF_CLI_LIBRARY_H

#include <limits.h>

/* In the build tree, installed, or unpacked anywhere: the absolute path; empty: nowhere. */
void library_find(char ret_path[PATH_MAX]);

/* Makes *path a name that LD_PRELOAD can hold. 0, or -1: there is no place for a link. */
int library_make_nameable(char path[PATH_MAX]);

#endif
