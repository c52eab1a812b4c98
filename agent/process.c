/* process - see process.h. */
#include "agent/process.h"

#include <errno.h>
#include <limits.h>

#include "base/clock.h"
#include "base/sys.h"

enum { PAGE_BYTES = 4096 };

static struct process before_init; /* serves until process_init(), and where pages run out */
static struct process *self = &before_init;

int process_init(void)
{
    void *page =
        sys_mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (sys_is_error(page))
        return (int)(intptr_t)page;
    const int err = sys_madvise(page, PAGE_BYTES, MADV_WIPEONFORK);
    if (err < 0) { /* before Linux 4.14 */
        sys_munmap(page, PAGE_BYTES);
        return err;
    }
    self = page;
    return 0;
}

struct process *process_self(void)
{
    if (load_relaxed(&self->pid) == 0 || (self == &before_init && process_is_borrowed())) {
        store_relaxed(&self->n_snapshots, 0);
        store_relaxed(&self->start_ns, clock_wall_ns());
        store_relaxed(&self->pid, sys_getpid());
    }
    return self;
}

int process_pid(void)
{
    return load_relaxed(&process_self()->pid);
}

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
