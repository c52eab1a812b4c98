/* valuetab - see valuetab.h. */
#include "agent/valuetab.h"

#include <errno.h>

#include "agent/thread.h"
#include "base/arena.h"
#include "base/compiler.h"

/* A link: tag : 34 | ready : 1 | marked : 1 | cell : 1 | number : 27.  The tag rises with every change.  `marked`: the
 * node it stands in is removed.  `ready`: of a cell, it is in the list and walks may begin there. */
enum { NUMBER_BITS = 27, NODES_MAX = 1 << 26 };

static const uint64_t NUMBER = ((uint64_t)1 << NUMBER_BITS) - 1;
static const uint64_t CELL = (uint64_t)1 << NUMBER_BITS;
static const uint64_t REFERENCE = ((uint64_t)1 << (NUMBER_BITS + 1)) - 1; /* cell and number */
static const uint64_t MARKED = (uint64_t)1 << (NUMBER_BITS + 1);
static const uint64_t READY = (uint64_t)1 << (NUMBER_BITS + 2);
static const uint64_t TAG_ONE = (uint64_t)1 << (NUMBER_BITS + 3);
/* The end of the list: no node has that number. */
static const uint64_t END = ((uint64_t)1 << NUMBER_BITS) - 1;

struct value_node {
    _Atomic uint64_t link;
    _Atomic uint64_t order;  /* the hash backwards */
    _Atomic uint64_t weight; /* these two: constant while it is in a list */
    _Atomic uint64_t what;   /* record : 32 | born_s : 32 */
};

static uint64_t changed(uint64_t link, uint64_t reference)
{
    return ((link & ~(REFERENCE | MARKED)) + TAG_ONE) | reference;
}

/* ---- the order ---- */

static uint64_t reverse(uint64_t x)
{
    x = __builtin_bswap64(x);
    x = (x >> 4 & 0x0f0f0f0f0f0f0f0f) | (x & 0x0f0f0f0f0f0f0f0f) << 4;
    x = (x >> 2 & 0x3333333333333333) | (x & 0x3333333333333333) << 2;
    return (x >> 1 & 0x5555555555555555) | (x & 0x5555555555555555) << 1;
}

/* One to one, so that comparing hashes is comparing keys. */
static uint64_t hash_key(uint64_t x)
{
    x = (x ^ x >> 32) * 0x9e3779b97f4a7c15;
    x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9;
    return x ^ x >> 32;
}

static uint64_t unhash_key(uint64_t x)
{
    x = (x ^ x >> 32) * 0x96de1b173f119089;
    x = (x ^ x >> 29 ^ x >> 58) * 0xf1de83e19937733d;
    return x ^ x >> 32;
}

/* ---- nodes: of all tables together, by number ---- */

enum { PAGE_NODES = 1024, BATCH_NODES = 128, N_PAGES = NODES_MAX / PAGE_NODES };

static struct value_node *_Atomic pages[N_PAGES] LARGE;
static _Atomic uint32_t n_batches;

/* Threads of one number have their nodes apart from the others', which they take only when they have none. */
static struct ALIGNED(128) stock {
    _Atomic uint64_t free; /* times changed : 32 | number of the first + 1 : 32 */
    _Atomic uint32_t
        next; /* never used yet, up to the end of its batch; at its beginning: none */
} stocks[THREAD_SHARDS];

static struct value_node *node_at(uint64_t reference)
{
    const uint32_t number = (uint32_t)(reference & NUMBER);

    /* Acquire, pairs with ensure_page: a number may come from a link that was read before. */
    return &load_acquire(&pages[number / PAGE_NODES])[number % PAGE_NODES];
}

static bool ensure_page(uint32_t number)
{
    struct value_node *_Atomic *at = &pages[number / PAGE_NODES], *none = NULL;

    if (load_acquire(at))
        return true;
    struct value_node *page = arena_map(PAGE_NODES * sizeof *page);
    if (!page)
        return false;
    if (!cas_acq_rel(at, &none, page)) /* pairs with node_at */
        arena_unmap(page, PAGE_NODES * sizeof *page);
    return true;
}

static uint32_t own_stock(void)
{
    const struct thread *thread = thread_record();

    return thread ? thread->shard : 0;
}

