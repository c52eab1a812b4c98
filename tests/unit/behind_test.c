#include "base/behind.c"

#include <stdlib.h>

#include "base/real.h"
#include "tests/unit/help.h"

static const char here[] = "an object of the program, behind which all others lie";

static const char *const names[] = {
#define REAL(name) #name,
#include "base/real.def"
    /* old and new versions, one chosen when it is bound, data, of the loader, of nobody */
    "pthread_cond_wait", "memcpy", "environ", "__tls_get_addr", "cprof_has_no_such_function",
};

static void *asked(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

/* A sanitizer's may come before it. */
static void *of_libc(const char *name)
{
    void *libc = dlopen(LIBC_SO, RTLD_NOW | RTLD_NOLOAD);
    void *function = libc ? dlsym(libc, name) : NULL;

    if (libc)
        dlclose(libc);
    return function;
}

TEST(what_is_known_is_what_dlsym_finds)
{
    struct behind behind;
    int n_found = 0;

    behind_init(&behind, here);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        void *function = NULL;
        if (behind_find(&behind, names[i], &function)) {
            CHECK_HEX((uintptr_t)function, (uintptr_t)asked(names[i]), names[i]);
            n_found += function != NULL;
        }
    }
    /* Sanitizers define many before libc. */
    CHECK_AT_LEAST(n_found, WITH_ASAN || WITH_TSAN ? 30 : 140, "of real.def");
}

TEST(what_is_not_libcs_is_to_be_asked)
{
    struct behind behind;
    void *function = &behind;

    behind_init(&behind, here);
    CHECK(!behind_find(&behind, "memcpy", &function)); /* IFUNC */
    CHECK(!behind_find(&behind, "environ", &function));
    CHECK(!behind_find(&behind, "__tls_get_addr", &function));
}

/* libc has an old version, by another address. */
TEST(the_version_of_today_is_meant)
{
    struct behind behind;
    void *function = NULL, *old = dlvsym(RTLD_NEXT, "pthread_cond_wait", "GLIBC_2.2.5");

    behind_init(&behind, here);
    if (!old)
        SKIP("no old versions in this libc");
    if (WITH_TSAN || WITH_ASAN)
        SKIP("a sanitizer's comes first");
    CHECK(behind_find(&behind, "pthread_cond_wait", &function));
    CHECK(function != old);
}

/* What is looked up at its first call is not asked of the loader. */
TEST(libc_alone_has_all_that_may_be_late)
{
    static const char *const late[] = {
#define REAL(name)
#define REAL_LATE(name) #name,
#include "base/real.def"
    };
    struct behind behind;

    behind_init(&behind, here);
    CHECK_AT_LEAST(COUNT_OF(late), 100, "late ones");
    for (size_t i = 0; i < COUNT_OF(late); i++)
        CHECK_HEX((uintptr_t)behind_find_function(&behind.objects[behind.libc], late[i]),
                  (uintptr_t)of_libc(late[i]), late[i]);
    CHECK(!behind_find_function(&behind.objects[behind.libc], "memcpy")); /* IFUNC */
    CHECK(!behind_find_function(&behind.objects[behind.libc], "environ"));
    CHECK(!behind_find_function(&behind.objects[behind.libc], "cprof_has_no_such_function"));
}

TEST(from_libc_on_nothing_is_known)
{
    struct behind behind;
    void *function;

    behind_init(&behind, of_libc("qsort"));
    CHECK(!behind_find(&behind, "malloc", &function));
    behind_init(&behind, &behind); /* in no object */
    CHECK(!behind_find(&behind, "malloc", &function));
}

/* ---- what objects say ---- */

TEST(what_the_loader_could_not_write_is_moved_here)
{
    enum { IS_WRITTEN, IS_NOT };
    static const struct {
        const char *name;
        uintptr_t linked, loaded;
    } rows[] = {
        {"anywhere",                 0,              0x7f1234560000},
        {"where it was linked",      0x600000000000, 0x600000000000},
        {"above",                    0x600000000000, 0x7f1234560000},
        {"far above",                0x3000000000,   0x7f1234560000},
        {"below",                    0x7fff00000000, 0x7f1234560000},
        {"just below",               0x7fff00000000, 0x7ffefff00000},
        {"at an address of 32 bits", 0,              0x10000       },
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++)
        for (int how = IS_WRITTEN; how <= IS_NOT; how++) {
            const struct link_map map = {
                .l_addr = rows[i].loaded - rows[i].linked,
                .l_ld = (void *)(rows[i].loaded + 0x3e08),
            };
            const uintptr_t value = (how == IS_NOT ? rows[i].linked : rows[i].loaded) + 0x2a8;
            CHECK_HEX((uintptr_t)address(&map, value), rows[i].loaded + 0x2a8, rows[i].name);
        }
}

