/* identity - calls that change who the process is, for all of its threads or only when it has one: the agent's
 * own thread is not there meanwhile (agent_thread.h), and the one that comes after it has the new identity. */
#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <unistd.h>

#include "agent/agent_thread.h"
#include "base/compiler.h"
#include "base/real.h"

/* Also while it does not run: another thread may be starting it. */
#define IDENTITY(name, parameters, arguments) \
    EXPORT int name parameters \
    { \
        int result, saved_errno; \
        agent_thread_hold(); \
        result = real.name arguments; \
        saved_errno = errno; \
        agent_thread_release(); \
        errno = saved_errno; \
        return result; \
    }

IDENTITY(setuid, (uid_t user), (user))
IDENTITY(setgid, (gid_t group), (group))
IDENTITY(seteuid, (uid_t user), (user))
IDENTITY(setegid, (gid_t group), (group))
IDENTITY(setreuid, (uid_t real_user, uid_t user), (real_user, user))
IDENTITY(setregid, (gid_t real_group, gid_t group), (real_group, group))
IDENTITY(setresuid, (uid_t real_user, uid_t user, uid_t saved), (real_user, user, saved))
IDENTITY(setresgid, (gid_t real_group, gid_t group, gid_t saved), (real_group, group, saved))
IDENTITY(setgroups, (size_t n, const gid_t *groups), (n, groups))
IDENTITY(initgroups, (const char *user, gid_t group), (user, group))
IDENTITY(unshare, (int flags), (flags))
IDENTITY(setns, (int fd, int type), (fd, type))
IDENTITY(capset, (void *header, const void *data), (header, data))
