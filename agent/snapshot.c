/* snapshot - see snapshot.h. */
#include "agent/snapshot.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>

#include "agent/heap.h"
#include "agent/locations.h"
#include "agent/mappings.h"
#include "agent/modules.h"
#include "agent/objects.h"
#include "agent/process.h"
#include "agent/sampler.h"
#include "agent/stacktab.h"
#include "agent/symbols.h"
#include "agent/thread.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "base/version.h"

/* What stands in place of frames that are not known. */
enum pseudo {
    PSEUDO_OVERFLOW,
    PSEUDO_TRUNCATED,
    PSEUDO_UNKNOWN,
    PSEUDO_LOST,
    PSEUDO_WAKEUP,
    PSEUDO_INHERITED,
    PSEUDO_UNTRACKED,
    N_PSEUDO
};
static const char *const pseudo_names[N_PSEUDO] = {
    "[overflow]", "[truncated]", "[unknown]",   "[lost]",
    "[wakeup]",   "[inherited]", "[untracked]",
};

enum { COMMENTS_MAX = 64, COMMENT_BYTES_MAX = 1024 };

/* A record, or something of the moment. */
struct copy {
    const struct stack *stack;
    uint64_t tag;
    int64_t *values;
    const char *state;  /* or NULL */
    const char *thread; /* its name, or NULL */
    const struct pprof_label *labels;
    uint32_t n_labels;
};

struct job {
    const struct profile *profile;
    const struct snapshot_options *options;
    struct workspace *work;
    struct pprof_input *input;
    struct copy *copies;
    size_t n_copies, n_copies_max;
    uint32_t *numbers;      /* location id -> its number in this profile; 0: not used */
    size_t n_locations;     /* ids below n_locations + 1 have a place in numbers */
    uint32_t *used;         /* the ids, in the order of their numbers */
    uint32_t *used_mapping; /* and in which mapping each lies */
    size_t n_used;
    uint32_t pseudo[N_PSEUDO]; /* their numbers; 0: not used */
    struct mappings mappings;
    const char **comments;
    uint32_t n_whole;     /* records from this id on are shown as one [overflow] */
    uint64_t n_not_whole; /* how many that are */
    bool failed;          /* out of memory in a callback */
};

/* ---- copying the counters ---- */

static bool any(const int64_t *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (values[i])
            return true;
    return false;
}

/* In-use values by age replace those of all; which types are in use is in their names. */
static void apply_age(const struct job *job, uint32_t id, const uint64_t *sums, int64_t *values)
{
    for (size_t i = 0; i < job->profile->n_types; i++) {
        if (strcmp(job->profile->types[i].type, "inuse_objects") == 0)
            values[i] = (int64_t)(sums[2 * id] / SAMPLER_OBJECT);
        else if (strcmp(job->profile->types[i].type, "inuse_space") == 0)
            values[i] = (int64_t)sums[2 * id + 1];
        else
            values[i] = 0;
    }
}

static int add_copy(struct job *job, struct copy copy)
{
    const size_t n_types = job->profile->n_types;
    int64_t *kept = workspace_take_array(job->work, n_types, sizeof *kept);

    if (!kept || job->n_copies == job->n_copies_max)
        return -ENOMEM;
    memcpy(kept, copy.values, n_types * sizeof *kept);
    copy.values = kept;
    job->copies[job->n_copies++] = copy;
    return 0;
}

/* What the thread calls itself; NULL: it is gone, or /proc is. */
static const char *read_thread_name(struct job *job, int tid)
{
    enum { NAME_BYTES = 16 };
    char path[64], *name = workspace_take(job->work, NAME_BYTES);
    struct text text;

    text_init(&text, path, sizeof path);
    text_addf(&text, "/proc/self/task/%d/comm", tid);
    if (!name || file_read_proc(path, name, NAME_BYTES) < 0)
        return NULL;
    name[strcspn(name, "\n")] = '\0';
    return *name ? name : NULL;
}

