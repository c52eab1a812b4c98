/* valuetab - the live values of a profile: any 64-bit value -> its record, a weight and its birth.
 *
 * One list of all values, sorted by their hash read backwards, and an array of cells that lead into it: cell
 * i of 2^k begins the run of the values whose hash ends in the k bits of i.  Twice as many cells cut each run in two
 * and nothing moves (split-ordered lists, Shalev and Shavit 2006).  A small table is 16 cells, a value 32 bytes
 * and a removed one leaves nothing behind, so the cost does not depend on history.
 *
 * The list is Michael's (2002): removing marks the node's link, then whoever passes unlinks it.  A node's memory
 * is never given back, only used again, and each link carries a tag that rises with every change, so that a
 * CAS fails when the node was another one meanwhile.  Whoever never comes back (siglongjmp, fork) costs at most one node
 * or leaves one cell unused; nobody waits for him.
 *
 * Exact: of several threads that put (or take) the same value at once one succeeds.  Full (arena cap): says so.
 * Lock-free; any thread, also in a signal handler, also inside another operation of the same table. */
#ifndef CPROF_AGENT_VALUETAB_H
#define CPROF_AGENT_VALUETAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"

enum { VALUETAB_FIRST_BITS = 4, VALUETAB_BITS_MAX = 26 };

struct valuetab {
    /* The cells: the first 16, then as many more in each piece as there were before. */
    _Atomic uint64_t first[1 << VALUETAB_FIRST_BITS];
    _Atomic uint64_t *_Atomic more[VALUETAB_BITS_MAX - VALUETAB_FIRST_BITS];
    _Atomic uint32_t bits; /* 2^bits cells are in use */
};

struct value {
    uint64_t key;
    uint64_t weight;
    uint32_t record;
    uint32_t born_s; /* clock_mono_s() */
};

/* Before anything else. */
void valuetab_init(struct valuetab *table);

/* 0; -EEXIST: the key is there, and stays as it was; -ENOMEM. */
int valuetab_put(struct valuetab *table, const struct value *value);

/* True when the key is there at this moment. */
bool valuetab_has(struct valuetab *table, uint64_t key);

/* Takes the key out. False: it is not there. */
bool valuetab_take(struct valuetab *table, uint64_t key, struct value *ret_value);

/* Calls visit() for every value that is in the table from the beginning to the end of the call,
 * and perhaps for some that come or go meanwhile; for each at most once. */
void valuetab_each(struct valuetab *table, void (*visit)(const struct value *value, void *arg),
                   void *arg);

#endif
