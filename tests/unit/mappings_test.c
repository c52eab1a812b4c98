#include "agent/mappings.h"

#include <gnu/libc-version.h>
#include <sys/mman.h>

#include "agent/modules.h"
#include "base/arena.h"
#include "tests/unit/help.h"

static struct workspace work;
static struct mappings mappings;

static void set_up(void)
{
    arena_set_cap(64 << 20, 0);
    modules_init();
    work = (struct workspace){.size = 4 << 20};
    work.base = arena_map(work.size);
}

static const struct pprof_mapping *find(uint64_t address)
{
    for (size_t i = 0; i < mappings.n; i++)
        if (address >= mappings.list[i].start && address < mappings.list[i].limit)
            return &mappings.list[i];
    return NULL;
}

TEST_ALONE(every_executable_line_of_the_kernel_is_covered_and_no_other)
{
    char line[1024], permissions[8], path[1024];
    uint64_t start, limit, offset;
    size_t n = 0;

    set_up();
    CHECK_INT(mappings_read(&mappings, &work), 0, "read");
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps)) {
        *path = '\0';
        sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64 " %*s %*s %[^\n]", &start, &limit,
               permissions, &offset, path);
        const struct pprof_mapping *mapping = find(start);
        const bool is_code = permissions[0] == 'r' && permissions[2] == 'x';
        CHECK_INT(mapping != NULL, is_code, line);
        if (!mapping || !is_code)
            continue;
        n++;
        CHECK(limit <= mapping->limit);
        CHECK_STR(mapping->file, *path ? path : "[anon]", "file");
        CHECK_HEX(mapping->file_offset + (start - mapping->start), offset, line);
    }
    fclose(maps);
    CHECK_AT_LEAST(n, 3, "lines: the program, libc, the loader");
    CHECK_AT_MOST(mappings.n, n, "mappings");
}

TEST_ALONE(the_program_comes_first_and_files_have_build_ids)
{
    char exe[1024] = "";

    set_up();
    CHECK(readlink("/proc/self/exe", exe, sizeof exe - 1) > 0);
    CHECK_INT(mappings_read(&mappings, &work), 0, "read");
    CHECK_STR(mappings.list[0].file, exe, "first");
    const struct pprof_mapping *libc = find((uintptr_t)gnu_get_libc_version);
    CHECK(libc && libc->build_id && strlen(libc->build_id) == 40);
}

TEST_ALONE(neighbouring_pieces_of_a_jit_are_one_mapping)
{
    char *pages = mmap(NULL, 3 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    set_up();
    mprotect(pages, 4096, PROT_READ | PROT_EXEC);
    mprotect(pages + 4096, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
    CHECK_INT(mappings_read(&mappings, &work), 0, "read");
    const struct pprof_mapping *mapping = find((uintptr_t)pages);
    CHECK(mapping && mapping == find((uintptr_t)pages + 4096));
    CHECK(!find((uintptr_t)pages + 2 * 4096));
    CHECK_STR(mapping ? mapping->file : "", "[anon]", "file");
}

TEST_ALONE(a_deleted_file_is_shown_without_that_word)
{
    const char *path = make_library("libgone.so", "int plugin(void) { return 1; }", "");
    void *handle = dlopen(path, RTLD_NOW);

    set_up();
    unlink(path);
    CHECK_INT(mappings_read(&mappings, &work), 0, "read");
    const struct pprof_mapping *mapping = find((uintptr_t)dlsym(handle, "plugin"));
    CHECK_STR(mapping ? mapping->file : "", path, "file");
}

TEST_ALONE(cover_finds_what_is_there_and_adds_what_is_unloaded)
{
    const char *path = make_library("libplugin.so", "int plugin(void) { return 1; }", "");
    void *handle = dlopen(path, RTLD_NOW);

    set_up();
    const uintptr_t own = (uintptr_t)set_up, gone = (uintptr_t)dlsym(handle, "plugin");
    const struct location *of_own = location_get(location_intern(own, modules_find(own)->id));
    const struct location *of_gone =
        location_get(location_intern(gone, modules_find(gone)->id));
    const struct location *nowhere = location_get(location_intern(0x1000, MODULE_UNKNOWN));
    dlclose(handle);
    modules_on_unload();
    CHECK_INT(mappings_read(&mappings, &work), 0, "read");
    const size_t n = mappings.n;
    const uint32_t id = mappings_cover(&mappings, of_own, &work);
    CHECK_INT(id, 1, "the program's mapping");
    CHECK_INT(mappings.n, n, "mappings");
    CHECK_INT(mappings_cover(&mappings, nowhere, &work), 0, "nowhere");
    const uint32_t added = mappings_cover(&mappings, of_gone, &work);
    CHECK_INT(added, n + 1, "added");
    CHECK_STR(mappings.list[added - 1].file, path, "file");
    CHECK(gone >= mappings.list[added - 1].start && gone < mappings.list[added - 1].limit);
    CHECK_INT(mappings_cover(&mappings, of_gone, &work), added, "again");
    CHECK_INT(mappings.n, n + 1, "mappings");
}

/* Loads the library under one more name, finds the module of its function, and unloads it. */
static const struct location *visit(const char *path, int i)
{
    char name[600];

    snprintf(name, sizeof name, "%s%d", path, i);
    CHECK_INT(symlink(path, name), 0, "symlink");
    void *handle = dlopen(name, RTLD_NOW);
    const uintptr_t pc = (uintptr_t)dlsym(handle, "plugin");
    const struct module *module = modules_find(pc);
    const uint32_t id = location_intern(pc, module ? module->id : MODULE_UNKNOWN);
    dlclose(handle);
    modules_on_unload();
    return location_get(id);
}

TEST_ALONE(any_number_of_unloaded_libraries_is_covered)
{
    enum { N = 1000 };
    static const struct location *locations[N];
    const char *path = make_library("libplugin.so", "int plugin(void) { return 1; }", "");

    set_up();
    for (int i = 0; i < N; i++)
        locations[i] = visit(path, i);
    CHECK_INT(modules_count(), N, "modules");
    CHECK_INT(mappings_read(&mappings, &work), 0, "read");
    const size_t n = mappings.n;
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < N; i++) {
            const uint32_t id = mappings_cover(&mappings, locations[i], &work);
            CHECK_INT(id, n + (size_t)i + 1, "id");
            if (id)
                CHECK_STR(mappings.list[id - 1].file, modules_get((uint16_t)i)->path, "file");
        }
    CHECK_INT(mappings.n, n + N, "mappings");
}

TEST_ALONE(small_workspaces_are_enomem)
{
    set_up();
    for (size_t size = 0; size < 16 << 10; size += 512) {
        struct workspace small = {.base = calloc(1, size + 1), .size = size};
        const int err = mappings_read(&mappings, &small);
        CHECK(err == 0 || err == -12);
        free(small.base);
    }
}
