/* dump - profiles into files.
 *
 * A file name is a pattern: %e exe, %p pid, %n snapshot number, %k profile, %h host, %t unix time,
 * %{ENV} and %%.  CPROF_OUT is a pattern when it names %k; else it is a directory, in which the files are
 * called %e.%p.%n.%k.pb.gz.  Paths are made absolute at start, because daemons change their directory.
 * A directory that is missing is made, one level of it.
 *
 * A file has no name while it is written (O_TMPFILE, 0600), and gets it when it is whole.  Where that cannot be, it is
 * written under a temporary name in the same directory (O_EXCL | O_NOFOLLOW), which carries the process's start time, so
 * that what a killed process of the same pid has left is not in the way, and renamed; on any error it is removed.  The
 * reason of an error is logged once for each kind.
 * Descriptors 0, 1 and 2 are never used, also when the program has closed them.
 *
 * The root of a tree of profiled processes (its parent has no preload; it stays root across exec) writes at exit, the
 * others only when they lived CPROF_MIN_LIFE.  Profiles without samples are not written, but for the root's heap.
 *
 * dump_init() from the constructor; the rest is signal-safe, one at a time (trigger.c). */
#ifndef CPROF_AGENT_DUMP_H
#define CPROF_AGENT_DUMP_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/config.h"
#include "agent/profile.h"
#include "agent/snapshot.h"

/* environment: for %{ENV}. */
void dump_init(const struct config *config, const char *const *environment);
/* Files at exit, where CPROF_OUT is set; says so when the output cannot be used.  Once, from the constructor, or from the
 * agent's thread when an agent that was off is started. */
void dump_start(const struct config *config);

/* True when CPROF_OUT says where files at exit go. */
bool dump_has_output(void);
/* The same, and this process is one that writes them. */
bool dump_is_wanted_at_exit(void);

/* What is written from now on, with what was before: bits of enum config_profile. */
void dump_set_profiles(uint32_t profiles);

/* Why a snapshot is written; bits, as several may come together. */
enum dump_reason { DUMP_ASKED = 1, DUMP_TIMED = 2, DUMP_EXIT = 4 };

/* A seccomp filter that came would not let files be linked to their names. */
void dump_forbid_links(void);

/* What snapshots are to contain, by the settings. */
const struct snapshot_options *dump_options(void);

/* Writes all profiles that are on, and those made at run time that have live values, under one snapshot number.  Those
 * that nobody asked for are counted, and the oldest of them removed (keep.h).  Files written, or the first of the errors
 * that were logged; what can be written is. */
int dump_all(uint32_t reasons);

/* Writes one profile to a descriptor of the program: a pprof file, or text (legacy.h). Takes it alone, then writes
 * on the caller's stack with signals as they are, so that a slow reader holds up nobody else.
 * 0; -EBUSY: see trigger_run(); -EPERM: vfork child; -ENOMEM; or write(2)'s error.  Keeps errno. */
int dump_write(const struct profile *profile, int fd, bool as_text);

/* profile_count(), and of one that counts open descriptors or streams those; 0 when dump_write() would fail. */
uint64_t dump_count(const struct profile *profile);

/* The name of the program as in file names. */
const char *dump_exe_name(void);

#endif
