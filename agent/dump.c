/* dump - see dump.h. */
#include "agent/dump.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/utsname.h>

#include "agent/apart.h"
#include "agent/contention.h"
#include "agent/keep.h"
#include "agent/objects.h"
#include "agent/process.h"
#include "agent/profile.h"
#include "agent/trigger.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/text.h"
#include "encoder/legacy.h"

enum { PATTERN_BYTES = PATH_MAX, HOST_BYTES = 65, EXE_BYTES = 128, NAME_BYTES = 256 };

static struct {
    char pattern[PATTERN_BYTES]; /* absolute; %{ENV} is expanded already */
    int pattern_err;             /* why there is none: 0 or -errno */
    char exe[EXE_BYTES];
    char host[HOST_BYTES];
    _Atomic bool at_exit;
    int root_pid; /* the process whose parent is not profiled; 0: this one has a profiled parent */
    uint64_t min_life_ns;
    uint64_t time_s;           /* of the snapshot under way, for its files' names */
    _Atomic uint32_t profiles; /* enum config_profile: what is or was collected */
    struct snapshot_options options;
} state;

/* Errors that were logged, one bit each: a full disk is said once, not once per file. */
static _Atomic uint64_t said[4];

/* ---- names ---- */

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           strchr("._+-", c);
}

