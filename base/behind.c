/* behind - see behind.h. */
#include "base/behind.h"

#include <dlfcn.h>
#include <gnu/lib-names.h>
#include <stdbool.h>
#include <string.h>

#include "base/compiler.h"

#pragma weak _r_debug /* of the loader, which is not linked with */

enum { WORD_BITS = 8 * sizeof(ElfW(Addr)) };

/* ---- what an object says of itself ---- */

static uintptr_t distance(uintptr_t a, uintptr_t b)
{
    return a < b ? b - a : a - b;
}

/* The loader has made addresses of them, unless it could not write there: they lie near what is read.  An object that was
 * linked for a place may be moved down from there, too. */
static const void *address(const struct link_map *map, uintptr_t value)
{
    const uintptr_t at = (uintptr_t)map->l_ld, moved = map->l_addr + value;

    return (const void *)(distance(moved, at) < distance(value, at) ? moved : value);  // NOLINT
}

static void read_hash(struct behind_object *object, const uint32_t *table)
{
    object->n_buckets = table[0];
    object->n_bloom = table[2];
    object->bloom_shift = table[3];
    object->bloom = (const void *)(table + 4);
    object->buckets = (const void *)(object->bloom + object->n_bloom);
    object->chains =
        object->buckets + object->n_buckets - table[1]; /* of the first symbol in it */
}

/* False: its names cannot be looked up here. */
static bool read_object(const struct link_map *map, struct behind_object *ret,
                        const char **ret_soname)
{
    ElfW(Addr) soname = 0;

    *ret = (struct behind_object){.bias = map->l_addr};
    for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++)
        switch (entry->d_tag) {
        case DT_GNU_HASH: read_hash(ret, address(map, entry->d_un.d_ptr)); break;
        case DT_SYMTAB: ret->symbols = address(map, entry->d_un.d_ptr); break;
        case DT_STRTAB: ret->strings = address(map, entry->d_un.d_ptr); break;
        case DT_VERSYM: ret->versions = address(map, entry->d_un.d_ptr); break;
        case DT_SONAME: soname = entry->d_un.d_val; break;
        case DT_FILTER:
        case DT_AUXILIARY: return false;
        default: break;
        }
    *ret_soname = soname && ret->strings ? ret->strings + soname : "";
    return ret->n_buckets && ret->n_bloom && ret->symbols && ret->strings;
}

/* Adds the next one; NULL: there is none, or its names cannot be looked up here. */
static struct link_map *add_next(struct behind *behind, struct link_map *map,
                                 const char **ret_soname)
{
    map = map->l_next;
    if (!map || behind->n == BEHIND_MAX ||
        !read_object(map, &behind->objects[behind->n], ret_soname))
        return NULL;
    behind->n++;
    return map;
}

/* Those behind `map`. */
static void read_list(struct behind *ret, struct link_map *map)
{
    const char *soname = "";
    bool has_loader = false;

    ret->n = 0;
    ret->is_all = false;
    while (strcmp(soname, LIBC_SO) != 0) {
        has_loader |= strcmp(soname, LD_SO) == 0;
        if (!(map = add_next(ret, map, &soname))) {
            ret->n = 0;
            return;
        }
    }
    ret->libc = ret->n - 1;
    /* The loader is there from the start: as long as it was not met, what follows is no object that may be unloaded. */
    if (!has_loader && map->l_next)
        map = add_next(ret, map, &soname);
    ret->is_all = map && !map->l_next;
}

/* As the loader tells debuggers: others than the first one, where auditors (LD_AUDIT) live, since glibc 2.35. */
static bool has_namespaces(void)
{
    return &_r_debug && _r_debug.r_version > 1;
}

void behind_init(struct behind *ret, const void *here)
{
    Dl_info info;
    struct link_map *map;

    ret->n = 0;
    ret->is_all = false;
    if (has_namespaces())
        return;
    if (dladdr1(here, &info, (void **)&map, RTLD_DL_LINKMAP))
        read_list(ret, map);
}

/* ---- a name ---- */

static uint32_t gnu_hash(const char *name)
{
    uint32_t hash = 5381;

    while (*name)
        hash = hash * 33 + (uint8_t)*name++;
    return hash;
}

/* Which one a name without a version means: one that is defined, and not an old version (hidden).  The numbers up to
 * VER_NDX_GLOBAL are no versions that could be hidden. */
static bool is_meant(const struct behind_object *object, uint32_t i, const char *name)
{
    enum { HIDDEN_VERSION = 0x8000 };

    return object->symbols[i].st_shndx != SHN_UNDEF &&
           !(object->versions && object->versions[i] > (HIDDEN_VERSION | VER_NDX_GLOBAL)) &&
           strcmp(object->strings + object->symbols[i].st_name, name) == 0;
}

static const ElfW(Sym) *
    find_in(const struct behind_object *object, const char *name, uint32_t hash)
{
    const ElfW(Addr) word = object->bloom[hash / WORD_BITS & (object->n_bloom - 1)];
    uint32_t i;

    if (!(word >> hash % WORD_BITS & word >> (hash >> object->bloom_shift) % WORD_BITS & 1) ||
        !(i = object->buckets[hash % object->n_buckets]))
        return NULL;
    for (;; i++) {
        if ((object->chains[i] | 1) == (hash | 1) && is_meant(object, i, name))
            return &object->symbols[i];
        if (object->chains[i] & 1) /* the last one in this bucket */
            return NULL;
    }
}

static void *function_of(const struct behind_object *object, const ElfW(Sym) * symbol)
{
    return symbol && ELF64_ST_TYPE(symbol->st_info) == STT_FUNC
               ? (void *)(object->bias + symbol->st_value)  // NOLINT
               : NULL;
}

void *behind_find_function(const struct behind_object *object, const char *name)
{
    return function_of(object, find_in(object, name, gnu_hash(name)));
}

bool behind_begins_with_libc(const struct behind *behind)
{
    return behind->n > 0 && behind->libc == 0;
}

bool behind_find(const struct behind *behind, const char *name, void **ret)
{
    const uint32_t hash = gnu_hash(name);
    const ElfW(Sym) *symbol = NULL;
    size_t i;

    for (i = 0; i < behind->n; i++)
        if ((symbol = find_in(&behind->objects[i], name, hash)))
            break;
    *ret = NULL;
    if (!symbol)
        return behind->is_all;
    if (i == behind->libc)
        *ret = function_of(&behind->objects[i], symbol);
    return *ret;
}
