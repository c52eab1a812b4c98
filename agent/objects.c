/* objects - see objects.h. */
#include "agent/objects.h"

#include <errno.h>
#include <string.h>

#include "agent/ages.h"
#include "agent/sample.h"
#include "agent/valuetab.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/text.h"

enum { N_TYPES = 2 };

/* Numbers of a shard. */
enum { ADDED, ADDED_BYTES, REMOVED, REMOVED_BYTES };

struct objects {
    struct profile profile;
    struct objects *_Atomic next; /* by name */
    struct pprof_type types[N_TYPES];
    struct valuetab values;
    struct record all; /* in no stack: the sums of all records */
    char type_names[]; /* NAME, NAME_space, with _ for -; then NAME */
};

/* ---- the list ---- */

static struct objects *_Atomic first_objects;

/* The link to the first profile whose name is not before `name`; *ret_there is what it leads to. */
static struct objects *_Atomic *link_before(const char *name, struct objects **ret_there)
{
    struct objects *_Atomic *link = &first_objects;

    /* Acquire, pairs with publish. */
    while ((*ret_there = load_acquire(link)) && strcmp((*ret_there)->profile.name, name) < 0)
        link = &(*ret_there)->next;
    return link;
}

struct objects *objects_find(const char *name)
{
    struct objects *there;

    link_before(name, &there);
    return there && strcmp(there->profile.name, name) == 0 ? there : NULL;
}

const struct profile *objects_after(const struct profile *last)
{
    struct objects *there;

    if (last && last->objects)
        there = load_acquire(&last->objects->next); /* pairs with publish */
    else
        link_before(last ? last->name : "", &there);
    return there ? &there->profile : NULL;
}

/* False: one of that name came first. */
static bool publish(struct objects *objects)
{
    for (;;) {
        struct objects *there, *_Atomic *link = link_before(objects->profile.name, &there);
        if (there && strcmp(there->profile.name, objects->profile.name) == 0)
            return false;
        store_relaxed(&objects->next, there);
        if (cas_acq_rel(link, &there, objects)) /* publishes *objects */
            return true;
    }
}

/* ---- making one ---- */

static uint64_t objects_period(void)
{
    return 1;
}

static void sum_shard(struct shard *shard, void *arg)
{
    int64_t *sums = arg;

    /* Removed first: a value that goes meanwhile is seen as still there, never as less than nothing. */
    const uint64_t removed = load_acquire(&shard->values[REMOVED]); /* pairs with count */
    sums[REMOVED] += (int64_t)removed;
    sums[REMOVED_BYTES] += (int64_t)load_acquire(&shard->values[REMOVED_BYTES]);
}

static void sum_added(struct shard *shard, void *arg)
{
    int64_t *sums = arg;

    sums[ADDED] += (int64_t)load_relaxed(&shard->values[ADDED]);
    sums[ADDED_BYTES] += (int64_t)load_relaxed(&shard->values[ADDED_BYTES]);
}

static void objects_read(struct record *record, int64_t *ret_values)
{
    int64_t sums[SHARD_VALUES] = {0};

    record_each_shard(record, sum_shard, sums);
    record_each_shard(record, sum_added, sums);
    ret_values[0] = sums[ADDED] - sums[REMOVED];
    ret_values[1] = sums[ADDED_BYTES] - sums[REMOVED_BYTES];
}

/* Tools split profile names at a -, so types have none. */
static char *add_type_name(char *at, const char *name, const char *suffix)
{
    for (; *name; name++)
        *at++ = *name == '-' ? '_' : *name;
    return stpcpy(at, suffix) + 1;
}

static struct objects *make(const char *name, bool has_bytes)
{
    const size_t size = strlen(name) + 1;
    struct objects *objects = arena_alloc(sizeof *objects + 3 * size + strlen("_space"));

    if (!objects)
        return NULL;
    char *space = add_type_name(objects->type_names, name, "");
    char *copy = memcpy(add_type_name(space, name, "_space"), name, size);
    objects->types[0] = (struct pprof_type){objects->type_names, "count"};
    objects->types[1] = (struct pprof_type){space, "bytes"};
    objects->profile = (struct profile){
        .name = copy,
        .description = "live values that the program added, by stack",
        .types = objects->types,
        .n_types = has_bytes ? N_TYPES : 1,
        .period_type = objects->types[0],
        .period = objects_period,
        .read = objects_read,
        .tag = TAG_NONE,
        .objects = objects,
        .source = record_new_source(),
    };
    valuetab_init(&objects->values);
    return objects->profile.source ? objects : NULL;
}

static bool is_name(const char *name)
{
    const size_t size = strnlen(name, OBJECTS_NAME_MAX + 1);

    return size > 0 && size <= OBJECTS_NAME_MAX && !strpbrk(name, " \t\n\v\f\r");
}

int objects_new(const char *name, bool has_bytes, struct objects **ret)
{
    if (!is_name(name))
        return -EINVAL;
    if (profile_find(name))
        return -EEXIST;
    struct objects *objects = make(name, has_bytes);
    if (!objects)
        return -ENOSPC;
    *ret = objects;
    return publish(objects) ? 0 : -EEXIST;
}

const struct profile *objects_profile(const struct objects *objects)
{
    return &objects->profile;
}

/* ---- values come and go ---- */

