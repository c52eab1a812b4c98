#include "agent/modules.h"

#include <fcntl.h>
#include <gnu/libc-version.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "agent/thread.h"
#include "base/arena.h"
#include "tests/unit/help.h"

static void set_up(void)
{
    arena_set_cap(64 << 20, 0);
    modules_init();
}

static bool lies_in_a_range(const struct module *module, uintptr_t pc)
{
    for (size_t i = 0; i < module->n_ranges; i++)
        if (pc >= module->ranges[i].start && pc < module->ranges[i].limit)
            return true;
    return false;
}

/* The line of /proc/self/maps that holds `pc`: is it r-x, its offset, its path. */
static bool find_line(uintptr_t pc, uint64_t *ret_offset, char *ret_path)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[1024], permissions[8];
    uint64_t start, limit, offset;
    bool found = false;

    while (!found && fgets(line, sizeof line, maps)) {
        *ret_path = '\0';
        sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64 " %*s %*s %s", &start, &limit,
               permissions, &offset, ret_path);
        found = pc >= start && pc < limit;
    }
    fclose(maps);
    *ret_offset = offset + pc - start;
    return found && permissions[0] == 'r' && permissions[2] == 'x';
}

static void check_module(const struct module *module, uintptr_t pc, const char *path_part)
{
    char path[1024];
    uint64_t offset;

    if (!module) {
        FAIL("%s: no module", path_part);
        return;
    }
    check_contains(module->path, path_part, "path");
    CHECK(lies_in_a_range(module, pc));
    CHECK(modules_is_current(module));
    CHECK(modules_get(module->id) == module);
    CHECK(modules_find(pc) == module);
    CHECK(find_line(pc, &offset, path));
    if (*path != '/')
        return;
    char *real = realpath(module->path, NULL); /* /lib may be a link */
    CHECK_STR(real ? real : "", path, "path");
    free(real);
    for (size_t i = 0; i < module->n_ranges; i++) {
        const struct module_range *range = &module->ranges[i];
        if (pc >= range->start && pc < range->limit)
            CHECK_HEX(range->file_offset + pc - range->start, offset, "offset in the file");
    }
}

NOINLINE static int a_function(int x)
{
    return x + 1;
}

TEST_ALONE(a_function_of_the_program_lies_in_its_executable)
{
    char exe[1024] = "";

    set_up();
    CHECK(readlink("/proc/self/exe", exe, sizeof exe - 1) > 0);
    const struct module *module = modules_find((uintptr_t)a_function);
    check_module(module, (uintptr_t)a_function, exe);
    CHECK_STR(modules_main_path(), exe, "main path");
    CHECK_STR(module_name(module), "modules_test", "name");
}

TEST_ALONE(a_function_of_libc_lies_in_libc)
{
    set_up();
    const struct module *module = modules_find((uintptr_t)gnu_get_libc_version);
    check_module(module, (uintptr_t)gnu_get_libc_version, "libc.so.6");
    CHECK_STR(module_name(module), "libc.so.6", "name");
    CHECK_INT(module->build_id_size, 20, "build id");
}

TEST_ALONE(the_vdso_is_a_module_without_a_file)
{
    const uintptr_t vdso = getauxval(AT_SYSINFO_EHDR);

    set_up();
    if (!vdso)
        SKIP("no vdso");
    const ElfW(Ehdr) *elf = (const void *)vdso;
    const uintptr_t pc = vdso + elf->e_ehsize + elf->e_phnum * elf->e_phentsize;
    check_module(modules_find(pc), pc, "vdso");
}

TEST_ALONE(addresses_outside_of_code_have_no_module)
{
    char *heap = malloc(100),
         *pages = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int on_stack;

    set_up();
    CHECK(modules_find((uintptr_t)heap) == NULL);
    CHECK(modules_find((uintptr_t)pages) == NULL);
    CHECK(modules_find((uintptr_t)&on_stack) == NULL);
    CHECK(modules_find(0) == NULL);
    CHECK(modules_find(UINTPTR_MAX) == NULL);
    CHECK_INT(modules_count(), 0, "modules");
    free(heap);
}