/* Labels and their texts; keys are constant.  NULL: no memory. */
static const struct pprof_label *copy_labels(struct job *job, const struct pprof_label *labels,
                                             uint32_t n)
{
    struct pprof_label *kept = workspace_take_array(job->work, n, sizeof *kept);

    for (uint32_t i = 0; i < n && kept; i++) {
        const size_t size = labels[i].text ? strlen(labels[i].text) + 1 : 0;
        char *text = size ? workspace_take(job->work, size) : NULL;
        kept[i] = labels[i];
        if (!size)
            continue;
        if (!text)
            return NULL;
        kept[i].text = memcpy(text, labels[i].text, size);
    }
    return kept;
}

static void add_current(const struct profile_current *current,
                        const struct profile_sample *sample)
{
    struct job *job = current->arg;
    const struct copy copy = {
        .stack = sample->stack,
        .tag = sample->tag,
        .labels = copy_labels(job, sample->labels, sample->n_labels),
        .n_labels = sample->n_labels,
        .values = (int64_t *)(uintptr_t)sample->values, /* copied */
        .state = sample->state,
        .thread = sample->tid ? read_thread_name(job, sample->tid) : NULL,
    };

    if (any(sample->values, job->profile->n_types))
        job->failed |= !copy.labels || add_copy(job, copy) < 0;
}

static int copy_current(struct job *job)
{
    const struct profile_current current = {.add = add_current, .arg = job};

    if (job->profile->current)
        job->profile->current(&current);
    return job->failed ? -ENOMEM : 0;
}

static void sum_live(const struct job *job, uint64_t *sums, size_t n)
{
    if (job->profile->objects)
        objects_sum_by_age(job->profile->objects, job->options->min_age_s, sums, n);
    else
        heap_sum_by_age(job->options->min_age_s, sums, n);
}

/* sums: of live objects, by record; NULL: not asked for. */
static void read_values(const struct job *job, struct record *record, const uint64_t *sums,
                        int64_t *values)
{
    if (job->profile->objects) {
        memcpy(values, &sums[2 * record->id], job->profile->n_types * sizeof *values);
        return;
    }
    job->profile->read(record, values);
    if (sums)
        apply_age(job, record->id, sums, values);
}

/* The memory cap leaves no room for its stack: the totals stay right. */
static void add_to_rest(struct job *job, const int64_t *values, int64_t *rest)
{
    for (size_t i = 0; i < job->profile->n_types; i++)
        rest[i] += values[i];
    job->n_not_whole++;
}

static int copy_records(struct job *job)
{
    const size_t n = records_count(), n_types = job->profile->n_types;
    uint64_t *sums = NULL;
    int64_t values[PPROF_TYPES_MAX], rest[PPROF_TYPES_MAX] = {0};

    job->copies = workspace_take_array(job->work, job->n_copies_max, sizeof *job->copies);
    if (!job->copies)
        return -ENOMEM;
    if (job->options->min_age_s || job->profile->objects) {
        sums = workspace_take_array(job->work, 2 * n, sizeof *sums);
        if (!sums)
            return -ENOMEM;
        sum_live(job, sums, n);
    }
    heap_settle_peak();
    for (uint32_t id = 0; id < n; id++) {
        struct record *record = record_get(id);
        if (!record || record->source != job->profile->source)
            continue;
        read_values(job, record, sums, values);
        if (!any(values, n_types))
            continue;
        if (id >= job->n_whole) {
            add_to_rest(job, values, rest);
            continue;
        }
        const struct copy copy = {.stack = record->stack, .tag = record->tag, .values = values};
        if (add_copy(job, copy) < 0)
            return -ENOMEM;
    }
    if (job->n_not_whole &&
        add_copy(job, (struct copy){.stack = &stack_overflow, .values = rest}) < 0)
        return -ENOMEM;
    return copy_current(job);
}

/* ---- samples and the numbers of their locations ---- */

/* Pseudo frames are numbered behind the real ones; until those are counted they go by the highest
 * numbers, downwards. */
