/* hooks - see hooks.h. The formats: System V ABI, chapters 4 and 5; Linux Standard Base Core 5.0, 10.7 (versions). */
#include "agent/hooks.h"

#include "base/compiler.h"

#if defined(__x86_64__) || defined(__aarch64__)

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

#include "agent/modules.h"
#include "agent/stack.h"
#include "agent/thread.h"
#include "agent/unwind.h"
#include "base/arena.h"
#include "base/sys.h"

enum { PAGE_BYTES = 4096 };

#if defined(__aarch64__)
enum {
    ENTRY_BYTES = 32,
    OTHERS_AT = 64,
    CALL_BYTES = 416,
    R_JUMP_SLOT = R_AARCH64_JUMP_SLOT,
    R_GLOB_DAT = R_AARCH64_GLOB_DAT,
    R_WORD = R_AARCH64_ABS64,
};
#else
enum {
    ENTRY_BYTES = 16,
    OTHERS_AT = 48,
    CALL_BYTES = 400,
    R_JUMP_SLOT = R_X86_64_JUMP_SLOT,
    R_GLOB_DAT = R_X86_64_GLOB_DAT,
    R_WORD = R_X86_64_64,
};
#endif

extern const char hook_entries[], hook_entries_end[] HIDDEN;
void hook_release(void) HIDDEN;
void hook_acquire(void) HIDDEN;
void hook_caller(void) HIDDEN;

/* What hookcall.S knows. */
HIDDEN struct hook hooks_table[HOOKS_MAX] LARGE ALIGNED(64);
_Static_assert(sizeof(struct hook) == 32 && offsetof(struct hook, handler) == 8 &&
                   offsetof(struct hook, flags) == 24,
               "hookcall.S");
_Static_assert(offsetof(struct hook_call, others) == OTHERS_AT &&
                   offsetof(struct hook_call, hook) == OTHERS_AT + 16 &&
                   offsetof(struct hook_call, stack) == OTHERS_AT + 24 &&
                   offsetof(struct hook_call, result) == OTHERS_AT + 32 &&
                   offsetof(struct hook_call, vectors) == OTHERS_AT + 48 &&
                   offsetof(struct hook_call, n_taken) == OTHERS_AT + 176 &&
                   sizeof(struct hook_call) == CALL_BYTES,
               "hookcall.S");

/* What mprotect() counts in. */
static inline uintptr_t page_bytes(void)
{
#if defined(__aarch64__)
    return getauxval(AT_PAGESZ); /* 4, 16 or 64 KiB */
#else
    return PAGE_BYTES;
#endif
}

static struct hook_target *targets;
static size_t n_targets;
static size_t n_hooks; /* changed under the loader's lock, like all below */

bool hooks_is_supported(void)
{
    return true;
}

/* ---- names: an open-addressed table of the targets ---- */

enum { NAMES = 2048 };
static uint16_t names[NAMES] LARGE; /* number of a target + 1 */

static uint32_t hash_of(const char *name)
{
    uint32_t hash = 5381; /* DT_GNU_HASH's */

    for (; *name; name++)
        hash = hash * 33 + (unsigned char)*name;
    return hash;
}

static struct hook_target *find_target(const char *name)
{
    for (uint32_t i = hash_of(name);; i++) {
        const uint16_t number = names[i % NAMES];
        if (!number)
            return NULL;
        if (strcmp(targets[number - 1].name, name) == 0)
            return &targets[number - 1];
    }
}

void hooks_init(struct hook_target *wanted, size_t n)
{
    targets = wanted;
    n_targets = n < NAMES / 2 ? n : NAMES / 2;
    for (size_t i = 0; i < n_targets; i++) {
        uint32_t at = hash_of(targets[i].name);
        while (names[at % NAMES])
            at++;
        names[at % NAMES] = (uint16_t)(i + 1);
    }
}

/* ---- a loaded object, as its dynamic section describes it ---- */

struct loaded {
    uintptr_t bias;
    const char *name;
    const ElfW(Phdr) * segments;
    size_t n_segments;
    const ElfW(Sym) * symbols;
    const char *strings;
    const uint32_t *gnu_hash, *sysv_hash;
    const ElfW(Half) * versions;
    const ElfW(Verdef) * defined;
    const ElfW(Verneed) * needed;
    const ElfW(Rela) * slots, *relocations;
    size_t n_slots, n_relocations;
    bool is_symbolic; /* looks into itself first */
};