TEST_ALONE(a_module_is_found_once)
{
    set_up();
    const struct module *libc = modules_find((uintptr_t)gnu_get_libc_version);
    const struct module *own = modules_find((uintptr_t)a_function);
    for (int i = 0; i < 100; i++) {
        CHECK(modules_find((uintptr_t)gnu_get_libc_version) == libc);
        CHECK(modules_find((uintptr_t)a_function) == own);
    }
    CHECK_INT(modules_count(), 2, "modules");
    CHECK(modules_get(MODULE_UNKNOWN) == NULL);
    CHECK(modules_get(MODULES_MAX) == NULL);
    CHECK(modules_get(2) == NULL);
}

TEST_ALONE(without_memory_there_is_no_module)
{
    arena_set_cap(0, 0);
    modules_init();
    CHECK(modules_find((uintptr_t)a_function) == NULL);
    CHECK_INT(modules_count(), 0, "modules");
    arena_set_cap(1 << 20, 0);
    CHECK(modules_find((uintptr_t)a_function) != NULL);
}

/* ---- unloading ---- */

static uintptr_t load(const char *path, void **ret_handle)
{
    *ret_handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!*ret_handle) {
        FAIL("%s", dlerror());
        _exit(99);
    }
    return (uintptr_t)dlsym(*ret_handle, "plugin");
}

static void unload(void *handle)
{
    dlclose(handle);
    modules_on_unload();
}

static const char *const plugin = "int plugin(int x) { return x + 1; }";

TEST_ALONE(an_unloaded_module_is_no_longer_current_and_not_found)
{
    const char *path = make_library("libplugin.so", plugin, "");
    void *handle;

    set_up();
    const uintptr_t pc = load(path, &handle);
    const struct module *module = modules_find(pc), *own = modules_find((uintptr_t)a_function);
    check_module(module, pc, "libplugin.so");
    const uint32_t epoch = modules_epoch();
    unload(handle);
    CHECK(modules_epoch() > epoch);
    CHECK(!modules_is_current(module));
    CHECK(modules_find(pc) == NULL);
    CHECK(modules_get(module->id) == module); /* for those who hold stacks of it */
    CHECK_STR(module_name(module), "libplugin.so", "name");
    CHECK(modules_find((uintptr_t)a_function) == own);
    CHECK(modules_is_current(own));
}

TEST_ALONE(a_plugin_that_comes_back_is_the_same_module)
{
    const char *path = make_library("libplugin.so", plugin, "");
    const struct module *first = NULL;
    uintptr_t first_pc = 0;
    int n_same = 0;

    set_up();
    for (int i = 0; i < 50; i++) {
        void *handle;
        const uintptr_t pc = load(path, &handle);
        const struct module *module = modules_find(pc);
        first = first ? first : module;
        first_pc = first_pc ? first_pc : pc;
        if (pc == first_pc) {
            CHECK(module == first);
            n_same++;
        }
        CHECK(modules_is_current(module));
        unload(handle);
    }
    CHECK_AT_LEAST(n_same, 2, "reloads at the same place");
}

TEST_ALONE(another_build_at_the_same_place_is_another_module)
{
    const char *path = make_library("libplugin.so", plugin, "");
    void *handle;

    set_up();
    const uintptr_t pc = load(path, &handle);
    const struct module *first = modules_find(pc);
    unload(handle);
    make_library("libplugin.so", "int plugin(int x) { return x + 2; }", "");
    const uintptr_t again = load(path, &handle);
    const struct module *second = modules_find(again);
    check_module(second, again, "libplugin.so");
    CHECK(first != second);
    CHECK(again != pc || !modules_is_current(first));
    CHECK(memcmp(first->build_id, second->build_id, 20) != 0);
}

