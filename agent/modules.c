/* modules - see modules.h. */
#include "agent/modules.h"

#include <dlfcn.h>
#include <elf.h>
#include <limits.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>

#include "agent/mappings.h"
#include "agent/thread.h"
#include "base/arena.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "base/text.h"

enum { PAGE_BYTES = 4096 };

static struct module *_Atomic table[MODULES_MAX] LARGE;
static _Atomic uint32_t n_modules; /* slots below it are filled, or about to be */
_Atomic uint32_t modules_now = 1;

/* Since glibc 2.35; without it every frame is MODULE_UNKNOWN until the snapshot asks the kernel. */
#pragma weak _dl_find_object

/* ---- where an address lies now, from the loader ---- */

struct found {
    uintptr_t start; /* of the object, or of one of its segments when they do not adjoin */
    uintptr_t bias;
    const char *name;
    const struct link_map *map; /* its identity while it is loaded */
};

static bool find_loaded(uintptr_t pc, struct found *ret_found)
{
    struct dl_find_object object;

    if (!_dl_find_object || _dl_find_object((void *)pc, &object) != 0)  // NOLINT
        return false;
    *ret_found = (struct found){
        .start = (uintptr_t)object.dlfo_map_start,
        .bias = object.dlfo_link_map->l_addr,
        .name = object.dlfo_link_map->l_name,
        .map = object.dlfo_link_map,
    };
    return true;
}

/* The main executable has no name in the loader's list. */
static char main_path[PATH_MAX];

/* Without an interpreter the kernel started the loader itself, as in `ld.so ./program`: what it links to is the loader
 * then.  Valgrind 3.24 cuts the link short. */
static bool find_by_link(void)
{
    struct stat st;

    return getauxval(AT_BASE) != 0 &&
           sys_readlink("/proc/self/exe", main_path, sizeof main_path - 1) > 0 &&
           sys_stat(main_path, &st) == 0 && S_ISREG(st.st_mode);
}

/* The loader says where the program's headers are: they lie in its file. */
static bool find_by_headers(void)
{
    return mappings_find_file(getauxval(AT_PHDR), main_path, sizeof main_path);
}

void modules_init(void)
{
    if (find_by_link() || find_by_headers())
        return;
    const char *typed = (const char *)getauxval(AT_EXECFN);
    strncpy(main_path, typed ? typed : "[exe]", sizeof main_path - 1);
}

const char *modules_main_path(void)
{
    return main_path;
}

static const char *path_of(const struct found *found)
{
    return found->name && *found->name ? found->name : main_path;
}

/* ---- what an object says of itself ---- */

static void read_build_id(struct module *module, const char *note, size_t size)
{
    while (size >= sizeof(ElfW(Nhdr))) {
        const ElfW(Nhdr) *head = (const void *)note;
        const size_t name_size = (head->n_namesz + 3u) & ~3u;
        const size_t whole = sizeof *head + name_size + ((head->n_descsz + 3u) & ~3u);
        if (whole > size)
            return;
        if (head->n_type == NT_GNU_BUILD_ID && head->n_namesz == 4 &&
            head->n_descsz <= MODULE_BUILD_ID_BYTES && memcmp(head + 1, "GNU", 4) == 0) {
            module->build_id_size = (uint8_t)head->n_descsz;
            memcpy(module->build_id, (const char *)(head + 1) + name_size, head->n_descsz);
            return;
        }
        note += whole;
        size -= whole;
    }
}

static void add_segment(struct module *module, const ElfW(Phdr) * segment)
{
    const uintptr_t start = (module->bias + segment->p_vaddr) & ~(uintptr_t)(PAGE_BYTES - 1);
    const uintptr_t limit =
        (module->bias + segment->p_vaddr + segment->p_memsz + PAGE_BYTES - 1) &
        ~(uintptr_t)(PAGE_BYTES - 1);

    if (!module->limit || start < module->start)
        module->start = start;
    if (limit > module->limit)
        module->limit = limit;
    if (segment->p_flags & PF_X && module->n_ranges < MODULE_RANGES_MAX)
        module->ranges[module->n_ranges++] = (struct module_range){
            .start = start,
            .limit = limit,
            .file_offset = segment->p_offset & ~(uint64_t)(PAGE_BYTES - 1),
        };
}

struct headers {
    const ElfW(Phdr) * segments;
    size_t n;
};

static bool read_elf(uintptr_t start, struct headers *ret_headers)
{
    const ElfW(Ehdr) *elf = (const void *)start;

    if (memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0 || elf->e_phentsize != sizeof(ElfW(Phdr)))
        return false;
    *ret_headers = (struct headers){(const void *)(start + elf->e_phoff), elf->e_phnum};
    return true;
}

/* Of the main executable the kernel tells.  Else the ELF header is the first thing of the first segment
 * in everything that linkers make: where the loader says that the object starts, or at its bias. */
static bool find_headers(const struct found *found, struct headers *ret_headers)
{
    struct found at_bias;

    if (!found->name || !*found->name) {
        *ret_headers = (struct headers){(const void *)getauxval(AT_PHDR), getauxval(AT_PHNUM)};
        return ret_headers->segments != NULL;
    }
    return read_elf(found->start, ret_headers) ||
           (found->bias != found->start && find_loaded(found->bias, &at_bias) &&
            at_bias.map == found->map && read_elf(found->bias, ret_headers));
}

