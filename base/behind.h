/* behind - what dlsym(RTLD_NEXT) finds from here, without asking it 150 times at every start.
 *
 * The loader searches the objects of the start in the order of its list.  Where libc stands behind us, defines a
 * function, and nothing between us and libc has that name, the answer is libc's; where the list ends with libc and the
 * loader and none of them has it, there is none.  All else is left to dlsym(): an allocator or another preloaded library
 * in between, a function that is chosen when it is bound (IFUNC), an object without a GNU hash table or with a filtee,
 * a libc that comes before us (dlopen), and an auditor, which may answer dlsym() otherwise.
 * LD_DYNAMIC_WEAK, with which a definition behind libc comes before libc's weak one, is not minded.
 *
 * What is read are the objects' own tables, which lie there as long as the process; the list up to there does not
 * change after the start.  Takes the loader's lock once, in behind_init(), like dlsym().
 * Formats: gnu_hash as in glibc's elf/dl-lookup.c, versions as in LSB 5, Symbol Versioning. */
#ifndef CPROF_BASE_BEHIND_H
#define CPROF_BASE_BEHIND_H

#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BEHIND_MAX = 32 }; /* with more of them dlsym() is asked */

struct behind_object {
    uintptr_t bias;
    const ElfW(Sym) * symbols;
    const char *strings;
    const uint16_t *versions; /* NULL: it has none */
    const ElfW(Addr) * bloom;
    const uint32_t *buckets, *chains; /* by the symbol's number */
    uint32_t n_buckets, n_bloom, bloom_shift;
};

struct behind {
    size_t n; /* objects; 0: nothing is known */
    size_t libc;
    bool is_all; /* there are no others */
    struct behind_object objects[BEHIND_MAX];
};

/* `here` lies in the object behind which is looked. */
void behind_init(struct behind *ret_behind, const void *here);

/* True: dlsym() would answer *ret_function, which may be NULL.  False: it is to be asked. */
bool behind_find(const struct behind *behind, const char *name, void **ret_function);

/* Every name that libc has is libc's. */
bool behind_begins_with_libc(const struct behind *behind);

/* NULL: the object has no such function, or it is chosen when it is bound.  Signal-safe. */
void *behind_find_function(const struct behind_object *object, const char *name);

#endif