/* The loader adds the bias to the section's addresses, except where it is read-only (vdso). */
static const void *dynamic_address(const struct loaded *object, uintptr_t value)
{
    return (const void *)(value < object->bias ? object->bias + value : value);  // NOLINT
}

static void read_dynamic(struct loaded *object, const ElfW(Dyn) * dynamic)
{
    for (; dynamic->d_tag != DT_NULL; dynamic++) {
        const uintptr_t value = dynamic->d_un.d_val;
        const void *at = dynamic_address(object, value);
        switch (dynamic->d_tag) {
        case DT_SYMTAB: object->symbols = at; break;
        case DT_STRTAB: object->strings = at; break;
        case DT_GNU_HASH: object->gnu_hash = at; break;
        case DT_HASH: object->sysv_hash = at; break;
        case DT_VERSYM: object->versions = at; break;
        case DT_VERDEF: object->defined = at; break;
        case DT_VERNEED: object->needed = at; break;
        case DT_JMPREL: object->slots = at; break;
        case DT_PLTRELSZ: object->n_slots = value / sizeof(ElfW(Rela)); break;
        case DT_RELA: object->relocations = at; break;
        case DT_RELASZ: object->n_relocations = value / sizeof(ElfW(Rela)); break;
        case DT_SYMBOLIC: object->is_symbolic = true; break;
        case DT_FLAGS: object->is_symbolic |= (value & DF_SYMBOLIC) != 0; break;
        default: break;
        }
    }
    if (!object->slots)
        object->n_slots = 0;
    if (!object->relocations)
        object->n_relocations = 0;
}

static bool read_object(const struct dl_phdr_info *info, struct loaded *ret_object)
{
    *ret_object = (struct loaded){
        .bias = info->dlpi_addr,
        .name = info->dlpi_name,
        .segments = info->dlpi_phdr,
        .n_segments = info->dlpi_phnum,
    };
    for (size_t i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
            read_dynamic(
                ret_object,
                (const void *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr));  // NOLINT
    return ret_object->symbols && ret_object->strings;
}

static const ElfW(Phdr) *
    segment_at(const struct loaded *object, uint32_t type, uintptr_t address)
{
    for (size_t i = 0; i < object->n_segments; i++) {
        const ElfW(Phdr) *segment = &object->segments[i];
        if (segment->p_type == type &&
            address - (object->bias + segment->p_vaddr) < segment->p_memsz)
            return segment;
    }
    return NULL;
}

static bool holds(const struct loaded *object, uintptr_t address)
{
    return segment_at(object, PT_LOAD, address) != NULL;
}

/* The part that the loader closes when the object is relocated, as it rounds it.  False: none. */
static bool find_relro(const struct loaded *object, uintptr_t *ret_start, uintptr_t *ret_limit)
{
    const uintptr_t mask = ~(page_bytes() - 1);

    for (size_t i = 0; i < object->n_segments; i++) {
        const ElfW(Phdr) *segment = &object->segments[i];
        if (segment->p_type != PT_GNU_RELRO)
            continue;
        *ret_start = (object->bias + segment->p_vaddr) & mask;
        *ret_limit = (object->bias + segment->p_vaddr + segment->p_memsz) & mask;
        return *ret_start < *ret_limit;
    }
    return false;
}

/* ---- objects that another thread's dlopen() is still busy with ----
 *
 * They are listed before they are relocated.  Until then nothing may be written into them, closed, or called. */

/* Asks the kernel to add 0 to the word there, in one step. */
static bool is_writable(uintptr_t address)
{
    enum { ADD_NOTHING = FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_LT, 0) };
    uint32_t nobody = 0;

    return SYS_CALL(SYS_futex, &nobody, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 0, 0, address,
                    ADD_NOTHING) >= 0;
}

/* The loader fills the slots of the PLT last, in their order: before that the last one holds an address without the bias. */
static bool is_last_slot_raw(const struct loaded *object)
{
    for (size_t i = object->n_slots; i-- > 0;) {
        const ElfW(Rela) *slot = &object->slots[i];
        if (ELF64_R_TYPE(slot->r_info) != R_JUMP_SLOT)
            continue;
        const uintptr_t value =
            load_acquire((_Atomic uintptr_t *)(object->bias + slot->r_offset));  // NOLINT
        return value && !holds(object, value) && holds(object, object->bias + value);
    }
    return false;
}

