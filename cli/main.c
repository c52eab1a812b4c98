/* cprof - the command: the first word chooses a verb, the rest is the verb's.
 *
 * Nothing is decided here but that; cli/verbs.def lists what there is. */
#include <argp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/version.h"
#include "cli/verb.h"

static const struct verb {
    const char *name;
    int (*main)(int argc, char **argv);
    const char *help;
} verbs[] = {
#define VERB(name, function, help) {name, function, help},
#include "cli/verbs.def"
#undef VERB
};

static const struct verb *verb_find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(verbs); i++)
        if (!strcmp(verbs[i].name, name))
            return &verbs[i];
    return NULL;
}

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Letters to insert, remove, replace or swap with the next to make `a` of `b`; both shorter
 * than LETTERS_MAX. */
enum { LETTERS_MAX = 16 };
static size_t distance(const char *a, const char *b)
{
    size_t d[LETTERS_MAX][LETTERS_MAX] = {{0}};
    const size_t n_a = strlen(a), n_b = strlen(b);

    for (size_t i = 0; i <= n_a; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= n_b; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= n_a; i++)
        for (size_t j = 1; j <= n_b; j++) {
            d[i][j] = min(d[i - 1][j], d[i][j - 1]) + 1;
            d[i][j] = min(d[i][j], d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = min(d[i][j], d[i - 2][j - 2] + 1);
        }
    return d[n_a][n_b];
}

/* The verb that was probably meant; NULL when `name` resembles none. */
static const struct verb *verb_nearest(const char *name)
{
    const struct verb *nearest = NULL;
    size_t best = SIZE_MAX;

    if (strlen(name) >= LETTERS_MAX)
        return NULL;
    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        const size_t d = distance(name, verbs[i].name);
        if (d < best && d <= strlen(verbs[i].name) / 3) {
            best = d;
            nearest = &verbs[i];
        }
    }
    return nearest;
}

static int complain_about(const char *word)
{
    const struct verb *nearest = verb_nearest(word);

    if (nearest)
        return verb_error(word, "no such verb; did you mean `cprof %s'?", nearest->name);
    if (word[0] != '-' && access(word, F_OK) == 0)
        return verb_error(word, "a verb comes first; did you mean `cprof top %s'?", word);
    return verb_error(word, "no such verb; `cprof help' lists them");
}

static void usage(FILE *stream)
{
    fputs("Usage: cprof VERB [OPTION...] [ARGUMENT...]\n\n", stream);
    for (size_t i = 0; i < COUNT_OF(verbs); i++)
        fprintf(stream, "  %-6s %s\n", verbs[i].name, verbs[i].help);
    fputs("  help   what a verb does and its options: `cprof help VERB'\n\n"
          "Files are pprof profiles, as libcprof.so, Go programs and others write them.\n",
          stream);
}

static int verb_run(const struct verb *verb, int argc, char **argv)
{
    char name[8 + LETTERS_MAX];

    snprintf(name, sizeof name, "cprof %s", verb->name);
    argv[0] = name;
    return verb->main(argc, argv);
}

static int help(const char *name)
{
    if (!name) {
        usage(stdout);
        return 0;
    }
    const struct verb *verb = verb_find(name);
    char option[] = "--help";
    char *argv[] = {NULL, option, NULL};
    return verb ? verb_run(verb, 2, argv) : complain_about(name);
}

int main(int argc, char **argv)
{
    argp_program_version = "cprof " CPROF_VERSION;
    argp_err_exit_status = STATUS_ERROR;
    if (argc < 2) {
        usage(stderr);
        return STATUS_ERROR;
    }
    if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
        puts(argp_program_version);
        return 0;
    }
    if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
        return help(argv[2]);
    const struct verb *verb = verb_find(argv[1]);
    return verb ? verb_run(verb, argc - 1, argv + 1) : complain_about(argv[1]);
}
