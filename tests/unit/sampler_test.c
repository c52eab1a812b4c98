#include "agent/sampler.h"

#include <math.h>

#include "tests/unit/help.h"

static const uint64_t R = 524288;

static void check_close(double got, double want, const char *what, double x)
{
    if (!(fabs(got - want) <= 1e-14 * fabs(want)))
        FAIL("%s(%.17g) = %.17g, want %.17g", what, x, got, want);
}

TEST(log_agrees_with_libm)
{
    uint64_t random = 4;

    for (int i = 0; i < 1000000; i++) {
        const double x =
            ldexp((double)(next_random(&random) >> 11) + 1, -53 - (int)(random % 60));
        check_close(sampler_log(x), log(x), "log", x);
    }
    for (int e = -1000; e < 1000; e++)
        check_close(sampler_log(ldexp(1, e)), log(ldexp(1, e)), "log", ldexp(1, e));
    for (int i = 1; i < 1000; i++) {
        check_close(sampler_log(1 - i * 0x1p-53), log(1 - i * 0x1p-53), "log", 1 - i * 0x1p-53);
        check_close(sampler_log(1 + i * 0x1p-52), log(1 + i * 0x1p-52), "log", 1 + i * 0x1p-52);
    }
    CHECK(sampler_log(1) == 0);
}

TEST(one_minus_exp_agrees_with_libm)
{
    uint64_t random = 5;

    CHECK(sampler_one_minus_exp(0) == 0);
    for (int i = 0; i < 1000000; i++) {
        const double x = ldexp((double)(next_random(&random) >> 11), -47 - (int)(random % 60));
        check_close(sampler_one_minus_exp(x), -expm1(-x), "1 - exp", x);
    }
    static const double edges[] = {0.5,
                                   0.69314718055994529,
                                   0.69314718055994540,
                                   1.3862943611198906,
                                   39.999999,
                                   40,
                                   40.0001,
                                   1e300,
                                   1e-300,
                                   0x1p-1074};
    for (size_t i = 0; i < COUNT_OF(edges); i++)
        check_close(sampler_one_minus_exp(edges[i]), -expm1(-edges[i]), "1 - exp", edges[i]);
}

TEST(uniform_is_in_0_1_with_53_bits)
{
    enum { N = 1000000 };
    uint64_t random = sampler_seed(), bits = 0;
    double sum = 0;

    for (int i = 0; i < N; i++) {
        const double u = sampler_uniform(&random);
        if (!(u > 0 && u <= 1))
            FAIL("uniform: %g", u);
        bits |= (uint64_t)(u * 0x1p53) & (((uint64_t)1 << 53) - 1);
        sum += u;
    }
    CHECK_HEX(bits, ((uint64_t)1 << 53) - 1, "bits that occur");
    CHECK_AT_MOST(fabs(sum / N - 0.5), 7 * sqrt(1 / 12.0 / N), "distance from the mean");
}

TEST(seeds_differ_and_are_never_0)
{
    enum { N = 1000 };
    static uint64_t seeds[N];

    for (int i = 0; i < N; i++) {
        seeds[i] = sampler_seed();
        CHECK(seeds[i] != 0);
        for (int k = 0; k < i; k++)
            if (seeds[k] == seeds[i])
                FAIL("seeds %d and %d are %" PRIx64, k, i, seeds[i]);
    }
}

/* ---- gaps ---- */

TEST(mean_gap_is_the_rate)
{
    static const uint64_t rates[] = {2, 3, 100, 4096, 524288, 1ull << 30, 1ull << 58};
    enum { N = 400000 };

    for (size_t i = 0; i < COUNT_OF(rates); i++) {
        uint64_t random = 6 + i;
        double sum = 0;
        for (int k = 0; k < N; k++)
            sum += (double)sampler_next(&random, rates[i]);
        /* Whole bytes: a gap of x is reached by ceil(x), whose mean is 1 / (1 - exp(-1/R)). */
        const double want = 1 / -expm1(-1 / (double)rates[i]);
        const double sigma = (double)rates[i] / sqrt(N);
        if (fabs(sum / N - want) > 4 * sigma)
            FAIL("rate %" PRIu64 ": mean gap %g, want %g +- %g", rates[i], sum / N, want,
                 sigma);
    }
}