static bool is_being_loaded(const struct loaded *object)
{
    uintptr_t start, limit;

    return find_relro(object, &start, &limit) ? is_writable(start) : is_last_slot_raw(object);
}

/* ---- symbols and their versions ---- */

typedef bool match(const struct loaded *object, uint32_t symbol, const char *version);

static bool is_named(const struct loaded *object, uint32_t symbol, const char *name)
{
    return strcmp(object->strings + object->symbols[symbol].st_name, name) == 0;
}

static uint32_t find_gnu(const struct loaded *object, const char *name, const char *version,
                         match *fits)
{
    const uint32_t *table = object->gnu_hash;
    const uint32_t n_buckets = table[0], first = table[1], n_bloom = table[2];
    const uint32_t hash = hash_of(name);
    const uint32_t *buckets = table + 4 + (size_t)n_bloom * 2; /* words of 64 bits */
    const uint32_t *chains = buckets + n_buckets;

    if (!n_buckets)
        return 0;
    uint32_t i = buckets[hash % n_buckets];
    if (i < first)
        return 0;
    for (;; i++) {
        const uint32_t other = chains[i - first];
        if ((other | 1) == (hash | 1) && is_named(object, i, name) && fits(object, i, version))
            return i;
        if (other & 1)
            return 0;
    }
}

static uint32_t find_sysv(const struct loaded *object, const char *name, const char *version,
                          match *fits)
{
    const uint32_t *table = object->sysv_hash;
    const uint32_t n_buckets = table[0];
    uint32_t hash = 0;

    for (const char *c = name; *c; c++) {
        hash = (hash << 4) + (unsigned char)*c;
        hash = (hash ^ (hash & 0xf0000000) >> 24) & 0x0fffffff;
    }
    if (!n_buckets)
        return 0;
    for (uint32_t i = table[2 + hash % n_buckets]; i; i = table[2 + n_buckets + i])
        if (is_named(object, i, name) && fits(object, i, version))
            return i;
    return 0;
}

/* Number of the symbol; 0: none. */
static uint32_t find_symbol(const struct loaded *object, const char *name, const char *version,
                            match *fits)
{
    if (object->gnu_hash)
        return find_gnu(object, name, version, fits);
    return object->sysv_hash ? find_sysv(object, name, version, fits) : 0;
}

/* The version that the reference number `symbol` asks for; NULL: any. */
static const char *needed_version(const struct loaded *object, uint32_t symbol)
{
    const ElfW(Verneed) *need = object->needed;
    const uint32_t wanted = object->versions ? object->versions[symbol] & 0x7fff : 0;

    while (need && wanted > VER_NDX_GLOBAL) {
        const ElfW(Vernaux) *aux = (const void *)((const char *)need + need->vn_aux);
        for (uint32_t i = 0; i < need->vn_cnt; i++) {
            if ((aux->vna_other & 0x7fff) == wanted)
                return object->strings + aux->vna_name;
            aux = (const void *)((const char *)aux + aux->vna_next);
        }
        need = need->vn_next ? (const void *)((const char *)need + need->vn_next) : NULL;
    }
    return NULL;
}

static const char *defined_version(const struct loaded *object, uint32_t number)
{
    const ElfW(Verdef) *definition = object->defined;

    while (definition) {
        if (definition->vd_ndx == number) {
            const ElfW(Verdaux) *aux =
                (const void *)((const char *)definition + definition->vd_aux);
            return object->strings + aux->vda_name;
        }
        definition = definition->vd_next
                         ? (const void *)((const char *)definition + definition->vd_next)
                         : NULL;
    }
    return NULL;
}

/* A definition that a reference to `version` may be bound to. */
static bool is_definition(const struct loaded *object, uint32_t symbol, const char *version)
{
    const ElfW(Sym) *entry = &object->symbols[symbol];

    if (entry->st_shndx == SHN_UNDEF || !entry->st_value ||
        ELF64_ST_TYPE(entry->st_info) == STT_TLS)
        return false;
    if (!object->versions)
        return true;
    const uint32_t number = object->versions[symbol];
    if (!version)
        return !(number & 0x8000); /* the default one */
    const char *defined = defined_version(object, number & 0x7fff);
    return !defined || strcmp(defined, version) == 0;
}