static void add_plain(struct text *text, const char *string)
{
    for (; *string; string++)
        text_add_char(text, is_plain(*string) ? *string : '_');
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* The name of a profile as far as a file's name has room for it, next to the program's and the numbers. */
static void add_file_name(struct text *text, const char *name)
{
    enum { ROOM = 160 };

    for (size_t i = 0; i < ROOM && name[i]; i++)
        text_add_char(text, is_plain(name[i]) ? name[i] : '_');
}

/* How many other profiles would have the same name in a file, and have more right to it: a name that is plain
 * as it is comes first, then they go by the alphabet. */
static unsigned n_namesakes(const struct profile *profile)
{
    char own[NAME_BYTES], other[NAME_BYTES];
    const struct profile *at = NULL;
    struct text text;
    unsigned n = 0;
    bool is_before = true;

    text_init(&text, own, sizeof own);
    add_file_name(&text, profile->name);
    if (strcmp(own, profile->name) == 0)
        return 0;
    while ((at = profile_next(at))) {
        is_before &= at != profile;
        text_init(&text, other, sizeof other);
        add_file_name(&text, at->name);
        if (at != profile && strcmp(own, other) == 0)
            n += is_before || strcmp(other, at->name) == 0;
    }
    return n;
}

static void add_profile_name(struct text *text, const struct profile *profile)
{
    const unsigned n = n_namesakes(profile);

    add_file_name(text, profile->name);
    if (n)
        text_addf(text, "+%u", n + 1);
}

/* Expands everything but %{ENV}. */
static void expand(struct text *text, const char *pattern, uint32_t number, uint64_t time_s,
                   const struct profile *profile)
{
    for (const char *at = pattern; *at; at++) {
        if (*at != '%' || !at[1]) {
            text_add_char(text, *at);
            continue;
        }
        switch (*++at) {
        case 'e': text_add(text, state.exe); break;
        case 'h': text_add(text, state.host); break;
        case 'p': text_add_u64(text, (uint64_t)process_pid(), 1); break;
        case 'n': text_add_u64(text, number, 4); break;
        case 't': text_add_u64(text, time_s, 1); break;
        case 'k': add_profile_name(text, profile); break;
        case '%': text_add_char(text, '%'); break;
        default: text_add_char(text, '%'); text_add_char(text, *at);
        }
    }
}

static void add_expanding_variables(struct text *text, const char *out,
                                    const char *const *environment)
{
    for (const char *end; *out; out++) {
        if (out[0] == '%' && out[1] == '{' && (end = strchr(out, '}'))) {
            const char *value =
                text_find_variable(environment, out + 2, (size_t)(end - out) - 2);
            add_plain(text, value ? value : "");
            out = end;
        } else {
            text_add_char(text, *out);
        }
    }
}

/* Does the pattern have a %<letter>? */
static bool has(const char *pattern, char letter)
{
    for (; (pattern = strchr(pattern, '%')); pattern += 1 + !!pattern[1])
        if (pattern[1] == letter)
            return true;
    return false;
}

static void add_escaped(struct text *text, const char *string)
{
    for (; *string; string++) {
        if (*string == '%')
            text_add_char(text, '%');
        text_add_char(text, *string);
    }
}

/* 0 or -errno: files cannot go there. */
static int make_pattern(const char *out, const char *const *environment)
{
    char here[PATH_MAX];
    struct text text;

    text_init(&text, state.pattern, sizeof state.pattern);
    if (*out != '/') {
        const int err = process_directory(here);
        if (err < 0)
            return err;
        add_escaped(&text, here);
        text_add_char(&text, '/');
    }
    add_expanding_variables(&text, out, environment);
    if (!has(out, 'k')) {
        if (text.data[text.size - 1] != '/')
            text_add_char(&text, '/');
        text_add(&text, "%e.%p.%n.%k.pb.gz");
    }
    return text.cut ? -ENAMETOOLONG : 0;
}

/* ---- errors ---- */

/* The end of a path that is too long for a line of log. */
static const char *shown(const char *path)
{
    enum { SHOWN_BYTES = 600 };
    const size_t size = strlen(path);

    return size > SHOWN_BYTES ? path + size - SHOWN_BYTES : path;
}

static void complain(const char *path, int err)
{
    const uint64_t bit = (uint64_t)1 << (-err & 63);

    if (atomic_fetch_or_explicit(&said[(-err >> 6) & 3], bit, memory_order_relaxed) & bit)
        return;
    log_warn("dump: %s%s%s: %s; this profile is not written, the program goes on",
             dump_has_output() ? "CPROF_OUT: " : "", shown(path) == path ? "" : "...",
             shown(path), text_errno(-err));
}

/* Said at start when CPROF_OUT is set, else only when a snapshot is asked for. */
static void complain_of_pattern(const char *out)
{
    static _Atomic bool is_said;

    if (!swap_acq_rel(&is_said, true))
        log_warn("dump: %s: %s; no file is written", out, text_errno(-state.pattern_err));
}

/* ---- directories ---- */

/* The directory of `path`, into ret_directory. */
static void directory_of(const char *path, struct text *ret_directory)
{
    const char *slash = strrchr(path, '/');

    text_add_bytes(ret_directory, path, slash > path ? (size_t)(slash - path) : 1);
}

/* 0 when the directory is there or could be made. */
static int ensure_directory(const char *directory)
{
    struct stat st;
    const int err = sys_stat(directory, &st);

    if (err == 0)
        return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
    return err == -ENOENT ? sys_mkdir(directory, 0700) : err;
}

static bool is_constant(const char *pattern)
{
    for (; (pattern = strchr(pattern, '%')); pattern += 2)
        if (pattern[1] != '%')
            return false;
    return true;
}

/* A directory that no file name changes is tried at once, so that its user hears of it in time. */
static void check_output(void)
{
    char pattern[PATTERN_BYTES], buffer[PATTERN_BYTES];
    struct text directory;

    text_init(&directory, pattern, sizeof pattern);
    directory_of(state.pattern, &directory);
    if (!is_constant(pattern))
        return;
    text_init(&directory, buffer, sizeof buffer);
    expand(&directory, pattern, 0, clock_wall_ns() / 1000000000u, profiles); /* no %k in it */
    int err = ensure_directory(buffer);
    if (err == 0)
        err = sys_access(buffer, 2 /* W_OK */);
    if (err < 0)
        complain(buffer, err);
}

/* ---- one file ---- */

/* Descriptors 0 to 2 belong to the program, even closed. */
static int keep_off_standard(int fd)
{
    enum { FIRST_FREE = 3 };

    if (fd < 0 || fd >= FIRST_FREE || apart_is_here())
        return fd;
    const int higher = sys_fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE);
    sys_close(fd);
    return higher;
}

