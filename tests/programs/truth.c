/* Over a million mixed allocations on four threads, with a log of its own: at the end it prints, per allocating
 * function, how many objects and bytes were allocated and how many are in use.  `truth SEED OPERATIONS`. */
#include "victim.h"

enum { N_THREADS = 4, N_SLOTS = 4096, N_MAILBOX = 512 };

struct slot {
    void *p;
    size_t size;
    int owner; /* function that allocated it */
};

struct tally {
    long allocated, allocated_bytes, freed, freed_bytes;
};

enum {
    MALLOC,
    CALLOC,
    REALLOC,
    REALLOC_NEW,
    REALLOCARRAY,
    MEMALIGN,
    POSIX_MEMALIGN,
    ALIGNED_ALLOC,
    VALLOC,
    N_OWNERS
};
static const char *const owner_names[N_OWNERS] = {
    "by_malloc",   "by_calloc",         "by_realloc",       "by_realloc_new", "by_reallocarray",
    "by_memalign", "by_posix_memalign", "by_aligned_alloc", "by_valloc",
};

static long n_operations;
static struct tally tallies[N_THREADS][N_OWNERS];
static struct slot *slots[N_THREADS]; /* from mmap: the log is not part of what it counts */
static struct slot mailbox[N_MAILBOX];
static pthread_mutex_t mailbox_lock = PTHREAD_MUTEX_INITIALIZER;

NAMED void *by_malloc(size_t n)
{
    void *p = malloc(n);
    KEEP(p);
    return p;
}

NAMED void *by_calloc(size_t n)
{
    void *p = calloc(n, 1);
    KEEP(p);
    return p;
}

NAMED void *by_realloc(void *old, size_t n)
{
    void *p = realloc(old, n);
    KEEP(p);
    return p;
}

NAMED void *by_realloc_new(size_t n)
{
    void *p = realloc(NULL, n);
    KEEP(p);
    return p;
}

NAMED void *by_reallocarray(void *old, size_t n)
{
    void *p = reallocarray(old, n, 3);
    KEEP(p);
    return p;
}

NAMED void *by_memalign(size_t n)
{
    void *p = memalign(64, n);
    KEEP(p);
    return p;
}

NAMED void *by_posix_memalign(size_t n)
{
    void *p = NULL;
    int err = posix_memalign(&p, 128, n);
    KEEP(p);
    return err ? NULL : p;
}

NAMED void *by_aligned_alloc(size_t n)
{
    void *p = aligned_alloc(32, n);
    KEEP(p);
    return p;
}

NAMED void *by_valloc(size_t n)
{
    void *p = valloc(n);
    KEEP(p);
    return p;
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void log_alloc(struct tally *mine, struct slot *slot, void *p, size_t size, int owner)
{
    check(p, owner_names[owner]);
    mine[owner].allocated++;
    mine[owner].allocated_bytes += (long)size;
    *slot = (struct slot){p, size, owner};
}

static void log_free(struct tally *mine, const struct slot *slot)
{
    mine[slot->owner].freed++;
    mine[slot->owner].freed_bytes += (long)slot->size;
}

static void allocate(struct tally *mine, struct slot *slot, size_t size, int how)
{
    switch (how) {
    case MALLOC: log_alloc(mine, slot, by_malloc(size), size, MALLOC); break;
    case CALLOC: log_alloc(mine, slot, by_calloc(size), size, CALLOC); break;
    case REALLOC_NEW: log_alloc(mine, slot, by_realloc_new(size), size, REALLOC_NEW); break;
    case REALLOCARRAY:
        log_alloc(mine, slot, by_reallocarray(NULL, size), 3 * size, REALLOCARRAY);
        break;
    case MEMALIGN: log_alloc(mine, slot, by_memalign(size), size, MEMALIGN); break;
    case POSIX_MEMALIGN:
        log_alloc(mine, slot, by_posix_memalign(size), size, POSIX_MEMALIGN);
        break;
    case ALIGNED_ALLOC:
        log_alloc(mine, slot, by_aligned_alloc(size), size, ALIGNED_ALLOC);
        break;
    default: log_alloc(mine, slot, by_valloc(size), size, VALLOC);
    }
}

static void reallocate(struct tally *mine, struct slot *slot, size_t size, bool array)
{
    log_free(mine, slot);
    if (array)
        log_alloc(mine, slot, by_reallocarray(slot->p, size), 3 * size, REALLOCARRAY);
    else
        log_alloc(mine, slot, by_realloc(slot->p, size), size, REALLOC);
}

/* Objects change hands, so that many are freed by another thread than allocated them. */
static void exchange(struct slot *slot, size_t place)
{
    pthread_mutex_lock(&mailbox_lock);
    struct slot mine = *slot;
    *slot = mailbox[place];
    mailbox[place] = mine;
    pthread_mutex_unlock(&mailbox_lock);
}

static void *worker(void *arg)
{
    size_t me = (size_t)arg;
    struct tally *mine = tallies[me];
    uint64_t state = 88172645463325252u + me * 7919;
    for (long i = 0; i < n_operations; i++) {
        uint64_t r = random_next(&state);
        struct slot *slot = &slots[me][r % N_SLOTS];
        size_t size = 1 + (r >> 20) % ((r >> 60) ? 500 : 20000);
        if ((r >> 44) % 16 == 0)
            exchange(slot, (r >> 32) % N_MAILBOX);
        if (!slot->p) {
            int how = (int)((r >> 50) % 64);
            static const uint8_t choice[] = {REALLOC_NEW, REALLOCARRAY, MEMALIGN,
                                             POSIX_MEMALIGN, ALIGNED_ALLOC};
            if (how == 63)
                allocate(mine, slot, size % 100, VALLOC);
            else if (how < 50)
                allocate(mine, slot, (r >> 40) % 1024 ? size : 0, how % 2 ? MALLOC : CALLOC);
            else
                allocate(mine, slot, size, choice[how % 5]);
        } else if ((r >> 50) % 4 == 0) {
            reallocate(mine, slot, size, (r >> 52) % 4 == 0);
        } else {
            log_free(mine, slot);
            free(slot->p);
            *slot = (struct slot){0};
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    n_operations = argc > 1 ? atol(argv[1]) : 400000;
    pthread_t threads[N_THREADS];
    for (size_t i = 0; i < N_THREADS; i++) {
        slots[i] = mmap(NULL, N_SLOTS * sizeof *slots[i], PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        check(slots[i] != MAP_FAILED, "mmap");
    }
    for (size_t i = 0; i < N_THREADS; i++)
        check(!pthread_create(&threads[i], NULL, worker, (void *)i), "pthread_create");
    for (size_t i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int owner = 0; owner < N_OWNERS; owner++) {
        struct tally sum = {0};
        for (int i = 0; i < N_THREADS; i++) {
            sum.allocated += tallies[i][owner].allocated;
            sum.allocated_bytes += tallies[i][owner].allocated_bytes;
            sum.freed += tallies[i][owner].freed;
            sum.freed_bytes += tallies[i][owner].freed_bytes;
        }
        printf("%s %ld %ld %ld %ld\n", owner_names[owner], sum.allocated, sum.allocated_bytes,
               sum.allocated - sum.freed, sum.allocated_bytes - sum.freed_bytes);
    }
    return 0;
}