/* Not defined, but other objects take its address from here: the PLT of an executable at a fixed place. */
static bool is_stand_in(const struct loaded *object, uint32_t symbol, const char *version)
{
    (void)version;
    return object->symbols[symbol].st_shndx == SHN_UNDEF &&
           object->symbols[symbol].st_value != 0;
}

static uintptr_t address_of(const struct loaded *object, uint32_t symbol)
{
    const ElfW(Sym) *entry = &object->symbols[symbol];
    const uintptr_t address = object->bias + entry->st_value;

    if (ELF64_ST_TYPE(entry->st_info) == STT_GNU_IFUNC)
        return ((uintptr_t(*)(void))address)();
    return address;
}

/* ---- which function a slot leads to that the loader has not filled yet ---- */

/* The objects of the start are the global scope, in the order in which they are listed.  Of what came later
 * nobody says who may see it, so one definition is believed and two are not. */
struct lookup {
    const char *name, *version;
    size_t n_objects; /* seen by this look-up */
    uintptr_t found;
    bool is_global, is_ambiguous;
};

static size_t n_start_objects;

static int look_up_in(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct lookup *lookup = arg;
    struct loaded object;
    const bool is_global = lookup->n_objects++ < n_start_objects;

    (void)size;
    if (!read_object(info, &object))
        return 0;
    const uint32_t symbol = find_symbol(&object, lookup->name, lookup->version, is_definition);
    if (!symbol || (!is_global && is_being_loaded(&object)))
        return 0;
    const uintptr_t address = address_of(&object, symbol);
    lookup->is_ambiguous |= lookup->found && lookup->found != address;
    lookup->found = address;
    lookup->is_global = is_global;
    return is_global;
}

/* 0: nothing defines it, or *ret_why says why it cannot be told. */
static uintptr_t look_up(const struct loaded *from, uint32_t symbol, const char **ret_why)
{
    struct lookup lookup = {
        .name = from->strings + from->symbols[symbol].st_name,
        .version = needed_version(from, symbol),
    };

    if (from->is_symbolic) {
        const uint32_t own = find_symbol(from, lookup.name, NULL, is_definition);
        if (own)
            return address_of(from, own);
    }
    dl_iterate_phdr(look_up_in, &lookup);
    if (!lookup.is_ambiguous || lookup.is_global)
        return lookup.found;
    *ret_why = "several objects define it and the loader has not chosen one yet";
    return 0;
}

/* ---- entries ---- */

static uintptr_t entry_of(const struct hook *hook)
{
    return (uintptr_t)hook_entries + (size_t)(hook - hooks_table) * ENTRY_BYTES;
}

static bool is_entry(uintptr_t address)
{
    return address - (uintptr_t)hook_entries <
           (uintptr_t)hook_entries_end - (uintptr_t)hook_entries;
}

static bool is_loaded(const void *function)
{
    return modules_is_same_object(function, function);
}

static const void *handler_for(const struct hook_target *target)
{
    if (target->flags & HOOK_CALLER)
        return (const void *)(uintptr_t)hook_caller;
    return (const void *)(uintptr_t)(target->flags & HOOK_AFTER ? hook_acquire : hook_release);
}

/* The one of (target, real, inside), else a new one, else one of this target whose function was unloaded. */
static struct hook *find_hook(struct hook_target *target, uintptr_t real, bool is_inside)
{
    const uint64_t flags = target->flags | (is_inside ? HOOK_INSIDE : 0);
    struct hook *unloaded = NULL;

    for (size_t i = 0; i < n_hooks; i++) {
        struct hook *hook = &hooks_table[i];
        if (load_relaxed(&hook->target) != target || hook->flags != flags)
            continue;
        const void *other = load_relaxed(&hook->real);
        if ((uintptr_t)other == real)
            return hook;
        if (!is_loaded(other))
            unloaded = hook;
    }
    struct hook *hook = n_hooks < HOOKS_MAX ? &hooks_table[n_hooks++] : unloaded;
    if (!hook)
        return NULL;
    hook->flags = flags;
    store_relaxed(&hook->target, target);
    store_relaxed(&hook->real, (const void *)real);  // NOLINT
    store_release(&hook->handler, handler_for(target));
    return hook;
}