static int open_temporary(const char *path)
{
    const int fd = sys_openat(
        AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0600);
    const int kept = keep_off_standard(fd);

    if (fd >= 0 && kept < 0)
        sys_unlink(path);
    return kept;
}

/* A file without a name leaves nothing behind, however the process ends: by exec, by SIGKILL.  It gets its name when it is
 * whole.  Some file systems have none, and some security modules let no link be made; who was refused one uses
 * temporary names from then on. */
static _Atomic bool links_refused;

void dump_forbid_links(void)
{
    store_relaxed(&links_refused, true);
}

enum { PLACE_BYTES = 48 };

/* Where a descriptor of this thread, which may have a table of its own, can be linked from. */
static const char *place_of(int fd, char *ret_place)
{
    struct text place;

    text_init(&place, ret_place, PLACE_BYTES);
    text_addf(&place, "/proc/thread-self/fd/%d", fd);
    return ret_place;
}

/* -errno: it cannot be done here. */
static int open_nameless(const char *directory)
{
    char place[PLACE_BYTES];

    if (load_relaxed(&links_refused))
        return -EPERM;
    const int fd = keep_off_standard(
        sys_openat(AT_FDCWD, directory, O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600));
    if (fd < 0 || sys_access(place_of(fd, place), 0 /* F_OK */) == 0)
        return fd;
    sys_close(fd);
    return -ENOENT;
}

static bool is_root(void)
{
    return state.root_pid == process_pid();
}

/* ---- a snapshot's number ---- */

static int path_of(char *ret_path, uint32_t number, uint64_t time_s,
                   const struct profile *profile)
{
    struct text path;

    text_init(&path, ret_path, PATTERN_BYTES);
    expand(&path, state.pattern, number, time_s, profile);
    return path.cut ? -ENAMETOOLONG : 0;
}

static bool is_taken(uint32_t number)
{
    char path[PATTERN_BYTES];
    struct stat st;

    for (size_t i = 0; i < n_profiles; i++)
        if (path_of(path, number, state.time_s, &profiles[i]) == 0 && sys_stat(path, &st) == 0)
            return true;
    return false;
}

/* What the program wrote under this pid before exec stays, and so does what an earlier process of this pid
 * wrote: the first snapshot looks for a number that is free. */
static uint32_t next_number(void)
{
    enum { TRIES = 10000 };
    const uint32_t number = add_relaxed(&process_self()->n_snapshots, 1) + 1;
    uint32_t free_number = number;

    if (number != 1 || !has(state.pattern, 'n'))
        return number;
    while (free_number < TRIES && is_taken(free_number))
        free_number++;
    add_relaxed(&process_self()->n_snapshots, free_number - number);
    return free_number;
}

/* What the settings name, and what the program has switched on since. */
static bool is_collected(const struct profile *profile)
{
    return load_relaxed(&state.profiles) & config_profile_bit(profile->name) ||
           contention_was_on(profile->source);
}

/* ---- the files of one snapshot ---- */

/* Profiles that show the same records (heap and allocs) are frozen together, and what their files have in common
 * is encoded once.  One at a time (trigger.c). */
enum { FILES_MAX = 4 };
static struct file {
    const struct profile *profile;
    struct sink_fd sink;
    bool has_name; /* the temporary one */
    char path[PATTERN_BYTES], temporary[PATTERN_BYTES];
    char title[sizeof SNAPSHOT_TITLE + NAME_BYTES];
} files[FILES_MAX] LARGE;

/* What became of them; since the beginning of the snapshot. */
static struct {
    int n_written, err; /* the first one that was said, or 0 */
} tally;

static void fail(const char *path, int err)
{
    complain(path, err);
    tally.err = tally.err ? tally.err : err;
}

static bool shows_the_same(const struct profile *a, const struct profile *b)
{
    return a == b || (a->read && a->read == b->read && a->source == b->source);
}

