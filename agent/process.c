/* process - see process.h. */
#include "agent/process.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/sys.h"
#include "base/text.h"

enum { PAGE_BYTES = 4096 };

static struct process before_init; /* serves until process_init(), and where pages run out */
static struct process *self = &before_init;

_Atomic bool process_lends_memory;

/* The vdso's pages are not there yet in a process that just began: a system call is cheaper, if it is allowed. */
static uint64_t first_ns(clockid_t id)
{
    struct timespec now;

    if (sys_clock(id, &now) < 0)
        return clock_read_ns(id);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void begin(uint64_t wall_ns, uint64_t mono_ns)
{
    store_relaxed(&self->n_snapshots, 0);
    store_relaxed(&self->start_ns, wall_ns);
    store_relaxed(&self->start_mono_ns, mono_ns);
    store_relaxed(&self->pid, sys_getpid());
}

int process_init(void)
{
    void *page = sys_mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (sys_is_error(page))
        return (int)(intptr_t)page;
    const int err = sys_madvise(page, PAGE_BYTES, MADV_WIPEONFORK);
    if (err < 0) { /* before Linux 4.14 */
        sys_munmap(page, PAGE_BYTES);
        return err;
    }
    self = page;
    begin(first_ns(CLOCK_REALTIME), first_ns(CLOCK_MONOTONIC));
    return 0;
}

struct process *process_self(void)
{
    if (load_relaxed(&self->pid) == 0 || (self == &before_init && process_is_borrowed()))
        begin(clock_wall_ns(), clock_mono_ns());
    return self;
}

int process_pid(void)
{
    return load_relaxed(&process_self()->pid);
}

/* ---- its parent ---- */

/* Goes through "name=value\0..." as it comes in pieces: where in the variable or in the value's word it is. */
struct search {
    const char *variable, *word; /* "NAME=", and what its value must contain */
    size_t matched;              /* letters of the one that is looked for */
    bool is_at_start;            /* of a variable */
    bool is_inside;              /* the value */
};

static bool find_in(struct search *search, const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const char *word = search->is_inside ? search->word : search->variable;
        if (data[i] == '\0') {
            search->matched = 0;
            search->is_at_start = true;
            search->is_inside = false;
            continue;
        }
        if (data[i] == word[search->matched] && (search->is_inside || search->is_at_start))
            search->matched++;
        else
            search->matched = search->is_inside && data[i] == word[0];
        search->is_at_start = search->is_at_start && search->matched;
        if (word[search->matched])
            continue;
        if (search->is_inside || !*search->word)
            return true;
        search->matched = 0;
        search->is_inside = true;
    }
    return false;
}

/* Was our parent started with this variable, its value containing `word`? */
static bool is_in_parent(const char *variable, const char *word)
{
    enum { BLOCK_BYTES = 4096, BLOCKS_MAX = 512 };
    struct search search = {.variable = variable, .word = word, .is_at_start = true};
    char data[BLOCK_BYTES];
    struct text path;
    bool found = false;

    text_init(&path, data, sizeof data);
    text_addf(&path, "/proc/%d/environ", sys_getppid());
    const int fd = sys_openat(AT_FDCWD, data, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    for (int i = 0; i < BLOCKS_MAX && !found; i++) {
        const ssize_t n = sys_read(fd, data, sizeof data);
        if (n <= 0)
            break;
        found = find_in(&search, data, (size_t)n);
    }
    sys_close(fd);
    return found;
}

bool process_has_preloaded_parent(void)
{
    return is_in_parent("LD_PRELOAD=", "libcprof");
}

/* Nobody is born into a session that is neither its parent's nor its own: who made us has ended. */
static bool is_orphan(void)
{
    const int parent = sys_getppid(), session = sys_getsid(0);
    const int others = parent > 0 ? sys_getsid(parent) : -ESRCH;

    return session != sys_getpid() && others >= 0 && others != session;
}

bool process_is_of_serving_tree(void)
{
    return is_in_parent("CPROF_HTTP=", "") || is_orphan();
}

/* ---- what /proc/self/stat says ---- */

/* Numbered from 1 as in proc(5). */
enum stat_field { STAT_NAME = 2, STAT_THREADS = 20, STAT_START_TICKS = 22 };

/* 0: unknown. */
static uint64_t stat_field(enum stat_field field)
{
    char line[1024];
    uint64_t value = 0;

    file_read_proc("/proc/self/stat", line, sizeof line);
    const char *at = strrchr(line, ')'); /* the name may hold anything */
    for (int i = STAT_NAME; at && i < (int)field; i++)
        at = strchr(at + 1, ' ');
    if (!at)
        return 0;
    at++;
    return text_parse_u64(&at, &value) < 0 ? 0 : value;
}

uint64_t process_n_threads(void)
{
    return stat_field(STAT_THREADS);
}

uint64_t process_up_ns(void)
{
    return clock_mono_ns() - load_relaxed(&process_self()->start_mono_ns);
}

uint64_t process_age_ns(void)
{
    enum { TICK_NS = 10000000 }; /* USER_HZ is 100 wherever Linux runs today */
    const uint64_t ticks = stat_field(STAT_START_TICKS);
    const uint64_t now = clock_read_ns(CLOCK_BOOTTIME);

    if (ticks)
        return now > ticks * TICK_NS ? now - ticks * TICK_NS : 0;
    return process_up_ns();
}

/* ---- its directory ---- */

/* Of a directory outside of its root the kernel says "(unreachable)/...". */
int process_directory(char *ret_path)
{
    const ssize_t n = sys_getcwd(ret_path, PATH_MAX);

    if (n < 0)
        return (int)n;
    return *ret_path == '/' ? 0 : -ENOENT;
}

bool process_is_borrowed(void)
{
    const int pid = load_relaxed(&self->pid);

    return pid != 0 && pid != sys_getpid();
}
