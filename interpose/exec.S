/* exec - with CPROF_ON_EXEC what was collected is written before the process becomes another program.
 *
 * Everything jumps on with all registers and the stack as they came, as execl() and its like take any number of
 * arguments.  posix_spawn() and what libc calls itself does not come here; a vfork child is left alone by
 * trigger_exec(). */
        .section .note.GNU-stack, "", %progbits
        .text

#if defined(__x86_64__)

.macro  EXEC name
        .globl  \name
        .type   \name, %function
        .p2align 4
\name:
        .cfi_startproc
        cmpb    $0, trigger_on_exec(%rip)
        jne     1f
0:      jmp     *real_slot_\name(%rip)
1:      push    %rax
        .cfi_adjust_cfa_offset 8
        push    %rdi
        .cfi_adjust_cfa_offset 8
        push    %rsi
        .cfi_adjust_cfa_offset 8
        push    %rdx
        .cfi_adjust_cfa_offset 8
        push    %rcx
        .cfi_adjust_cfa_offset 8
        push    %r8
        .cfi_adjust_cfa_offset 8
        push    %r9
        .cfi_adjust_cfa_offset 8
        call    trigger_exec
        pop     %r9
        .cfi_adjust_cfa_offset -8
        pop     %r8
        .cfi_adjust_cfa_offset -8
        pop     %rcx
        .cfi_adjust_cfa_offset -8
        pop     %rdx
        .cfi_adjust_cfa_offset -8
        pop     %rsi
        .cfi_adjust_cfa_offset -8
        pop     %rdi
        .cfi_adjust_cfa_offset -8
        pop     %rax
        .cfi_adjust_cfa_offset -8
        jmp     0b
        .cfi_endproc
        .size   \name, . - \name
.endm

#elif defined(__aarch64__)

.macro  EXEC name
        .globl  \name
        .type   \name, %function
        .p2align 4
\name:
        .cfi_startproc
        adrp    x16, trigger_on_exec
        ldrb    w16, [x16, :lo12:trigger_on_exec]
        cbnz    w16, 1f
0:      adrp    x16, real_slot_\name
        ldr     x16, [x16, :lo12:real_slot_\name]
        br      x16
1:      stp     x29, x30, [sp, #-80]!
        .cfi_def_cfa_offset 80
        .cfi_offset x29, -80
        .cfi_offset x30, -72
        stp     x0, x1, [sp, #16]
        stp     x2, x3, [sp, #32]
        stp     x4, x5, [sp, #48]
        stp     x6, x7, [sp, #64]
        bl      trigger_exec
        ldp     x6, x7, [sp, #64]
        ldp     x4, x5, [sp, #48]
        ldp     x2, x3, [sp, #32]
        ldp     x0, x1, [sp, #16]
        ldp     x29, x30, [sp], #80
        .cfi_restore x29
        .cfi_restore x30
        .cfi_def_cfa_offset 0
        b       0b
        .cfi_endproc
        .size   \name, . - \name
.endm

#endif

        EXEC    execve
        EXEC    execv
        EXEC    execvp
        EXEC    execvpe
        EXEC    execl
        EXEC    execlp
        EXEC    execle
        EXEC    fexecve
        EXEC    execveat