static void count(struct objects *objects, struct record *record, int which, uint64_t n,
                  uint64_t bytes)
{
    struct record *const both[] = {record, &objects->all};

    for (size_t i = 0; i < COUNT_OF(both); i++) {
        struct shard *shard = record_shard(both[i]);
        /* Release, pairs with load_acquire in sum_shard: who sees this removal sees what was added. */
        add_counter(&shard->values[which], n);
        if (objects->profile.n_types == N_TYPES)
            add_counter(&shard->values[which + 1], n * bytes);
    }
}

struct objects_sample {
    struct sample sample;
    struct stack *stack;
};

static void keep_stack(struct sample *base, struct stack *stack)
{
    ((struct objects_sample *)base)->stack = stack;
}

/* Counted before it is in the table, so that its removal cannot be counted first. */
static int put_value(struct objects *objects, struct record *record, const struct value *value)
{
    count(objects, record, ADDED, 1, value->weight);
    const int err = valuetab_put(&objects->values, value);
    if (unlikely(err < 0))
        count(objects, record, ADDED, (uint64_t)-1, value->weight);
    if (unlikely(err == -ENOMEM))
        thread_count_drop(objects->profile.source, DROP_LIVE_FULL);
    return err;
}

static int put(struct objects *objects, struct stack *stack, uint64_t value, uint64_t bytes)
{
    struct record *record = sample_record(objects->profile.source, stack, 0);
    const struct value entry = {.key = value,
                                .weight = bytes,
                                .record = record->id,
                                .born_s = (uint32_t)clock_mono_s()};

    return put_value(objects, record, &entry);
}

int objects_add(struct objects *objects, uint64_t value, uint64_t bytes, uint32_t skip)
{
    const int saved_errno = errno;
    const uintptr_t no_frames = 0;
    struct objects_sample sample = {
        .sample = {.source = objects->profile.source, .skip = skip, .use = keep_stack},
    };

    if (unlikely(!sample_take(&sample.sample)))
        sample.stack = stacktab_intern(&no_frames, 0, false);
    const int err = put(objects, sample.stack, value, bytes);
    errno = saved_errno;
    return err;
}

bool objects_take(struct objects *objects, uint64_t value, struct object *ret_object)
{
    struct value entry;

    if (!valuetab_take(&objects->values, value, &entry))
        return false;
    *ret_object = (struct object){
        .value = value,
        .bytes = entry.weight,
        .age_s = (uint32_t)clock_mono_s() - entry.born_s,
        .record = record_get(entry.record),
    };
    count(objects, ret_object->record, REMOVED, 1, entry.weight);
    return true;
}

void objects_put_back(struct objects *objects, const struct object *object)
{
    const struct value entry = {.key = object->value,
                                .weight = object->bytes,
                                .record = object->record->id,
                                .born_s = (uint32_t)(clock_mono_s() - object->age_s)};

    put_value(objects, object->record, &entry);
}

bool objects_remove(struct objects *objects, uint64_t value)
{
    struct object object;

    return objects_take(objects, value, &object);
}

uint64_t objects_count(struct objects *objects)
{
    int64_t values[N_TYPES];

    objects_read(&objects->all, values);
    return (uint64_t)values[0];
}

uint64_t objects_n_added(struct objects *objects)
{
    int64_t sums[SHARD_VALUES] = {0};

    record_each_shard(&objects->all, sum_added, sums);
    return (uint64_t)sums[ADDED];
}

/* ---- what is there ---- */

struct walk {
    void (*visit)(const struct object *object, void *arg);
    void *arg;
    uint32_t now_s;
};

static void visit_value(const struct value *value, void *arg)
{
    const struct walk *walk = arg;
    const int32_t age_s = (int32_t)(walk->now_s - value->born_s); /* it may be born after now */
    const struct object object = {
        .value = value->key,
        .bytes = value->weight,
        .age_s = age_s > 0 ? (uint64_t)age_s : 0,
        .record = record_get(value->record),
    };

    walk->visit(&object, walk->arg);
}

void objects_each(struct objects *objects,
                  void (*visit)(const struct object *object, void *arg), void *arg)
{
    struct walk walk = {visit, arg, (uint32_t)clock_mono_s()};

    valuetab_each(&objects->values, visit_value, &walk);
}

struct age_sums {
    uint64_t min_age_s;
    uint64_t *sums;
    size_t n_records;
};

static void add_if_old(const struct object *object, void *arg)
{
    const struct age_sums *sums = arg;

    if (object->age_s < sums->min_age_s || object->record->id >= sums->n_records)
        return;
    sums->sums[2 * object->record->id]++;
    sums->sums[2 * object->record->id + 1] += object->bytes;
}

// NOLINTNEXTLINE(readability-non-const-parameter): add_if_old
void objects_sum_by_age(struct objects *objects, uint64_t min_age_s, uint64_t *sums,
                        size_t n_records)
{
    struct age_sums arg = {min_age_s, sums, n_records};

    objects_each(objects, add_if_old, &arg);
}

static void add_to_band(const struct object *object, void *arg)
{
    ages_add(arg, object->age_s, 1, object->bytes);
}

void objects_comment(struct objects *objects, void (*add)(void *arg, const char *line),
                     void *arg)
{
    struct ages ages = {0};

    objects_each(objects, add_to_band, &ages);
    ages_comment(&ages, 1, add, arg);
}
