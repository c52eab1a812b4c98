/* cfi - what compilers wrote down about their frames (.eh_frame), as rules of eight bytes.
 *
 * A rule says how to get from the registers at one pc to those of its caller.  It is what the frame
 * description (FDE) of that pc comes to when its program is run up to the pc: a canonical frame
 * address (CFA), and where two registers were saved: those that CFAs are counted from.  The
 * return address is at CFA - 8, always; what needs other registers or other places is CFI_UNKNOWN.
 *
 * Register names are x86-64's.  On aarch64 rsp is sp, rbp is x29, and rbx is x30, the link register: the return address
 * is what x30 was saved as, or still is.
 * DWARF expressions are evaluated while the rule is made, with registers as unknowns.
 *
 * Nothing outside the two ranges of struct cfi_image is ever read, whatever the tables say.  No state,
 * no libc, less than 1 KiB of stack: any thread, signal-safe. */
#ifndef CPROF_AGENT_CFI_H
#define CPROF_AGENT_CFI_H

#include <stdbool.h>
#include <stdint.h>

/* One loaded object's tables. */
struct cfi_image {
    const uint8_t *header,
        *header_limit;          /* .eh_frame_hdr, and the end of what is readable there */
    const uint8_t *low, *limit; /* readable bytes around .eh_frame */
};

enum cfi_cfa {
    CFI_NONE,    /* no FDE covers the pc */
    CFI_UNKNOWN, /* there is one, but it is corrupt or not expressible */
    CFI_END,     /* outermost frame */
    CFI_SIGNAL, /* rsp points to the kernel's ucontext; aarch64: to the siginfo in front of it */
    CFI_GUESS,  /* not from tables: try a frame pointer */
    CFI_SP,     /* rsp + cfa_offset */
    CFI_BP,     /* rbp + cfa_offset */
    CFI_BX,     /* rbx + cfa_offset */
    CFI_SP_DEREF, /* *(rsp + cfi_inner()) + cfi_outer() */
    CFI_BP_DEREF, /* *(rbp + cfi_inner()) + cfi_outer() */
    CFI_REGISTER, /* register number cfi_inner(), + cfi_outer(); at interrupted instructions */
};

enum {
    CFI_SAVED_BP = 1, /* rbp was saved at CFA + bp_offset; else it is the caller's still */
    CFI_SAVED_BX = 2, /* rbx was saved at CFA + bx_offset; else the same */
    CFI_SAVED_AT_BP =
        4, /* both were saved at rbp + ..., not at CFA + ...; aarch64: at the register that
                            the CFA is counted from, as x29 and x30 stand below the function's variables */
    CFI_INTERRUPTED = 8, /* a signal frame: the caller's pc is no return address */
};

struct cfi_rule {
    uint8_t cfa;                 /* enum cfi_cfa */
    uint8_t flags;               /* CFI_SAVED_... */
    int8_t bp_offset, bx_offset; /* in units of 8 bytes */
    int32_t cfa_offset;
};
_Static_assert(sizeof(struct cfi_rule) == 8, "a rule is one word of the cache");

static inline int cfi_inner(struct cfi_rule rule)
{
    return (int16_t)rule.cfa_offset;
}
static inline int cfi_outer(struct cfi_rule rule)
{
    return rule.cfa_offset >> 16;
}

/* The rule for the instruction at `pc`. */
struct cfi_rule cfi_find(const struct cfi_image *image, uintptr_t pc);

/* True when the function at `pc` may catch exceptions or clean up after them. */
bool cfi_has_handler(const struct cfi_image *image, uintptr_t pc);

/* Where a .eh_frame_hdr that ends before `limit` says .eh_frame is; NULL: it does not say. */
const uint8_t *cfi_frames_of(const uint8_t *header, const uint8_t *limit);

#endif
