/* mappings - see mappings.h. */
#include "agent/mappings.h"

#include <errno.h>
#include <string.h>

#include "agent/modules.h"
#include "agent/symbols.h"
#include "base/sys.h"
#include "base/text.h"

/* Executable lines of the kernel, and how many more there may be when they are read than when they were counted. */
enum { LINES_MAX = 8192, LINES_MORE = 32 };

static char *keep_text(struct workspace *work, const char *text, size_t size)
{
    char *copy = workspace_take(work, size + 1);

    return copy ? memcpy(copy, text, size) : NULL;
}

/* ---- one line of /proc/self/maps ---- */

struct line {
    uint64_t start, limit, offset;
    bool is_r_x;
    const char *file;
    size_t file_size;
};

static const char *skip_field(const char *at)
{
    at += strcspn(at, " ");
    return at + strspn(at, " ");
}

/* start-limit perms offset device inode path */
static bool parse_line(const char *at, struct line *ret_line)
{
    static const char deleted[] = " (deleted)";

    if (text_parse_hex(&at, &ret_line->start) < 0 || *at++ != '-' ||
        text_parse_hex(&at, &ret_line->limit) < 0 || *at++ != ' ')
        return false;
    ret_line->is_r_x = at[0] == 'r' && at[2] == 'x';
    at = skip_field(at);
    if (text_parse_hex(&at, &ret_line->offset) < 0)
        return false;
    at = skip_field(skip_field(skip_field(at)));
    ret_line->file = *at ? at : "[anon]";
    size_t size = strlen(ret_line->file);
    if (size > sizeof deleted - 1 &&
        strcmp(ret_line->file + size - (sizeof deleted - 1), deleted) == 0)
        size -= sizeof deleted - 1;
    ret_line->file_size = size;
    return true;
}

/* ---- the whole file, in blocks ---- */

enum { BLOCK_BYTES = 8 << 10 };

/* What is done with a line: 0 goes on, all else ends the reading and is its result. */
struct reader {
    int (*visit)(const struct reader *reader, const struct line *line);
};

/* block: BLOCK_BYTES + 1. */
static int read_lines(const struct reader *reader, int fd, char *block)
{
    size_t kept = 0;
    int result = 0;

    while (result == 0) {
        const ssize_t got = sys_read(fd, block + kept, BLOCK_BYTES - kept);
        if (got <= 0)
            break;
        const size_t size = kept + (size_t)got;
        size_t begin = 0;
        for (char *end; result == 0 && (end = memchr(block + begin, '\n', size - begin));) {
            struct line line;
            *end = '\0';
            if (parse_line(block + begin, &line))
                result = reader->visit(reader, &line);
            begin = (size_t)(end - block) + 1;
        }
        kept = size - begin;
        memmove(block, block + begin, kept);
        if (kept == BLOCK_BYTES)
            break;
    }
    return result;
}

