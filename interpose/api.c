/* api - the functions of include/cprof.h. */
#define CPROF_AGENT
#include "cprof.h"

#include "agent/agent.h"
#include "agent/contention.h"
#include "agent/process.h"
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

EXPORT uint64_t cprof_set_block_rate(uint64_t rate_ns)
{
    return agent_is_active() ? contention_set_block_rate(rate_ns) : 0;
}

EXPORT uint64_t cprof_set_mutex_rate(uint64_t rate_ns)
{
    return agent_is_active() ? contention_set_mutex_rate(rate_ns) : 0;
}

EXPORT uint64_t cprof_set_mutex_fraction(uint64_t n)
{
    return agent_is_active() ? contention_set_mutex_fraction(n) : 0;
}