static uint32_t pseudo_number(struct job *job, enum pseudo which)
{
    job->pseudo[which] = 1;
    return UINT32_MAX - which;
}

/* Code that lies in nothing known any more is all the same [unknown]. */
static uint32_t number_of(struct job *job, uint32_t id)
{
    if (job->numbers[id])
        return job->numbers[id];
    const uint32_t mapping = mappings_cover(&job->mappings, location_get(id), job->work);
    if (mapping) {
        job->used_mapping[job->n_used] = mapping;
        job->used[job->n_used++] = id;
    }
    job->numbers[id] = mapping ? (uint32_t)job->n_used : pseudo_number(job, PSEUDO_UNKNOWN);
    return job->numbers[id];
}

enum { LABELS_MAX = PPROF_LABELS_MAX, RECORD_LABELS_MAX = 3 };

static void add_text_label(struct pprof_label *labels, uint32_t *n, const char *key,
                           const char *text)
{
    if (text)
        labels[(*n)++] = (struct pprof_label){.key = key, .text = text};
}

/* The texts of places come when those are named: name_tags(). */
static uint32_t make_labels(const struct profile *profile, const struct copy *copy,
                            struct pprof_label *labels)
{
    uint32_t n = 0;

    if (profile->tag == TAG_TEXT)
        add_text_label(labels, &n, profile->tag_label, profile->tag_text(copy->tag));
    else if (profile->tag != TAG_NONE && copy->tag)
        labels[n++] = (struct pprof_label){
            .key = profile->tag_label, .number = (int64_t)copy->tag, .unit = "bytes"};
    add_text_label(labels, &n, "state", copy->state);
    add_text_label(labels, &n, "thread", copy->thread);
    for (uint32_t i = 0; i < copy->n_labels && n < LABELS_MAX; i++)
        labels[n++] = copy->labels[i];
    return n;
}

static int add_labels(struct job *job, struct pprof_sample *sample, const struct copy *copy)
{
    struct pprof_label labels[LABELS_MAX];
    const uint32_t n = make_labels(job->profile, copy, labels);

    if (n == 0)
        return 0;
    struct pprof_label *kept = workspace_take_array(job->work, n, sizeof *kept);
    if (!kept)
        return -ENOMEM;
    memcpy(kept, labels, n * sizeof *kept);
    sample->labels = kept;
    sample->n_labels = n;
    return 0;
}

static int add_sample(struct job *job, const struct copy *copy, struct pprof_sample *sample)
{
    const struct stack *stack = copy->stack;
    uint32_t *locations =
        workspace_take_array(job->work, stack->n_frames + 1u, sizeof *locations);
    uint32_t n = 0;

    if (!locations)
        return -ENOMEM;
    for (size_t i = 0; i < stack->n_frames; i++)
        if (stack->locations[i] <= job->n_locations)
            locations[n++] = number_of(job, stack->locations[i]);
    if (stack == &stack_overflow)
        locations[n++] = pseudo_number(job, PSEUDO_OVERFLOW);
    else if (stack == &stack_wakeup)
        locations[n++] = pseudo_number(job, PSEUDO_WAKEUP);
    else if (stack == &stack_inherited)
        locations[n++] = pseudo_number(job, PSEUDO_INHERITED);
    else if (stack == &stack_untracked)
        locations[n++] = pseudo_number(job, PSEUDO_UNTRACKED);
    else if (n == 0)
        locations[n++] = pseudo_number(job, PSEUDO_LOST);
    else if (stack->truncated)
        locations[n++] = pseudo_number(job, PSEUDO_TRUNCATED);
    *sample =
        (struct pprof_sample){.locations = locations, .values = copy->values, .n_locations = n};
    return add_labels(job, sample, copy);
}

/* ---- samples that look alike: of threads that wait at one place, or of code that is [unknown] ---- */

static bool is_same_label(const struct pprof_label *a, const struct pprof_label *b)
{
    return strcmp(a->key, b->key) == 0 && a->number == b->number && !a->text == !b->text &&
           (!a->text || strcmp(a->text, b->text) == 0);
}

