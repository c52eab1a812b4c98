/* bypass - see bypass.h. */
#include "base/bypass.h"

#include <string.h>

#include "base/real.h"
#include "base/sys.h"

#if defined(__x86_64__)

enum { PAGE_BYTES = 4096, REACH = 96, ENDBR_BYTES = 4, SHORT_JUMP = 0xeb };

/* Where the section is; NULL in a program that has no wrappers (tests). */
extern struct bypass __start_bypass[] __attribute__((weak, visibility("hidden")));
extern struct bypass __stop_bypass[] __attribute__((weak, visibility("hidden")));

/* Where its first instruction is: behind an endbr64, which indirect jumps must find. */
static uint8_t *begin_of(uint8_t *entry)
{
    static const uint8_t endbr[ENDBR_BYTES] = {0xf3, 0x0f, 0x1e, 0xfa};

    return memcmp(entry, endbr, sizeof endbr) == 0 ? entry + sizeof endbr : entry;
}

/* True of a `jmp *slot(%rip)`, or clang's `mov slot(%rip), %rax; jmp *%rax`. */
static bool is_jump(const uint8_t *at, const void *slot)
{
    static const uint8_t jump[] = {0xff, 0x25}, move[] = {0x48, 0x8b, 0x05},
                         on[] = {0xff, 0xe0};
    const uint8_t *next;
    int32_t offset;

    if (memcmp(at, jump, sizeof jump) == 0)
        next = at + sizeof jump + sizeof offset;
    else if (memcmp(at, move, sizeof move) == 0 &&
             memcmp(at + sizeof move + sizeof offset, on, sizeof on) == 0)
        next = at + sizeof move + sizeof offset;
    else
        return false;
    memcpy(&offset, next - sizeof offset, sizeof offset);
    return next + offset == (const uint8_t *)slot;
}

/* The jump to the real function behind `at`, or NULL. */
static const uint8_t *find_jump(const uint8_t *at, const void *slot)
{
    for (const uint8_t *jump = at + 2; jump < at + REACH; jump++)
        if (is_jump(jump, slot))
            return jump;
    return NULL;
}

/* Two aligned bytes of text. */
static bool store_text(uintptr_t at, uint16_t bytes)
{
    void *page = (void *)(at & ~(uintptr_t)(PAGE_BYTES - 1));  // NOLINT

    if (at % 2 || sys_mprotect(page, PAGE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC) < 0)
        return false;
    __atomic_store_n((uint16_t *)at, bytes, __ATOMIC_RELEASE);
    sys_mprotect(page, PAGE_BYTES, PROT_READ | PROT_EXEC);
    return true;
}

static void begin(struct bypass *bypass)
{
    uint8_t *at = begin_of(bypass->entry);
    const uint8_t *jump = find_jump(at, bypass->slot);
    uint16_t saved;

    if (!jump || bypass->saved)
        return;
    memcpy(&saved, at, sizeof saved);
    if (store_text((uintptr_t)at, (uint16_t)(SHORT_JUMP | (jump - at - 2) << 8)))
        bypass->saved = saved;
}

/* A block of the early pool may still be given back, to a free() that knows it. */
void bypass_begin(void)
{
    if (real_early_is_used())
        return;
    // cppcheck-suppress comparePointers ; the linker's two ends of one section
    for (struct bypass *bypass = __start_bypass; bypass < __stop_bypass; bypass++)
        begin(bypass);
}

/* Where the text cannot be written any more, a wrapper stays bypassed: the program works, unseen. */
void bypass_end(void)
{
    // cppcheck-suppress comparePointers ; the linker's two ends of one section
    for (struct bypass *bypass = __start_bypass; bypass < __stop_bypass; bypass++)
        if (bypass->saved && store_text((uintptr_t)begin_of(bypass->entry), bypass->saved))
            bypass->saved = 0;
}

#else

void bypass_begin(void)
{
}

void bypass_end(void)
{
}

#endif