/* Of the profiles that show the same, the one in whose turn they are written. */
static const struct profile *first_of(const struct profile *profile)
{
    for (size_t i = 0; i < n_profiles; i++)
        if (is_collected(&profiles[i]) && shows_the_same(&profiles[i], profile))
            return &profiles[i];
    return profile;
}

static int open_file(struct file *file, uint32_t number)
{
    struct text title, temporary;

    text_init(&title, file->title, sizeof file->title);
    text_addf(&title, SNAPSHOT_TITLE, file->profile->name);
    text_init(&temporary, file->temporary, sizeof file->temporary);
    directory_of(file->path, &temporary);
    const int err = ensure_directory(file->temporary);
    if (err < 0)
        return err;
    int fd = open_nameless(file->temporary);
    text_addf(&temporary, "/.cprof.%d.%lx.%u.%u.%u.tmp", process_pid(),
              load_relaxed(&process_self()->start_ns), number, file->profile->source,
              (unsigned)(file - files));
    file->has_name = fd < 0;
    if (file->has_name)
        fd = temporary.cut ? -ENAMETOOLONG : open_temporary(file->temporary);
    sink_fd_init(&file->sink, fd);
    return fd < 0 ? fd : 0;
}

static int rename_file(const struct file *file)
{
    const int err = sys_rename(file->temporary, file->path);

    if (err < 0)
        sys_unlink(file->temporary);
    return err;
}

/* No error number: those may come from the file system, again and again. */
enum { LINK_REFUSED = 1 };

/* A link never replaces a file, so where there is one it goes by the temporary name.  LINK_REFUSED: none is allowed. */
static int name_file(const struct file *file)
{
    char place[PLACE_BYTES];

    int err = sys_link(place_of(file->sink.fd, place), file->path);
    const bool is_taken = err == -EEXIST;
    if (is_taken)
        err = sys_link(place, file->temporary);
    if (err < 0 && err != -ENOSPC && err != -EDQUOT) {
        dump_forbid_links();
        return LINK_REFUSED;
    }
    return is_taken && err == 0 ? rename_file(file) : err;
}

/* err: of what was written. *ret_st: of the finished file.  0, -errno or LINK_REFUSED. */
static int close_file(struct file *file, int err, struct stat *ret_st)
{
    if (err == 0)
        err = sys_fstat(file->sink.fd, ret_st);
    if (err == 0 && !file->has_name)
        err = name_file(file);
    const int close_err = sys_close(file->sink.fd);
    if (!file->has_name)
        return err;
    if (err == 0)
        err = close_err;
    if (err == 0)
        return rename_file(file);
    sys_unlink(file->temporary);
    return err;
}

/* A process whose parent is profiled too writes no empty file; one without writes its heap's. */
static bool is_wanted(const struct profile *profile, bool is_empty)
{
    return !is_empty || (is_root() && strcmp(profile->name, "heap") == 0);
}

/* The next one after `at` that shows the same; NULL: none. */
static const struct profile *next_like(const struct profile *at)
{
    bool is_behind = false;

    for (size_t i = 0; i < n_profiles; i++) {
        if (is_behind && is_collected(&profiles[i]) && shows_the_same(&profiles[i], at))
            return &profiles[i];
        is_behind |= &profiles[i] == at;
    }
    return NULL;
}

/* The file of `profile`; 0 or -errno. */
static int begin_file(struct file *file, const struct profile *profile, uint32_t number)
{
    const int err = path_of(file->path, number, state.time_s, profile);

    file->profile = profile;
    return err < 0 ? err : open_file(file, number);
}

/* Opens the files of *next and of those like it: how many.  Where the program leaves fewer descriptors than files,
 * *next is with whom the next round begins; NULL: all had their turn. */
static size_t begin_files(const struct profile **next, size_t max, uint32_t number,
                          bool is_empty)
{
    size_t n = 0;

    for (; *next && n < max; *next = next_like(*next)) {
        if (!is_wanted(*next, is_empty))
            continue;
        const int err = begin_file(&files[n], *next, number);
        if (n > 0 && (err == -EMFILE || err == -ENFILE))
            break;
        if (err < 0)
            fail(files[n].path, err);
        else
            n++;
    }
    return n;
}

