/* handles.h - functions of libhandles that open and close something, with every kind of argument and result. */
#ifndef HANDLES_H
#define HANDLES_H

#include <stdarg.h>

struct two_longs {
    long a, b;
};
struct two_doubles {
    double a, b;
};
struct four_doubles {
    double a, b, c, d;
};
struct long_double_mix {
    long a;
    double b;
};
struct large {
    long words[20];
};
struct handle {
    long number;
};

typedef void callback(void *arg);

#ifdef __cplusplus
extern "C" {
#endif
int handle_open(const char *name, struct handle **ret_handle); /* 0, or -1 for an empty name */
struct handle *handle_new(long number);                        /* NULL for 0 */
int handle_close(struct handle *handle); /* -1 for an odd number, which stays open */
void handle_drop(struct handle *handle);
struct handle *handle_grow(struct handle *handle, long times,
                           long bytes); /* closes, and opens another one */

int opens_for_nobody(long key); /* no program calls it */

/* Each opens `key`, and returns something that depends on every bit of the others. */
long opens_many(long key, long b, long c, long d, long e, long f, long g, long h, long i,
                long j, long k);
double opens_doubles(long key, double a, double b, double c, double d, double e, double f,
                     double g, double h, double i, double j, float k);
long opens_varargs(long key, const char *kinds, ...); /* l: long, d: double */
long opens_on_stack(
    struct large large,
    long key); /* key is arg1: the structure has no register; aarch64: its address has one */
struct two_longs opens_two_longs(long key);
struct two_doubles opens_two_doubles(long key);
struct four_doubles opens_four_doubles(long key); /* key is arg2; aarch64: in registers, arg1 */
struct long_double_mix opens_mix(long key);
struct large
opens_large(long key); /* key is arg2: arg1 is the hidden pointer; aarch64: that is x8 */
long double opens_long_double(long key);
_Complex long double opens_complex(long key);
float opens_float(long key);
__int128 opens_int128(long key);
int opens_and_keeps_errno(long key);
int opens_by_stack_argument(int a, int b, int c, int d, int e, int f, int g, int h, int i,
                            long key); /* key is arg10 */

void opens_and_calls(long key, callback *function, void *arg);
void opens_and_throws(long key);
long opens_inside(long key); /* calls opens_two_longs() through its own PLT */
#ifdef __cplusplus
}
#endif

#endif
