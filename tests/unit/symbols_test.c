#include "agent/symbols.h"

#include <gnu/libc-version.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/stat.h>

#include "agent/mappings.h"
#include "agent/modules.h"
#include "agent/process.h"
#include "base/arena.h"
#include "tests/unit/help.h"

static void set_up(void)
{
    arena_set_cap(64 << 20, 0);
    process_init();
    modules_init();
}

NOINLINE static int a_static_function(int x)
{
    __asm__ volatile("");
    return x + 1;
}

static uint32_t place(uintptr_t address)
{
    const struct module *module = modules_find(address);

    return location_intern(address, module ? module->id : MODULE_UNKNOWN);
}

static void name_all(uint32_t *ids, size_t n)
{
    struct workspace work = {.size = n * 64 + (128 << 10)};

    work.base = arena_map(work.size);
    symbols_name(ids, n, &work);
    arena_unmap(work.base, work.size);
}

static const char *name_of(uintptr_t address)
{
    uint32_t id = place(address);

    name_all(&id, 1);
    const char *name = load_relaxed(&location_get(id)->name);
    return name ? name : "(none)";
}

/* ---- names ---- */

TEST_ALONE(static_functions_of_the_program_have_their_names)
{
    set_up();
    CHECK_STR(name_of((uintptr_t)a_static_function), "a_static_function", "first byte");
    CHECK_STR(name_of((uintptr_t)a_static_function + 1), "a_static_function", "inside");
    CHECK_STR(name_of((uintptr_t)main), "main", "main");
}

TEST_ALONE(exported_functions_of_stripped_libraries_have_their_names)
{
    set_up();
    CHECK_STR(name_of((uintptr_t)gnu_get_libc_version), "gnu_get_libc_version", "libc");
}

/* Two functions with a gap between, an alias of each kind, a long name. */
static const char *const gaps =
    "__asm__(\".text\\n.p2align 6\\n\"\n"
    "\".globl first\\n.type first,@function\\nfirst: .fill 16,1,0xc3\\n.size first,16\\n\"\n"
    "\".weak a_weak\\n.type a_weak,@function\\n.set a_weak,first\\n.size a_weak,16\\n\"\n"
    "\".type a_local,@function\\n.set a_local,first\\n.size a_local,16\\n\"\n"
    "\".fill 16,1,0x90\\n\"\n"
    "\".globl second\\n.type second,@function\\nsecond: .fill 32,1,0xc3\\n.size "
    "second,32\\n\");\n";

TEST_ALONE(a_symbol_covers_its_size_and_nothing_else)
{
    void *handle = dlopen(make_library("libgaps.so", gaps, ""), RTLD_NOW);
    const uintptr_t first = (uintptr_t)dlsym(handle, "first");
    char want[64];

    set_up();
    const struct module *module = modules_find(first);
    CHECK_STR(name_of(first), "first",
              "first byte; the global name goes before weak and local");
    CHECK_STR(name_of(first + 15), "first", "last byte");
    for (uintptr_t at = first + 16; at < first + 32; at += 5) {
        snprintf(want, sizeof want, "libgaps.so+0x%lx", (unsigned long)(at - module->bias));
        CHECK_STR(name_of(at), want, "between");
    }
    CHECK_STR(name_of(first + 32), "second", "first byte");
    CHECK_STR(name_of(first + 63), "second", "last byte");
}

TEST_ALONE(many_places_are_named_at_once)
{
    enum { N = 64 };
    void *handle = dlopen(make_library("libgaps.so", gaps, ""), RTLD_NOW);
    const uintptr_t first = (uintptr_t)dlsym(handle, "first");
    uint32_t ids[N + 2];

    set_up();
    for (uint32_t i = 0; i < N; i++) /* in disorder */
        ids[i] = place(first + i * 37 % N);
    ids[N] = place((uintptr_t)a_static_function);
    ids[N + 1] = place(0x1000);
    name_all(ids, N + 2);
    for (uint32_t i = 0; i < N; i++) {
        const char *name = load_relaxed(&location_get(place(first + i))->name);
        if (i < 16 || i >= 32)
            CHECK_STR(name, i < 16 ? "first" : "second", "name");
        else
            CHECK(strncmp(name, "libgaps.so+0x", 13) == 0);
    }
    CHECK_STR(load_relaxed(&location_get(place((uintptr_t)a_static_function))->name),
              "a_static_function", "another module");
    CHECK_STR(load_relaxed(&location_get(place(0x1000))->name), "0x1000", "no module");
}

