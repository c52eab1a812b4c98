#include "cli/program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/compiler.h"
#include "cli/verb.h"

#if defined(__x86_64__)
#define MACHINE EM_X86_64
#elif defined(__aarch64__)
#define MACHINE EM_AARCH64
#endif

static int PRINTF(3, 4) refuse(struct program *program, int status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(program->why, sizeof program->why, format, args);
    va_end(args);
    program->status = status;
    return -1;
}

/* ---- where it is ---- */

/* 0 when `path` can be executed; EACCES, ENOENT ... */
static int executable_error(const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return errno;
    if (!S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? EISDIR : EACCES;
    return access(path, X_OK) < 0 ? errno : 0;
}

static int refuse_errno(struct program *program, int err)
{
    const bool is_missing = err == ENOENT || err == ENOTDIR;

    return refuse(program, is_missing ? STATUS_NOT_FOUND : STATUS_CANNOT_EXECUTE, "%s",
                  is_missing ? "not found" : strerror(err));
}

static int find_in_path(struct program *program, const char *name)
{
    const char *directories = getenv("PATH");
    int worst = ENOENT;

    if (!directories)
        directories = "/bin:/usr/bin";
    for (const char *at = directories;; at++) {
        const size_t length = strcspn(at, ":");
        const int n = snprintf(program->path, sizeof program->path, "%.*s%s%s", (int)length, at,
                               length ? "/" : "./", name);
        const int err = n < PATH_MAX ? executable_error(program->path) : ENAMETOOLONG;
        if (err == 0)
            return 0;
        if (err != ENOENT && err != ENOTDIR && err != EISDIR)
            worst = err;
        at += length;
        if (!*at)
            return refuse_errno(program, worst);
    }
}

static int find(struct program *program, const char *command)
{
    if (!*command)
        return refuse_errno(program, ENOENT);
    if (!strchr(command, '/'))
        return find_in_path(program, command);
    if (snprintf(program->path, sizeof program->path, "%s", command) >= PATH_MAX)
        return refuse_errno(program, ENAMETOOLONG);
    const int err = executable_error(program->path);
    return err ? refuse_errno(program, err) : 0;
}

/* ---- what it is ---- */

/* The loader ignores LD_PRELOAD of a program that runs with other rights than its caller. */
static int check_rights(struct program *program, int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return refuse_errno(program, errno);
    if (st.st_mode & (S_ISUID | S_ISGID))
        return refuse(program, STATUS_ERROR,
                      "%s; the dynamic loader ignores LD_PRELOAD for it, so it cannot be "
                      "profiled this way",
                      st.st_mode & S_ISUID ? "setuid" : "setgid");
    if (getuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0)
        return refuse(
            program, STATUS_ERROR,
            "has file capabilities; the dynamic loader ignores LD_PRELOAD for it, so it "
            "cannot be profiled this way");
    return 0;
}

static bool is_musl(int fd, const Elf64_Phdr *interp)
{
    char path[PATH_MAX] = "";
    const size_t size = interp->p_filesz < sizeof path ? interp->p_filesz : sizeof path - 1;

    return pread(fd, path, size, (off_t)interp->p_offset) > 0 && strstr(path, "ld-musl");
}

/* A dynamically linked program names its loader in PT_INTERP. */
static int check_loader(struct program *program, int fd, const Elf64_Ehdr *header)
{
    for (size_t i = 0; i < header->e_phnum; i++) {
        const off_t offset = (off_t)(header->e_phoff + i * header->e_phentsize);
        Elf64_Phdr segment;
        if (pread(fd, &segment, sizeof segment, offset) != sizeof segment)
            return refuse_errno(program, ENOEXEC);
        if (segment.p_type != PT_INTERP)
            continue;
        if (is_musl(fd, &segment))
            return refuse(program, STATUS_ERROR,
                          "linked with musl; libcprof.so needs glibc, so it cannot be profiled "
                          "this way");
        return 0;
    }
    return refuse(program, STATUS_ERROR,
                  "statically linked; the dynamic loader never runs, so it cannot be profiled "
                  "this way");
}

static int check_elf(struct program *program, int fd)
{
    Elf64_Ehdr header;

    if (pread(fd, &header, sizeof header, 0) < (ssize_t)sizeof(Elf32_Ehdr))
        return refuse_errno(program, ENOEXEC);
    if (header.e_machine != MACHINE && header.e_ident[EI_CLASS] != ELFCLASS32)
        return refuse(
            program, STATUS_ERROR,
            "built for another machine (ELF machine %d) than libcprof.so, so it cannot "
            "be profiled here",
            header.e_machine);
    if (header.e_ident[EI_CLASS] != ELFCLASS64)
        return refuse(
            program, STATUS_ERROR,
            "a 32-bit program; libcprof.so is 64-bit, so it cannot be profiled this way");
    return check_rights(program, fd) < 0 ? -1 : check_loader(program, fd, &header);
}

/* The program that the #! line `line` names goes to `interpreter`. */
static int read_script(struct program *program, char *line, char interpreter[PATH_MAX])
{
    line[strcspn(line, "\n")] = '\0';
    const char *path = line + 2 + strspn(line + 2, " \t");

    snprintf(interpreter, PATH_MAX, "%.*s", (int)strcspn(path, " \t"), path);
    const int err = *interpreter ? executable_error(interpreter) : ENOEXEC;
    if (err)
        return refuse(program, STATUS_CANNOT_EXECUTE, "its interpreter %.200s: %s", interpreter,
                      strerror(err));
    return 0;
}

static int check_fd(struct program *program, int fd, char interpreter[PATH_MAX])
{
    char head[256] = "";

    if (pread(fd, head, sizeof head - 1, 0) < 0)
        return refuse_errno(program, errno);
    if (!memcmp(head, ELFMAG, SELFMAG))
        return check_elf(program, fd);
    if (!memcmp(head, "#!", 2))
        return read_script(program, head, interpreter);
    return refuse_errno(program, ENOEXEC);
}

/* A program that may be executed, but not read, is started unchecked. */
static int check_file(struct program *program, const char *path, char interpreter[PATH_MAX])
{
    interpreter[0] = '\0';
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    const int result = check_fd(program, fd, interpreter);
    close(fd);
    return result;
}

int program_find(struct program *program, const char *command)
{
    char interpreter[PATH_MAX], next[PATH_MAX];

    *program = (struct program){.status = 0};
    if (find(program, command) < 0 || check_file(program, program->path, interpreter) < 0)
        return -1;
    return *interpreter ? check_file(program, interpreter, next) : 0;
}
