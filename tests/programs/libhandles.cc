/* Opens and closes handles that a rules file describes (handles.h). */
#include "handles.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

extern "C" int handle_open(const char *name, handle **ret_handle)
{
    if (!*name)
        return -1;
    *ret_handle = static_cast<handle *>(malloc(sizeof(handle)));
    (*ret_handle)->number = static_cast<long>(strlen(name));
    return 0;
}

extern "C" handle *handle_new(long number)
{
    handle *made = number ? static_cast<handle *>(malloc(sizeof(handle))) : nullptr;

    if (made)
        made->number = number;
    return made;
}

extern "C" int handle_close(handle *handle)
{
    if (handle->number % 2)
        return -1;
    free(handle);
    return 0;
}

extern "C" void handle_drop(handle *handle)
{
    free(handle);
}

extern "C" handle *handle_grow(handle *old, long times, long bytes)
{
    handle *grown = static_cast<handle *>(malloc(static_cast<size_t>(times * bytes) + sizeof *grown));

    grown->number = old->number;
    free(old);
    return grown;
}

extern "C" long opens_many(long key, long b, long c, long d, long e, long f, long g, long h, long i, long j, long k)
{
    return key + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j + 11 * k;
}

extern "C" double opens_doubles(long key, double a, double b, double c, double d, double e, double f, double g, double h,
                                double i, double j, float k)
{
    return static_cast<double>(key) + a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j + 11 * k;
}

extern "C" long opens_varargs(long key, const char *kinds, ...)
{
    va_list args;
    long sum = key, n = 1;

    va_start(args, kinds);
    for (; *kinds; kinds++)
        sum += ++n * (*kinds == 'l' ? va_arg(args, long) : static_cast<long>(va_arg(args, double)));
    va_end(args);
    return sum;
}

extern "C" long opens_on_stack(large large, long key)
{
    long sum = key;

    for (long word : large.words)
        sum = sum * 3 + word;
    return sum;
}

extern "C" two_longs opens_two_longs(long key)
{
    return {key, ~key};
}

extern "C" two_doubles opens_two_doubles(long key)
{
    return {static_cast<double>(key) / 3, static_cast<double>(-key)};
}

extern "C" four_doubles opens_four_doubles(long key)
{
    const double number = static_cast<double>(key);

    return {number / 3, -number, number * 7, number / 11};
}

extern "C" long_double_mix opens_mix(long key)
{
    return {key * 5, static_cast<double>(key) / 7};
}

extern "C" large opens_large(long key)
{
    large made;

    for (int i = 0; i < 20; i++)
        made.words[i] = key * i;
    return made;
}

extern "C" long double opens_long_double(long key)
{
    return 1 / static_cast<long double>(key);
}

extern "C" _Complex long double opens_complex(long key)
{
    _Complex long double made;

    __real__ made = 1 / static_cast<long double>(key);
    __imag__ made = static_cast<long double>(key) / 3;
    return made;
}

extern "C" float opens_float(long key)
{
    return static_cast<float>(key) / 9;
}

extern "C" __int128 opens_int128(long key)
{
    return static_cast<__int128>(key) << 70 | 12345;
}

extern "C" int opens_and_keeps_errno(long key)
{
    errno = static_cast<int>(key % 100);
    return -1;
}

extern "C" int opens_by_stack_argument(int a, int b, int c, int d, int e, int f, int g, int h,
                                       int i, long key)
{
    return a + b + c + d + e + f + g + h + i + static_cast<int>(key);
}

extern "C" int opens_for_nobody(long key)
{
    return static_cast<int>(key);
}

extern "C" void opens_and_calls(long, callback *function, void *arg)
{
    function(arg);
}

extern "C" void opens_and_throws(long key)
{
    throw std::runtime_error("thrown " + std::to_string(key));
}

extern "C" long opens_inside(long key)
{
    return opens_two_longs(key).b;
}
