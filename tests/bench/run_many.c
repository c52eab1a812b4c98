/* run_many ROUNDS VARIANT... -- PROGRAM ARG... - starts PROGRAM in turn under each variant and prints what each took.
 *
 * A VARIANT is the environment to add, `A=1 B=2`, or "" for the bare program.  One line for each start: the variant's
 * index, CPU microseconds of the child, its largest resident set in KiB.  Link it statically: a child inherits the
 * high-water mark of the process that it was before exec. */
#include "bench.h"

#include <sys/resource.h>
#include <sys/wait.h>

enum { MAX_VARIANTS = 8 };

static void put_variant(char *variant)
{
    for (char *rest, *word = strtok_r(variant, " ", &rest); word;
         word = strtok_r(NULL, " ", &rest))
        require(putenv(word) == 0, "putenv");
}

static void run(size_t index, char *variant, char **command)
{
    pid_t pid = fork();
    require(pid >= 0, "fork");
    if (pid == 0) {
        put_variant(variant);
        execv(command[0], command);
        _exit(127);
    }
    int status;
    struct rusage usage;
    require(wait4(pid, &status, 0, &usage) == pid, "wait4");
    require(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the program failed");
    long cpu_us = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000L +
                  usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
    printf("%zu %ld %ld\n", index, cpu_us, usage.ru_maxrss);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    size_t n_variants = 0;
    while (n_variants + 2 < (size_t)argc && strcmp(argv[n_variants + 2], "--") != 0)
        n_variants++;
    require(n_variants >= 1 && n_variants <= MAX_VARIANTS && n_variants + 3 < (size_t)argc,
            "usage: run_many ROUNDS VARIANT... -- PROGRAM ARG...");
    char **command = argv + n_variants + 3;
    for (long round = strtol(argv[1], NULL, 10); round > 0; round--) {
        for (size_t i = 0; i < n_variants; i++) {
            size_t index = round & 1 ? i : n_variants - 1 - i;
            run(index, argv[2 + index], command);
        }
    }
    return 0;
}
