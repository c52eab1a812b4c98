/* symbols - see symbols.h. */
#include "agent/symbols.h"

#include <elf.h>
#include <link.h>
#include <string.h>

#include "agent/modules.h"
#include "agent/process.h"
#include "base/arena.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "base/text.h"
#include "encoder/pprof.h"

/* ---- reading: a file, or an object in memory (the vdso has no file) ---- */

struct image {
    int fd;           /* -1: memory */
    const char *data; /* when in memory */
    size_t size;
};

static bool read_at(const struct image *image, uint64_t offset, void *ret_data, size_t size)
{
    char *to = ret_data;

    if (image->fd < 0) {
        if (offset > image->size || size > image->size - offset)
            return false;
        memcpy(ret_data, image->data + offset, size);
        return true;
    }
    while (size) {
        const ssize_t n = sys_pread(image->fd, to, size, (off_t)offset);
        if (n <= 0)
            return false;
        to += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return true;
}

static bool read_header(const struct image *image, ElfW(Ehdr) * ret_elf)
{
    return read_at(image, 0, ret_elf, sizeof *ret_elf) &&
           memcmp(ret_elf->e_ident, ELFMAG, SELFMAG) == 0 &&
           ret_elf->e_ident[EI_CLASS] == (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32);
}

/* ---- build ids ---- */

void symbols_build_id_text(const uint8_t *id, size_t size, char ret_hex[SYMBOLS_BUILD_ID_TEXT])
{
    for (size_t i = 0; i < size; i++) {
        ret_hex[2 * i] = "0123456789abcdef"[id[i] >> 4];
        ret_hex[2 * i + 1] = "0123456789abcdef"[id[i] & 15];
    }
    ret_hex[2 * size] = '\0';
}

/* The build id within one segment of notes; its size, 0: none. */
static size_t find_build_id(const struct image *image, uint64_t offset, uint64_t size,
                            uint8_t ret_id[MODULE_BUILD_ID_BYTES])
{
    struct {
        ElfW(Nhdr) head;
        char name[4];
    } note;

    for (const uint64_t end = offset + size; offset + sizeof note <= end;) {
        if (!read_at(image, offset, &note, sizeof note))
            return 0;
        const uint64_t name_size = (note.head.n_namesz + 3ull) & ~3ull;
        if (note.head.n_type == NT_GNU_BUILD_ID && note.head.n_namesz == 4 &&
            memcmp(note.name, "GNU", 4) == 0 && note.head.n_descsz <= MODULE_BUILD_ID_BYTES &&
            read_at(image, offset + sizeof note, ret_id, note.head.n_descsz))
            return note.head.n_descsz;
        offset += sizeof note.head + name_size + ((note.head.n_descsz + 3ull) & ~3ull);
    }
    return 0;
}

static size_t read_build_id(const struct image *image, uint8_t ret_id[MODULE_BUILD_ID_BYTES])
{
    ElfW(Ehdr) elf;
    ElfW(Phdr) segment;

    if (!read_header(image, &elf) || elf.e_phentsize != sizeof segment)
        return 0;
    for (unsigned i = 0; i < elf.e_phnum; i++) {
        if (!read_at(image, elf.e_phoff + i * sizeof segment, &segment, sizeof segment))
            return 0;
        if (segment.p_type != PT_NOTE)
            continue;
        const size_t size = find_build_id(image, segment.p_offset, segment.p_filesz, ret_id);
        if (size)
            return size;
    }
    return 0;
}

static int open_file(const char *path)
{
    return sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0);
}

void symbols_read_build_id(const char *path, char ret_hex[SYMBOLS_BUILD_ID_TEXT])
{
    const struct image image = {.fd = open_file(path)};
    uint8_t id[MODULE_BUILD_ID_BYTES];

    ret_hex[0] = '\0';
    if (image.fd < 0)
        return;
    symbols_build_id_text(id, read_build_id(&image, id), ret_hex);
    sys_close(image.fd);
}

static bool is_build_of(const struct image *image, const struct module *module)
{
    uint8_t id[MODULE_BUILD_ID_BYTES];
    const size_t size = read_build_id(image, id);

    return size == module->build_id_size && memcmp(id, module->build_id, size) == 0;
}

/* ---- symbols of one module ---- */

struct best {
    ElfW(Sym) symbol; /* st_size 0: none yet */
};

struct naming {
    const struct image *image;
    uintptr_t bias;
    const uint32_t *ids; /* sorted by address */
    struct best *best;   /* one for each */
    size_t n;
};

static uintptr_t address_of(uint32_t id)
{
    return location_get(id)->address;
}

