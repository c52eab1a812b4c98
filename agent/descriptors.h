/* descriptors - which descriptors this process has, as the kernel says: /proc/self/fd.
 *
 * Raw system calls, one descriptor of its own for the moment, which is not shown.  Signal-safe. */
#ifndef CPROF_AGENT_DESCRIPTORS_H
#define CPROF_AGENT_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/* What a descriptor stands for: type(ENUM, text, what /proc/self/fd/N begins with). */
#define DESCRIPTOR_TYPES(type) \
    type(SOCKET, "socket", "socket:") type(PIPE, "pipe", "pipe:") \
        type(EVENTFD, "eventfd", "anon_inode:[eventfd") \
            type(EPOLL, "epoll", "anon_inode:[eventpoll") \
                type(TIMERFD, "timerfd", "anon_inode:[timerfd") \
                    type(SIGNALFD, "signalfd", "anon_inode:[signalfd") \
                        type(INOTIFY, "inotify", "anon_inode:inotify") \
                            type(PIDFD, "pidfd", "anon_inode:[pidfd") \
                                type(ANON, "anon_inode", "anon_inode:") \
                                    type(MEMFD, "memfd", "/memfd:") type(FILE, "file", "/") \
                                        type(OTHER, "other", "")

#define DESCRIPTOR_ENUM(name, text, link) DESCRIPTOR_##name,
enum descriptor_type { DESCRIPTOR_TYPES(DESCRIPTOR_ENUM) N_DESCRIPTOR_TYPES };
#undef DESCRIPTOR_ENUM

const char *descriptor_type_text(enum descriptor_type type);

/* The program's descriptors, as the calling thread gets at them: it may be the agent's own, which has others
 * (agent_thread.h). */
struct descriptors {
    int directory;  /* /proc/self/fd; negative: it cannot be opened */
    bool is_shared; /* the program's are the caller's, too */
};

void descriptors_begin(struct descriptors *ret_descriptors);
void descriptors_end(const struct descriptors *descriptors);

/* A seccomp filter that came would kill for it: from now on they cannot be listed. */
void descriptors_forbid_list(void);

/* Calls visit() for each open one, up to some that come or go meanwhile.  False: they cannot be listed (no /proc, no
 * descriptor left). */
bool descriptors_each(const struct descriptors *descriptors, void (*visit)(int fd, void *arg),
                      void *arg);

/* The same without a list, at a fifth of its cost, for what every start does: the kernel says how many there are (since
 * Linux 6.2), and those of low numbers are asked one by one until all are found.  In a program with threads one that comes
 * meanwhile would be counted for another.  False: they are to be listed; some may have been visited.  Fills
 * `ret_descriptors`, for visit(); nothing is to be ended. */
bool descriptors_each_low(struct descriptors *ret_descriptors, void (*visit)(int fd, void *arg),
                          void *arg);

int descriptor_stat(const struct descriptors *descriptors, int fd, struct stat *ret_stat);
bool descriptor_is_open(const struct descriptors *descriptors, int fd);
bool descriptor_is_socket(const struct descriptors *descriptors, int fd);
/* Without /proc: socket, pipe, file or other. */
enum descriptor_type descriptor_type(const struct descriptors *descriptors, int fd);

/* A number by which the calling thread can use it, -1: none; to be given back. */
int descriptor_borrow(const struct descriptors *descriptors, int fd);
void descriptor_give_back(const struct descriptors *descriptors, int number);

/* How many there are; 0: they cannot be listed. */
size_t descriptors_count(void);

#endif
