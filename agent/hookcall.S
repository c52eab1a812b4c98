/* hookcall - what the slots of followed functions lead to (hooks.h).
 *
 * hook_entries is an array of 16 bytes each (aarch64: 32): entry N loads the address of hooks_table[N] and jumps to its
 * handler.  r11 is the one register that a call through a PLT may lose; on aarch64 these are x16 and x17.
 *
 * Three ways to see a call, all with a frame of their own that ordinary CFI describes, and no state elsewhere:
 *
 * hook_release    looks at the arguments and jumps on: the function returns to its caller, not to us.
 * hook_acquire    calls the function, because its result is wanted.  Stack arguments must be where the function
 *                 looks for them, right above its return address, so up to 256 bytes of what the caller has there
 *                 are copied (hooks_stack_words() where a page ends before that).  The other way, to exchange the
 *                 caller's return address for ours and keep the true one elsewhere, copies nothing, but loses it when the
 *                 call is left by longjmp or on another stack, and breaks shadow stacks and unwinders.
 * hook_caller     for functions like dlopen() that look up their caller's object by the return address: what they find
 *                 is a `ret` in that very object, behind which our own return address waits.  With shadow stacks
 *                 on, or without such an instruction, it jumps on and sees no result.  On aarch64 it is
 *                 `ldp x29, x30, [sp], #16; ret`, as x30 alone would lead to the `ret` again and again.
 *
 * Kept for the function: all argument registers, rax, r10 and the stack arguments.  Kept for the caller: rax, rdx, xmm0,
 * xmm1 and st(0), st(1).  The upper halves of ymm registers are not kept.
 * aarch64: x0 to x8, x18, q0 to q7 and the stack arguments; x0, x1, q0 to q3.  What SVE adds to q is not kept, functions that
 * take such arguments are marked in the symbol table and left alone (hooks.c). */
        .section .note.GNU-stack, "", %progbits

#if defined(__x86_64__)

/* struct hook */
#define REAL    0
#define HANDLER 8
#define FLAGS   24
#define HOOK_BYTES 32
#define HOOK_BEFORE 1

/* struct hook_call, at the end of the frame, found from rbp */
#define CALL_BYTES 400
#define AT(offset) (offset - CALL_BYTES)(%rbp)
#define RAX     AT(48)
#define R10     AT(56)
#define HOOK    AT(64)
#define STACK   AT(72)
#define RESULT  AT(80)
#define RESULT2 AT(88)
#define XMM(n)  AT(96 + 16 * n)
#define N_TAKEN AT(224)

        .text

        .macro  begin                   /* CFA is rbp + 16 from here on; rsp is 16-aligned */
        push    %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset %rbp, -16
        mov     %rsp, %rbp
        .cfi_def_cfa_register %rbp
        sub     $CALL_BYTES, %rsp
        mov     %rdi, AT(0)
        mov     %rsi, AT(8)
        mov     %rdx, AT(16)
        mov     %rcx, AT(24)
        mov     %r8, AT(32)
        mov     %r9, AT(40)
        mov     %rax, RAX
        mov     %r10, R10
        mov     %r11, HOOK
        lea     16(%rbp), %rax
        mov     %rax, STACK
        .endm

        .macro  save_vectors
        movups  %xmm0, XMM(0)
        movups  %xmm1, XMM(1)
        movups  %xmm2, XMM(2)
        movups  %xmm3, XMM(3)
        movups  %xmm4, XMM(4)
        movups  %xmm5, XMM(5)
        movups  %xmm6, XMM(6)
        movups  %xmm7, XMM(7)
        .endm

        .macro  restore_vectors
        movups  XMM(0), %xmm0
        movups  XMM(1), %xmm1
        movups  XMM(2), %xmm2
        movups  XMM(3), %xmm3
        movups  XMM(4), %xmm4
        movups  XMM(5), %xmm5
        movups  XMM(6), %xmm6
        movups  XMM(7), %xmm7
        .endm

        .macro  restore_registers
        mov     AT(0), %rdi
        mov     AT(8), %rsi
        mov     AT(16), %rdx
        mov     AT(24), %rcx
        mov     AT(32), %r8
        mov     AT(40), %r9
        .endm

        .macro  restore_rest            /* the last thing before the function */
        mov     RAX, %rax
        mov     R10, %r10
        mov     HOOK, %r11
        .endm

        .macro  look_before
        save_vectors
        mov     %rsp, %rdi
        call    hook_before
        restore_registers
        restore_vectors
        .endm

        .macro  jump_from_frame how:vararg
        .cfi_remember_state
        leave
        .cfi_def_cfa %rsp, 8
        .cfi_restore %rbp
        \how
        .cfi_restore_state
        .endm

        .macro  finish                  /* looks at the result and returns it */
        mov     %rax, RESULT
        mov     %rdx, RESULT2
        movups  %xmm0, XMM(0)
        movups  %xmm1, XMM(1)
        lea     AT(0), %rdi
        call    hook_after
        movups  XMM(0), %xmm0
        movups  XMM(1), %xmm1
        mov     RESULT, %rax
        mov     RESULT2, %rdx
        jump_from_frame ret
        .endm

        .macro  handler name
        .p2align 4
        .globl  \name
        .hidden \name
        .type   \name, @function
