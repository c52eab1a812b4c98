#include "cli/library.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/text.h"

void library_find(char ret_path[PATH_MAX])
{
    static const char *const places[] = {
        "libcprof.so",
        "../lib/libcprof.so",
        "../lib/cprof/libcprof.so",
        "../lib/x86_64-linux-gnu/libcprof.so",
        "../lib64/libcprof.so",
    };
    char self[PATH_MAX], place[PATH_MAX * 2];

    ret_path[0] = '\0';
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0)
        return;
    self[length] = '\0';
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        snprintf(place, sizeof place, "%s/%s", self, places[i]);
        if (access(place, R_OK) == 0 && realpath(place, ret_path))
            return;
    }
    ret_path[0] = '\0';
}

/* ---- the link ---- */

static bool is_nameable(const char *path)
{
    return !strpbrk(path, ": ");
}

/* Whoever can write there could give us another library. */
static bool is_safe(const char *directory, bool is_shared)
{
    struct stat st;

    if (lstat(directory, &st) < 0 || !S_ISDIR(st.st_mode))
        return false;
    if (st.st_uid != geteuid() && !(is_shared && st.st_uid == 0))
        return false;
    return !(st.st_mode & (S_IWGRP | S_IWOTH)) || (is_shared && st.st_mode & S_ISVTX);
}

static bool leads_to(const char *link, const char *path)
{
    char target[PATH_MAX];
    const ssize_t length = readlink(link, target, sizeof target);

    return length == (ssize_t)strlen(path) && !memcmp(target, path, (size_t)length);
}

/* Another run may make the same link at the same time. */
static bool make_link(const char *path, const char *link)
{
    if (symlink(path, link) == 0 || leads_to(link, path))
        return true;
    return unlink(link) == 0 && symlink(path, link) == 0;
}

static bool link_below(const char *parent, char path[PATH_MAX])
{
    char directory[PATH_MAX], link[PATH_MAX];

    if (!parent || *parent != '/' || !is_nameable(parent) || !is_safe(parent, true))
        return false;
    const int n =
        snprintf(directory, sizeof directory, "%s/cprof-%lu", parent, (unsigned long)geteuid());
    if (n >= PATH_MAX || (mkdir(directory, S_IRWXU) < 0 && errno != EEXIST) ||
        !is_safe(directory, false))
        return false;
    if (snprintf(link, sizeof link, "%s/libcprof-%016lx.so", directory,
                 text_hash(TEXT_HASH_BEGIN, path)) >= PATH_MAX ||
        !make_link(path, link))
        return false;
    memcpy(path, link, sizeof link);
    return true;
}

int library_make_nameable(char path[PATH_MAX])
{
    const char *const parents[] = {getenv("XDG_RUNTIME_DIR"), getenv("TMPDIR"), "/tmp"};

    if (is_nameable(path))
        return 0;
    for (size_t i = 0; i < COUNT_OF(parents); i++)
        if (link_below(parents[i], path))
            return 0;
    return -1;
}
