/* run - starts a program with libcprof.so preloaded, by exec: same process, same status and
 * signals.
 *
 * Every setting of the agent is an option here (cli/settings.h) and becomes an environment
 * variable. The program is looked at before (cli/program.h): where preloading has no effect we
 * say so rather than let the user wait for profiles, and run it as it is. On a terminal one line says what to do
 * next. */
#include <argp.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/library.h"
#include "cli/program.h"
#include "cli/settings.h"
#include "cli/verb.h"

/* ---- the library ---- */

/* True when the list of LD_PRELOAD (separated by colons or spaces) has `path`. */
static bool is_in_list(const char *list, const char *path)
{
    for (;;) {
        list += strspn(list, ": ");
        const size_t length = strcspn(list, ": ");
        if (length == 0)
            return false;
        if (strlen(path) == length && !memcmp(list, path, length))
            return true;
        list += length;
    }
}

/* 0, or after a message the exit status, or -1: the command runs without. */
static int preload(const char *command)
{
    const char *before = getenv("LD_PRELOAD");
    char library[PATH_MAX], *list = NULL;

    library_find(library);
    if (!*library)
        return verb_error("run", "libcprof.so: not found next to cprof or in ../lib");
    if (library_make_nameable(library) < 0) {
        verb_error("run",
                   "%s: LD_PRELOAD cannot name a file with a space or colon, and a link to it "
                   "finds no place in XDG_RUNTIME_DIR, TMPDIR or /tmp; %s runs without cprof",
                   library, command);
        return -1;
    }
    if (before && is_in_list(before, library))
        return 0;
    const bool is_alone = !before || !*before;
    if (asprintf(&list, "%s%s%s", library, is_alone ? "" : ":", is_alone ? "" : before) < 0)
        return verb_error("run", "%s", strerror(ENOMEM));
    const int err = setenv("LD_PRELOAD", list, 1) < 0 ? errno : 0;
    free(list);
    return err ? verb_error("run", "LD_PRELOAD: %s", strerror(err)) : 0;
}

/* ---- options ---- */

enum { FIRST_KEY = 256, NAME_MAX_BYTES = 40 };

/* CPROF_HEAP_RATE -> heap-rate */
static void option_name(char name[NAME_MAX_BYTES], const char *variable)
{
    size_t i = 0;

    variable += strlen("CPROF_");
    for (; i < NAME_MAX_BYTES - 1 && variable[i]; i++)
        name[i] = variable[i] == '_' ? '-' : (char)tolower((unsigned char)variable[i]);
    name[i] = '\0';
}

static error_t parse(int key, char *value, struct argp_state *state)
{
    char ***ret_command = state->input;

    if (key >= FIRST_KEY && key < FIRST_KEY + (int)COUNT_OF(settings)) {
        if (setenv(settings[key - FIRST_KEY].variable, value, 1) < 0)
            argp_failure(state, STATUS_ERROR, errno, "%s", settings[key - FIRST_KEY].variable);
        return 0;
    }
    switch (key) {
    case ARGP_KEY_ARGS: *ret_command = state->argv + state->next; return 0;
    case ARGP_KEY_NO_ARGS: argp_error(state, "which COMMAND?"); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* Returns the command to run and its arguments. */
static char **parse_options(int argc, char **argv)
{
    static char names[COUNT_OF(settings)][NAME_MAX_BYTES];
    static struct argp_option options[COUNT_OF(settings) + 1];
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "[--] COMMAND [ARGUMENT...]",
        .doc =
            "Starts COMMAND under the profiler: the same process, with libcprof.so preloaded.\v"
            "Every option is a setting: --heap-rate 512k is CPROF_HEAP_RATE=512k.  Without "
            "--out "
            "nothing is written until the process gets SIGUSR2."};
    char **command = NULL;

    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        option_name(names[i], settings[i].variable);
        options[i] = (struct argp_option){
            .name = names[i],
            .key = FIRST_KEY + (int)i,
            .arg = "VALUE",
            .doc = settings[i].help,
        };
    }
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &command);
    return command;
}

/* ---- the verb ---- */

static void say_next(void)
{
    const char *out = getenv("CPROF_OUT"), *signal = getenv("CPROF_SIGNAL");

    if (!isatty(STDERR_FILENO))
        return;
    if (out && *out)
        fprintf(stderr,
                "cprof: run: next, when it has ended: cprof top FILE, a heap.pb.gz in %s\n",
                out);
    else
        fprintf(stderr, "cprof: run: next, for a profile: kill -%s %ld\n",
                signal && *signal ? signal : "USR2", (long)getpid());
}

int run_main(int argc, char **argv)
{
    struct program program;

    char **command = parse_options(argc, argv);
    if (program_find(&program, command[0]) == 0) {
        const int status = preload(command[0]);
        if (status > 0)
            return status;
        if (status == 0)
            say_next();
    } else {
        const bool can_run = program.status == STATUS_ERROR;
        verb_error("run", "%s: %s%s", command[0], program.why,
                   can_run ? "; it runs without cprof" : "");
        if (!can_run)
            return program.status;
    }
    execv(program.path, command);
    verb_error("run", "%s: %s", command[0], strerror(errno));
    return errno == ENOENT ? STATUS_NOT_FOUND : STATUS_CANNOT_EXECUTE;
}
