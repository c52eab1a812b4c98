/* sampler - see sampler.h. */
#include "agent/sampler.h"

#include <string.h>

#include "base/clock.h"
#include "base/sys.h"

static const double LN2 = 0.69314718055994530942;

/* Steele, Lea, Flood 2014: "Fast splittable pseudorandom number generators" (SplitMix64). */
static uint64_t random_next(uint64_t *random)
{
    uint64_t x = *random += 0x9e3779b97f4a7c15;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

uint64_t sampler_seed(void)
{
    static const unsigned NONBLOCK = 1;
    uint64_t seed = 0;

    if (sys_getrandom(&seed, sizeof seed, NONBLOCK) != sizeof seed)
        seed = clock_mono_ns() << 20 ^ (uint64_t)sys_gettid(); /* seccomp, or early boot */
    random_next(&seed);
    return seed ? seed : 1;
}

double sampler_uniform(uint64_t *random)
{
    return (double)((random_next(random) >> 11) + 1) * 0x1p-53;
}

/* x = m * 2^e with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh((m-1)/(m+1)). */
double sampler_log(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> 52) - 1023;
    bits = (bits & 0x000fffffffffffff) | 0x3ff0000000000000;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.41421356237309504880) {
        m *= 0.5;
        exponent++;
    }

    const double z = (m - 1) / (m + 1), z2 = z * z;
    double sum = 0;
    for (int k = 21; k >= 1; k -= 2)
        sum = sum * z2 + 1.0 / k;
    return 2 * z * sum + exponent * LN2;
}

/* Small x: the series, without cancellation.  Else exp(-x) = 2^-n * exp(-r), r in [0, ln 2). */
double sampler_one_minus_exp(double x)
{
    if (x > 40)
        return 1;
    const int n = x < 0.5 ? 0 : (int)(x / LN2);
    const double r = x - n * LN2;
    double sum = 0; /* 1 - exp(-r) = r (1 - r/2 (1 - r/3 (...))) */
    for (int k = 20; k >= 1; k--)
        sum = r / k * (1 - sum);
    return n == 0 ? sum : 1 - (1 - sum) / (double)((uint64_t)1 << n);
}

size_t sampler_next(uint64_t *random, uint64_t rate_bytes)
{
    if (rate_bytes <= 1)
        return rate_bytes ? 0 : SAMPLER_OFF_BYTES;
    const double gap = -sampler_log(sampler_uniform(random)) * (double)rate_bytes;
    /* Rounded up: `size` bytes reach a gap of x exactly when size >= x. */
    return gap < 0x1p62 ? (size_t)gap + 1 : (size_t)1 << 62;
}

struct sampler_weight sampler_weigh(uint64_t size, uint64_t rate_bytes)
{
    if (rate_bytes <= 1)
        return (struct sampler_weight){SAMPLER_OBJECT, size};
    const double sampled = size ? (double)size : 1;
    double weight = 1 / sampler_one_minus_exp(sampled / (double)rate_bytes);
    if (weight > 0x1p48) /* rates beyond any memory: the sums must not overflow */
        weight = 0x1p48;
    return (struct sampler_weight){
        .objects = (uint64_t)(weight * SAMPLER_OBJECT + 0.5),
        .bytes = (uint64_t)(weight * (double)size + 0.5),
    };
}
