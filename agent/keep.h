/* keep - how many snapshots of this process stay (CPROF_KEEP, CPROF_KEEP_BYTES).
 *
 * Snapshots that nobody asked for (by time, at exit) are remembered in a ring, file by file with what the file
 * system said when it was written.  When there are too many, the oldest snapshot's files are removed: only
 * if what stands under the name is still that very file (device, inode, time of the last change), so nothing that
 * anybody else wrote is ever touched.  The newest snapshot always stays, however big.  A forked child begins
 * with nothing: its parent's files are not its own.
 *
 * One at a time (trigger.c's lock). Signal-safe but for keep_init(). */
#ifndef CPROF_AGENT_KEEP_H
#define CPROF_AGENT_KEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct profile;

struct keep_file {
    const struct profile *profile;
    uint32_t snapshot; /* its number */
    uint64_t time_s;   /* as in its name */
    uint64_t bytes;
    uint64_t device, inode;
    int64_t changed_ns;
};

/* Once. remove(file) finds the name and asks keep_is_same(). */
void keep_init(uint64_t max_snapshots, uint64_t max_bytes,
               void (*remove)(const struct keep_file *file));

/* One file of a snapshot that nobody asked for was written; `st` is of the finished file. */
void keep_add(uint32_t snapshot, const struct profile *profile, uint64_t time_s,
              const struct stat *st);

/* Removes what is too much. */
void keep_trim(void);

bool keep_is_same(const struct keep_file *file, const struct stat *st);

#endif
