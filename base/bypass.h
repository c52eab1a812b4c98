/* bypass - wrappers of an agent that is off cost one short jump.
 *
 * A wrapper's ordinary path ends in `jmp *real.NAME`.  While nothing is collected, and nothing ever was, the first
 * two bytes of the wrapper are a short jump to that instruction; what stood there comes back before the first profile
 * starts.  Both are single aligned stores of two bytes, which other threads that run there see whole (as LLVM's
 * XRay does it).  The text page is writable for that moment only.
 *
 * Where the jump is not found in reach, the kernel does not let us, or it is another machine, the wrapper stays as
 * it is: it works the same, some instructions slower.
 *
 * bypass_begin() from the constructor; bypass_end() any thread, signal-safe. */
#ifndef CPROF_BASE_BYPASS_H
#define CPROF_BASE_BYPASS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

struct ALIGNED(32) bypass { /* else compilers choose how they follow each other */
    uint8_t *entry;
    const void *slot; /* &real.NAME */
    uint16_t saved;   /* its first bytes, while it is bypassed; else 0 */
};

/* In the file of the wrapper. */
#define BYPASS(name) \
    /* The function in this file, whatever others of that name there are. */ \
    __asm__(".set bypass_of_" #name ", " #name); \
    extern uint8_t bypass_of_##name[] __attribute__((visibility("hidden"))); \
    static struct bypass bypass_##name __attribute__((used, section("bypass"))) = { \
        .entry = bypass_of_##name, .slot = (const void *)&real.name}

void bypass_begin(void);
void bypass_end(void);

#endif
