/* agent - see agent.h. */
#include "agent/agent.h"

#include <dlfcn.h>
#include <errno.h>
#include <sys/auxv.h>

#include "agent/agent_thread.h"
#include "agent/config.h"
#include "agent/contention.h"
#include "agent/dump.h"
#include "agent/follow.h"
#include "agent/handles.h"
#include "agent/heap.h"
#include "agent/http.h"
#include "agent/lockwords.h"
#include "agent/modules.h"
#include "agent/opened.h"
#include "agent/process.h"
#include "agent/profile.h"
#include "agent/sample.h"
#include "agent/signals.h"
#include "agent/stack.h"
#include "agent/threadcreate.h"
#include "agent/trigger.h"
#include "base/arena.h"
#include "base/bypass.h"
#include "base/log.h"
#include "base/real.h"
#include "base/text.h"

enum { MEMORY_BYTES = 64 << 20 }; /* until the settings are read */

static struct config config; /* constant after the start */
static _Atomic bool is_active;
static _Atomic bool takes_profiles;
static bool is_ready; /* everything is there: profiles can be started */

bool agent_is_active(void)
{
    return load_relaxed(&is_active);
}

bool agent_takes_profiles(void)
{
    return load_relaxed(&takes_profiles);
}

/* A snapshot needs half a megabyte (encoder, its stack) and some room per stack. */
static void set_memory_cap(size_t cap_bytes)
{
    enum { SNAPSHOT_BYTES = 640 << 10, LEAST_FOR_TABLES = 256 << 10 };
    const size_t reserve = SNAPSHOT_BYTES + cap_bytes / 4;

    arena_set_cap(cap_bytes, reserve < cap_bytes - LEAST_FOR_TABLES
                                 ? reserve
                                 : cap_bytes - LEAST_FOR_TABLES);
}

/* The real malloc is in libc, or all of C++'s new ends in it: the usual case.  An allocator that brings
 * its own new serves that without calling malloc. */
static bool is_new_hidden(void)
{
    if (modules_is_same_object((const void *)real.malloc, (const void *)real.sigaction))
        return false;
    const void *operator_new = real_dlsym(RTLD_DEFAULT, "_Znwm");
    return operator_new && modules_is_same_object((const void *)real.malloc, operator_new);
}

static void check_allocator(void)
{
    static const char no_malloc[] =
        "the program defines malloc itself: its allocations are not seen";
    static const char no_new[] =
        "the allocator has its own operator new: C++ allocations are not seen";

    if (!real_malloc_is_reached()) {
        heap_set_note(no_malloc);
        if (*config.out)
            log_warn("heap: %s: %s; the profile is empty", dump_exe_name(), no_malloc);
    } else if (is_new_hidden()) {
        heap_set_note(
            no_new); /* a C program with jemalloc loses nothing, so this is no warning */
        log_info("heap: %s: %s; the profile has the rest", dump_exe_name(), no_new);
    }
}

/* ---- what is collected ---- */

/* With CPROF=off HTTP may start it later. */
static bool may_collect(void)
{
    return !config.is_off || http_is_wanted(&config);
}

static _Atomic uint32_t on;

static void set_contention(uint32_t now_on, uint32_t changes)
{
    if (changes & CONFIG_BLOCK)
        contention_set_block_rate(now_on & CONFIG_BLOCK ? config.block_rate_ns : 0);
    if (changes & CONFIG_MUTEX) {
        contention_set_mutex_rate(now_on & CONFIG_MUTEX ? config.mutex_rate_ns : 0);
        contention_set_mutex_fraction(now_on & CONFIG_MUTEX ? config.mutex_fraction : 0);
    }
}

static void set_handles(uint32_t now_on, uint32_t changes)
{
    if (changes & (CONFIG_CONNECTION | CONFIG_BLOB | CONFIG_FD))
        opened_set((now_on & CONFIG_CONNECTION ? HANDLES_SOCKETS : 0u) |
                   (now_on & CONFIG_BLOB ? HANDLES_STREAMS : 0u) |
                   (now_on & CONFIG_FD ? HANDLES_ALL : 0u));
}

static uint32_t set_profiles(uint32_t now_on)
{
    const uint32_t changes = now_on ^ load_relaxed(&on);

    if (changes & CONFIG_HEAP)
        heap_set_rate(now_on & CONFIG_HEAP ? config.heap_rate_bytes : 0);
    if (changes & CONFIG_THREADCREATE)
        threadcreate_set_on(now_on & CONFIG_THREADCREATE);
    set_contention(now_on, changes);
    set_handles(now_on, changes);
    store_relaxed(&on, now_on);
    dump_set_profiles(now_on);
    return now_on;
}

/* All that an agent that was off has left out, but for rules: the loader's tables cannot be walked from
 * the agent's thread.  Last that it is active, so that nobody finds a half of it. */
static void start_late(void)
{
    dump_start(&config);
    trigger_start(&config);
    signals_start(&config);
    bypass_end();
    store_relaxed(&is_active, true);
    if (*config.rules)
        log_info("rules: CPROF_RULES=%s: cprof was off at the start; no rule is followed",
                 config.rules);
}

uint32_t agent_start_profiles(uint32_t which)
{
    if (!is_ready)
        return 0;
    if (!agent_is_active())
        start_late();
    return set_profiles(load_relaxed(&on) | which);
}

uint32_t agent_stop_profiles(uint32_t which)
{
    return is_ready ? set_profiles(load_relaxed(&on) & ~which) : 0;
}