TEST_ALONE(functions_of_the_vdso_have_their_names)
{
    set_up();
    void *vdso = dlopen("linux-vdso.so.1", RTLD_NOW | RTLD_NOLOAD);
    void *function = vdso ? dlsym(vdso, "__vdso_clock_gettime") : NULL;
    if (!function)
        SKIP("no vdso");
    const char *name = name_of((uintptr_t)function);
    if (!strstr(name, "clock_gettime"))
        FAIL("vdso: \"%s\", want clock_gettime or __vdso_clock_gettime", name);
}

TEST_ALONE(a_file_with_another_build_id_is_not_believed)
{
    const char *path = make_library("libgaps.so", gaps, "");
    void *handle = dlopen(path, RTLD_NOW);
    const uintptr_t first = (uintptr_t)dlsym(handle, "first");

    set_up();
    place(first);
    unlink(path); /* as package managers do */
    make_library("libgaps.so", "int a; __asm__(\".fill 4096,1,0x90\");", "");
    CHECK(strncmp(name_of(first), "libgaps.so+0x", 13) == 0);
}

TEST_ALONE(a_file_that_is_gone_gives_offsets)
{
    const char *path = make_library("libgaps.so", gaps, "");
    void *handle = dlopen(path, RTLD_NOW);
    const uintptr_t first = (uintptr_t)dlsym(handle, "first");

    set_up();
    place(first);
    unlink(path);
    CHECK(strncmp(name_of(first), "libgaps.so+0x", 13) == 0);
}

/* As a snapshot does: the mappings tell where a module's file is that was opened by another name. */
static const char *name_by_mappings(uint32_t id)
{
    struct workspace work = {.size = 1 << 20};
    struct mappings mappings;

    work.base = arena_map(work.size);
    CHECK_INT(mappings_read(&mappings, &work), 0, "mappings");
    CHECK(mappings_cover(&mappings, location_get(id), &work) != 0);
    symbols_name(&id, 1, &work);
    return load_relaxed(&location_get(id)->name);
}

TEST_ALONE(a_library_opened_by_a_relative_path_has_its_names)
{
    make_library("libgaps.so", gaps, "");
    CHECK_INT(chdir(scratch_folder()), 0, "chdir");
    void *handle = dlopen("./libgaps.so", RTLD_NOW);
    const uintptr_t first = (uintptr_t)dlsym(handle, "first");

    set_up();
    const uint32_t id = place(first);
    CHECK_INT(chdir("/"), 0, "chdir");
    CHECK_STR(name_by_mappings(id), "first", "name");
}

TEST_ALONE(a_relative_library_that_was_replaced_is_not_believed_and_not_touched)
{
    const char *path = make_library("libgaps.so", gaps, "");
    struct stat before, after;

    CHECK_INT(chdir(scratch_folder()), 0, "chdir");
    void *handle = dlopen("./libgaps.so", RTLD_NOW);
    const uintptr_t first = (uintptr_t)dlsym(handle, "first");
    set_up();
    const uint32_t id = place(first);
    unlink(path);
    make_library("libgaps.so", "int a; __asm__(\".fill 4096,1,0x90\");", "");
    CHECK_INT(stat(path, &before), 0, "stat");
    CHECK(strncmp(name_by_mappings(id), "libgaps.so+0x", 13) == 0);
    CHECK_INT(stat(path, &after), 0, "stat");
    CHECK_INT(after.st_size, before.st_size, "size");
    CHECK_INT(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec, "time");
}

TEST_ALONE(names_longer_than_4_kib_are_cut)
{
    char *source = calloc(1, 12000);
    int n = sprintf(source, "int plugin(void) { return 1; }\n__asm__(\".globl f");

    memset(source + n, 'x', 5000);
    strcat(source, "\\n.type f");
    memset(source + strlen(source), 'x', 5000);
    strcat(source, ",@function\\n.set f");
    n = (int)strlen(source);
    source = realloc(source, 40000);
    memset(source + n, 'x', 5000);
    strcpy(source + n + 5000, ",plugin\\n.size f");
    n = (int)strlen(source);
    memset(source + n, 'x', 5000);
    strcpy(source + n + 5000, ",1\");\n"); /* a tighter fit than plugin's */
    void *handle = dlopen(make_library("liblong.so", source, ""), RTLD_NOW);
    set_up();
    const char *name = name_of((uintptr_t)dlsym(handle, "plugin"));
    CHECK_INT(strlen(name), 4095, "length");
    CHECK(strncmp(name, "fxxx", 4) == 0);
    free(source);
}