/* ---- slots ---- */

static bool is_relro(const struct loaded *object, uintptr_t slot)
{
    uintptr_t start, limit;

    return find_relro(object, &start, &limit) && slot >= start && slot < limit;
}

static _Atomic bool is_forbidden; /* mprotect */

bool hooks_are_wanted(void)
{
    return n_targets > 0;
}

void hooks_forbid_mprotect(void)
{
    store_relaxed(&is_forbidden, true);
}

static const char *write_slot(const struct loaded *object, uintptr_t slot, uintptr_t value)
{
    const ElfW(Phdr) *segment = segment_at(object, PT_LOAD, slot);
    void *page = (void *)(slot & ~(page_bytes() - 1));  // NOLINT
    const bool is_closed = is_relro(object, slot);

    if (!segment || !(segment->p_flags & PF_W))
        return "a slot lies in memory that is not for writing";
    if (is_closed && load_relaxed(&is_forbidden))
        return "the program forbids itself mprotect";
    if (is_closed && sys_mprotect(page, page_bytes(), PROT_READ | PROT_WRITE) < 0)
        return "the kernel did not let a slot be written";
    store_release((_Atomic uintptr_t *)slot, value);  // NOLINT
    if (is_closed)
        sys_mprotect(page, page_bytes(), PROT_READ);
    return NULL;
}

/* A slot of this object leads into the object itself although the symbol is elsewhere: to the PLT still. */
static bool is_unbound(const struct loaded *object, uint32_t symbol, uintptr_t value)
{
    const ElfW(Sym) *entry = &object->symbols[symbol];

    return holds(object, value) &&
           (entry->st_shndx == SHN_UNDEF || value != object->bias + entry->st_value);
}

static int find_executable(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    return read_object(info, arg) ? 1 : -1; /* the first one */
}

/* The executable's own slot behind that PLT is hooked: the call would be seen twice. */
static bool is_executables_plt(const char *name, uintptr_t value)
{
    struct loaded executable;

    if (dl_iterate_phdr(find_executable, &executable) != 1 || !holds(&executable, value))
        return false;
    const uint32_t symbol = find_symbol(&executable, name, NULL, is_stand_in);
    return symbol && executable.bias + executable.symbols[symbol].st_value == value;
}

/* Its arguments or results may lie in registers that an entry does not keep (SVE). */
static bool has_other_registers(const ElfW(Sym) * symbol)
{
#if defined(__aarch64__)
    enum { VARIANT_PCS = 0x80 };

    return symbol->st_other & VARIANT_PCS;
#else
    (void)symbol;
    return false;
#endif
}

static void miss(struct hook_target *target, const char *why)
{
    add_relaxed(&target->n_missed, 1);
    store_relaxed(&target->why, why);
}

/* False: nothing to be bound to is loaded yet, look again. */
static bool hook_slot(const struct loaded *object, const ElfW(Rela) * slot)
{
    const uint32_t symbol = ELF64_R_SYM(slot->r_info);
    const char *name = object->strings + object->symbols[symbol].st_name;
    const uintptr_t address = object->bias + slot->r_offset;
    struct hook_target *target = find_target(name);
    const char *why = NULL;

    if (!target)
        return true;
    uintptr_t value = *(const uintptr_t *)address;  // NOLINT
    if (!value || is_entry(value))
        return true;
    if (ELF64_R_TYPE(slot->r_info) == R_JUMP_SLOT && is_unbound(object, symbol, value)) {
        value = look_up(object, symbol, &why);
        if (!value && !why)
            return false;
    } else if (is_executables_plt(name, value)) {
        return true;
    }
    if (has_other_registers(&object->symbols[symbol])) {
        miss(target, "it takes or returns vectors in a way of its own");
        return true;
    }
    struct hook *hook = value ? find_hook(target, value, holds(object, value)) : NULL;
    if (value && !hook)
        why = "there are more than 1024 functions to follow";
    if (hook)
        why = write_slot(object, address, entry_of(hook));
    if (why)
        miss(target, why);
    else
        add_relaxed(&target->n_slots, 1);
    return true;
}