static void give_back(struct stock *stock, uint64_t reference)
{
    struct value_node *node = node_at(reference);
    const uint64_t link = load_relaxed(&node->link);
    uint64_t head = load_relaxed(&stock->free);

    do
        store_relaxed(&node->link, changed(link, (uint32_t)head ? (uint32_t)head - 1 : END));
    while (!cas_acq_rel(&stock->free, &head, ((head >> 32) + 1) << 32 | (reference + 1)));
}

/* The first number of a batch that is the caller's; 0: no memory. */
static uint32_t take_batch(void)
{
    uint32_t batch = load_relaxed(&n_batches);

    do {
        if (batch >= NODES_MAX / BATCH_NODES || !ensure_page(batch * BATCH_NODES))
            return 0;
    } while (!cas_relaxed(&n_batches, &batch, batch + 1));
    return batch * BATCH_NODES + 1;
}

/* Numbers + 1; 0: no memory. */
static uint32_t take_fresh(struct stock *stock)
{
    uint32_t next = load_relaxed(&stock->next);

    for (;;) {
        if (next % BATCH_NODES != 0) {
            if (cas_relaxed(&stock->next, &next, next + 1))
                return next + 1;
            continue;
        }
        const uint32_t first = take_batch();
        if (!first)
            return 0;
        if (!cas_relaxed(&stock->next, &next, first)) /* another thread was as fast */
            for (uint32_t i = 1; i < BATCH_NODES; i++)
                give_back(stock, first - 1 + i);
        return first;
    }
}

static uint32_t take_free(struct stock *stock)
{
    uint64_t head = load_acquire(&stock->free); /* pairs with give_back */

    while ((uint32_t)head) {
        const uint64_t link = load_relaxed(&node_at((uint32_t)head - 1)->link);
        const uint64_t next = link & NUMBER;
        const uint64_t rest = ((head >> 32) + 1) << 32 | (next == END ? 0 : next + 1);
        if (cas_acq_rel(&stock->free, &head, rest))
            return (uint32_t)head;
    }
    return 0;
}

/* False: no memory. */
static bool take_node(uint64_t *ret_reference)
{
    const uint32_t own = own_stock();
    uint32_t number = 0;

    for (uint32_t i = 0; i < THREAD_SHARDS && !number; i++)
        number = take_free(&stocks[(own + i) % THREAD_SHARDS]);
    if (!number)
        number = take_fresh(&stocks[own]);
    *ret_reference = number - 1;
    return number != 0;
}

static void free_node(uint64_t reference)
{
    give_back(&stocks[own_stock()], reference);
}

/* ---- cells ---- */

static _Atomic uint64_t *cell_at(struct valuetab *table, uint64_t reference)
{
    const uint32_t i = (uint32_t)(reference & NUMBER);

    if (i >> VALUETAB_FIRST_BITS == 0)
        return &table->first[i];
    const unsigned bit = 31 - (unsigned)__builtin_clz(i);
    _Atomic uint64_t *piece =
        load_acquire(&table->more[bit - VALUETAB_FIRST_BITS]); /* pairs with grow */
    return &piece[i - (1u << bit)];
}

static COLD void grow(struct valuetab *table, uint32_t bits)
{
    _Atomic uint64_t *none = NULL;
    const size_t size = sizeof(uint64_t) << bits;
    enum {
        PIECE_BYTES = 4096
    }; /* smaller ones are not given back by the one that comes second */

    if (bits == VALUETAB_BITS_MAX || load_relaxed(&table->bits) != bits)
        return;
    if (!load_relaxed(&table->more[bits - VALUETAB_FIRST_BITS])) {
        _Atomic uint64_t *piece = size < PIECE_BYTES ? arena_alloc(size) : arena_map(size);
        if (!piece)
            return; /* the runs get longer */
        if (!cas_acq_rel(&table->more[bits - VALUETAB_FIRST_BITS], &none, piece) &&
            size >= PIECE_BYTES)
            arena_unmap(piece, size);
    }
    cas_acq_rel(&table->bits, &bits, bits + 1); /* lost: it is done */
}

