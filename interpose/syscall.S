/* syscall - libc's syscall(), by which Rust, C++20 and others wait on futexes themselves, and some close descriptors.
 *
 * A futex operation that waits goes to futex.c with the same arguments, the end of the process to exit.c, a
 * filter to prctl.c, a close or a dup2 to fd.c; what makes children in our memory is noted (vfork.S).  Everything else
 * jumps on with all registers and the stack as they came: a vfork or clone through here returns twice to its caller, not
 * to us. */
#include <asm/unistd.h>

        .section .note.GNU-stack, "", %progbits
        .text
        .globl  syscall
        .type   syscall, %function
        .hidden thread_begin_vfork

#if defined(__x86_64__)

        .p2align 4
syscall:                                /* number: rdi, futex: rsi, operation: rdx */
        .cfi_startproc
        cmp     $__NR_futex, %rdi
        je      1f
        cmp     $449, %rdi              /* futex_waitv */
        je      futex_wait
        cmp     $__NR_exit_group, %rdi
        je      exit_group
        cmp     $__NR_seccomp, %rdi
        je      seccomp_called
        cmp     $__NR_close, %rdi
        je      fd_syscall
        cmp     $436, %rdi              /* close_range */
        je      fd_syscall
        cmp     $__NR_dup2, %rdi
        je      fd_syscall
        cmp     $__NR_dup3, %rdi
        je      fd_syscall
        cmp     $__NR_vfork, %rdi
        je      3f
        cmp     $__NR_clone, %rdi
        je      2f
        cmp     $435, %rdi              /* clone3 */
        je      2f
0:      jmp     *real_slot_syscall(%rip)
1:      mov     %edx, %eax
        and     $~0x180, %eax           /* without FUTEX_PRIVATE_FLAG, FUTEX_CLOCK_REALTIME */
        cmp     $13, %eax
        ja      0b
        mov     $0x2a41, %r11d          /* WAIT 0, LOCK_PI 6, WAIT_BITSET 9, WAIT_REQUEUE_PI 11, LOCK_PI2 13 */
        bt      %eax, %r11d
        jnc     0b
        jmp     futex_wait
2:      movb    $1, process_lends_memory(%rip)
        jmp     0b
3:      push    %rdi                    /* vfork takes nothing else */
        .cfi_adjust_cfa_offset 8
        call    thread_begin_vfork
        pop     %rdi
        .cfi_adjust_cfa_offset -8
        jmp     0b
        .cfi_endproc
        .size   syscall, . - syscall

#elif defined(__aarch64__)

        .p2align 4
syscall:                                /* number: x0, futex: x1, operation: x2 */
        .cfi_startproc
        cmp     x0, #__NR_futex
        b.eq    1f
        cmp     x0, #449
        b.eq    2f
        cmp     x0, #__NR_exit_group
        b.eq    3f
        cmp     x0, #__NR_seccomp
        b.eq    4f
        cmp     x0, #__NR_close
        b.eq    5f
        cmp     x0, #436
        b.eq    5f
        cmp     x0, #__NR_dup3
        b.eq    5f
        cmp     x0, #__NR_clone
        b.eq    6f
        cmp     x0, #435
        b.eq    6f
0:      adrp    x16, real_slot_syscall
        ldr     x16, [x16, :lo12:real_slot_syscall]
        br      x16
1:      and     w16, w2, #~0x180
        cmp     w16, #13
        b.hi    0b
        mov     w17, #0x2a41
        lsr     w17, w17, w16
        tbz     w17, #0, 0b
2:      b       futex_wait
3:      b       exit_group
4:      b       seccomp_called
5:      b       fd_syscall
6:      adrp    x16, process_lends_memory
        mov     w17, #1
        strb    w17, [x16, :lo12:process_lends_memory]
        b       0b
        .cfi_endproc
        .size   syscall, . - syscall

#endif