/* False: it needs a temporary name after all. */
static bool end_file(struct file *file, int err, uint32_t number, uint32_t reasons)
{
    struct stat st;

    err = close_file(file, err, &st);
    if (err == LINK_REFUSED)
        return false;
    if (err < 0) {
        fail(file->path, err);
        return true;
    }
    tally.n_written++;
    log_info("dump: %s: written", file->path);
    if (!(reasons & DUMP_ASKED))
        keep_add(number, file->profile, state.time_s, &st);
    return true;
}

static void encode_files(const struct pprof_input *input, struct pprof_output *outputs,
                         size_t n)
{
    struct workspace work;

    const int err = workspace_map(&work, pprof_workspace_bytes(input));
    for (size_t i = 0; i < n; i++)
        outputs[i] = (struct pprof_output){
            .sink = &files[i].sink.sink,
            .default_type = files[i].profile->default_type,
            .comment = files[i].title,
            .err = err,
        };
    if (err < 0)
        return;
    pprof_encode_each(input, outputs, n, &work);
    workspace_drop(&work);
}

/* Side by side they filled the disk, and none is whole. */
static bool have_no_room(const struct pprof_output *outputs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (outputs[i].err != -ENOSPC && outputs[i].err != -EDQUOT)
            return false;
    return true;
}

/* False: nothing is left of them, but one alone, or under a name, may find room. */
static bool write_files(const struct pprof_input *input, size_t n, uint32_t number,
                        uint32_t reasons)
{
    struct pprof_output outputs[FILES_MAX];
    struct stat st;

    if (n == 0)
        return true;
    encode_files(input, outputs, n);
    const bool fill_disk = n > 1 && have_no_room(outputs, n);
    bool is_done = !fill_disk;
    for (size_t i = 0; i < n; i++)
        if (fill_disk)
            close_file(&files[i], outputs[i].err, &st);
        else
            is_done &= end_file(&files[i], outputs[i].err, number, reasons);
    return is_done;
}

/* `first` and all that show the same. */
static void dump_profiles(const struct profile *first, uint32_t number, uint32_t reasons)
{
    const struct profile *next = first;
    struct snapshot snapshot;
    size_t max = FILES_MAX;

    const int err = snapshot_take(&snapshot, first, &state.options);
    if (err < 0) {
        fail(first->name, err);
        return;
    }
    while (next) {
        const struct profile *const begin = next;
        const size_t n = begin_files(&next, max, number, snapshot.input.n_samples == 0);
        if (!write_files(&snapshot.input, n, number, reasons)) {
            next = begin;
            max = 1;
        }
    }
    snapshot_drop(&snapshot);
}

/* ---- entry points ---- */

static void remove_kept(const struct keep_file *file)
{
    char path[PATTERN_BYTES];
    struct stat st;

    if (path_of(path, file->snapshot, file->time_s, file->profile) == 0 &&
        sys_stat(path, &st) == 0 && keep_is_same(file, &st))
        sys_unlink(path);
}

int dump_all(uint32_t reasons)
{
    if (state.pattern_err) {
        complain_of_pattern(dump_has_output() ? "CPROF_OUT" : "start directory");
        return state.pattern_err;
    }
    tally.n_written = tally.err = 0;
    state.time_s = clock_wall_ns() / 1000000000u;
    const uint32_t number = next_number();
    for (size_t i = 0; i < n_profiles; i++)
        if (is_collected(&profiles[i]) && first_of(&profiles[i]) == &profiles[i])
            dump_profiles(&profiles[i], number, reasons);
    for (const struct profile *made = NULL; (made = objects_after(made));)
        if (objects_count(made->objects))
            dump_profiles(made, number, reasons);
    keep_trim();
    return tally.err ? tally.err : tally.n_written;
}