void valuetab_init(struct valuetab *table)
{
    store_relaxed(&table->first[0], TAG_ONE | READY | END);
    store_release(&table->bits, VALUETAB_FIRST_BITS);
}

/* ---- walking ---- */

/* Between two links: `node` is the first value that is not before what was looked for. */
struct position {
    _Atomic uint64_t *before; /* a link */
    uint64_t link;            /* what was read there */
    struct value_node *node;  /* where it leads, or NULL: to a cell or the end */
    uint64_t next;            /* the node's own link */
    uint64_t order;           /* and order */
    unsigned n_passed;        /* values, within this run */
};

/* What is looked for: a value, or the place of a cell, which lies before the values of its order. */
struct wanted {
    uint64_t order;
    bool is_cell;
    bool or_next; /* a value, or the next one there is in any cell */
};

/* True when the cell that a link leads to does not lie before what is wanted. */
static bool ends_at_cell(uint64_t link, const struct wanted *wanted)
{
    const uint64_t order = reverse(link & NUMBER);

    return !wanted->or_next &&
           (order > wanted->order || (wanted->is_cell && order == wanted->order));
}

/* From at->before on.  False: the list changed under the walk, which must begin anew. */
static bool walk(struct valuetab *table, const struct wanted *wanted, struct position *at)
{
    for (;;) {
        const uint64_t reference = at->link & REFERENCE;
        at->node = NULL;
        if (reference == END || (reference & CELL && ends_at_cell(at->link, wanted)))
            return true;
        if (reference & CELL) {
            at->before = cell_at(table, reference);
            at->link = load_acquire(at->before);
            continue;
        }
        struct value_node *node = node_at(reference);
        at->next = load_acquire(&node->link); /* pairs with every CAS of a link */
        at->order = load_acquire(&node->order);
        if (load_acquire(at->before) != at->link) /* what was read may be of another node */
            return false;
        if (at->next & MARKED) {
            const uint64_t rest = changed(at->link, at->next & REFERENCE);
            if (!cas_acq_rel(at->before, &at->link, rest))
                return false;
            at->link = rest;
            free_node(reference);
        } else if (at->order >= wanted->order) {
            at->node = node;
            return true;
        } else {
            at->before = &node->link;
            at->link = at->next;
            at->n_passed++;
        }
    }
}

static void find_from(struct valuetab *table, uint64_t cell, const struct wanted *wanted,
                      struct position *ret)
{
    do {
        ret->before = cell_at(table, cell);
        ret->link = load_acquire(ret->before);
        ret->n_passed = 0;
    } while (!walk(table, wanted, ret));
}

/* Puts a cell that is the caller's into the list. */
static COLD void link_cell(struct valuetab *table, uint64_t cell, uint64_t parent)
{
    const struct wanted wanted = {.order = reverse(cell & NUMBER), .is_cell = true};
    _Atomic uint64_t *own = cell_at(table, cell);
    struct position at;

    do {
        find_from(table, parent, &wanted, &at);
        store_release(own, changed(load_relaxed(own), at.link & REFERENCE));
    } while (!cas_acq_rel(at.before, &at.link, changed(at.link, cell)));
    uint64_t link = load_relaxed(own); /* from here on others change it, too */
    while (!cas_acq_rel(own, &link, (link + TAG_ONE) | READY))
        ;
}

static bool is_ready(struct valuetab *table, uint32_t i)
{
    return load_acquire(cell_at(table, i)) & READY; /* pairs with link_cell */
}

/* The last cell before that of `i` that is ready; the ones between, each with a bit of `i` more, are made ready. */
static COLD uint64_t make_ready(struct valuetab *table, uint32_t i)
{
    uint32_t start = i;

    while (!is_ready(table, start))
        start &= ~(1u << (31 - (unsigned)__builtin_clz(start)));
    for (uint32_t at = start; at != i;) {
        uint64_t none = 0;
        at |= (i & ~at) & -(i & ~at);
        if (is_ready(table, at)) {
            start = at;
        } else if (cas_acq_rel(cell_at(table, at), &none, TAG_ONE | END)) {
            link_cell(table, CELL | at, CELL | start);
            start = at;
        } /* else another thread is at it, or has given it up */
    }
    return CELL | start;
}

