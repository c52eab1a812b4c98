/* opened - see opened.h. */
#include "agent/opened.h"

#include "agent/agent_thread.h"
#include "agent/descriptors.h"
#include "agent/handles.h"
#include "agent/sockets.h"
#include "agent/stacktab.h"
#include "base/arena.h"
#include "base/clock.h"

/* ---- descriptors that are there ---- */

static bool is_agents(const struct descriptors *descriptors, int fd)
{
    const uint64_t inode = agent_thread_inode(fd);
    struct stat st;

    return inode && descriptor_stat(descriptors, fd, &st) == 0 && st.st_ino == inode;
}

struct walk {
    void (*visit)(struct walk *walk, int fd, struct handle handle);
    const struct profile_current *current;
    struct tally *tally;
    size_t n;
    struct descriptors descriptors;
};

static void visit_listed(int fd, void *arg)
{
    struct walk *walk = arg;
    struct handle handle = handles_get(fd);

    if (!handle.stack && is_agents(&walk->descriptors, fd))
        return;
    if (!handle.stack)
        handle.stack = (uintptr_t)&stack_untracked;
    walk->visit(walk, fd, handle);
}

static void visit_known(int fd, struct handle handle, void *arg)
{
    struct walk *walk = arg;

    if (descriptor_is_open(&walk->descriptors, fd))
        walk->visit(walk, fd, handle);
}

static void drop_ghost(int fd, struct handle handle, void *arg)
{
    const struct walk *walk = arg;

    if (!descriptor_is_open(&walk->descriptors, fd))
        handles_drop_ghost(fd, handle);
}

/* Without /proc there are those that the table knows. */
static void walk_descriptors(struct walk *walk)
{
    descriptors_begin(&walk->descriptors);
    handles_each(drop_ghost, walk);
    if (!descriptors_each(&walk->descriptors, visit_listed, walk) && walk->n == 0)
        handles_each(visit_known, walk);
    descriptors_end(&walk->descriptors);
}

/* ---- how many of a kind: a hash table for the moment ---- */

struct tally_slot {
    uintptr_t stack; /* 0: free */
    uint64_t tag;
    int64_t n;
};

struct tally {
    struct tally_slot *slots;
    size_t n_slots, n_used, n_max;
};

/* For up to `n` kinds. */
static bool tally_begin(struct tally *tally, size_t n)
{
    *tally = (struct tally){.n_slots = 64, .n_max = n};
    while (tally->n_slots < 2 * n)
        tally->n_slots *= 2;
    tally->slots = arena_map_job(tally->n_slots * sizeof *tally->slots);
    return tally->slots;
}

static void tally_add(struct tally *tally, uintptr_t stack, uint64_t tag)
{
    size_t at = (stack / 16 ^ tag) * 0x9e3779b97f4a7c15 >> 20;
    struct tally_slot *slot;

    while ((slot = &tally->slots[at & (tally->n_slots - 1)])->stack &&
           (slot->stack != stack || slot->tag != tag))
        at++;
    if (!slot->stack) {
        if (tally->n_used == tally->n_max)
            return; /* came while the snapshot was taken */
        tally->n_used++;
        *slot = (struct tally_slot){.stack = stack, .tag = tag};
    }
    slot->n++;
}

static void tally_end(struct tally *tally, const struct profile_current *current)
{
    for (size_t i = 0; i < tally->n_slots; i++) {
        const struct tally_slot *slot = &tally->slots[i];
        const struct profile_sample sample = {
            .stack = (struct stack *)slot->stack,  // NOLINT: as the table keeps it
            .tag = slot->tag,
            .values = &slot->n,
        };
        if (slot->stack)
            current->add(current, &sample);
    }
    arena_unmap(tally->slots, tally->n_slots * sizeof *tally->slots);
}

static void count_known(int fd, struct handle handle, void *arg)
{
    (void)fd;
    (void)handle;
    ++*(size_t *)arg;
}

static size_t n_descriptors(void)
{
    size_t n = descriptors_count();

    if (!n) /* they cannot be listed: walk_descriptors() */
        handles_each(count_known, &n);
    return n;
}

/* Room for some that come meanwhile. */
static size_t with_slack(size_t n)
{
    return n + n / 8 + 64;
}

static size_t at_most(size_t n, size_t most)
{
    return n < most ? n : most;
}

static size_t n_stacks(void)
{
    enum { PSEUDO_STACKS = 3 };

    return stacktab_count() + PSEUDO_STACKS;
}