static int open_maps(void)
{
    return sys_openat(AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
}

/* ---- one address ---- */

struct file_reader {
    struct reader reader;
    uintptr_t address;
    char *path;
    size_t size;
};

static int take_file(const struct reader *reader, const struct line *line)
{
    const struct file_reader *of = (const void *)reader;

    if (of->address < line->start || of->address >= line->limit)
        return 0;
    if (line->file[0] != '/' || line->file_size >= of->size)
        return -ENOENT;
    memcpy(of->path, line->file, line->file_size);
    of->path[line->file_size] = '\0';
    return 1;
}

// NOLINTNEXTLINE(readability-non-const-parameter): take_file
bool mappings_find_file(uintptr_t address, char *ret_path, size_t size)
{
    const struct file_reader of = {{take_file}, address, ret_path, size};
    char block[BLOCK_BYTES + 1];
    const int fd = open_maps();

    if (fd < 0)
        return false;
    const bool found = read_lines(&of.reader, fd, block) == 1;
    sys_close(fd);
    return found;
}

/* ---- the executable ones ---- */

static bool continues(const struct pprof_mapping *last, const struct line *line)
{
    return last->limit == line->start && strlen(last->file) == line->file_size &&
           memcmp(last->file, line->file, line->file_size) == 0 &&
           (last->file[0] != '/' ||
            last->file_offset + (last->limit - last->start) == line->offset);
}

struct list_reader {
    struct reader reader;
    struct mappings *mappings;
    struct workspace *work;
    size_t max; /* lines that are kept */
};

static int count_line(const struct reader *reader, const struct line *line)
{
    struct mappings *mappings = ((const struct list_reader *)(const void *)reader)->mappings;

    mappings->capacity += line->is_r_x && mappings->capacity < LINES_MAX;
    return 0;
}

static int add_line(const struct reader *reader, const struct line *line)
{
    const struct list_reader *of = (const void *)reader;
    struct mappings *mappings = of->mappings;

    if (!line->is_r_x)
        return 0;
    if (mappings->n && continues(&mappings->list[mappings->n - 1], line)) {
        mappings->list[mappings->n - 1].limit = line->limit;
        return 0;
    }
    if (mappings->n == of->max)
        return 0; /* a JIT with thousands of pieces */
    char *file = keep_text(of->work, line->file, line->file_size);
    if (!file)
        return -ENOMEM;
    mappings->list[mappings->n++] = (struct pprof_mapping){
        .start = line->start, .limit = line->limit, .file_offset = line->offset, .file = file};
    return 0;
}

static void put_main_first(struct mappings *mappings)
{
    for (size_t i = 0; i < mappings->n; i++) {
        if (strcmp(mappings->list[i].file, modules_main_path()) != 0)
            continue;
        const struct pprof_mapping main_mapping = mappings->list[i];
        memmove(mappings->list + 1, mappings->list, i * sizeof *mappings->list);
        mappings->list[0] = main_mapping;
        return;
    }
}

static int add_build_ids(struct mappings *mappings, struct workspace *work)
{
    char hex[SYMBOLS_BUILD_ID_TEXT];

    for (size_t i = 0; i < mappings->n; i++) {
        if (mappings->list[i].file[0] != '/')
            continue;
        symbols_read_build_id(mappings->list[i].file, hex);
        if (*hex && !(mappings->list[i].build_id = keep_text(work, hex, strlen(hex))))
            return -ENOMEM;
    }
    return 0;
}

/* Behind the lines of the kernel: one place for each range of a module, should it be unloaded. */
static int make_room(struct mappings *mappings, struct workspace *work)
{
    mappings->n_modules = modules_count();
    for (size_t id = 0; id < mappings->n_modules; id++) {
        const struct module *module = modules_get((uint16_t)id);
        mappings->capacity += module ? module->n_ranges : 0;
    }
    mappings->added = workspace_take_array(work, mappings->n_modules * MODULE_RANGES_MAX,
                                           sizeof *mappings->added);
    mappings->list = workspace_take_array(work, mappings->capacity, sizeof *mappings->list);
    return mappings->added && mappings->list ? 0 : -ENOMEM;
}

/* Twice through the file: counting, then keeping. */
static int list_lines(struct mappings *mappings, struct workspace *work)
{
    struct list_reader of = {.reader = {count_line}, .mappings = mappings, .work = work};
    char *block = workspace_take(work, BLOCK_BYTES + 1);
    const int fd = block ? open_maps() : -1;

    if (fd >= 0)
        read_lines(&of.reader, fd, block);
    of.max = mappings->capacity += LINES_MORE;
    int err = block ? make_room(mappings, work) : -ENOMEM;
    if (fd < 0)
        return err;
    of.reader.visit = add_line;
    if (err == 0) {
        sys_lseek_start(fd);
        err = read_lines(&of.reader, fd, block);
    }
    sys_close(fd);
    return err;
}

int mappings_read(struct mappings *ret_mappings, struct workspace *work)
{
    *ret_mappings = (struct mappings){0};
    const int err = list_lines(ret_mappings, work);
    if (err < 0)
        return err;
    ret_mappings->n_lines = ret_mappings->n;
    put_main_first(ret_mappings);
    return add_build_ids(ret_mappings, work);
}

/* ---- where a location lies ---- */

/* The build id in memory is the truth; the file may have been replaced since. */
static void set_build_id(struct pprof_mapping *mapping, const struct module *module,
                         struct workspace *work)
{
    char hex[SYMBOLS_BUILD_ID_TEXT];

    symbols_build_id_text(module->build_id, module->build_id_size, hex);
    if (!mapping->build_id || strcmp(mapping->build_id, hex) != 0)
        mapping->build_id = *hex ? keep_text(work, hex, strlen(hex)) : NULL;
}

static bool is_of(const struct pprof_mapping *mapping, const struct module *module)
{
    const char *slash = strrchr(mapping->file, '/');

    return mapping->file[0] == '[' ||
           strcmp(slash ? slash + 1 : mapping->file, module_name(module)) == 0 ||
           modules_is_current(module);
}

/* The mapping of a module's range that the kernel does not list any more; added when it is new. */
static uint32_t cover_unloaded(struct mappings *mappings, const struct module *module,
                               uintptr_t address, struct workspace *work)
{
    const struct module_range *range = module->ranges;
    const struct module_range *end = range + module->n_ranges;

    while (range < end && (address < range->start || address >= range->limit))
        range++;
    if (range == end || module->id >= mappings->n_modules)
        return 0;
    uint32_t *id = &mappings->added[module->id * MODULE_RANGES_MAX + (range - module->ranges)];
    if (*id || mappings->n == mappings->capacity)
        return *id;
    struct pprof_mapping *mapping = &mappings->list[mappings->n++];
    *mapping = (struct pprof_mapping){
        .start = range->start,
        .limit = range->limit,
        .file_offset = range->file_offset,
        .file = module_file(module),
        .has_functions = true,
    };
    set_build_id(mapping, module, work);
    return *id = (uint32_t)mappings->n;
}

uint32_t mappings_cover(struct mappings *mappings, const struct location *location,
                        struct workspace *work)
{
    const struct module *module = modules_get(location->module);

    for (size_t i = 0; i < mappings->n_lines; i++) {
        struct pprof_mapping *mapping = &mappings->list[i];
        if (location->address < mapping->start || location->address >= mapping->limit ||
            (module && !is_of(mapping, module)))
            continue;
        if (module && !mapping->has_functions)
            set_build_id(mapping, module, work);
        if (module && mapping->file[0] == '/')
            modules_set_file(module->id, mapping->file);
        mapping->has_functions = true;
        return (uint32_t)i + 1;
    }
    return module ? cover_unloaded(mappings, module, location->address, work) : 0;
}
