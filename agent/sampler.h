/* sampler - the mathematics of sampling: when the next sample is due, and what it stands for.
 *
 * Allocated bytes form a line; samples are a Poisson process on it with one point per R bytes in
 * the mean (R is the rate).  An allocation of s bytes is recorded once when at least one point falls
 * into it, which has the probability 1 - exp(-s/R); so each recorded one stands for
 * w = 1 / (1 - exp(-s/R)) allocations and w * s bytes, and sums of weights are unbiased for any mix
 * of sizes (Horvitz and Thompson 1952).  R = 1 is exact: everything is recorded, w is 1. R = 0 is off.
 *
 * Weights are integers in units of 1/4096 object, so that what is added at malloc can be taken
 * off exactly at free.  No libm: the agent needs libc only.  Pure functions, signal-safe. */
#ifndef CPROF_AGENT_SAMPLER_H
#define CPROF_AGENT_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

enum { SAMPLER_OBJECT = 4096 }; /* the weight of one object */

/* While sampling is off, look up again this many bytes later whether it still is. */
enum { SAMPLER_OFF_BYTES = 1 << 20 };

struct sampler_weight {
    uint64_t objects; /* in units of 1 / SAMPLER_OBJECT */
    uint64_t bytes;
};

/* A random state that differs between threads and runs; never 0. */
uint64_t sampler_seed(void);

/* Uniform in (0, 1], 53 bits. Advances *random. */
double sampler_uniform(uint64_t *random);

/* Bytes to the next sample: exponential with the mean `rate_bytes`.  0 at rate 1 (the next
 * allocation, whatever its size), SAMPLER_OFF_BYTES at rate 0. */
size_t sampler_next(uint64_t *random, uint64_t rate_bytes);

/* What one recorded allocation of `size` bytes stands for; a size of 0 is sampled as 1. */
struct sampler_weight sampler_weigh(uint64_t size, uint64_t rate_bytes);

/* The natural logarithm of x > 0, and 1 - exp(-x) for x >= 0; relative error below 1e-14. */
double sampler_log(double x);
double sampler_one_minus_exp(double x);

#endif
