"""heap, allocs and heap_peak: what they count."""

import math
import unittest

import harness
from harness import preload


def truth_of(run):
    return {line.split()[0]: tuple(map(int, line.split()[1:])) for line in run.text().splitlines()}


class Exact(harness.PreloadTest):
    """Rate 1: every allocation, unscaled."""

    @classmethod
    def setUpClass(cls):
        cls.known = preload("known", CPROF_HEAP_RATE=1)
        cls.realloc = preload("realloc_rules", CPROF_HEAP_RATE=1)

    def test_four_allocations_and_one_free_are_4_4096_3_3072(self):
        self.assert_ok(self.known)
        self.assertEqual(self.known.profile("heap").all_values("allocates_four"), (4, 4096, 3, 3072))

    def test_allocs_has_the_same_numbers_as_heap(self):
        heap, allocs = self.known.profile("heap"), self.known.profile("allocs")
        for function in ("allocates_four", "allocates_large", "allocates_odd", "allocates_and_frees"):
            self.assertEqual(heap.all_values(function), allocs.all_values(function), function)

    def test_one_large_allocation_is_counted_as_it_is(self):
        self.assertEqual(self.known.profile("heap").all_values("allocates_large"), (1, 524288, 1, 524288))

    def test_the_requested_size_is_counted_not_the_size_class(self):
        self.assertEqual(self.known.profile("heap").all_values("allocates_odd"), (1, 1000, 1, 1000))

    def test_a_walk_that_is_remembered_is_not_taken_for_another_one(self):
        heap = self.assert_ok(preload("same_place", CPROF_HEAP_RATE=1)).profile("heap")
        for function, n in (("one", 2000), ("other", 1000), ("takes", 3000)):
            self.assertEqual(heap.by_any("alloc_objects").get(function), n, function)

    def test_zero_bytes_are_an_object(self):
        self.assertEqual(self.known.profile("heap").all_values("allocates_zero_bytes"), (1, 0, 1, 0))

    def test_what_is_freed_is_not_in_use(self):
        self.assertEqual(self.known.profile("heap").all_values("allocates_and_frees"), (100, 10000, 0, 0))

    def test_failed_allocations_are_not_counted(self):
        self.assertEqual(self.known.profile("heap").with_function("fails"), [])

    def test_failed_allocations_do_not_stop_the_counting(self):
        self.assertEqual(self.known.profile("heap").all_values("after_failures"), (5, 250, 0, 0))

    def test_samples_carry_their_size_class_in_bytes(self):
        sizes = {"allocates_four": 1024, "allocates_large": 524288, "allocates_odd": 1000, "allocates_and_frees": 100}
        heap = self.known.profile("heap")
        for function, size in sizes.items():
            for sample in heap.with_function(function):
                label = sample.label("bytes")
                self.assertIsNotNone(label, function)
                self.assertEqual(label.unit, "bytes")
                self.assertGreaterEqual(label.number, size, function)
                self.assertLess(label.number, 2 * size, f"{function}: far from its size")

    def test_a_chain_of_reallocs_is_an_allocation_each_and_one_in_use(self):
        self.assert_ok(self.realloc)
        self.assertEqual(self.realloc.profile("heap").all_values("chain"), (13, 16 * (2**13 - 1), 1, 65536))

    def test_realloc_frees_the_old_object_and_charges_its_caller_with_the_new(self):
        heap = self.realloc.profile("heap")
        self.assertEqual(heap.all_values("first_owner"), (2, 4400, 0, 0))
        self.assertEqual(heap.all_values("takes_over"), (1, 5000, 1, 5000))
        self.assertEqual(heap.all_values("shrinks"), (1, 10, 1, 10))

    def test_a_failing_realloc_keeps_the_old_object(self):
        heap = self.realloc.profile("heap")
        self.assertEqual(heap.all_values("keeps_after_failure"), (1, 300, 1, 300))
        self.assertEqual(heap.all_values("freed_after_failure"), (1, 301, 0, 0))
        self.assertEqual(heap.with_function("fails_to_grow"), [])

    def test_realloc_to_zero_frees(self):
        heap = self.realloc.profile("heap")
        self.assertEqual(heap.all_values("freed_by_realloc_zero"), (1, 77, 0, 0))
        self.assertEqual(heap.count("reallocs_to_zero", "inuse_objects"), 0)

    def test_objects_freed_by_another_thread_are_free(self):
        heap = preload("free_elsewhere", CPROF_HEAP_RATE=1).profile("heap")
        self.assertEqual(heap.all_values("makes"), (100, 100000, 40, 40000))

    def test_a_million_mixed_calls_on_four_threads_equal_the_programs_own_log(self):
        run = self.assert_ok(preload("truth", "400000", CPROF_HEAP_RATE=1))
        heap, truth = run.profile("heap"), truth_of(run)
        self.assertGreater(sum(numbers[0] for numbers in truth.values()), 900000)
        self.assertEqual({name: heap.all_values(name) for name in truth}, truth)

    def test_no_sample_is_lost_but_allocations_of_the_unwinder(self):
        heap = preload("truth", "100000", CPROF_HEAP_RATE=1).profile("heap")
        for comment in heap.comments:
            if "dropped" in comment:
                self.assertLess(int(comment.split()[1]), 20, comment)