\name:
        .cfi_startproc
        .endm

        .macro  end name
        .cfi_endproc
        .size   \name, . - \name
        .endm

/* ---- the entries ---- */

        .p2align 4
        .globl  hook_entries
        .hidden hook_entries
        .type   hook_entries, @function
hook_entries:
        .cfi_startproc
        .set    n, 0
        .rept   1024                    /* HOOKS_MAX */
        .p2align 4
        endbr64
        lea     hooks_table + HOOK_BYTES * n(%rip), %r11
        jmp     *HANDLER(%r11)
        .set    n, n + 1
        .endr
        .p2align 4
        .cfi_endproc
        .size   hook_entries, . - hook_entries
        .globl  hook_entries_end
        .hidden hook_entries_end
hook_entries_end:

/* ---- the handlers ---- */

        handler hook_release
        begin
        look_before
        restore_rest
        jump_from_frame jmp *REAL(%r11)
        end     hook_release

        handler hook_acquire
        begin
        movq    $0, N_TAKEN
        testb   $HOOK_BEFORE, FLAGS(%r11)
        jnz     3f
1:      mov     STACK, %r10             /* words to copy: all 32 when they lie in one page */
        mov     $32, %eax
        lea     255(%r10), %r11
        xor     %r10, %r11
        test    $~4095, %r11
        jnz     4f
2:      push    -8(%r10, %rax, 8)
        dec     %rax
        jnz     2b
        restore_rest
5:      call    *REAL(%r11)
        finish
3:      look_before
        jmp     1b
4:      save_vectors
        mov     %r10, %rdi
        call    hooks_stack_words
        restore_registers
        restore_vectors
        mov     STACK, %r10
        test    %rax, %rax
        jnz     2b
        restore_rest
        jmp     5b
        end     hook_acquire

        handler hook_caller
        begin
        movq    $0, N_TAKEN
        save_vectors
        testb   $HOOK_BEFORE, FLAGS(%r11)
        jz      1f
        mov     %rsp, %rdi
        call    hook_before
1:      xor     %eax, %eax
        rdsspq  %rax                    /* stays 0 without a shadow stack */
        test    %rax, %rax
        jnz     2f
        mov     8(%rbp), %rdi
        call    hooks_find_return
        test    %rax, %rax
        jz      2f
        mov     %rax, RESULT
        restore_registers
        restore_vectors
        restore_rest
        lea     hook_caller_return(%rip), %rax
        push    %rax                    /* four: for an unwinder the ret may have words of its function below */
        push    %rax
        push    %rax
        push    %rax
        push    RESULT
        mov     RAX, %rax
        jmp     *REAL(%r11)
        .globl  hook_caller_return
        .hidden hook_caller_return
hook_caller_return:
        add     $24, %rsp
        finish
2:      restore_registers
        restore_vectors
        restore_rest
        jump_from_frame jmp *REAL(%r11)
        end     hook_caller

#elif defined(__aarch64__)

/* struct hook */
#define REAL    0
#define HANDLER 8
#define FLAGS   24
#define HOOK_BYTES 32
#define HOOK_BEFORE 1