/* As dlsym() has it: numbers up to 1 are no versions that could be hidden. */
TEST(only_versions_are_hidden)
{
    static const struct {
        uint16_t version;
        bool is_meant;
    } rows[] = {
        {0,      true },
        {1,      true },
        {2,      true },
        {9,      true },
        {0x8000, true },
        {0x8001, true },
        {0x8002, false},
        {0x8009, false}
    };
    static const ElfW(Sym) symbol = {.st_name = 1, .st_shndx = 1};

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct behind_object object = {
            .symbols = &symbol, .strings = "\0close", .versions = &rows[i].version};
        CHECK_INT(is_meant(&object, 0, "close"), rows[i].is_meant, "is meant");
    }
}

/* ---- lists that are made up of copies of libc ---- */

enum { ENTRIES_MAX = 128 };

struct made {
    struct link_map map;
    ElfW(Dyn) entries[ENTRIES_MAX];
};

/* libc, with another entry instead of `tag`. */
static void make(struct made *made, ElfW(Sxword) tag, ElfW(Sxword) instead)
{
    void *libc = dlopen(LIBC_SO, RTLD_NOW | RTLD_NOLOAD);
    struct link_map *map = NULL;

    if (!libc || dlinfo(libc, RTLD_DI_LINKMAP, &map) != 0) {
        FAIL("%s", dlerror());
        exit(1);
    }
    made->map = *map;
    made->map.l_ld = made->entries;
    made->map.l_next = NULL;
    for (size_t i = 0; i < ENTRIES_MAX; i++) {
        made->entries[i] = map->l_ld[i];
        if (map->l_ld[i].d_tag == DT_NULL)
            break;
        if (map->l_ld[i].d_tag == tag)
            made->entries[i].d_tag = instead;
    }
    dlclose(libc);
}

/* Another library that has libc's functions, and the loader's place. */
static void make_other(struct made *made)
{
    make(made, DT_SONAME, DT_DEBUG);
}

static struct behind behind_list(struct made *all, size_t n)
{
    struct link_map first = {.l_next = &all[0].map};
    struct behind behind;

    for (size_t i = 0; i + 1 < n; i++)
        all[i].map.l_next = &all[i + 1].map;
    read_list(&behind, &first);
    return behind;
}

TEST_ALONE(where_nobody_else_is_left_a_miss_is_known)
{
    static struct made all[3];
    void *function = all;

    make(&all[0], DT_NULL, DT_NULL);
    make_other(&all[1]);
    make_other(&all[2]);
    struct behind behind = behind_list(all, 1);
    CHECK(behind_find(&behind, "qsort", &function) && function == of_libc("qsort"));
    CHECK(behind_find(&behind, "no_such_function", &function) && !function);
    behind = behind_list(all, 2); /* the loader may stand there */
    CHECK(behind_find(&behind, "no_such_function", &function) && !function);
    behind = behind_list(all, 3);
    CHECK(!behind_find(&behind, "no_such_function", &function));
}

TEST_ALONE(what_stands_before_libc_is_asked_for)
{
    static struct made all[BEHIND_MAX + 1];
    void *function;

    make_other(&all[0]);
    make(&all[1], DT_NULL, DT_NULL);
    struct behind behind = behind_list(all, 2);
    CHECK_INT(behind.n, 2, "objects");
    CHECK(!behind_find(&behind, "qsort", &function));

    for (size_t i = 0; i < BEHIND_MAX; i++)
        make_other(&all[i]);
    make(&all[BEHIND_MAX - 1], DT_NULL, DT_NULL);
    CHECK_INT(behind_list(all, BEHIND_MAX).n, BEHIND_MAX, "the last place");
    make_other(&all[BEHIND_MAX - 1]);
    make(&all[BEHIND_MAX], DT_NULL, DT_NULL);
    CHECK_INT(behind_list(all, BEHIND_MAX + 1).n, 0, "one more");
}

TEST_ALONE(objects_that_cannot_be_looked_up_here_end_it)
{
    static const ElfW(Sxword) tags[][2] = {
        {DT_SONAME,   DT_FILTER   }, /* the functions are another's */
        {DT_SONAME,   DT_AUXILIARY},
        {DT_GNU_HASH, DT_DEBUG    },
        {DT_SYMTAB,   DT_DEBUG    },
        {DT_STRTAB,   DT_DEBUG    },
    };
    static struct made all[2];

    for (size_t i = 0; i < COUNT_OF(tags); i++) {
        make(&all[0], tags[i][0], tags[i][1]);
        make(&all[1], DT_NULL, DT_NULL);
        CHECK_INT(behind_list(all, 2).n, 0, "objects");
    }
}