static bool is_alike(const struct pprof_sample *a, const struct pprof_sample *b)
{
    if (a->n_locations != b->n_locations || a->n_labels != b->n_labels ||
        memcmp(a->locations, b->locations, a->n_locations * sizeof *a->locations) != 0)
        return false;
    for (uint32_t i = 0; i < a->n_labels; i++)
        if (!is_same_label(&a->labels[i], &b->labels[i]))
            return false;
    return true;
}

static size_t hash_sample(const struct pprof_sample *sample)
{
    uint64_t hash = TEXT_HASH_BEGIN;

    for (uint32_t i = 0; i < sample->n_locations; i++)
        hash = text_hash_u64(hash, sample->locations[i]);
    for (uint32_t i = 0; i < sample->n_labels; i++) {
        hash = text_hash_u64(hash, (uint64_t)sample->labels[i].number);
        if (sample->labels[i].text)
            hash = text_hash(hash, sample->labels[i].text);
    }
    return hash ^ hash >> 32;
}

static size_t power_of_two(size_t n)
{
    size_t power = 16;

    while (power < n)
        power *= 2;
    return power;
}

static int merge_alike(struct job *job, struct pprof_sample *samples)
{
    const size_t mask = power_of_two(2 * job->n_copies) - 1;
    uint32_t *slots = workspace_take_array(job->work, mask + 1, sizeof *slots);
    size_t n = 0;

    if (!slots)
        return -ENOMEM;
    for (size_t i = 0; i < job->n_copies; i++) {
        size_t at = hash_sample(&samples[i]) & mask;
        while (slots[at] && !is_alike(&samples[slots[at] - 1], &samples[i]))
            at = (at + 1) & mask;
        if (!slots[at]) {
            samples[n++] = samples[i];
            slots[at] = (uint32_t)n;
            continue;
        }
        int64_t *sums = (int64_t *)(uintptr_t)samples[slots[at] - 1].values; /* our own */
        for (size_t k = 0; k < job->profile->n_types; k++)
            sums[k] += samples[i].values[k];
    }
    job->input->n_samples = n;
    return 0;
}

/* ---- all samples ---- */

static bool needs_merge(const struct job *job)
{
    return job->pseudo[PSEUDO_UNKNOWN] || job->n_not_whole || job->profile->current;
}

static int add_samples(struct job *job)
{
    struct pprof_sample *samples =
        workspace_take_array(job->work, job->n_copies, sizeof *samples);

    job->n_locations =
        locations_count(); /* after the copies: their stacks' locations are in it */
    job->numbers = workspace_take_array(job->work, job->n_locations + 1, sizeof *job->numbers);
    job->used = workspace_take_array(job->work, job->n_locations + 1, sizeof *job->used);
    job->used_mapping =
        workspace_take_array(job->work, job->n_locations + 1, sizeof *job->used_mapping);
    if (!samples || !job->numbers || !job->used || !job->used_mapping)
        return -ENOMEM;
    for (size_t i = 0; i < job->n_copies; i++) {
        const int err = add_sample(job, &job->copies[i], &samples[i]);
        if (err < 0)
            return err;
    }
    job->input->samples = samples;
    job->input->n_samples = job->n_copies;
    return needs_merge(job) ? merge_alike(job, samples) : 0;
}

/* ---- names ---- */

/* Location number i of those that need a name: frames, then places that are tags; 0: none. */
static uint32_t id_to_name(const struct job *job, size_t i)
{
    if (i < job->n_used)
        return job->used[i];
    const uint64_t tag = job->copies[i - job->n_used].tag;
    return job->profile->tag == TAG_PLACE && tag <= job->n_locations ? (uint32_t)tag : 0;
}

static bool has_no_name(uint32_t id)
{
    return id && !load_acquire(&location_get(id)->name); /* pairs with symbols.c */
}

