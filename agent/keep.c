/* keep - see keep.h. */
#include "agent/keep.h"

#include <errno.h>

#include "agent/process.h"
#include "base/arena.h"
#include "base/log.h"
#include "base/text.h"

enum { FIRST_FILES = 64 };
static struct keep_file
    first_files[FIRST_FILES] LARGE; /* so that the usual exit needs no memory */

static struct {
    uint64_t max_snapshots, max_bytes;
    size_t capacity; /* of the ring */
    struct keep_file *ring;
    size_t first, n;
    uint64_t bytes, n_snapshots; /* in the ring */
    int pid;                     /* whose files they are */
    void (*remove)(const struct keep_file *file);
} state;

void keep_init(uint64_t max_snapshots, uint64_t max_bytes,
               void (*remove)(const struct keep_file *file))
{
    state.ring = first_files;
    state.capacity = FIRST_FILES;
    state.remove = remove;
    state.max_snapshots = max_snapshots;
    state.max_bytes = max_bytes;
}

static struct keep_file *at(size_t i)
{
    return &state.ring[(state.first + i) % state.capacity];
}

static int64_t change_of(const struct stat *st)
{
    return st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

static void drop_oldest(void)
{
    const uint32_t snapshot = at(0)->snapshot;

    while (state.n && at(0)->snapshot == snapshot) {
        state.remove(at(0));
        state.bytes -= at(0)->bytes;
        state.first = (state.first + 1) % state.capacity;
        state.n--;
    }
    state.n_snapshots--;
}

/* Room for twice as many files. */
static bool grow(void)
{
    const size_t capacity = state.capacity * 2;
    struct keep_file *ring = arena_map(capacity * sizeof *ring);

    if (!ring)
        return false;
    for (size_t i = 0; i < state.n; i++)
        ring[i] = *at(i);
    if (state.ring != first_files)
        arena_unmap(state.ring, state.capacity * sizeof *ring);
    state.ring = ring;
    state.capacity = capacity;
    state.first = 0;
    return true;
}

void keep_add(uint32_t snapshot, const struct profile *profile, uint64_t time_s,
              const struct stat *st)
{
    if (state.pid != process_pid()) {
        state.first = state.n = 0;
        state.bytes = state.n_snapshots = 0;
        state.pid = process_pid();
    }
    if (state.n == state.capacity && !grow()) {
        log_warn_once("dump: CPROF_KEEP: %s; files that cannot be remembered stay",
                      text_errno(ENOMEM));
        return;
    }
    if (state.n == 0 || at(state.n - 1)->snapshot != snapshot)
        state.n_snapshots++;
    *at(state.n++) = (struct keep_file){
        .snapshot = snapshot,
        .profile = profile,
        .time_s = time_s,
        .bytes = (uint64_t)st->st_size,
        .device = st->st_dev,
        .inode = st->st_ino,
        .changed_ns = change_of(st),
    };
    state.bytes += (uint64_t)st->st_size;
}

bool keep_is_same(const struct keep_file *file, const struct stat *st)
{
    return file->device == st->st_dev && file->inode == st->st_ino &&
           file->changed_ns == change_of(st);
}

void keep_trim(void)
{
    if (state.pid != process_pid())
        return;
    while (state.n_snapshots > 1 &&
           (state.n_snapshots > state.max_snapshots || state.bytes > state.max_bytes))
        drop_oldest();
}
