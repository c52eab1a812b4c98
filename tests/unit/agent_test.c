#include "agent/agent.h"

#include "agent/config.h"
#include "agent/contention.h"
#include "agent/heap.h"
#include "tests/unit/help.h"

/* The constructor has run. */

TEST_ALONE(profiles_start_with_the_rates_of_the_settings_and_stop)
{
    enum { BOTH = CONFIG_HEAP | CONFIG_BLOCK };

    agent_stop_profiles(~0u);
    CHECK_INT(agent_profiles(), 0, "on");
    CHECK_INT(heap_rate(), 0, "heap rate");
    CHECK(!load_relaxed(&contention_is_on));
    CHECK_INT(agent_start_profiles(BOTH), BOTH, "on");
    CHECK_INT(heap_rate(), 512 << 10, "heap rate");
    CHECK(load_relaxed(&contention_is_on));
    CHECK_INT(contention_set_block_rate(1), 100000, "block rate");
    CHECK_INT(agent_start_profiles(CONFIG_HEAP), BOTH, "once more changes nothing");
    CHECK_INT(agent_stop_profiles(CONFIG_BLOCK), CONFIG_HEAP, "on");
    CHECK(!load_relaxed(&contention_is_on));
    CHECK_INT(heap_rate(), 512 << 10, "heap rate");
    CHECK(agent_is_active());
}

TEST_ALONE(a_disarmed_agent_starts_nothing)
{
    agent_disarm();
    CHECK(!agent_is_active());
    CHECK_INT(heap_rate(), 0, "heap rate");
    CHECK_INT(agent_start_profiles(~0u), 0, "on");
    CHECK_INT(heap_rate(), 0, "heap rate");
}