static int name_locations(struct job *job)
{
    const size_t n_all = job->n_used + job->n_copies;
    size_t n = 0;

    for (size_t i = 0; i < n_all; i++)
        n += has_no_name(id_to_name(job, i));
    if (!n || !job->options->use_symbols)
        return 0;

    struct workspace work;
    if (workspace_map(&work, n * 64 + (128 << 10)) < 0)
        return 0; /* shown without names */
    uint32_t *ids = workspace_take_array(&work, n, sizeof *ids);
    size_t k = 0;
    for (size_t i = 0; i < n_all && ids; i++)
        if (k < n && has_no_name(id_to_name(job, i)))
            ids[k++] = id_to_name(job, i);
    if (ids)
        symbols_name(ids, k, &work);
    workspace_drop(&work);
    return 0;
}

/* ---- locations, functions, mappings ---- */

struct tables {
    struct pprof_location *locations;
    struct pprof_function *functions;
    struct pprof_line *lines; /* one per location */
    uint32_t *by_name;        /* hash of the name's address -> function id */
    size_t by_name_mask;
    size_t n_functions;
};

/* Functions are told apart by their names. */
static uint32_t function_of(struct tables *tables, const char *name)
{
    const uint64_t hash = text_hash(TEXT_HASH_BEGIN, name);

    for (size_t at = hash ^ hash >> 32;; at++) {
        uint32_t *slot = &tables->by_name[at & tables->by_name_mask];
        if (*slot && strcmp(tables->functions[*slot - 1].name, name) != 0)
            continue;
        if (!*slot) {
            tables->functions[tables->n_functions++] = (struct pprof_function){.name = name};
            *slot = (uint32_t)tables->n_functions;
        }
        return *slot;
    }
}

static void add_location(struct tables *tables, size_t i, uint32_t mapping, uint64_t address,
                         const char *name)
{
    tables->locations[i] = (struct pprof_location){.mapping = mapping, .address = address};
    if (!name)
        return;
    tables->lines[i] = (struct pprof_line){.function = function_of(tables, name)};
    tables->locations[i].lines = &tables->lines[i];
    tables->locations[i].n_lines = 1;
}

static int take_tables(struct job *job, struct tables *ret_tables, size_t n)
{
    ret_tables->by_name_mask = power_of_two(2 * n) - 1;
    ret_tables->locations = workspace_take_array(job->work, n, sizeof *ret_tables->locations);
    ret_tables->functions = workspace_take_array(job->work, n, sizeof *ret_tables->functions);
    ret_tables->lines = workspace_take_array(job->work, n, sizeof *ret_tables->lines);
    ret_tables->by_name = workspace_take_array(job->work, ret_tables->by_name_mask + 1,
                                               sizeof *ret_tables->by_name);
    return ret_tables->locations && ret_tables->functions && ret_tables->lines &&
                   ret_tables->by_name
               ? 0
               : -ENOMEM;
}

/* For a location whose name found no memory: where it lies in its file. */
static const char *make_name(struct job *job, const struct location *location)
{
    enum { NAME_BYTES = 128 };
    const struct module *module = modules_get(location->module);
    char *name = workspace_take(job->work, NAME_BYTES);
    struct text text;

    if (!name)
        return pseudo_names[PSEUDO_UNKNOWN];
    text_init(&text, name, NAME_BYTES);
    if (module)
        text_addf(&text, "%s+", module_name(module));
    text_addf(&text, "0x%lx", location->address - (module ? module->bias : 0));
    return name;
}

/* The name that the profile gives, or NULL: none at all was asked for. */
static const char *shown_name(struct job *job, const struct location *location)
{
    const char *name = load_acquire(&location->name); /* pairs with symbols.c */

    if (!job->options->use_symbols)
        return NULL;
    return name ? name : make_name(job, location);
}