static bool is_slot(const ElfW(Rela) * relocation)
{
    switch (ELF64_R_TYPE(relocation->r_info)) {
    case R_JUMP_SLOT:
    case R_GLOB_DAT: return true;
    case R_WORD: return relocation->r_addend == 0 && relocation->r_offset % 8 == 0;
    default: return false;
    }
}

static bool hook_slots(const struct loaded *object, const ElfW(Rela) * slots, size_t n)
{
    bool is_done = true;

    for (size_t i = 0; i < n; i++)
        if (is_slot(&slots[i]) && ELF64_R_SYM(slots[i].r_info))
            is_done &= hook_slot(object, &slots[i]);
    return is_done;
}

static void note_definitions(const struct loaded *object)
{
    const bool is_libc = find_symbol(object, "__libc_start_main", NULL, is_definition) != 0;

    for (size_t i = 0; i < n_targets; i++) {
        struct hook_target *target = &targets[i];
        if (load_relaxed(&target->is_optional) ||
            !find_symbol(object, target->name, NULL, is_definition))
            continue;
        store_relaxed(&target->is_defined, true);
        store_relaxed(&target->is_optional, !is_libc);
    }
}

/* ---- all objects ---- */

/* Those that need not be looked at again, until something is unloaded: then all are. */
enum { DONE_MAX = 2048 };
static const void *done[DONE_MAX] LARGE; /* their program headers */
static size_t n_done;
static unsigned long long seen_unloads;

static bool is_done(const void *segments)
{
    for (size_t i = 0; i < n_done; i++)
        if (done[i] == segments)
            return true;
    return false;
}

/* The agent's own calls, the loader's and the kernel's stay as they are. */
static bool is_left_alone(const struct loaded *object)
{
    return holds(object, (uintptr_t)hook_entries) ||
           (!object->n_slots && !object->n_relocations) ||
           (object->symbols && find_symbol(object, "__tls_get_addr", NULL, is_definition));
}

static int scan_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct loaded object;
    const bool is_of_start = (*(size_t *)arg)++ < n_start_objects;

    (void)size;
    if (info->dlpi_subs != seen_unloads) {
        seen_unloads = info->dlpi_subs;
        n_done = 0;
    }
    if (is_done(info->dlpi_phdr))
        return 0;
    bool is_finished = true;
    if (read_object(info, &object)) {
        if (!is_of_start && is_being_loaded(&object))
            return 0; /* that dlopen() will look at it */
        note_definitions(&object);
        if (!is_left_alone(&object)) {
            is_finished = hook_slots(&object, object.slots, object.n_slots);
            hook_slots(&object, object.relocations, object.n_relocations);
        }
    }
    if (is_finished && n_done < DONE_MAX)
        done[n_done++] = info->dlpi_phdr;
    return 0;
}

static int count_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)info;
    (void)size;
    ++*(size_t *)arg;
    return 0;
}

void hooks_scan(void)
{
    const int saved_errno = errno;
    size_t n_listed = 0;

    if (!n_start_objects)
        dl_iterate_phdr(count_object, &n_start_objects);
    dl_iterate_phdr(scan_object, &n_listed);
    errno = saved_errno;
}

/* ---- what hookcall.S asks ---- */

bool hooks_can_read(uintptr_t address, size_t size)
{
    const uintptr_t last = address + size - 1;

    if (address < PAGE_BYTES || last < address)
        return false;
    if (address >= thread_self.stack_low && last < thread_self.stack_high)
        return true;
    return stack_is_readable(address) && stack_is_readable(last);
}

uint64_t hooks_stack_words(const uint64_t *stack)
{
    enum { WORDS = 32 };
    const uintptr_t address = (uintptr_t)stack;
    const uintptr_t limit = (address | (PAGE_BYTES - 1)) + 1;
    const size_t words = (limit - address) / sizeof *stack;

    if (words >= WORDS || (stack_is_own(address) && limit < thread_self.stack_high) ||
        hooks_can_read(limit, sizeof *stack))
        return WORDS;
    return words &
           ~(size_t)1; /* keeps the stack aligned; an argument never ends a page alone */
}

/* ---- a return instruction in the caller's object ---- */

struct place {
    const struct module *_Atomic module;
    _Atomic uintptr_t address; /* 0: there is none */
};
enum { PLACES = 256 };
static struct place places[PLACES] LARGE;
_Atomic size_t hooks_n_returns;