/* Without headers the module has no ranges, and its frames count as unknown. */
static void read_headers(struct module *module, const struct found *found)
{
    struct headers headers;

    if (!find_headers(found, &headers))
        return;
    for (size_t i = 0; i < headers.n; i++) {
        const ElfW(Phdr) *segment = &headers.segments[i];
        if (segment->p_type == PT_LOAD)
            add_segment(module, segment);
        else if (segment->p_type == PT_NOTE && !module->build_id_size)
            read_build_id(module, (const char *)(module->bias + segment->p_vaddr),
                          segment->p_memsz);
    }
}

static struct module *module_new(const struct found *found)
{
    const char *path = path_of(found);
    const size_t path_size = strlen(path) + 1;
    struct module *module = arena_alloc(sizeof *module + path_size);

    if (!module)
        return NULL;
    module->bias = found->bias;
    module->path = memcpy(module + 1, path, path_size);
    read_headers(module, found);
    return module;
}

/* ---- the table ---- */

static bool holds(const struct module *module, uintptr_t pc)
{
    return pc >= module->start && pc < module->limit;
}

static bool is_same(const struct module *module, const struct found *found)
{
    return module->bias == found->bias && strcmp(module->path, path_of(found)) == 0;
}

/* The same file, byte for byte, as far as its build id and its segments tell. */
static bool has_same_build(const struct module *module, const struct found *found)
{
    struct module now = {.bias = module->bias};

    read_headers(&now, found);
    return now.limit == module->limit && now.build_id_size == module->build_id_size &&
           memcmp(now.build_id, module->build_id, now.build_id_size) == 0;
}

/* Believes a module of an earlier epoch only when it is still there. */
static bool revalidate(struct module *module)
{
    const uint32_t now = modules_epoch();
    struct found found;

    if (load_relaxed(&module->epoch) == now)
        return true;
    if (!module->n_ranges || !find_loaded(module->ranges[0].start, &found) ||
        !is_same(module, &found) || !has_same_build(module, &found))
        return false;
    store_relaxed(&module->epoch, now);
    return true;
}

/* Puts it into the first free slot from `n` on, up to which the caller has searched.  Two threads may
 * add the same object at once: the later one finds the earlier one's in a slot it tries and takes that. */
static const struct module *publish(struct module *module, const struct found *found,
                                    uint32_t n)
{
    for (uint32_t i = n; i < MODULES_MAX; i++) {
        struct module *other = NULL;
        module->id = (uint16_t)i;
        store_relaxed(&module->epoch, modules_epoch());
        if (cas_acq_rel(&table[i], &other,
                        module)) { /* pairs with load_acquire in modules_get */
            uint32_t seen = i;
            while (seen <= i && !cas_acq_rel(&n_modules, &seen, i + 1))
                ;
            return module;
        }
        if (is_same(other, found) && revalidate(other))
            return other;
    }
    return NULL;
}

static _Atomic uint64_t n_refused;

uint64_t modules_n_refused(void)
{
    return load_relaxed(&n_refused);
}

/* The table is full for good.  An object counts once, not at each look at it; when very many are
 * refused one may count again, for it is remembered by the place that its hash gives. */
static COLD void count_refused(const struct found *found)
{
    enum { PLACES = 256 };
    static _Atomic uint64_t refused[PLACES] LARGE;
    const uint64_t hash = text_hash(found->bias, path_of(found));

    if (swap_acq_rel(&refused[hash >> 32 & (PLACES - 1)], hash) != hash)
        add_relaxed(&n_refused, 1);
}

const struct module *modules_find(uintptr_t pc)
{
    static _Atomic uint32_t last; /* where the last search ended: stacks stay in few modules */
    const uint32_t n = load_acquire(&n_modules); /* pairs with publish */
    const uint32_t first = load_relaxed(&last);
    struct found found;

    for (uint32_t i = 0; i < n; i++) {
        const uint32_t at = first + i < n ? first + i : first + i - n;
        struct module *module = load_acquire(&table[at < n ? at : 0]);
        if (module && holds(module, pc) && revalidate(module)) {
            store_relaxed(&last, at);
            return module;
        }
    }
    if (!find_loaded(pc, &found))
        return NULL;
    if (n == MODULES_MAX) {
        count_refused(&found);
        return NULL;
    }
    struct module *module = module_new(&found);
    return module ? publish(module, &found, n) : NULL;
}

const struct module *modules_get(uint16_t id)
{
    return id < MODULES_MAX ? load_acquire(&table[id]) : NULL;
}

size_t modules_count(void)
{
    return load_acquire(&n_modules);
}

bool modules_is_current(const struct module *module)
{
    return load_relaxed(&module->epoch) == modules_epoch();
}

bool modules_is_same_object(const void *a, const void *b)
{
    struct found found_a, found_b;

    return find_loaded((uintptr_t)a, &found_a) && find_loaded((uintptr_t)b, &found_b) &&
           found_a.map == found_b.map;
}

void modules_on_unload(void)
{
    atomic_fetch_add_explicit(&modules_now, 1, memory_order_acq_rel);
}

void modules_set_file(uint16_t id, const char *file)
{
    struct module *module = load_acquire(&table[id]);
    const size_t size = strlen(file) + 1;

    if (*module->path == '/' || load_relaxed(&module->file))
        return;
    char *copy = arena_alloc(size);
    if (copy)
        store_release(&module->file, memcpy(copy, file, size)); /* pairs with module_file */
}

const char *module_file(const struct module *module)
{
    const char *file = load_acquire(&module->file); /* pairs with modules_set_file */

    return file ? file : module->path;
}

const char *module_name(const struct module *module)
{
    const char *slash = strrchr(module->path, '/');

    return slash ? slash + 1 : module->path;
}