/* Labels that are places become texts; without symbols, addresses. */
static void name_tags(struct job *job)
{
    for (size_t i = 0; job->profile->tag == TAG_PLACE && i < job->input->n_samples; i++) {
        const struct pprof_sample *sample = &job->input->samples[i];
        if (sample->n_labels == 0)
            continue;
        struct pprof_label *label =
            (struct pprof_label *)(uintptr_t)sample->labels; /* our own */
        const struct location *location = location_get((uint32_t)label->number);
        const char *name = shown_name(job, location);
        label->text = name ? name : make_name(job, location);
        label->number = 0;
        label->unit = NULL;
    }
}

static int add_locations(struct job *job)
{
    struct tables tables = {0};
    size_t n = job->n_used;
    const int err = take_tables(job, &tables, n + N_PSEUDO);

    if (err < 0)
        return err;
    for (size_t i = 0; i < n; i++) {
        const struct location *location = location_get(job->used[i]);
        add_location(&tables, i, job->used_mapping[i], location->address,
                     shown_name(job, location));
        tables.locations[i].offset = load_acquire(&location->name) /* pairs with symbols.c */
                                         ? load_relaxed(&location->offset)
                                         : PPROF_NO_OFFSET;
    }
    for (int which = 0; which < N_PSEUDO; which++) {
        if (!job->pseudo[which])
            continue;
        add_location(&tables, n, 0, 0, pseudo_names[which]);
        job->pseudo[which] = (uint32_t)++n;
    }
    for (size_t i = 0; i < job->mappings.n; i++)
        job->mappings.list[i].has_functions &= job->options->use_symbols;
    job->input->locations = tables.locations;
    job->input->n_locations = n;
    job->input->functions = tables.functions;
    job->input->n_functions = tables.n_functions;
    job->input->mappings = job->mappings.list;
    job->input->n_mappings = job->mappings.n;
    return 0;
}

/* The numbers of pseudo frames are known only now. */
static void fix_pseudo_numbers(const struct job *job)
{
    for (size_t i = 0; i < job->input->n_samples; i++) {
        const struct pprof_sample *sample = &job->input->samples[i];
        uint32_t *locations = (uint32_t *)(uintptr_t)sample->locations; /* our own */
        for (uint32_t k = 0; k < sample->n_locations; k++)
            if (locations[k] > UINT32_MAX - N_PSEUDO)
                locations[k] = job->pseudo[UINT32_MAX - locations[k]];
    }
}

/* ---- comments ---- */

static void add_comment(void *arg, const char *line)
{
    struct job *job = arg;
    const size_t size = strlen(line) + 1;
    char *copy = workspace_take(job->work, size);

    if (!copy || job->input->n_comments == COMMENTS_MAX) {
        job->failed |= !copy;
        return;
    }
    job->comments[job->input->n_comments++] = memcpy(copy, line, size);
}

__attribute__((format(printf, 2, 3))) static void add_commentf(struct job *job,
                                                               const char *format, ...)
{
    char buffer[COMMENT_BYTES_MAX];
    struct text text;
    va_list args;

    text_init(&text, buffer, sizeof buffer);
    va_start(args, format);
    text_addv(&text, format, args);
    va_end(args);
    add_comment(job, buffer);
}

/* Resident pages of the process, from /proc/self/statm; 0: not readable. */
static uint64_t read_rss_bytes(void)
{
    char buffer[128];
    uint64_t pages = 0;

    file_read_proc("/proc/self/statm", buffer, sizeof buffer);
    const char *at = buffer + strcspn(buffer, " ");
    at += *at == ' ';
    return text_parse_u64(&at, &pages) == 0 ? pages * getauxval(AT_PAGESZ) : 0;
}

static void add_start_comment(struct job *job)
{
    const uint64_t start_s = load_relaxed(&process_self()->start_ns) / 1000000000u;

    add_commentf(job, "start: %lu (unix time), up %lu s", start_s,
                 process_up_ns() / 1000000000u);
}