class Sampled(harness.PreloadTest):
    def within(self, estimate, truth, size, rate, sigmas, what):
        p = 1 - math.exp(-size / rate)
        slack = sigmas * math.sqrt(truth * (1 - p) / p) + 1  # each value is truncated once
        self.assertLessEqual(abs(estimate - truth), slack, f"{what}: estimated {estimate}, truth {truth}")

    def test_nine_sizes_from_16_bytes_to_4_mib_are_within_six_sigma(self):
        for rate in (524288, 16384):
            run = self.assert_ok(preload("sizes", "1000", str(rate), CPROF_HEAP_RATE=rate))
            heap, truth = run.profile("heap"), truth_of(run)
            self.assertEqual(len(truth), 9)
            self.assertEqual(heap.period, rate)
            for name, (size, count) in truth.items():
                objects, space, _, _ = heap.all_values(name)
                self.within(objects, count, size, rate, 6, f"{name} at rate {rate}")
                self.assertLess(abs(space / max(objects, 1) - size), 0.01 * size + 1, name)

    def test_interleaved_sizes_are_within_ten_percent_in_one_of_three_tries(self):
        sizes = {"of_17k": 17408, "of_1k": 1024, "of_18k": 18432, "of_512": 512, "of_16k": 16384, "of_256": 256}
        errors = []
        for _ in range(3):
            heap = self.assert_ok(preload("interleaved", CPROF_HEAP_RATE=16384)).profile("heap")
            errors = [f"{name}: {heap.count(name)} of 50000" for name in sizes
                      if abs(heap.count(name) - 50000) > 5000]
            for name, size in sizes.items():
                self.within(heap.count(name, "inuse_objects"), 6250, size, 16384, 6, f"{name} in use")
            if not errors:
                return
        self.fail(errors)

    def test_with_the_default_rate_the_period_is_512_kib(self):
        heap = self.assert_ok(preload("sizes", "10", "524288")).profile("heap")
        self.assertEqual((heap.period, heap.period_type), (524288, ("space", "bytes")))

    def test_runs_draw_different_samples(self):
        counts = set()
        for _ in range(4):
            run = preload("sizes", "50", "524288")
            heap = run.profile("heap")
            counts.add(tuple(heap.count(name) for name in truth_of(run)))
        self.assertGreater(len(counts), 1)

    def test_every_allocation_far_above_the_rate_is_a_sample(self):
        run = preload("sizes", "1000", "16384", CPROF_HEAP_RATE=16384)
        self.assertEqual(run.profile("heap").all_values("size_4m"), (1000, 4194304000, 0, 0))

    def test_objects_freed_are_out_of_use_at_any_rate(self):
        for rate in (1, 4096, 524288):
            run = preload("sizes", "30", "65536", CPROF_HEAP_RATE=rate)
            heap = run.profile("heap")
            for name in truth_of(run):
                self.assertEqual(heap.all_values(name)[2:], (0, 0), f"{name} at rate {rate}")


class Peak(harness.PreloadTest):
    def test_the_high_water_mark_shows_what_was_in_use_then(self):
        for rate, slack in ((1, 0.04), (65536, 0.2)):
            run = self.assert_ok(preload("peak", CPROF_HEAP_RATE=rate))
            peak, heap = run.profile("heap_peak"), run.profile("heap")
            self.assertEqual(heap.count("grows_high", "inuse_space"), 0)
            mib = peak.count("grows_high", "inuse_space") / 2**20
            self.assertLess(abs(mib - 64), 64 * slack, f"{mib} MiB at the peak, rate {rate}")
            if rate == 1:
                self.assertEqual(heap.all_values("stays_low")[2:], (100, 100000))
                self.assertEqual(peak.count("stays_low", "inuse_space"), 0)

    def test_of_400_threads_is_not_below_what_they_hold_together(self):
        run = self.assert_ok(preload("peak_of_threads", CPROF_HEAP_RATE=1))
        held = run.profile("heap").count("holds_a_little", "inuse_space")
        self.assertEqual(held, 400 * 500 * 1000)
        self.assertGreaterEqual(run.profile("heap_peak").count("holds_a_little", "inuse_space"), held)

    def test_of_400_threads_is_remembered_within_5_percent(self):
        run = self.assert_ok(preload("peak_of_threads", "free", CPROF_HEAP_RATE=1))
        self.assertEqual(run.profile("heap").count("holds_a_little", "inuse_space"), 0)
        peak = run.profile("heap_peak").count("holds_a_little", "inuse_space")
        self.assertLess(abs(peak / (400 * 500 * 1000) - 1), 0.05, f"peak of {peak} bytes")


class Errno(harness.PreloadTest):
    def test_every_function_returns_and_keeps_errno_as_without_the_agent(self):
        expected = harness.bare("errno_kept")
        self.assertIn("0 calls that succeeded changed errno", expected.text())
        for settings in ({}, {"CPROF_HEAP_RATE": 1}, {"CPROF_HEAP_RATE": 4096}, {"CPROF_HEAP_RATE": 0}):
            self.assert_same(expected, preload("errno_kept", **settings), settings)
        heap = preload("errno_kept", CPROF_HEAP_RATE=1).profile("heap")
        self.assertEqual((heap.count("frees_by_other_names", "alloc_objects"),
                          heap.count("frees_by_other_names", "inuse_objects")), (9000, 0))
        full = preload("errno_kept", CPROF_HEAP_RATE=1, CPROF_MEMORY="1m")
        self.assertEqual((full.status, full.stdout), (0, expected.stdout), "with the agent's memory used up")


if __name__ == "__main__":
    harness.main()