/* struct hook_call, right below the frame record that x29 points to; x9 points to it */
#define CALL_BYTES 416
#define X8      64
#define HOOK    80
#define STACK   88
#define RESULT  96
#define Q0      112
#define N_TAKEN 240

        .text

        .macro  find_call
        sub     x9, x29, #CALL_BYTES
        .endm

        .macro  begin                   /* CFA is x29 + 16 from here on */
        hint    #34                     /* bti c */
        stp     x29, x30, [sp, #-16]!
        .cfi_def_cfa_offset 16
        .cfi_offset x29, -16
        .cfi_offset x30, -8
        mov     x29, sp
        .cfi_def_cfa_register x29
        sub     sp, sp, #CALL_BYTES
        mov     x9, sp
        stp     x0, x1, [x9, #0]
        stp     x2, x3, [x9, #16]
        stp     x4, x5, [x9, #32]
        stp     x6, x7, [x9, #48]
        stp     x8, x18, [x9, #X8]
        add     x17, x29, #16
        stp     x16, x17, [x9, #HOOK]   /* and STACK */
        .endm

        .macro  save_vectors
        stp     q0, q1, [x9, #Q0]
        stp     q2, q3, [x9, #Q0 + 32]
        stp     q4, q5, [x9, #Q0 + 64]
        stp     q6, q7, [x9, #Q0 + 96]
        .endm

        .macro  restore_vectors
        ldp     q0, q1, [x9, #Q0]
        ldp     q2, q3, [x9, #Q0 + 32]
        ldp     q4, q5, [x9, #Q0 + 64]
        ldp     q6, q7, [x9, #Q0 + 96]
        .endm

        .macro  restore_registers       /* and the function in x17 */
        ldp     x0, x1, [x9, #0]
        ldp     x2, x3, [x9, #16]
        ldp     x4, x5, [x9, #32]
        ldp     x6, x7, [x9, #48]
        ldp     x8, x18, [x9, #X8]
        ldr     x16, [x9, #HOOK]
        ldr     x17, [x16, #REAL]
        .endm

        .macro  call_c function         /* keeps what the function is called with */
        save_vectors
        bl      \function
        find_call
        restore_vectors
        .endm

        .macro  jump_from_frame how:vararg
        .cfi_remember_state
        mov     sp, x29
        .cfi_def_cfa_register sp
        ldp     x29, x30, [sp], #16
        .cfi_def_cfa_offset 0
        .cfi_restore x29
        .cfi_restore x30
        \how
        .cfi_restore_state
        .endm

        .macro  finish                  /* looks at the result and returns it */
        find_call
        stp     x0, x1, [x9, #RESULT]
        stp     q0, q1, [x9, #Q0]
        stp     q2, q3, [x9, #Q0 + 32]
        mov     x0, x9
        bl      hook_after
        find_call
        ldp     x0, x1, [x9, #RESULT]
        ldp     q0, q1, [x9, #Q0]
        ldp     q2, q3, [x9, #Q0 + 32]
        jump_from_frame ret
        .endm

        .macro  handler name
        .p2align 4
        .globl  \name
        .hidden \name
        .type   \name, %function
\name:
        .cfi_startproc
        .endm

        .macro  end name
        .cfi_endproc
        .size   \name, . - \name
        .endm

/* ---- the entries ---- */

        .p2align 5
        .globl  hook_entries
        .hidden hook_entries
        .type   hook_entries, %function
hook_entries:
        .cfi_startproc
        .set    n, 0
        .rept   1024                    /* HOOKS_MAX */
        .p2align 5
        hint    #34
        adrp    x16, hooks_table + HOOK_BYTES * n
        add     x16, x16, :lo12:hooks_table + HOOK_BYTES * n
        ldr     x17, [x16, #HANDLER]
        br      x17
        .set    n, n + 1
        .endr
        .p2align 5
        .cfi_endproc
        .size   hook_entries, . - hook_entries
        .globl  hook_entries_end
        .hidden hook_entries_end
hook_entries_end:

/* ---- the handlers ---- */

        handler hook_release
        begin
        mov     x0, x9
        call_c  hook_before
        restore_registers
        jump_from_frame br x17
        end     hook_release

        handler hook_acquire
        begin
        str     xzr, [x9, #N_TAKEN]
        ldr     x17, [x16, #FLAGS]
        tbnz    x17, #0, 3f             /* HOOK_BEFORE */
1:      ldr     x10, [x9, #STACK]       /* words to copy: all 32 when they lie in one page */
        mov     x11, #32
        add     x12, x10, #255
        eor     x12, x12, x10
        tst     x12, #~4095
        b.ne    4f
2:      sub     x11, x11, #2
        add     x12, x10, x11, lsl #3
        ldp     x13, x14, [x12]
        stp     x13, x14, [sp, #-16]!
        cbnz    x11, 2b
5:      restore_registers
        blr     x17
        finish
3:      mov     x0, x9
        call_c  hook_before
        b       1b
4:      mov     x0, x10
        call_c  hooks_stack_words
        mov     x11, x0
        ldr     x10, [x9, #STACK]
        cbnz    x11, 2b
        b       5b
        end     hook_acquire

        handler hook_caller
        begin
        str     xzr, [x9, #N_TAKEN]
        ldr     x17, [x16, #FLAGS]
        tbz     x17, #0, 1f             /* HOOK_BEFORE */
        mov     x0, x9
        call_c  hook_before
1:      mov     x16, #1
        hint    #40                     /* chkfeat x16: stays 1 without a guarded control stack */
        cbz     x16, 2f
        ldr     x0, [x29, #8]
        call_c  hooks_find_return
        mov     x10, x0
        cbz     x10, 2f
        restore_registers
        adr     x11, hook_caller_return
        stp     x29, x11, [sp, #-16]!   /* what the instructions there take from the stack */
        mov     x30, x10
        br      x17
        .globl  hook_caller_return
        .hidden hook_caller_return
hook_caller_return:
        finish
2:      restore_registers
        jump_from_frame br x17
        end     hook_caller

#endif