static void add_drop_comments(struct job *job)
{
    const uint32_t source = job->profile->source;
    uint64_t sum = 0;

    add_commentf(job, "samples kept: %lu",
                 job->profile->objects ? objects_n_added(job->profile->objects)
                                       : thread_sum_kept(source));
    for (int why = 0; why < N_DROPS; why++) {
        const uint64_t n = thread_sum_dropped(source, (enum thread_drop)why);
        if (n)
            add_commentf(job, "dropped: %lu %s", n, thread_drop_text((enum thread_drop)why));
        sum += n;
    }
    if (job->n_not_whole)
        add_commentf(job,
                     "dropped: %lu stacks, memory cap: no room in this file, counted under "
                     "[overflow]",
                     job->n_not_whole);
    else if (!sum)
        add_comment(job, "dropped: 0");
    if (modules_n_refused())
        add_commentf(job, "libraries beyond the first %d: %lu; their functions have no names",
                     MODULES_MAX, modules_n_refused());
}

static int add_comments(struct job *job)
{
    job->comments = workspace_take_array(job->work, COMMENTS_MAX, sizeof *job->comments);
    if (!job->comments)
        return -ENOMEM;
    add_commentf(job, SNAPSHOT_TITLE, job->profile->name);
    add_commentf(job, "agent: cprof %s", CPROF_VERSION);
    add_commentf(job, "exe: %s", modules_main_path());
    add_commentf(job, "pid: %d", process_pid());
    if (job->options->host)
        add_commentf(job, "host: %s", job->options->host);
    if (job->options->service)
        add_commentf(job, "service: %s", job->options->service);
    if (*job->options->labels)
        add_commentf(job, "labels: %s", job->options->labels);
    add_start_comment(job);
    if (job->profile->objects)
        objects_comment(job->profile->objects, add_comment, job);
    else if (job->profile->comment)
        job->profile->comment(add_comment, job);
    if (job->options->min_age_s)
        add_commentf(job, "in use: only what is older than %lu s", job->options->min_age_s);
    add_drop_comments(job);
    add_commentf(job, "stacks: %lu", stacktab_count());
    add_commentf(job, "agent memory: %lu of %lu bytes, %lu requests refused",
                 arena_used_bytes(), arena_cap_bytes(), arena_n_refused());
    add_commentf(job, "process RSS: %lu bytes", read_rss_bytes());
    if (job->options->use_symbols)
        add_comment(job, "function names from symbol tables; lines: cprof symbolize FILE");
    job->input->comments = job->comments;
    return job->failed ? -ENOMEM : 0;
}

/* ---- how large it gets, high rather than low ---- */

enum {
    FRAMES_USUAL = 32,
    N_MEANWHILE = 64, /* records that come while we count */
    LATER_BYTES = 384 << 10,
    LATER_LOCATION_BYTES = 96,
};

static size_t bytes_per_record(const struct profile *profile, size_t n_frames, size_t n_labels)
{
    const size_t n_rounded = n_frames + 8; /* to 16 bytes; and a pseudo frame */

    return sizeof(struct copy) + (profile->n_types + 2) * sizeof(int64_t) +
           sizeof(struct pprof_sample) + n_rounded * sizeof(uint32_t) +
           n_labels * sizeof(struct pprof_label) + 16 + 4 * sizeof(uint32_t);
}

/* All but the records that are there now. */
static size_t fixed_bytes(const struct profile *profile, const struct snapshot_options *options,
                          size_t n_current_max)
{
    enum { CURRENT_LABEL_BYTES = 640 }; /* twice five labels, and their texts */
    const size_t per_location = 2 * sizeof(uint32_t) + sizeof(struct pprof_location) +
                                sizeof(struct pprof_function) + sizeof(struct pprof_line) +
                                4 * 2 * sizeof(uint32_t) + 16;
    const size_t per_module = MODULE_RANGES_MAX * sizeof(uint32_t) +
                              sizeof(struct pprof_mapping) + SYMBOLS_BUILD_ID_TEXT + 16;
    const size_t per_current =
        bytes_per_record(profile, FRAMES_USUAL, RECORD_LABELS_MAX) + CURRENT_LABEL_BYTES;
    const size_t n_sums =
        options->min_age_s || profile->objects ? records_count() + N_MEANWHILE : 0;

    return modules_count() * per_module + (locations_count() + 64) * per_location +
           n_current_max * per_current +
           N_MEANWHILE * bytes_per_record(profile, FRAMES_USUAL, 1) +
           n_sums * 2 * sizeof(uint64_t) + ((size_t)128 << 10);
}