TEST_ALONE(code_of_a_jit_has_the_names_of_its_map)
{
    char path[64], map[600] = "";

    set_up();
    snprintf(path, sizeof path, "/tmp/perf-%d.map", getpid());
    strcat(map, "a0000 100 LazyCompile:*old a.js:1\n");
    strcat(map,
           "a0000 100 LazyCompile:*new name a.js:1\n"); /* compiled again: the last line wins */
    strcat(map, "a0100 10 other\nnonsense\n a0200 10 x\na0300 zz x\na0400\n");
    write_file(path, map);
    CHECK_STR(name_of(0xa0000), "LazyCompile:*new name a.js:1", "first byte");
    CHECK_STR(name_of(0xa00ff), "LazyCompile:*new name a.js:1", "last byte");
    CHECK_STR(name_of(0xa0105), "other", "next");
    CHECK_STR(name_of(0xa0110), "0xa0110", "behind");
    CHECK_STR(name_of(0xa0205), "0xa0205", "a line that begins with a space");
    unlink(path);
}

TEST_ALONE(without_memory_places_stay_unnamed)
{
    uint32_t ids[1];

    set_up();
    ids[0] = place((uintptr_t)a_static_function);
    struct workspace work = {.size = 256 << 10};
    work.base = arena_map(work.size);
    arena_set_cap(0, 0);
    while (arena_alloc(16))
        ;
    symbols_name(ids, 1, &work);
    CHECK(load_relaxed(&location_get(ids[0])->name) == NULL);
}

/* ---- build ids ---- */

TEST(build_ids_are_lower_case_hex)
{
    static const uint8_t id[] = {0x00, 0x1f, 0xab, 0xff};
    char hex[SYMBOLS_BUILD_ID_TEXT];

    symbols_build_id_text(id, sizeof id, hex);
    CHECK_STR(hex, "001fabff", "hex");
    symbols_build_id_text(id, 0, hex);
    CHECK_STR(hex, "", "none");
}

TEST_ALONE(the_build_id_of_a_file_is_that_of_its_module)
{
    char of_file[SYMBOLS_BUILD_ID_TEXT], of_module[SYMBOLS_BUILD_ID_TEXT];

    set_up();
    const struct module *libc = modules_find((uintptr_t)gnu_get_libc_version);
    symbols_read_build_id(libc->path, of_file);
    symbols_build_id_text(libc->build_id, libc->build_id_size, of_module);
    CHECK_INT(strlen(of_file), 40, "digits");
    CHECK_STR(of_file, of_module, "build id");
    void *handle =
        dlopen(make_library("libplain.so", "int plugin;", "-Wl,--build-id=none"), RTLD_NOW);
    CHECK(handle != NULL);
    symbols_read_build_id(scratch_path("libplain.so"), of_file);
    CHECK_STR(of_file, "", "a file without one");
}

TEST(what_is_no_elf_file_has_no_build_id)
{
    static const char *const paths[] = {"/etc/passwd", "/no/such/file", "/", "relative", "",
                                        "[vdso]",      "/dev/null"};
    char hex[SYMBOLS_BUILD_ID_TEXT];

    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        strcpy(hex, "junk");
        symbols_read_build_id(paths[i], hex);
        CHECK_STR(hex, "", paths[i]);
    }
}

/* Every prefix of a real file, and every byte of its headers changed: no crash, no endless loop. */
TEST_ALONE(damaged_files_do_no_harm)
{
    const char *path = make_library("libgaps.so", gaps, ""), *bad = scratch_path("bad.so");
    static char data[200000];
    char hex[SYMBOLS_BUILD_ID_TEXT];
    uint64_t random = 5;
    FILE *file = fopen(path, "r");

    const size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    for (int i = 0; i < 2000 / SCALE; i++) {
        char *copy = malloc(size);
        memcpy(copy, data, size);
        const size_t cut = i % 2 ? size : next_random(&random) % size;
        for (int k = 0; k < 4; k++)
            copy[next_random(&random) % (k % 2 ? 64 : 1024)] = (char)next_random(&random);
        file = fopen(bad, "w");
        fwrite(copy, 1, cut, file);
        fclose(file);
        symbols_read_build_id(bad, hex);
        CHECK_AT_MOST(strlen(hex), 40, "build id");
        free(copy);
    }
}