TEST(rate_1_samples_everything_and_rate_0_looks_up_again_later)
{
    uint64_t random = 7;

    for (int i = 0; i < 100; i++) {
        CHECK_INT(sampler_next(&random, 1), 0, "rate 1");
        CHECK_INT(sampler_next(&random, 0), SAMPLER_OFF_BYTES, "rate 0");
    }
    CHECK_HEX(random, 7, "no random number was used");
}

TEST(gaps_are_at_least_1_and_at_most_2_to_the_62)
{
    static const uint64_t rates[] = {2, 524288, 1ull << 58, 1ull << 62, UINT64_MAX};
    uint64_t random = 8;

    for (size_t i = 0; i < COUNT_OF(rates); i++)
        for (int k = 0; k < 100000; k++) {
            const size_t gap = sampler_next(&random, rates[i]);
            if (gap < 1 || gap > (size_t)1 << 62)
                FAIL("rate %" PRIu64 ": gap %zu", rates[i], gap);
        }
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Anderson and Darling's A^2 of n gaps against the exponential distribution whose mean is known. */
static double anderson_darling(uint64_t *random, size_t n)
{
    double *u = malloc(n * sizeof *u), sum = 0;

    for (size_t i = 0; i < n; i++) /* the middle of the byte in which the gap ended */
        u[i] = -expm1(-((double)sampler_next(random, R) - 0.5) / (double)R);
    qsort(u, n, sizeof *u, by_value);
    for (size_t i = 0; i < n; i++)
        sum += (double)(2 * i + 1) * (log(u[i]) + log1p(-u[n - 1 - i]));
    free(u);
    return -(double)n - sum / (double)n;
}

/* Marsaglia and Marsaglia 2004: A^2 exceeds 2.492 with 5 %, 3.857 with 1 %. */
TEST(gaps_are_exponential)
{
    enum { SERIES = 400 };
    uint64_t random = 9;

    for (size_t n = 10; n <= 10000; n *= 10) {
        int n_5 = 0, n_1 = 0;
        const int series = n == 10000 ? SERIES / 4 : SERIES;
        for (int i = 0; i < series; i++) {
            const double a2 = anderson_darling(&random, n);
            n_5 += a2 > 2.492;
            n_1 += a2 > 3.857;
        }
        /* 5 sigma of the binomial distribution. */
        CHECK_AT_MOST(n_5, series * 0.05 + 5 * sqrt(series * 0.05 * 0.95), "beyond 5 %");
        CHECK_AT_LEAST(n_5, series * 0.05 - 5 * sqrt(series * 0.05 * 0.95), "beyond 5 %");
        CHECK_AT_MOST(n_1, series * 0.01 + 5 * sqrt(series * 0.01 * 0.99), "beyond 1 %");
    }
}

TEST(neighbouring_gaps_are_independent)
{
    enum { N = 400000 };
    uint64_t random = sampler_seed();
    double last = 0, sum = 0;

    for (int i = 0; i < N; i++) {
        const double gap = (double)sampler_next(&random, R) / (double)R - 1;
        sum += last * gap;
        last = gap;
    }
    CHECK_AT_MOST(fabs(sum / N), 7 / sqrt(N), "correlation of neighbours");
}

TEST(first_gaps_of_threads_are_independent)
{
    enum { N = 20000 };
    double last = 0, sum = 0, products = 0;

    for (int i = 0; i < N; i++) { /* each thread has a seed of its own */
        uint64_t random = sampler_seed();
        const double gap = (double)sampler_next(&random, R) / (double)R - 1;
        sum += gap;
        products += last * gap;
        last = gap;
    }
    CHECK_AT_MOST(fabs(sum / N), 7 / sqrt(N), "mean gap - 1");
    CHECK_AT_MOST(fabs(products / N), 7 / sqrt(N), "correlation");
}

TEST(threads_whose_seeds_are_neighbours_are_independent)
{
    enum { N = 100000 };
    double last = 0, products = 0;

    for (uint64_t i = 0; i < N; i++) {
        uint64_t random = i + 1;
        const double gap = (double)sampler_next(&random, R) / (double)R - 1;
        products += last * gap;
        last = gap;
    }
    CHECK_AT_MOST(fabs(products / N), 7 / sqrt(N), "correlation");
}

/* ---- weights ---- */

TEST(known_answers_at_the_default_rate)
{
    static const struct {
        uint64_t size, n, objects, bytes;
    } cases[] = {
        {1024,   4, 2050, 2099200},
        {1024,   3, 1537, 1574400},
        {524288, 1, 1,    829411 },
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct sampler_weight weight = sampler_weigh(cases[i].size, R);
        CHECK_INT(cases[i].n * weight.objects / SAMPLER_OBJECT, cases[i].objects, "objects");
        CHECK_INT(cases[i].n * weight.bytes, cases[i].bytes, "bytes");
    }
}

TEST(rates_0_and_1_do_not_scale)
{
    static const uint64_t all[] = {0, 1, 1024, 1ull << 40};

    for (uint64_t rate = 0; rate <= 1; rate++)
        for (size_t i = 0; i < COUNT_OF(all); i++) {
            CHECK_INT(sampler_weigh(all[i], rate).objects, SAMPLER_OBJECT, "objects");
            CHECK_INT(sampler_weigh(all[i], rate).bytes, all[i], "bytes");
        }
}

TEST(weights_of_rates_beyond_any_memory_stay_countable)
{
    static const uint64_t rates[] = {(uint64_t)1 << 48, (uint64_t)1 << 60, UINT64_MAX};

    for (size_t i = 0; i < COUNT_OF(rates); i++)
        for (uint64_t size = 0; size <= 2; size++) {
            const struct sampler_weight weight = sampler_weigh(size, rates[i]);
            CHECK(weight.objects && weight.objects <= SAMPLER_OBJECT * ((uint64_t)1 << 48));
            CHECK(weight.bytes <= size << 48);
        }
}

/* Probability of being sampled times weight is 1, whatever the size. */
TEST(weights_are_the_inverse_probability_from_0_to_1_gib)
{
    uint64_t random = 10;

    for (int i = 0; i < 100000; i++) {
        const uint64_t size = i == 0 ? 0 : next_random(&random) >> (34 + random % 30);
        const struct sampler_weight weight = sampler_weigh(size, R);
        const double counted = size ? (double)size : 1;
        const double p = -expm1(-counted / (double)R);
        const double objects = p * (double)weight.objects / SAMPLER_OBJECT;
        if (fabs(objects - 1) > 1e-6 + p / SAMPLER_OBJECT)
            FAIL("size %" PRIu64 ": probability * objects = %.9g, want 1", size, objects);
        if (fabs(p * (double)weight.bytes - (double)size) > 1e-9 * (double)size + p)
            FAIL("size %" PRIu64 ": probability * bytes = %.9g", size,
                 p * (double)weight.bytes);
    }
}

/* The whole estimator: countdown and weights over a mix of sizes. */
TEST(sampled_sums_are_unbiased_for_mixed_sizes)
{
    static const uint64_t sizes[] = {0, 1, 24, 1000, 4096, 100000, 524288, 3 << 20, 50 << 20};
    enum { N = 3000000 };
    uint64_t random = 11, choice = 12;
    double of_objects[COUNT_OF(sizes)] = {0}, of_bytes[COUNT_OF(sizes)] = {0};
    uint64_t n_objects[COUNT_OF(sizes)] = {0};
    double variance[COUNT_OF(sizes)] = {0};
    int64_t left = (int64_t)sampler_next(&random, R);

    for (int i = 0; i < N; i++) {
        const size_t k = next_random(&choice) % COUNT_OF(sizes);
        const uint64_t counted = sizes[k] + !sizes[k];
        const double p = -expm1(-(double)counted / (double)R);
        n_objects[k]++;
        variance[k] += (1 - p) / p;
        left -= (int64_t)counted;
        if (left > 0)
            continue;
        left = (int64_t)sampler_next(&random, R);
        const struct sampler_weight weight = sampler_weigh(sizes[k], R);
        of_objects[k] += (double)weight.objects / SAMPLER_OBJECT;
        of_bytes[k] += (double)weight.bytes;
    }
    for (size_t k = 0; k < COUNT_OF(sizes); k++) {
        const double sigma = sqrt(variance[k]), error = of_objects[k] - (double)n_objects[k];
        const double want_bytes = (double)n_objects[k] * (double)sizes[k];
        if (fabs(error) > 5 * sigma + 0.001 * (double)n_objects[k])
            FAIL("size %" PRIu64 ": %g objects, want %" PRIu64 " +- %g", sizes[k],
                 of_objects[k], n_objects[k], sigma);
        if (fabs(of_bytes[k] - want_bytes) > (5 * sigma + 1) * (double)sizes[k])
            FAIL("size %" PRIu64 ": %g bytes, want %g", sizes[k], of_bytes[k], want_bytes);
    }
}
