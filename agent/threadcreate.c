/* threadcreate - see threadcreate.h. */
#include "agent/threadcreate.h"

#include <errno.h>

#include "agent/profile.h"
#include "agent/sample.h"
#include "agent/stacktab.h"

static _Atomic bool is_on;

/* ---- counting ---- */

struct creation {
    struct sample sample;
    uintptr_t function;
};

static void use_stack(struct sample *sample, struct stack *stack)
{
    const struct creation *creation = (const void *)sample;
    struct record *record =
        sample_record(SOURCE_THREADCREATE, stack, stacktab_locate(creation->function));

    add_counter(&record_shard(record)->values[0], 1);
}

void threadcreate_on_create_from(uintptr_t function, const struct unwind_frame *from)
{
    const int saved_errno = errno;
    struct creation creation = {
        .sample = {.source = SOURCE_THREADCREATE,
                   .use = use_stack,
                   .from = from,
                   .is_repeated = true},
        .function = function,
    };

    if (load_relaxed(&is_on))
        sample_take(&creation.sample);
    errno = saved_errno;
}

void threadcreate_set_on(bool on)
{
    store_relaxed(&is_on, on);
}

/* ---- the profile ---- */

static void sum_shard(struct shard *shard, void *arg)
{
    *(int64_t *)arg += (int64_t)load_relaxed(&shard->values[0]);
}

void threadcreate_read(struct record *record, int64_t *ret_values)
{
    ret_values[0] = 0;
    record_each_shard(record, sum_shard, ret_values);
}
