/* livetab - the live objects: address -> one word, birth time.
 *
 * Levels of open-addressed cache lines of 4 slots.  An address has four candidate lines per level; it may
 * stand in any slot of them, so removing is just emptying the slot: no tombstones, and the cost
 * of hit and miss does not depend on history.  When all candidates are full a level with half of the
 * size so far (while that is small: three times) is added, which keeps the table at 16 bytes / load, below 32 bytes per live object.
 * Nothing ever moves.  livetab_put() looks for its address only where there is a place for it, since lines of
 * other threads are dear: one that is put once more is usually replaced, but not surely.
 *
 * A slot is {key, value}.  key: 0 free, 1 claimed, else the address >> 3 above 20 bits (aarch64: 19) of birth (seconds,
 * modulo; 0 = older than the horizon).  Whoever writes claims the key with a CAS, writes the value, and
 * stores the key.  An address is given out by malloc to one owner at a time, so nobody else looks for it
 * meanwhile.  A writer that never comes back (siglongjmp, fork) costs one slot.
 *
 * Full (arena cap): livetab_put() says so and the caller counts it.
 * Lock-free; any thread, also in a signal handler, also inside another operation of the same table. */
#ifndef CPROF_AGENT_LIVETAB_H
#define CPROF_AGENT_LIVETAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"

enum {
    LIVETAB_LEVELS_MAX = 40,
#if defined(__aarch64__)
    LIVETAB_ADDRESS_BITS = 48,
#else
    LIVETAB_ADDRESS_BITS = 47,
#endif
    LIVETAB_BIRTH_BITS = 64 - (LIVETAB_ADDRESS_BITS - 3),
    /* Ages are exact up to here (6 days; 3 on aarch64); beyond it an object is just "older". */
    LIVETAB_HORIZON_S = 1 << (LIVETAB_BIRTH_BITS - 1),
};

struct live_slot;

struct live_level {
    struct live_slot *_Atomic slots;
    _Atomic uint32_t n_buckets;
};

struct livetab {
    struct live_level levels[LIVETAB_LEVELS_MAX]; /* constant below n_levels */
    _Atomic uint32_t n_levels;
    _Atomic uint64_t
        next_sweep_s; /* when births beyond the horizon are marked the next time; 0: no call yet */
};

enum livetab_put {
    LIVETAB_NEW,
    LIVETAB_REPLACED, /* the address was found there: *ret_old was never taken out */
    LIVETAB_FULL,
    LIVETAB_ODD, /* not a multiple of 8, or no address of a program's */
};

/* now_s: clock_mono_s(). */
enum livetab_put livetab_put(struct livetab *table, uintptr_t address, uint64_t value,
                             uint64_t now_s, uint64_t *ret_old);

/* Looks everywhere; when the address is there, gives it the new value and birth.  False: it is not. */
bool livetab_replace(struct livetab *table, uintptr_t address, uint64_t value, uint64_t now_s,
                     uint64_t *ret_old);

/* Takes the address out. 0: it is not there; else what livetab_born_s() knows its birth from. */
uint64_t livetab_take(struct livetab *table, uintptr_t address, uint64_t *ret_value);
uint64_t livetab_born_s(uint64_t taken, uint64_t now_s);

struct live {
    uintptr_t address;
    uint64_t value;
    uint64_t age_s;             /* LIVETAB_HORIZON_S: that old or older */
    _Atomic uint64_t *value_at; /* the word itself, for visitors that mark it */
    const _Atomic uint64_t *key_at;
};

/* Calls visit() for every object that is in the table from the beginning to the end of the call,
 * and perhaps for some that come or go meanwhile. */
void livetab_each(struct livetab *table, uint64_t now_s,
                  void (*visit)(const struct live *live, void *arg), void *arg);

/* Objects for which it has places: its size is 16 bytes for each. */
uint64_t livetab_n_places(struct livetab *table);

/* True while `live` is still what stands in its slot. */
bool livetab_is_current(const struct live *live);

/* Marks births beyond the horizon, when it is time: call now and then. */
void livetab_sweep(struct livetab *table, uint64_t now_s);

#endif