struct taking {
    struct snapshot snapshot;
    const struct profile *profile;
    int err;
};

static void take(void *arg)
{
    struct taking *taking = arg;

    taking->err = snapshot_take(&taking->snapshot, taking->profile, &state.options);
}

static int encode(const struct profile *profile, const struct pprof_input *input, int fd,
                  bool as_text)
{
    struct workspace work;
    struct sink_fd sink;

    int err = workspace_map(&work, as_text ? legacy_workspace_bytes(input)
                                           : pprof_workspace_bytes(input));
    if (err < 0)
        return err;
    sink_fd_init(&sink, fd);
    err = as_text ? legacy_write(input, profile->name, &sink.sink, &work)
                  : pprof_encode(input, &sink.sink, &work);
    workspace_drop(&work);
    return err;
}

int dump_write(const struct profile *profile, int fd, bool as_text)
{
    struct taking taking = {.profile = profile};

    int err = trigger_run(take, &taking);
    if (err == 0)
        err = taking.err;
    if (err < 0)
        return err;
    err = encode(profile, &taking.snapshot.input, fd, as_text);
    snapshot_drop(&taking.snapshot);
    return err;
}

/* What is true of the moment is in no record: only a snapshot knows how much it is. */
uint64_t dump_count(const struct profile *profile)
{
    struct taking taking = {.profile = profile};
    uint64_t n = 0;

    if (!profile->current || strcmp(profile->types[0].type, profile->name) != 0)
        return profile_count(profile);
    if (trigger_run(take, &taking) < 0 || taking.err < 0)
        return 0;
    for (size_t i = 0; i < taking.snapshot.input.n_samples; i++)
        n += (uint64_t)taking.snapshot.input.samples[i].values[0];
    snapshot_drop(&taking.snapshot);
    return n;
}

bool dump_has_output(void)
{
    return load_acquire(&state.at_exit); /* pairs with dump_start */
}

bool dump_is_wanted_at_exit(void)
{
    return dump_has_output() && (is_root() || process_age_ns() >= state.min_life_ns);
}

void dump_set_profiles(uint32_t on)
{
    store_relaxed(&state.profiles, load_relaxed(&state.profiles) | on);
}

const struct snapshot_options *dump_options(void)
{
    return &state.options;
}

const char *dump_exe_name(void)
{
    const char *typed = (const char *)getauxval(AT_EXECFN);
    char link[PATH_MAX];
    struct text text;

    if (!*state.exe) {
        if (typed && text_starts_with(typed, "/dev/fd/")) { /* fexecve() */
            const ssize_t n = sys_readlink("/proc/self/exe", link, sizeof link - 1);
            link[n > 0 ? n : 0] = '\0';
            typed = n > 0 ? link : typed;
        }
        text_init(&text, state.exe, sizeof state.exe);
        add_plain(&text, base_name(typed && *typed ? typed : "exe"));
    }
    return state.exe;
}

void dump_start(const struct config *config)
{
    if (!*config->out)
        return;
    if (process_has_preloaded_parent())
        state.root_pid = 0;
    store_release(&state.at_exit, true); /* pairs with dump_has_output */
    if (state.pattern_err)
        complain_of_pattern("CPROF_OUT");
    else
        check_output();
}

void dump_init(const struct config *config, const char *const *environment)
{
    struct utsname system;
    struct text text;

    dump_exe_name();
    text_init(&text, state.host, sizeof state.host);
    if (sys_uname(&system) == 0)
        add_plain(&text, system.nodename);
    dump_set_profiles(config->profiles);
    state.min_life_ns = config->min_life_ns;
    state.root_pid = process_pid();
    keep_init(config->keep, config->keep_bytes, remove_kept);
    state.options = (struct snapshot_options){
        .use_symbols = config->symbols == CONFIG_SYMBOLS_SYMTAB,
        .host = *state.host ? state.host : NULL,
        .labels = config->labels,
        .service = config->service,
    };
    state.pattern_err = make_pattern(*config->out ? config->out : ".", environment);
}