TEST_ALONE(a_full_table_takes_no_memory_and_says_so_once_for_each_library)
{
    const char *path = make_library("libplugin.so", plugin, ""),
               *link = scratch_path("link.so");
    char name[600];
    void *handle;

    set_up();
    for (int i = 0; i < MODULES_MAX; i++) {
        snprintf(name, sizeof name, "%s%d", link, i);
        CHECK_INT(symlink(path, name), 0, "symlink");
        modules_find(load(name, &handle));
        unload(handle);
    }
    CHECK_INT(modules_count(), MODULES_MAX, "modules");
    CHECK_INT(modules_n_refused(), 0, "dropped");
    const uintptr_t pc = load(path, &handle);
    modules_find(pc);
    const size_t used = arena_used_bytes();
    for (int i = 0; i < 1000; i++)
        CHECK(!modules_find(pc));
    CHECK_INT(arena_used_bytes(), used, "memory");
    CHECK_INT(modules_n_refused(), 1, "dropped");

    /* Two that have the same one of 256 places forget each other. */
    const uintptr_t others[] = {(uintptr_t)a_function, (uintptr_t)gnu_get_libc_version,
                                getauxval(AT_BASE) + 0x100};
    size_t n_remembered = 0;
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        const uint64_t before = modules_n_refused();
        for (int round = 0; round < 2; round++) {
            CHECK(!modules_find(others[i]));
            CHECK(!modules_find(pc));
        }
        const uint64_t added = modules_n_refused() - before;
        CHECK(added == 1 || added == 4);
        n_remembered += added == 1;
    }
    CHECK_AT_LEAST(n_remembered, 1, "libraries that count once");
}

/* ---- threads ---- */

enum { N_THREADS = 4, N_PLUGINS = 200 };
static uintptr_t pcs[N_PLUGINS];
static const struct module *_Atomic found[N_THREADS][N_PLUGINS];
static _Atomic int n_ready[N_PLUGINS];

static void find_together(int i)
{
    for (int k = 0; k < N_PLUGINS; k++) {
        add_relaxed(&n_ready[k], 1);
        while (load_relaxed(&n_ready[k]) < N_THREADS)
            ; /* all at once */
        store_relaxed(&found[i][k], modules_find(pcs[k]));
    }
}

TEST_ALONE(threads_that_find_a_new_module_at_once_find_the_same)
{
    const char *path = make_library("libplugin.so", plugin, "");
    char copies[512], command[2048];

    set_up();
    snprintf(copies, sizeof copies, "%s/copy", scratch_folder());
    snprintf(command, sizeof command, "for i in $(seq %d); do cp '%s' '%s'$i; done", N_PLUGINS,
             path, copies);
    CHECK_INT(system(command), 0, "copies");
    for (int k = 0; k < N_PLUGINS; k++) {
        char copy[600];
        void *handle;
        snprintf(copy, sizeof copy, "%s%d", copies, k + 1);
        pcs[k] = load(copy, &handle);
    }
    in_threads(N_THREADS, find_together);
    for (int k = 0; k < N_PLUGINS; k++)
        for (int i = 0; i < N_THREADS; i++)
            if (!found[i][k] || found[i][k] != found[0][k])
                FAIL("plugin %d: thread %d found module %d, thread 0 %d", k, i,
                     found[i][k] ? found[i][k]->id : -1, found[0][k] ? found[0][k]->id : -1);
    CHECK_INT(modules_count(), N_PLUGINS, "modules");
}

static void find_again_and_again(int i)
{
    for (int k = 0; k < 20000 / SCALE; k++) {
        if (i == 0)
            modules_on_unload();
        if (modules_find((uintptr_t)a_function) != found[0][0])
            FAIL("thread %d: another module in round %d", i, k);
    }
}

TEST_ALONE(unloading_elsewhere_does_not_make_modules_anew)
{
    set_up();
    store_relaxed(&found[0][0], modules_find((uintptr_t)a_function));
    in_threads(N_THREADS, find_again_and_again);
    CHECK_INT(modules_count(), 1, "modules");
}