/* The first location at or behind `address`. */
static size_t lower_bound(const struct naming *naming, uintptr_t address)
{
    size_t low = 0, high = naming->n;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (address_of(naming->ids[middle]) < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Aliases: a global name before a weak one before a local one; then the tighter fit. */
static bool is_better(const ElfW(Sym) * symbol, const ElfW(Sym) * than)
{
    static const unsigned char ranks[16] = {[STB_GLOBAL] = 3, [STB_WEAK] = 2, [STB_LOCAL] = 1};
    const unsigned char rank = ranks[ELF64_ST_BIND(symbol->st_info)];
    const unsigned char other = ranks[ELF64_ST_BIND(than->st_info)];

    if (than->st_size == 0 || symbol->st_size != than->st_size)
        return than->st_size == 0 || symbol->st_size < than->st_size;
    return rank > other;
}

static void offer(struct naming *naming, const ElfW(Sym) * symbol)
{
    const unsigned type = ELF64_ST_TYPE(symbol->st_info);
    const uintptr_t start = naming->bias + symbol->st_value;

    if ((type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE) || !symbol->st_size ||
        !symbol->st_name || symbol->st_shndx == SHN_UNDEF)
        return;
    for (size_t i = lower_bound(naming, start); i < naming->n; i++) {
        if (address_of(naming->ids[i]) - start >= symbol->st_size)
            return;
        if (is_better(symbol, &naming->best[i].symbol))
            naming->best[i].symbol = *symbol;
    }
}

static void offer_all(struct naming *naming, const ElfW(Shdr) * table, struct workspace *work)
{
    enum { BLOCK = 1024 };
    ElfW(Sym) *block = workspace_take_array(work, BLOCK, sizeof *block);
    const uint64_t n = table->sh_size / sizeof *block;

    for (uint64_t i = 0; block && i < n; i += BLOCK) {
        const size_t count = n - i < BLOCK ? (size_t)(n - i) : BLOCK;
        if (!read_at(naming->image, table->sh_offset + i * sizeof *block, block,
                     count * sizeof *block))
            return;
        for (size_t k = 0; k < count; k++)
            offer(naming, &block[k]);
    }
}

/* A copy in the arena of the text at `offset`; NULL: not readable, or no memory. */
static const char *copy_string(const struct image *image, uint64_t offset, uint64_t limit)
{
    enum { NAME_MAX_BYTES = 4096, STEP = 128 };
    char buffer[NAME_MAX_BYTES];
    size_t size = 0;

    while (size < sizeof buffer && offset < limit) {
        size_t step = sizeof buffer - size < STEP ? sizeof buffer - size : STEP;
        if (step > limit - offset)
            step = limit - offset;
        if (!read_at(image, offset, buffer + size, step))
            return NULL;
        const char *end = memchr(buffer + size, '\0', step);
        if (end) {
            size = (size_t)(end - buffer);
            break;
        }
        size += step;
        offset += step;
    }
    if (size == sizeof buffer)
        size--; /* templates can be longer than anybody reads */
    char *copy = size ? arena_alloc(size + 1) : NULL;
    return copy ? memcpy(copy, buffer, size) : NULL;
}

static void set_name(struct location *location, const char *name, uint64_t offset)
{
    store_relaxed(&location->offset, offset);
    store_release(&location->name, name); /* pairs with load_acquire in snapshot.c */
}

static void take_names(const struct naming *naming, const ElfW(Shdr) * strings)
{
    const char *last = NULL;

    for (size_t i = 0; i < naming->n; i++) {
        const ElfW(Sym) *symbol = &naming->best[i].symbol;
        struct location *location = location_get(naming->ids[i]);
        if (!symbol->st_size)
            continue;
        if (!last || !i || memcmp(symbol, &naming->best[i - 1].symbol, sizeof *symbol) != 0)
            last = copy_string(naming->image, strings->sh_offset + symbol->st_name,
                               strings->sh_offset + strings->sh_size);
        if (last)
            set_name(location, last, location->address - naming->bias - symbol->st_value);
    }
}

/* .symtab, else .dynsym; with its table of strings. */
static bool find_tables(const struct image *image, ElfW(Shdr) * ret_symbols,
                        ElfW(Shdr) * ret_strings)
{
    ElfW(Ehdr) elf;
    ElfW(Shdr) section;
    bool found = false;

    if (!read_header(image, &elf) || elf.e_shentsize != sizeof section)
        return false;
    for (unsigned i = 0; i < elf.e_shnum; i++) {
        if (!read_at(image, elf.e_shoff + i * sizeof section, &section, sizeof section))
            return false;
        if (section.sh_type != SHT_SYMTAB && (section.sh_type != SHT_DYNSYM || found))
            continue;
        *ret_symbols = section;
        found = true;
        if (section.sh_type == SHT_SYMTAB)
            break;
    }
    return found && ret_symbols->sh_link < elf.e_shnum &&
           read_at(image, elf.e_shoff + ret_symbols->sh_link * sizeof section, ret_strings,
                   sizeof section);
}

/* A relative path may lead elsewhere by now: only a build id makes such a file credible. */
static int open_module(const struct module *module)
{
    const char *path = module_file(module);

    return *path == '/' || module->build_id_size ? open_file(path) : -1;
}

static bool is_vdso(const struct module *module)
{
    return text_starts_with(module->path, "linux-");
}

static void name_from_symbols(const struct module *module, const uint32_t *ids, size_t n,
                              struct workspace *work)
{
    struct image image = {.fd = -1};
    struct workspace mark = *work;
    ElfW(Shdr) symbols = {0}, strings = {0};

    if (is_vdso(module)) {
        image.data = (const char *)module->start;
        image.size = module->limit - module->start;
    } else {
        image.fd = open_module(module);
        if (image.fd < 0)
            return;
    }
    struct naming naming = {
        .image = &image,
        .bias = module->bias,
        .ids = ids,
        .best = workspace_take_array(&mark, n, sizeof *naming.best),
        .n = n,
    };
    if (naming.best && is_build_of(&image, module) && find_tables(&image, &symbols, &strings)) {
        memset(naming.best, 0, n * sizeof *naming.best); /* the workspace is used again */
        offer_all(&naming, &symbols, &mark);
        take_names(&naming, &strings);
    }
    if (image.fd >= 0)
        sys_close(image.fd);
}

/* ---- what no symbol covers ---- */

static const char *copy_text(const struct text *text)
{
    char *copy = arena_alloc(text->size + 1);

    return copy ? memcpy(copy, text->data, text->size) : NULL;
}

static void name_by_offset(struct location *location, const struct module *module)
{
    char buffer[512];
    struct text text;

    text_init(&text, buffer, sizeof buffer);
    if (module)
        text_addf(&text, "%s+0x%lx", module_name(module), location->address - module->bias);
    else
        text_addf(&text, "0x%lx", location->address);
    set_name(location, copy_text(&text), PPROF_NO_OFFSET /* the name has it */);
}

/* One line of a perf map: START SIZE NAME, both in hex. */
static void offer_jit_line(const struct naming *naming, const char *line, size_t size)
{
    uint64_t start, length;
    const char *at = line;

    if (text_parse_hex(&at, &start) < 0 || *at++ != ' ' || text_parse_hex(&at, &length) < 0 ||
        *at++ != ' ')
        return;
    const size_t i = lower_bound(naming, start);
    if (i == naming->n || address_of(naming->ids[i]) - start >= length)
        return;
    char *copy = arena_alloc(size - (size_t)(at - line) + 1);
    if (!copy)
        return;
    memcpy(copy, at, size - (size_t)(at - line));
    for (size_t k = i; k < naming->n && address_of(naming->ids[k]) - start < length; k++)
        set_name(location_get(naming->ids[k]), copy, /* the last line wins */
                 address_of(naming->ids[k]) - start);
}

static void name_from_perf_map(const uint32_t *ids, size_t n, struct workspace *work)
{
    enum { BLOCK_BYTES = 32 << 10 };
    const struct naming naming = {.ids = ids, .n = n};
    struct workspace mark = *work;
    char path[64], *block = workspace_take(&mark, BLOCK_BYTES + 1);
    struct text text;
    size_t kept = 0;

    text_init(&text, path, sizeof path);
    text_addf(&text, "/tmp/perf-%d.map", process_pid());
    const int fd = block ? open_file(path) : -1;
    if (fd < 0)
        return;
    for (;;) {
        const ssize_t got = sys_read(fd, block + kept, BLOCK_BYTES - kept);
        if (got <= 0)
            break;
        const size_t size = kept + (size_t)got;
        size_t begin = 0;
        block[size] = '\0';
        for (char *end; (end = memchr(block + begin, '\n', size - begin));) {
            *end = '\0';
            offer_jit_line(&naming, block + begin, (size_t)(end - block) - begin);
            begin = (size_t)(end - block) + 1;
        }
        kept = size - begin;
        if (kept == BLOCK_BYTES)
            break; /* a line longer than anybody writes */
        memmove(block, block + begin, kept);
    }
    sys_close(fd);
}

/* ---- all ---- */

static bool is_before(uint32_t a, uint32_t b)
{
    const struct location *x = location_get(a), *y = location_get(b);

    return x->module != y->module ? x->module < y->module : x->address < y->address;
}

static void sift_down(uint32_t *ids, size_t root, size_t n)
{
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && is_before(ids[child], ids[child + 1]))
            child++;
        if (!is_before(ids[root], ids[child]))
            return;
        const uint32_t swap = ids[root];
        ids[root] = ids[child];
        ids[child] = swap;
    }
}

/* Heap sort: in place, no recursion, no bad case. */
static void sort(uint32_t *ids, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift_down(ids, i, n);
    while (n > 1) {
        const uint32_t swap = ids[--n];
        ids[n] = ids[0];
        ids[0] = swap;
        sift_down(ids, 0, n);
    }
}

void symbols_name(uint32_t *ids, size_t n, struct workspace *work)
{
    sort(ids, n);
    for (size_t begin = 0, end; begin < n; begin = end) {
        const uint16_t id = location_get(ids[begin])->module;
        const struct module *module = modules_get(id);
        for (end = begin + 1; end < n && location_get(ids[end])->module == id;)
            end++;
        if (module)
            name_from_symbols(module, ids + begin, end - begin, work);
        else
            name_from_perf_map(ids + begin, end - begin, work);
        for (size_t i = begin; i < end; i++)
            if (!load_relaxed(&location_get(ids[i])->name))
                name_by_offset(location_get(ids[i]), module);
    }
}
