/* The wrapper itself, in front of a dlclose() that looks around. */
#include "interpose/dl.c"

#include <errno.h>

#include "tests/check.h"

static uint32_t epoch_inside;

static int look_around(void *handle)
{
    CHECK(handle == &epoch_inside);
    epoch_inside = modules_epoch();
    errno = 4711;
    return -3;
}

TEST(what_was_known_is_forgotten_before_and_after_an_unload)
{
    const uint32_t before = modules_epoch();

    real.dlclose = look_around;
    CHECK_INT(dlclose(&epoch_inside), -3, "result");
    CHECK_INT(errno, 4711, "errno");
    CHECK(epoch_inside > before); /* another thread may find new code before we are back */
    CHECK(modules_epoch() > epoch_inside); /* destructors ran in what was unloaded */
}