struct plan {
    size_t n_bytes;
    size_t n_copies_max;
    uint32_t n_whole; /* records from this id on are shown as one [overflow] */
};

/* For everything, or for as many records as find place in `room`: those that came first. */
static struct plan make_plan(const struct profile *profile,
                             const struct snapshot_options *options, size_t n_current_max,
                             size_t room)
{
    const size_t n_records = records_count(), n_labels = profile->tag != TAG_NONE;
    struct plan plan = {
        .n_bytes = fixed_bytes(profile, options, n_current_max),
        .n_copies_max = n_current_max + N_MEANWHILE,
        .n_whole = UINT32_MAX,
    };

    for (uint32_t id = 0; id < n_records; id++) {
        const struct record *record = record_get(id);
        if (!record || record->source != profile->source)
            continue;
        plan.n_bytes += bytes_per_record(profile, record->stack->n_frames, n_labels);
        plan.n_copies_max++;
        if (plan.n_bytes > room) {
            plan.n_whole = id;
            break;
        }
    }
    return plan;
}

/* What the cap leaves, without what names and the encoder want afterwards. */
static size_t room_for_snapshot(void)
{
    const size_t used = arena_used_bytes(), cap = arena_cap_bytes();
    const size_t later = LATER_BYTES + locations_count() * LATER_LOCATION_BYTES;

    return used + later < cap ? cap - used - later : 0;
}

/* ---- all ---- */

static int fill(struct job *job)
{
    const struct profile *profile = job->profile;
    int err;

    *job->input = (struct pprof_input){
        .types = profile->types,
        .n_types = profile->n_types,
        .period_type = profile->period_type,
        .period = profile->period ? (int64_t)profile->period() : 1,
        .default_type = profile->default_type,
        .time_ns = (int64_t)clock_wall_ns(),
        .mono_ns = (int64_t)clock_mono_ns(),
    };
    if ((err = copy_records(job)) < 0 || (err = mappings_read(&job->mappings, job->work)) < 0 ||
        (err = add_samples(job)) < 0 || (err = name_locations(job)) < 0 ||
        (err = add_locations(job)) < 0)
        return err;
    fix_pseudo_numbers(job);
    name_tags(job);
    return add_comments(job);
}

static int take_within(struct snapshot *snapshot, const struct plan *plan,
                       const struct profile *profile, const struct snapshot_options *options)
{
    struct job job = {
        .n_copies_max = plan->n_copies_max,
        .n_whole = plan->n_whole,
        .profile = profile,
        .options = options,
        .work = &snapshot->work,
        .input = &snapshot->input,
    };

    memset(snapshot, 0, sizeof *snapshot);
    int err = workspace_map(&snapshot->work, plan->n_bytes);
    if (err < 0)
        return err;
    err = fill(&job);
    if (err < 0)
        snapshot_drop(snapshot);
    return err;
}

int snapshot_take(struct snapshot *ret_snapshot, const struct profile *profile,
                  const struct snapshot_options *options)
{
    enum { TRIES = 3 }; /* many mappings, or much was recorded while we counted */
    size_t n_current_max = profile->current ? profile->current_max() : 0;
    int err = -ENOMEM;

    for (int i = 0; i < TRIES && err == -ENOMEM; i++, n_current_max *= 2) {
        struct plan plan = make_plan(profile, options, n_current_max, room_for_snapshot() >> i);
        plan.n_bytes <<= i;
        plan.n_copies_max <<= i;
        err = take_within(ret_snapshot, &plan, profile, options);
    }
    return err;
}

void snapshot_drop(struct snapshot *snapshot)
{
    workspace_drop(&snapshot->work);
}