/* Each open descriptor, tallied by up to `n_kinds`, or added by the visitor itself. */
static void descriptors_current(const struct profile_current *current,
                                void (*visit)(struct walk *walk, int fd, struct handle handle),
                                size_t n_kinds)
{
    struct tally tally;
    struct walk walk = {.visit = visit, .current = current, .tally = &tally};

    if (!handles_follow(HANDLES_EVER) || !tally_begin(&tally, n_kinds))
        return;
    walk_descriptors(&walk);
    tally_end(&tally, current);
}

/* ---- connection ---- */

static void add_socket(const struct walk *walk, int fd, struct handle handle)
{
    static const int64_t one = 1;
    struct socket_labels described;
    struct pprof_label labels[SOCKET_LABELS_MAX + 1];
    uint32_t n;

    const int number = descriptor_borrow(&walk->descriptors, fd);
    sockets_describe(number, &described);
    descriptor_give_back(&walk->descriptors, number);
    for (n = 0; n < described.n; n++)
        labels[n] = described.labels[n];
    if (handle.born_s) /* begun seconds: the format has no number 0 */
        labels[n++] =
            (struct pprof_label){.key = "age",
                                 .number = (int64_t)(clock_mono_s() - handle.born_s) + 1,
                                 .unit = "seconds"};
    walk->current->add(walk->current, &(struct profile_sample){
                                          .stack = (struct stack *)handle.stack,  // NOLINT
                                          .values = &one,
                                          .labels = labels,
                                          .n_labels = n,
                                      });
}

static void visit_socket(struct walk *walk, int fd, struct handle handle)
{
    if (!descriptor_is_socket(&walk->descriptors, fd))
        return;
    if (walk->n++ < OPENED_DETAILED)
        add_socket(walk, fd, handle);
    else
        tally_add(walk->tally, handle.stack, 0);
}

size_t connection_current_max(void)
{
    return at_most(with_slack(n_descriptors()), OPENED_DETAILED + n_stacks());
}

void connection_current(const struct profile_current *current)
{
    descriptors_current(current, visit_socket, n_stacks());
}

/* ---- fd ---- */

static void visit_descriptor(struct walk *walk, int fd, struct handle handle)
{
    walk->n++;
    tally_add(walk->tally, handle.stack, (uint64_t)descriptor_type(&walk->descriptors, fd) + 1);
}

size_t fd_current_max(void)
{
    return at_most(with_slack(n_descriptors()), n_stacks() * N_DESCRIPTOR_TYPES);
}

void fd_current(const struct profile_current *current)
{
    descriptors_current(current, visit_descriptor, fd_current_max());
}

const char *fd_tag_text(uint64_t tag)
{
    return tag >= 1 && tag <= N_DESCRIPTOR_TYPES
               ? descriptor_type_text((enum descriptor_type)(tag - 1))
               : NULL;
}

/* ---- blob ---- */

static void count_stream(uintptr_t stack, void *arg)
{
    (void)stack;
    ++*(size_t *)arg;
}

size_t blob_current_max(void)
{
    size_t n = 0;

    handles_each_stream(count_stream, &n);
    return at_most(with_slack(n), n_stacks());
}

static void tally_stream(uintptr_t stack, void *arg)
{
    tally_add(arg, stack, 0);
}

void blob_current(const struct profile_current *current)
{
    struct tally tally;

    if (!handles_follow(HANDLES_EVER) || !tally_begin(&tally, n_stacks()))
        return;
    handles_each_stream(tally_stream, &tally);
    tally_end(&tally, current);
}

/* ---- what the profiles share ---- */

/* No record counts; see connection_current() and the others. */
void connection_read(struct record *record, int64_t *ret_values)
{
    (void)record;
    ret_values[0] = 0;
}

/* ---- control ---- */

static void inherit(int fd, void *arg)
{
    if ((handles_follow(HANDLES_ALL) || descriptor_is_socket(arg, fd)) && !handles_has(fd) &&
        !is_agents(arg, fd))
        handles_add_inherited(fd);
}

void opened_set(uint32_t kinds)
{
    const bool is_new = kinds & HANDLES_DESCRIPTORS & ~load_relaxed(&handles_on);
    struct descriptors descriptors;

    handles_set(kinds);
    if (!is_new || descriptors_each_low(&descriptors, inherit, &descriptors))
        return;
    descriptors_begin(&descriptors);
    descriptors_each(&descriptors, inherit, &descriptors);
    descriptors_end(&descriptors);
}
