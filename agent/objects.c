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

/* Numbers of a shard of `counts`. */
enum { ADDED, REMOVED };

struct objects {
    struct profile profile;
    struct objects *_Atomic next; /* by name */
    struct pprof_type types[N_TYPES];
    struct valuetab values;
    struct record counts; /* in no stack: its shards count how many came and went */
    char type_names[];    /* NAME, NAME_space, with _ for -; then NAME */
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

/* Paths of the HTTP interface and profiles to come. */
static bool is_reserved(const char *name)
{
    static const char *const reserved[] = {
        "cmdline",  "cpu",   "flame", "goroutine", "metrics", "profile", "rate",
        "snapshot", "start", "stop",  "symbol",    "thread",  "trace"};

    for (size_t i = 0; i < COUNT_OF(reserved); i++)
        if (strcmp(name, reserved[i]) == 0)
            return true;
    return false;
}

int objects_new(const char *name, bool has_bytes, struct objects **ret)
{
    if (!is_name(name))
        return -EINVAL;
    if (profile_find(name) || is_reserved(name))
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

static void count(struct objects *objects, int which, uint64_t n)
{
    /* Release, pairs with sum_removed: who sees a removal sees what was added. */
    add_counter(&record_shard(&objects->counts)->values[which], n);
}

/* It may be born after now, as another thread's clock tells. */
static uint64_t age_of(uint32_t born_s, uint32_t now_s)
{
    const int32_t age_s = (int32_t)(now_s - born_s);

    return age_s > 0 ? (uint64_t)age_s : 0;
}

struct objects_sample {
    struct sample sample;
    struct stack *stack;
};

static void keep_stack(struct sample *base, struct stack *stack)
{
    ((struct objects_sample *)base)->stack = stack;
}

/* Counted as a value more in `which`, by `n`. */
static int put_value(struct objects *objects, const struct value *value, int which, uint64_t n)
{
    const int err = valuetab_put(&objects->values, value);

    if (likely(err == 0))
        count(objects, which, n);
    else if (err == -ENOMEM)
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

    return put_value(objects, &entry, ADDED, 1);
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

bool objects_has(struct objects *objects, uint64_t value)
{
    return valuetab_has(&objects->values, value);
}

bool objects_take(struct objects *objects, uint64_t value, struct object *ret_object)
{
    struct value entry;

    if (!valuetab_take(&objects->values, value, &entry))
        return false;
    *ret_object = (struct object){
        .value = value,
        .bytes = entry.weight,
        .age_s = age_of(entry.born_s, (uint32_t)clock_mono_s()),
        .record = record_get(entry.record),
    };
    count(objects, REMOVED, 1);
    return true;
}

void objects_put_back(struct objects *objects, const struct object *object)
{
    const struct value entry = {.key = object->value,
                                .weight = object->bytes,
                                .record = object->record->id,
                                .born_s = (uint32_t)(clock_mono_s() - object->age_s)};

    put_value(objects, &entry, REMOVED, (uint64_t)-1);
}

bool objects_remove(struct objects *objects, uint64_t value)
{
    struct value entry;

    if (!valuetab_take(&objects->values, value, &entry))
        return false;
    count(objects, REMOVED, 1);
    return true;
}

static void sum_removed(struct shard *shard, void *arg)
{
    *(uint64_t *)arg += load_acquire(&shard->values[REMOVED]); /* pairs with count */
}

static void sum_added(struct shard *shard, void *arg)
{
    *(uint64_t *)arg += load_relaxed(&shard->values[ADDED]);
}

uint64_t objects_n_added(struct objects *objects)
{
    uint64_t n = 0;

    record_each_shard(&objects->counts, sum_added, &n);
    return n;
}

/* Removed first: what goes meanwhile is still there.  One that is removed before it is counted makes it
 * too small for a moment. */
uint64_t objects_count(struct objects *objects)
{
    uint64_t removed = 0;

    record_each_shard(&objects->counts, sum_removed, &removed);
    const int64_t n = (int64_t)(objects_n_added(objects) - removed);
    return n > 0 ? (uint64_t)n : 0;
}

uint64_t objects_n_cells(void)
{
    uint64_t n = 0;

    for (const struct profile *made = NULL; (made = objects_after(made));)
        n += (uint64_t)1 << load_relaxed(&made->objects->values.bits);
    return n;
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
    const struct object object = {
        .value = value->key,
        .bytes = value->weight,
        .age_s = age_of(value->born_s, walk->now_s),
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
