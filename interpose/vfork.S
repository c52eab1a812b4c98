/* vfork, clone - calls that return twice, or start on another stack: nothing of ours may lie on theirs.
 *
 * They note that there may be children in the program's memory (thread.h) and jump on with all registers and the stack
 * as they came; vfork, which takes no arguments, with those that a call preserves. */

        .section .note.GNU-stack, "", %progbits
        .text

#if defined(__x86_64__)

        .macro  LENDS name, alias
        .globl  \name, \alias
        .type   \name, %function
        .type   \alias, %function
        .p2align 4
\name:
\alias:
        .cfi_startproc
        movb    $1, process_lends_memory(%rip)
        jmp     *real_slot_\name(%rip)
        .cfi_endproc
        .size   \name, . - \name
        .size   \alias, . - \alias
        .endm

#elif defined(__aarch64__)

        .macro  LENDS name, alias
        .globl  \name
        .globl  \alias
        .type   \name, %function
        .type   \alias, %function
        .p2align 4
\name:
\alias:
        .cfi_startproc
        adrp    x16, process_lends_memory
        mov     w17, #1
        strb    w17, [x16, :lo12:process_lends_memory]
        adrp    x16, real_slot_\name
        ldr     x16, [x16, :lo12:real_slot_\name]
        br      x16
        .cfi_endproc
        .size   \name, . - \name
        .size   \alias, . - \alias
        .endm

#endif

        LENDS   clone, __clone

#if defined(__x86_64__)

        .globl  vfork, __vfork
        .type   vfork, %function
        .type   __vfork, %function
        .hidden thread_begin_vfork
        .p2align 4
vfork:
__vfork:
        .cfi_startproc
        sub     $8, %rsp
        .cfi_adjust_cfa_offset 8
        call    thread_begin_vfork
        add     $8, %rsp
        .cfi_adjust_cfa_offset -8
        jmp     *real_slot_vfork(%rip)
        .cfi_endproc
        .size   vfork, . - vfork

#else

        LENDS   vfork, __vfork

#endif