uint32_t agent_profiles(void)
{
    return load_relaxed(&on);
}

void agent_disarm(void)
{
    signals_disarm();
    trigger_disarm();
    http_end();
    agent_stop_profiles(~0u);
    store_relaxed(&takes_profiles, false);
    store_relaxed(&is_active, false);
    is_ready = false;
}

/* Before anything is started: for all of this process's life. */
static void switch_off(void)
{
    config.is_off = true;
    config.http = "off";
}

/* ---- sanitizers ---- */

/* gcc's shared AddressSanitizer ends a program in which it is not the first library; it asks for its options here,
 * where the program does not answer itself. */
EXPORT const char *__asan_default_options(void);
EXPORT const char *__asan_default_options(void)
{
    return "verify_asan_link_order=0";
}

/* There where a sanitizer is; the loader leaves the others NULL.  dlsym() would make an error text of every miss,
 * with the program's malloc. */
extern const char __asan_init[] __attribute__((weak));
extern const char __tsan_init[] __attribute__((weak));
extern const char __lsan_init[] __attribute__((weak));
extern const char __msan_init[] __attribute__((weak));
extern const char __hwasan_init[] __attribute__((weak));

/* A sanitizer has hooks and tables of its own for all that we wrap: NULL, or which one is there. */
static const char *find_sanitizer(void)
{
    return (uintptr_t)__asan_init     ? "AddressSanitizer"
           : (uintptr_t)__tsan_init   ? "ThreadSanitizer"
           : (uintptr_t)__lsan_init   ? "LeakSanitizer"
           : (uintptr_t)__msan_init   ? "MemorySanitizer"
           : (uintptr_t)__hwasan_init ? "HWAddressSanitizer"
                                      : NULL;
}

static void check_sanitizer(void)
{
    const char *sanitizer = config.is_off ? NULL : find_sanitizer();

    if (!sanitizer)
        return;
    const bool serves = http_is_wanted(&config);
    switch_off();
    if (*config.out || serves || *config.rules)
        log_warn("start: %s: %s is built into the program; cprof is off", dump_exe_name(),
                 sanitizer);
}

/* ---- a second copy ---- */

/* Of several copies of this library that are preloaded from different places all mean the first one's.  Data, because for
 * a function an executable without PIC may have an address of its own. */
EXPORT extern const char __cprof_first;
const char __cprof_first = 0;
extern const char own_copy __attribute__((alias("__cprof_first"), visibility("hidden")));

/* The first copy sees every call before we do: we would count all of it again, as its caller's. */
static void check_copies(void)
{
    const volatile uintptr_t first = (uintptr_t)&__cprof_first;

    if (first == (uintptr_t)&own_copy)
        return;
    switch_off();
    log_info("start: libcprof.so: another one is preloaded before it; this one is off");
}

/* ---- start ---- */

static void start_profiles(void)
{
    const uint32_t wanted = config.is_off ? 0 : config.profiles;

    sample_set_depth((uint32_t)config.depth);
    if (may_collect() && stack_init() < 0) /* profiles may be made at run time */
        log_warn("stacks: libunwind.so.8: %s; samples are counted under [lost]",
                 text_errno(ENOENT));
    const char *odd = lockwords_check();
    if (odd && wanted & (CONFIG_BLOCK | CONFIG_MUTEX))
        log_warn("contention: %s: not glibc's; no mutex and block profiles", odd);
    if (!odd) /* they may be switched on later */
        contention_init(0, 0, 0);
    heap_init(wanted & CONFIG_HEAP ? config.heap_rate_bytes : 0, real_early_was_used());
    store_relaxed(&on, wanted & CONFIG_HEAP);
    set_profiles(wanted);
}

static void start(const char *const *environment)
{
    const char *missing = real_resolve(); /* before anything is written to our data */
    log_init();
    if (missing) {
        log_warn("start: %s: not found behind this library; cprof is off", missing);
        return;
    }
    set_memory_cap(MEMORY_BYTES);
    process_init();
    process_self();
    modules_init();
    profile_init();
    config_read(&config, environment);
    if (!config_selects(&config, dump_exe_name()))
        switch_off(); /* the address is for the programs that are meant */
    check_copies();
    check_sanitizer();
    set_memory_cap(config.memory_bytes);
    dump_init(&config, environment);
    if (!config.is_off)
        dump_start(&config);
    start_profiles();
    if (!config.is_off && config.profiles & CONFIG_HEAP)
        check_allocator();
    agent_thread_init();
    trigger_init();
    if (!config.is_off)
        trigger_start(&config);
    follow_init(&config);
    if (!config.is_off)
        signals_start(&config);
    http_init(&config);
    store_relaxed(&is_active, !config.is_off);
    store_relaxed(&takes_profiles, may_collect());
    is_ready = true;
    if (config.is_off)
        bypass_begin();
    agent_thread_start();
}

/* Programs that are more than their user (setuid) are reached by /etc/ld.so.preload only.  His settings would have them
 * write, read and serve what he may not: the agent is off. */
static const char *const *trusted(char **environment)
{
    static const char *const off[] = {"CPROF=off", NULL};

    return getauxval(AT_SECURE) ? off : (const char *const *)environment;
}

__attribute__((constructor)) static void on_load(int argc, char **argv, char **environment)
{
    const int saved_errno = errno;

    (void)argc;
    (void)argv;
    start(trusted(environment));
    errno = saved_errno;
}
