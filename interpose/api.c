/* api - the functions of include/cprof.h. */
#define CPROF_AGENT
#include "cprof.h"

#include "agent/agent.h"
#include "agent/contention.h"
#include "agent/dump.h"
#include "agent/heap.h"
#include "agent/labels.h"
#include "agent/objects.h"
#include "agent/process.h"
#include "agent/profile.h"
#include "agent/thread.h"
#include "agent/trigger.h"
#include "base/compiler.h"

EXPORT int cprof_active(void)
{
    return agent_is_active();
}

EXPORT int cprof_snapshot(void)
{
    if (!agent_is_active())
        return ENOSYS;
    if (process_is_borrowed())
        return EPERM;
    trigger_snapshot();
    return 0;
}

/* The agent is there, and this is no child in its parent's memory. */
static bool is_ours(void)
{
    return agent_is_active() && !thread_is_borrowed();
}

EXPORT uint64_t cprof_set_block_rate(uint64_t rate_ns)
{
    return is_ours() ? contention_set_block_rate(rate_ns) : 0;
}

EXPORT uint64_t cprof_set_mutex_rate(uint64_t rate_ns)
{
    return is_ours() ? contention_set_mutex_rate(rate_ns) : 0;
}

EXPORT uint64_t cprof_set_mutex_fraction(uint64_t n)
{
    return is_ours() ? contention_set_mutex_fraction(n) : 0;
}

EXPORT uint64_t cprof_set_heap_rate(uint64_t rate_bytes)
{
    return is_ours() ? heap_set_rate(rate_bytes) : 0;
}

EXPORT int cprof_label_set(const char *key, const char *value)
{
    const int saved_errno = errno;
    const int err = is_ours() ? labels_set(key, value) : 0;

    errno = saved_errno;
    return err;
}

/* ---- profiles: a handle is a struct profile, built in or made ---- */

static const struct profile *profile_of(const cprof_profile *handle)
{
    return (const struct profile *)handle;
}

static cprof_profile *handle_of(const struct profile *profile)
{
    return (cprof_profile *)(uintptr_t)profile;
}

EXPORT cprof_profile *cprof_profile_new(const char *name)
{
    struct objects *objects = NULL;
    int err = -ENOSYS;

    if (agent_takes_profiles())
        err = !name                  ? -EINVAL
              : thread_is_borrowed() ? -EPERM
                                     : objects_new(name, false, &objects);
    if (err < 0) {
        errno = -err;
        return NULL;
    }
    return handle_of(objects_profile(objects));
}

EXPORT cprof_profile *cprof_profile_lookup(const char *name)
{
    return agent_takes_profiles() && name ? handle_of(profile_find(name)) : NULL;
}

EXPORT void cprof_profiles(void (*callback)(cprof_profile *profile, void *arg), void *arg)
{
    if (agent_takes_profiles())
        for (const struct profile *at = NULL; (at = profile_next(at));)
            callback(handle_of(at), arg);
}

EXPORT const char *cprof_profile_name(const cprof_profile *handle)
{
    return handle ? profile_of(handle)->name : "";
}

EXPORT size_t cprof_profile_count(const cprof_profile *handle)
{
    return handle ? dump_count(profile_of(handle)) : 0;
}

EXPORT int cprof_profile_add(cprof_profile *handle, const void *value, int skip)
{
    if (!agent_is_active())
        return 0;
    if (!handle)
        return EINVAL;
    struct objects *objects = profile_of(handle)->objects;
    if (!objects)
        return EPERM;
    if (thread_is_borrowed())
        return 0;
    return -objects_add(objects, (uintptr_t)value, 0, skip > 0 ? (uint32_t)skip : 0);
}

EXPORT void cprof_profile_remove(cprof_profile *handle, const void *value)
{
    struct objects *objects = handle ? profile_of(handle)->objects : NULL;

    if (objects && !thread_is_borrowed())
        objects_remove(objects, (uintptr_t)value);
}

EXPORT int cprof_profile_write(const cprof_profile *handle, int fd, int debug)
{
    if (!agent_is_active())
        return ENOSYS;
    return handle && debug >= 0 ? -dump_write(profile_of(handle), fd, debug > 0) : EINVAL;
}
