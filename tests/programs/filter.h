/* filter.h - programs that put themselves under a seccomp filter. */
#ifndef FILTER_H
#define FILTER_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "victim.h"

static inline void install_filter(struct sock_filter *code, size_t n)
{
    struct sock_fprog filter = {(unsigned short)n, code};

    check(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
              !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter),
          "seccomp");
}

/* One system call gets `answer`, all others go on. */
static inline void forbid_call(unsigned number, unsigned answer)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, answer),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };

    install_filter(code, sizeof code / sizeof *code);
}

#endif