/* The cell in which the run of `i` begins, or one of those before it. */
static uint64_t begin_at(struct valuetab *table, uint32_t i)
{
    return likely(is_ready(table, i)) ? CELL | i : make_ready(table, i);
}

/* Returns how many bits of the hash named the cell. */
static uint32_t find(struct valuetab *table, const struct wanted *wanted, struct position *ret)
{
    const uint32_t bits = load_acquire(&table->bits); /* pairs with grow */
    const uint64_t i = reverse(wanted->order) & ((1ull << bits) - 1);

    find_from(table, begin_at(table, (uint32_t)i), wanted, ret);
    return bits;
}

/* ---- what is done with it ---- */

static bool is_at(const struct position *at, uint64_t order)
{
    return at->node && at->order == order;
}

static void fill(struct value_node *node, const struct value *value, uint64_t order)
{
    store_relaxed(&node->order, order);
    store_relaxed(&node->weight, value->weight);
    store_relaxed(&node->what, (uint64_t)value->record << 32 | value->born_s);
}

int valuetab_put(struct valuetab *table, const struct value *value)
{
    enum {
        LONG = 12
    }; /* runs of 4 are that long once in 10 000: so there are 2 to 4 values a cell */
    const struct wanted wanted = {.order = reverse(hash_key(value->key))};
    struct position at;
    uint64_t reference;

    uint32_t bits = find(table, &wanted, &at);
    if (is_at(&at, wanted.order))
        return -EEXIST;
    if (!take_node(&reference))
        return -ENOMEM;
    struct value_node *node = node_at(reference);
    fill(node, value, wanted.order);
    for (;;) {
        store_release(&node->link, changed(load_relaxed(&node->link), at.link & REFERENCE));
        if (cas_acq_rel(at.before, &at.link, changed(at.link, reference)))
            break;
        bits = find(table, &wanted, &at);
        if (is_at(&at, wanted.order)) {
            free_node(reference);
            return -EEXIST;
        }
    }
    if (unlikely(at.n_passed > LONG))
        grow(table, bits);
    return 0;
}

/* What stands in the node, which is still the same one while its link is. */
static struct value read_node(const struct position *at)
{
    /* Acquire: before the link is looked at again. */
    const uint64_t weight = load_acquire(&at->node->weight);
    const uint64_t what = load_acquire(&at->node->what);

    return (struct value){
        .key = unhash_key(reverse(at->order)),
        .weight = weight,
        .record = (uint32_t)(what >> 32),
        .born_s = (uint32_t)what,
    };
}

bool valuetab_has(struct valuetab *table, uint64_t key)
{
    const struct wanted wanted = {.order = reverse(hash_key(key))};
    struct position at;

    find(table, &wanted, &at);
    return is_at(&at, wanted.order);
}

bool valuetab_take(struct valuetab *table, uint64_t key, struct value *ret_value)
{
    const struct wanted wanted = {.order = reverse(hash_key(key))};
    struct position at;

    do {
        find(table, &wanted, &at);
        if (!is_at(&at, wanted.order))
            return false;
        *ret_value = read_node(&at);
    } while (
        !cas_acq_rel(&at.node->link, &at.next, changed(at.next, at.next & REFERENCE) | MARKED));
    const uint64_t reference = at.link & REFERENCE;
    if (cas_acq_rel(at.before, &at.link, changed(at.link, at.next & REFERENCE)))
        free_node(reference);
    else
        find(table, &wanted, &at); /* it, or who came before it, unlinks the node */
    return true;
}

void valuetab_each(struct valuetab *table, void (*visit)(const struct value *value, void *arg),
                   void *arg)
{
    struct wanted wanted = {.or_next = true};
    struct position at;

    find(table, &wanted, &at);
    while (at.node) {
        const struct value value = read_node(&at);
        if (load_relaxed(&at.node->link) == at.next) { /* so it was all of one value */
            visit(&value, arg);
            if (at.order == UINT64_MAX)
                break;
            wanted.order = at.order + 1;
            at.before = &at.node->link;
            at.link = at.next;
            if (walk(table, &wanted, &at))
                continue;
        }
        find(table, &wanted, &at);
    }
}
