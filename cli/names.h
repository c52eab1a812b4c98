/* names - function names for people: demangled, without parameter and template lists.
 *
 * The rules are those of `go tool pprof`, so that both show the same functions: C++ loses the
 * parameters of the function and all <...>, instances of one template thus become one row;
 * Rust loses its hash. Names that are no mangled ones stay as they are. */
#ifndef CPROF_CLI_NAMES_H
#define CPROF_CLI_NAMES_H

#include "cli/profile.h"

/* malloc'd, or NULL when there is no memory. */
char *names_simple(const struct profile_function *function);

#endif
