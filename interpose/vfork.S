/* vfork, clone - calls that return twice, or start on another stack: nothing of ours may lie on theirs.
 *
 * They note that from now on there may be children in the program's memory (process.h) and jump on with all
 * registers and the stack as they came. */

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

        LENDS   vfork, __vfork
        LENDS   clone, __clone
