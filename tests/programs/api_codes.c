/* Every function of cprof.h with every way to be wrong: what each call returns, one line each. */
#include "../../include/cprof.h"

#include "victim.h"

static const char *code(int err)
{
    static const char *const names[] = {
        [0] = "0",           [EEXIST] = "EEXIST", [EINVAL] = "EINVAL", [EPERM] = "EPERM",
        [ENOSYS] = "ENOSYS", [EBADF] = "EBADF",   [EPIPE] = "EPIPE",
    };
    return (size_t)err < sizeof names / sizeof *names && names[err] ? names[err]
                                                                    : strerror(err);
}

static cprof_profile *make(const char *what, const char *name)
{
    errno = 0;
    cprof_profile *profile = cprof_profile_new(name);
    printf("new %s: %s %s\n", what, profile ? "made" : "NULL", code(errno));
    return profile;
}

static void make_all(void)
{
    static const char *const kept[] = {"cmdline", "cpu",    "flame",    "goroutine", "metrics",
                                       "profile", "rate",   "snapshot", "start",     "stop",
                                       "symbol",  "thread", "trace"};
    static char longest[257];

    make("NULL", NULL);
    make("empty", "");
    make("space", "two words");
    make("tab", "two\twords");
    make("newline", "two\n");
    make("heap", "heap");
    make("threadcreate", "threadcreate");
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        make(kept[i], kept[i]);
    memset(longest, 'n', 256);
    make("256 bytes", longest);
    longest[255] = '\0';
    cprof_profile *profile = make("255 bytes", longest);
    printf("its name: %zu bytes\n", strlen(cprof_profile_name(profile)));
    make("255 bytes again", longest);
}

NAMED void add_and_remove(cprof_profile *mine, cprof_profile *other)
{
    static const uintptr_t odd[] = {0, 1, 7, UINTPTR_MAX, (uintptr_t)1 << 63};

    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        const void *value = (const void *)odd[i];
        printf("add %#zx: %s", (size_t)odd[i], code(cprof_profile_add(mine, value, 0)));
        printf(", again %s\n", code(cprof_profile_add(mine, value, 0)));
    }
    printf("count %zu, other %zu\n", cprof_profile_count(mine), cprof_profile_count(other));
    printf("add to another: %s\n", code(cprof_profile_add(other, NULL, -5)));
    cprof_profile_remove(mine, "not there");
    cprof_profile_remove(NULL, "nowhere");
    cprof_profile_remove(mine, NULL);
    cprof_profile_remove(mine, NULL);
    printf("count %zu, other %zu\n", cprof_profile_count(mine), cprof_profile_count(other));
    printf("add it again: %s\n", code(cprof_profile_add(mine, NULL, 0)));
}

static void built_in(void)
{
    cprof_profile *heap = cprof_profile_lookup("heap");

    printf("heap: %s\n", heap ? cprof_profile_name(heap) : "NULL");
    printf("add to heap: %s\n", code(cprof_profile_add(heap, heap, 0)));
    cprof_profile_remove(heap, heap);
    printf("heap has stacks: %d\n", cprof_profile_count(heap) > 0);
    FILE *stream = fopen("/dev/null", "r");
    const size_t n_open = cprof_profile_count(cprof_profile_lookup("blob"));
    fclose(stream);
    printf("a stream is counted: %d\n",
           n_open > cprof_profile_count(cprof_profile_lookup("blob")));
}

int main(void)
{
    int ends[2];

    free(malloc(opaque(1000)));
    printf("active: %d\n", cprof_active());
    make_all();
    cprof_profile *mine = make("mine", "mine"), *other = make("other", "other");
    make("mine again", "mine");
    printf("lookup: %s, %s, %s\n", cprof_profile_lookup("mine") == mine ? "mine" : "not mine",
           cprof_profile_lookup("none") ? "found" : "NULL",
           cprof_profile_lookup(NULL) ? "found" : "NULL");
    add_and_remove(mine, other);
    built_in();
    printf("add to NULL: %s\n", code(cprof_profile_add(NULL, NULL, 0)));
    printf("nothing has count %zu and name \"%s\"\n", cprof_profile_count(NULL),
           cprof_profile_name(NULL));
    printf("write NULL: %s\n", code(cprof_profile_write(NULL, 1, 0)));
    printf("write debug -1: %s\n", code(cprof_profile_write(mine, 1, -1)));
    printf("write to no file: %s\n", code(cprof_profile_write(mine, 77, 1)));
    check(pipe(ends) == 0 && close(ends[0]) == 0, "pipe");
    printf("write to nobody: %s\n", code(cprof_profile_write(mine, ends[1], 0)));
    errno = 77;
    cprof_profile_add(mine, mine, 0);
    cprof_profile_add(mine, mine, 0);
    cprof_profile_remove(mine, mine);
    cprof_profile_write(mine, 77, 0);
    cprof_profile_count(mine);
    cprof_profile_lookup("mine");
    printf("errno: %d\n", errno);
    return 0;
}