bool hooks_is_known_return(uintptr_t pc)
{
    const size_t n = load_relaxed(&hooks_n_returns);

    for (size_t i = 0; i < n && i < PLACES; i++)
        if (load_relaxed(&places[i].address) == pc)
            return true;
    return false;
}

#if defined(__aarch64__)

/* Frames of the program may return to what follows a call: bl, blr. */
static bool may_follow_call(const uint32_t *at)
{
    return (at[-1] & 0xfc000000) == 0x94000000 || (at[-1] & 0xfffffc1f) == 0xd63f0000;
}

/* Best one where unwinders find their way by tables; else one in code without tables, which _init has. */
static uintptr_t search_return(const struct module_range *range)
{
    enum { LOOKS = 4096 };
    static const uint32_t code[] = {0xa8c17bfd, 0xd65f03c0}; /* ldp x29, x30, [sp], #16; ret */
    const uint32_t *limit = (const uint32_t *)range->limit - 1;  // NOLINT
    uintptr_t second = 0;
    int looks = 0;

    for (const uint32_t *at = (const uint32_t *)range->start + 1;  // NOLINT
         at < limit && looks < LOOKS; at++) {
        if (at[0] != code[0] || at[1] != code[1] || may_follow_call(at))
            continue;
        const enum unwind_place place = unwind_place_of((uintptr_t)at);
        if (place == UNWIND_BARE)
            return (uintptr_t)at;
        if (place == UNWIND_GUESS && !second)
            second = (uintptr_t)at;
        looks++;
    }
    return second;
}

#else

/* Frames of the program may return to what follows a call. */
static bool may_follow_call(const uint8_t *at)
{
    return at[-5] == 0xe8 || at[-2] == 0xff || at[-3] == 0xff || at[-6] == 0xff ||
           at[-7] == 0xff;
}

static uintptr_t search_return(const struct module_range *range)
{
    enum { RET = 0xc3, LOOKS = 4096 };
    const uint8_t *at = (const uint8_t *)range->start + 8;  // NOLINT
    const uint8_t *limit = (const uint8_t *)range->limit;   // NOLINT
    uintptr_t second = 0;

    for (int i = 0; i < LOOKS && at < limit; i++) {
        at = memchr(at, RET, (size_t)(limit - at));
        if (!at)
            break;
        const enum unwind_place place =
            may_follow_call(at) ? UNWIND_OTHER : unwind_place_of((uintptr_t)at);
        if (place == UNWIND_BARE)
            return (uintptr_t)at;
        if (place == UNWIND_GUESS && !second)
            second = (uintptr_t)at;
        at++;
    }
    return second;
}

#endif

static uintptr_t search_module(const struct module *module, uintptr_t pc)
{
    for (size_t i = 0; i < module->n_ranges; i++)
        if (pc - module->ranges[i].start < module->ranges[i].limit - module->ranges[i].start)
            return search_return(&module->ranges[i]);
    return 0;
}

uintptr_t hooks_find_return(uintptr_t pc)
{
    const int saved_errno = errno;
    const struct module *module = modules_find(pc);

    if (!module)
        return 0;
    for (size_t i = 0; i < load_acquire(&hooks_n_returns) && i < PLACES; i++)
        if (load_acquire(&places[i].module) == module) /* pairs with store_release below */
            return load_relaxed(&places[i].address);
    const uintptr_t found = search_module(module, pc);
    const size_t number = found ? add_relaxed(&hooks_n_returns, 1) : PLACES;
    errno = saved_errno;
    if (number >= PLACES) /* a return that stacks would show: rather no result */
        return 0;
    store_relaxed(&places[number].address, found);
    store_release(&places[number].module, module);
    return found;
}

#else

_Atomic size_t hooks_n_returns;

bool hooks_is_supported(void)
{
    return false;
}

void hooks_init(struct hook_target *targets, size_t n)
{
    (void)targets;
    (void)n;
}

void hooks_scan(void)
{
}

bool hooks_is_known_return(uintptr_t pc)
{
    (void)pc;
    return false;
}

bool hooks_can_read(uintptr_t address, size_t size)
{
    (void)address;
    (void)size;
    return false;
}

#endif
