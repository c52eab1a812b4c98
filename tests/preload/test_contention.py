"""mutex charges the holder, block the waiter; neither changes what the program sees."""

import math
import os
import signal
import unittest

import harness
from harness import bare, preload, start

EXACT = {"CPROF_BLOCK_RATE": "1ns", "CPROF_MUTEX_RATE": "1ns"}
SETTINGS = ({}, EXACT, {"CPROF_BLOCK_RATE": "0"}, {"CPROF_MUTEX_RATE": "0"},
            {"CPROF_BLOCK_RATE": "0", "CPROF_MUTEX_RATE": "0"}, {"CPROF_MUTEX_FRACTION": "5"})


def label(sample, key):
    found = sample.label(key)
    return found.text if found else None


def waits(profile, kinds=None, state=None):
    """Samples of block with one of these `wait` labels and this state."""
    return [sample for sample in profile.samples
            if (kinds is None or label(sample, "wait") in kinds) and label(sample, "state") == state]


def delay(samples):
    return sum(sample.values[1] for sample in samples)


def carried(profile):
    """What is kept and waits for a stack, in ns: the comment says it."""
    found = profile.comment(r"not shown yet: \d+ events, (\d+) ns")
    return int(found.group(1)) if found else 0


class Contention(harness.PreloadTest):
    def assert_close(self, got, want, share, what):
        self.assertLessEqual(abs(got - want), share * want, f"{what}: {got} instead of {want}")

    def assert_between(self, least, got, most, what, slack=0):
        """What the program measured are bounds; an estimate may miss them by `slack`."""
        self.assertTrue(least - slack <= got <= most + slack, f"{what}: {got}, not in {least}..{most} +- {slack}")


class ReturnCodes(Contention):
    """A table of call, code and errno is the same bare and preloaded, whatever is measured."""

    def table(self, group, least):
        expected = bare("return_codes", group)
        self.assertEqual((expected.status, expected.stderr), (0, b""))
        self.assertGreater(expected.text().count("\n"), least)
        for settings in SETTINGS:
            run = preload("return_codes", group, **settings)
            self.assert_same(expected, run, settings)
            run.check_all()
        return expected.text()

    def test_of_all_kinds_of_mutexes(self):
        table = self.table("mutex", 400)
        self.assertIn("robust: pthread_mutex_trylock(&m) = 130,", table)  # EOWNERDEAD
        self.assertIn("robust: pthread_mutex_lock(&m) = 131,", table)  # ENOTRECOVERABLE
        self.assertIn("errorcheck: pthread_mutex_lock(m) = 35,", table)  # EDEADLK

    def test_of_all_kinds_of_rwlocks(self):
        self.assertIn("nonrecursive: unlocked(l, pthread_rwlock_timedrdlock(l, SOON(CLOCK_REALTIME))) = 110,",
                      self.table("rwlock", 200))

    def test_of_semaphores_barriers_conditions_and_joins(self):
        self.assertIn("join: pthread_join(self, NULL) = 35,", self.table("others", 80))

    def test_of_c11(self):
        self.table("c11", 60)


class Conservation(Contention):
    """At rate 1 ns both profiles add up to the same: the holders' share, the waiters' share, [wakeup]."""

    def both(self, *args, program="contended"):
        """Two contended locks in one bucket (1 of 700 runs) are counted and let holders off: one more try."""
        for _ in range(3):
            run = self.assert_ok(preload(program, *args, **EXACT))
            mutex, block = run.profile("mutex"), run.profile("block")
            if not mutex.comment(r"dropped: \d+ two contended"):
                return run, mutex, block
        self.fail("three runs with two locks in one bucket")

    def assert_conserved(self, mutex, block):
        waited = delay(waits(block, ("mutex", "rwlock")))
        self.assertGreater(waited, 0)
        self.assert_close(mutex.total("delay"), waited, 0.001, "mutex against block")

    def assert_charged(self, run, mutex):
        """Each function with what the program measured; the sums."""
        bounds = {function: (int(least), int(most)) for function, least, most in map(str.split, run.text().splitlines())}
        for function, (least, most) in bounds.items():
            self.assert_between(least, mutex.count(function, "delay"), most, function)
        return map(sum, zip(*bounds.values()))

    def test_of_a_script_is_charged_to_each_holder(self):
        run, mutex, block = self.both("script")
        self.assert_conserved(mutex, block)
        self.assert_charged(run, mutex)
        self.assertEqual([mutex.count(name) for name in ("holds_20ms", "holds_5ms", "holds_quickly")], [10, 30, 200])
        self.assertEqual(block.count("waits_for_it"), 240)

    def test_of_n_waiters_the_holder_pays_n_times(self):
        for n in (1, 4, 16, 64):
            hold = 20
            run, mutex, block = self.both("waiters", str(n), str(hold))
            wall = int(run.text())
            self.assert_conserved(mutex, block)
            self.assertGreaterEqual(mutex.total("delay"), 0.9 * n * hold * 10**6, f"{n} waiters")
            self.assertLessEqual(mutex.total("delay"), n * wall, f"{n} waiters")
            self.assertGreaterEqual(mutex.count("waiters", "delay") + mutex.count("main", "delay"),
                                    0.9 * n * hold * 10**6, f"{n} waiters, the holder alone")
            self.assertEqual(block.count("passes_on"), n)

    def test_of_every_kind_of_lock_with_some_that_give_up(self):
        run, mutex, block = self.both("all")
        self.assertEqual(run.text(), "ok\n")
        self.assert_conserved(mutex, block)
        self.assertEqual({label(sample, "wait") for sample in block.samples}, {"mutex", "rwlock", "cond", "join"})

    def test_of_waits_that_were_given_up_before_the_release(self):
        run, mutex, block = self.both("given-up")
        self.assert_conserved(mutex, block)
        least, most = self.assert_charged(run, mutex)
        self.assert_between(least, mutex.total("delay"), most, "waited in vain")

    def test_of_a_recursive_mutex_is_charged_to_the_last_unlock_and_its_owner_does_not_wait(self):
        run, mutex, block = self.both("again")
        self.assert_conserved(mutex, block)
        self.assert_charged(run, mutex)
        self.assertEqual(mutex.count("holds_it_twice"), 3)
        for profile in (mutex, block):
            self.assertNotIn("locks_it_again", profile.function_names())
        self.assertEqual(block.count("waits_for_nested"), 3)

    def test_of_two_readers_the_one_that_lets_the_writer_in_is_charged(self):
        run, mutex, block = self.both("readers")
        self.assert_conserved(mutex, block)
        self.assert_charged(run, mutex)
        self.assertNotIn("reads_for_less", mutex.function_names())
        self.assertEqual(mutex.count("reads_for_longer"), 1)

    def test_of_a_wait_during_which_a_handler_waits_at_each_instruction(self):
        if harness.MACHINE != "x86_64":
            self.skipTest("only x86-64 has a trap flag that a program can set")
        run, mutex, block = self.both("", program="handler_at_each_step")
        self.assertEqual(run.text(), "1\n")
        self.assert_conserved(mutex, block)


class Uncontended(Contention):
    def test_calls_are_no_waits_nor_is_locking_what_is_owned_already(self):
        run = self.assert_ok(preload("contended", "alone", **EXACT))
        self.assertEqual(run.text(), "ok\n")
        self.assertEqual({file.profile for file in run.files()} & {"mutex", "block"}, set())


class Sampled(Contention):
    """Sums are unbiased: within 6 sigma (one run of 10^9 is not) of what the program measured."""

    def mixed(self, n=1500, **settings):
        run = self.assert_ok(preload("contended", "mixed", n, **settings))
        events, least, most, waited, squares, variance = map(float, run.text().split())
        profiles = {name: run.profile(name) for name in {file.profile for file in run.files()}}
        mutex, block = profiles.get("mutex"), profiles["block"]
        return {
            "mutex": mutex.count("holds_as_listed", "delay") + carried(mutex) if mutex else 0,
            "block": block.count("waits_for_it", "delay") + carried(block),
            "count": mutex.count("holds_as_listed") if mutex else 0, "events": events,
            "least": least, "most": most, "waited": waited, "squares": squares, "sigma": math.sqrt(variance),
        }

    def assert_unbiased(self, found, profile, sigma):
        most = found["most" if profile == "mutex" else "waited"]
        self.assert_between(found["least"], found[profile], most, f"{profile} of {found}", 6 * sigma + 0.01 * most)

    def test_rate_1ns_is_the_sum_itself(self):
        found = self.mixed(**EXACT)
        for profile in ("mutex", "block"):
            self.assert_unbiased(found, profile, 0)
        self.assertEqual(found["count"], found["events"])

    def test_rate_100us_agrees_with_it(self):
        found = self.mixed(CPROF_BLOCK_RATE="100us", CPROF_MUTEX_RATE="100us")
        for profile in ("mutex", "block"):
            self.assert_unbiased(found, profile, found["sigma"])

    def test_block_at_100us_agrees_alone(self):
        found = self.mixed(CPROF_BLOCK_RATE="100us", CPROF_MUTEX_RATE="0")
        self.assertEqual(found["mutex"], 0)
        self.assert_unbiased(found, "block", found["sigma"])

    def test_a_fraction_of_5_agrees_with_it(self):
        found = self.mixed(6000, CPROF_MUTEX_FRACTION="5")
        self.assert_unbiased(found, "mutex", math.sqrt(4 * found["squares"]))

    def test_a_rate_of_0_is_off_for_one_profile_only(self):
        for off, on in (("mutex", "block"), ("block", "mutex")):
            settings = {**EXACT, f"CPROF_{off.upper()}_RATE": "0"}
            run = self.assert_ok(preload("contended", "script", **settings))
            self.assertNotIn(off, {file.profile for file in run.files()
                                   if run.profile(file.profile).samples})
            least = sum(int(line.split()[1]) for line in run.text().splitlines())
            self.assertGreater(least, 0)
            self.assertGreaterEqual(run.profile(on).total("delay"), least)


class EveryWay(Contention):
    def test_to_wait_is_charged_to_its_function_with_its_label(self):
        run = preload("waits_in_all_ways", **EXACT)
        self.assertEqual((run.status, run.messages()), (0, []))
        block = run.profile("block")
        lines = [line.split() for line in run.text().splitlines()]
        missing = [line for line in run.stderr.decode().splitlines() if line.endswith("this kernel has none")]
        self.assertEqual(len(lines) + len(missing), 30)
        for function, kind, least, most in lines:
            samples = [sample for sample in block.samples if sample.leaf() == function]
            self.assertEqual([label(sample, "wait") for sample in samples], [kind], function)
            self.assertEqual(samples[0].values[0], 1, function)
            self.assert_between(int(least), samples[0].values[1], int(most), function)
            self.assertIn("main", samples[0].functions())


class InProgress(Contention):
    """Waits that have not ended, as a snapshot from outside shows them."""

    def snapshot(self, *args, **settings):
        process = start("waits_in_progress", *args, **settings)
        self.assertEqual(process.line(), "waiting")
        os.kill(process.pid, signal.SIGUSR2)
        # files are written in the order of profiles.def: threadcreate, which is never empty, after block
        name = process.run.out / f"waits_in_progress.{process.pid}.0001.threadcreate.pb.gz"
        process.wait_for(name.exists, "the snapshot")
        process.popen.kill()
        run = process.finish()
        self.assertEqual((run.status, run.messages()), (-signal.SIGKILL, []))
        return run.profile("block") if any(file.profile == "block" for file in run.files()) else None

    def waiting(self, profile):
        """{thread name: (kind, functions)}"""
        found = waits(profile, state="waiting")
        for sample in found:
            self.assertEqual(sample.values[0], 1)
            self.assertGreater(sample.values[1], 0)
        return {label(sample, "thread"): (label(sample, "wait"), sample.functions()) for sample in found}

    def test_of_a_deadlock_shows_both_threads_at_any_rate(self):
        for settings in ({}, EXACT, {"CPROF_BLOCK_RATE": "10s"}):
            found = self.waiting(self.snapshot("deadlock", **settings))
            self.assertEqual({name: (kind, functions[:2]) for name, (kind, functions) in found.items()},
                             {"left": ("mutex", ["wants_second", "deadlock_a"]),
                              "right": ("mutex", ["wants_first", "deadlock_b"])})

    def test_of_a_condition_and_a_semaphore(self):
        found = self.waiting(self.snapshot("cond"))
        self.assertEqual({name: (kind, functions[:2]) for name, (kind, functions) in found.items()},
                         {"for-cond": ("cond", ["waits_for_cond", "cond_main"]),
                          "for-sem": ("sem", ["waits_for_semaphore", "sem_main"])})

    def test_are_not_in_block_when_it_is_off(self):
        for settings in ({"CPROF_BLOCK_RATE": "0"}, {"CPROF_PROFILES": "mutex,threadcreate"}):
            process = start("waits_in_progress", "cond", **settings)
            self.assertEqual(process.line(), "waiting")
            os.kill(process.pid, signal.SIGUSR2)
            process.wait_for(lambda: any("threadcreate" in name and not name.startswith(".")
                                         for name in process.run.entries()), "the snapshot")
            process.popen.kill()
            run = process.finish()
            for file in run.files():
                if file.profile == "block":
                    self.assertEqual(waits(run.profile("block"), state="waiting"), [])

    def test_under_deep_frames_show_the_whole_stack(self):
        for kib in (1, 10, 60, 120, 300):
            found = self.waiting(self.snapshot("deep", str(kib), CPROF_DEPTH=1000))
            kind, functions = found["deep"]
            self.assertEqual((kind, functions[0]), ("sem", "waits_for_semaphore"), kib)
            self.assertEqual(functions.count("goes_down"), kib + 1)
            self.assertIn("deep_main", functions, kib)

    def assert_both_seen(self, profile):
        found = waits(profile, state="waiting")
        self.assertEqual({(label(sample, "thread"), label(sample, "wait")) for sample in found},
                         {("interrupted", "mutex"), ("interrupted", "sem")})
        return [sample.functions() for sample in found if label(sample, "wait") == "sem"][0]

    def test_in_a_handler_during_a_wait_are_both_seen(self):
        inner = self.assert_both_seen(self.snapshot("handler"))
        self.assertEqual(inner[:2], ["waits_for_semaphore", "waits_in_handler"])
        self.assertIn("locks_held", inner)

    def test_in_a_handler_whose_stack_lies_above_the_wait_are_both_seen(self):
        self.assert_both_seen(self.snapshot("handler-above"))

    def test_that_a_siglongjmp_left_are_not_shown_with_the_next(self):
        found = waits(self.snapshot("longjmp"), state="waiting")
        self.assertEqual([(label(sample, "wait"), sample.leaf()) for sample in found], [("sem", "waits_for_other")])

    def test_that_a_siglongjmp_left_are_not_shown_while_it_runs(self):
        self.assertIsNone(self.snapshot("longjmp-runs"))  # nothing else has waited: no file

    def test_that_a_siglongjmp_left_are_not_shown_while_it_sleeps(self):
        self.assertIsNone(self.snapshot("longjmp-sleeps"))


class OldCondition(Contention):
    def test_of_the_version_before_2_3_2_goes_to_libc_and_the_new_one_is_counted(self):
        if harness.MACHINE != "x86_64":
            self.skipTest("only x86-64 has the old version")
        expected = bare("old_condition")
        run = preload("old_condition", **EXACT)
        self.assert_same(expected, run)
        block = run.profile("block")
        self.assertEqual(block.count("waits_the_old_way"), 0)
        self.assertEqual(block.count("waits_the_new_way"), 1)


class Leaving(Contention):
    """Threads that leave a wait otherwise than by its end."""

    def test_by_cancellation_is_as_without_the_agent_and_counted(self):
        expected = bare("cancelled_waits")
        self.assertEqual(expected.text().count("cancelled, 1 cleanups"), 21)
        for settings in SETTINGS:
            run = preload("cancelled_waits", **settings)
            self.assert_same(expected, run, settings)
            if settings is not EXACT:
                continue
            block, mutex = run.profile("block"), run.profile("mutex")
            self.assertEqual(waits(block, state="waiting"), [])
            for way in ("cond_wait", "cond_timedwait", "cond_clockwait", "sem_wait", "sem_timedwait", "sem_clockwait",
                        "join", "timedjoin", "clockjoin", "thrd_join", "cnd_wait", "cnd_timedwait", "locked_mutex",
                        "timedlocked_mutex", "interrupted_mutex", "locked_c11", "read_rwlock", "written_rwlock", "barrier",
                        "futex"):
                self.assertEqual(block.count("in_" + way), 1, way)
                self.assertGreaterEqual(block.count("in_" + way, "delay"), 3 * 10**6, way)
            self.assert_close(mutex.total("delay"), delay(waits(block, ("mutex", "rwlock"))), 0.001, "mutex against block")

    def test_by_exceptions_exit_and_destructors_is_as_without_the_agent(self):
        expected = bare("unwound")
        self.assertIn("cancelled: 1, 11 unwound, 1 destroyed\n", expected.text())
        self.assertEqual(expected.text().count(": 1, 11 unwound, 1 destroyed, unlocked 1\n"), 9)
        for settings in SETTINGS:
            self.assert_same(expected, preload("unwound", **settings), settings)


class Threads(Contention):
    def test_on_the_smallest_stacks_contend_as_without_the_agent(self):
        expected = bare("many_creations", "small")
        for settings in SETTINGS:
            run = preload("many_creations", "small", **settings)
            self.assert_same(expected, run, settings)
            if settings is EXACT:
                self.assertGreater(run.profile("block").count("contends"), 0)

    def test_contend_with_every_pthread_key_taken(self):
        expected = bare("many_creations", "keys")
        for settings in SETTINGS[:2]:
            self.assert_same(expected, preload("many_creations", "keys", **settings), settings)

    def test_100000_that_come_and_go_leave_no_memory_behind(self):
        run = self.assert_ok(preload("many_creations", "100000"))
        early, late = map(int, run.text().split())
        self.assertLess(late - early, 1024, "KiB between 10000 and 100000 threads")
        profile = run.profile("threadcreate")
        self.assertEqual(profile.count("creates_many"), 100000)
        for entry in ("ends_at_once", "says_that_it_ends"):
            self.assertEqual(sum(sample.values[0] for sample in profile.samples if label(sample, "entry") == entry),
                             50000, entry)


class Processes(Contention):
    def test_that_are_forked_200_times_during_contention_lock_and_create_threads(self):
        expected = bare("contended_forks", "fork")
        self.assertEqual(expected.text(), "200 children\n")
        for settings in SETTINGS[:2]:
            run = preload("contended_forks", "fork", **settings)
            self.assert_same(expected, run, settings)
            self.assertGreater(run.profile("block").count("locks_in_turn"), 0)
            for file, profile in run.check_all():
                self.assertFalse(file.profile == "block" and waits(profile, state="waiting"), file)

    def test_may_unmap_a_mutex_as_soon_as_they_have_it(self):
        expected = bare("contended_forks", "unmap")
        for settings in SETTINGS:
            run = preload("contended_forks", "unmap", **settings)
            self.assert_same(expected, run, settings)
            if settings is EXACT:
                self.assertEqual(run.profile("mutex").count("unmaps"), 1000)

    def test_that_share_a_mutex_count_their_own_waits(self):
        expected = bare("contended_forks", "shared")
        self.assertEqual(expected.text(), "owner dead: 1\n")
        run = preload("contended_forks", "shared", CPROF_MIN_LIFE="0s", **EXACT)
        self.assertEqual((run.status, run.stdout, run.errors()), (0, expected.stdout, ""))
        pids = {file.pid for file in run.files()}
        self.assertEqual(len(pids), 2)
        for pid in pids:
            block = run.profile("block", pid=pid)
            self.assertEqual(block.count("waits_for_the_other_process"), 1)
            self.assertGreater(block.count("waits_for_the_other_process", "delay"), 19 * 10**6)


class Creations(Contention):
    def test_are_counted_by_creator_and_entry_and_failures_are_not(self):
        run = self.assert_ok(preload("creations"))
        self.assertEqual(run.text(), "done\n")
        profile = run.profile("threadcreate")
        found = {}
        for sample in profile.samples:
            creator = [name for name in sample.functions() if name.startswith(("creates", "fails"))][0]
            self.assertIn("main", sample.functions())
            key = (creator, label(sample, "entry"))
            found[key] = found.get(key, 0) + sample.values[0]
        self.assertEqual(found, {("creates_seven", "works_a"): 7, ("creates_five_and_two", "works_b"): 5,
                                 ("creates_five_and_two", "works_a"): 2, ("creates_three_c11", "works_c11"): 6})

    def test_are_not_counted_when_the_profile_is_off(self):
        run = self.assert_ok(preload("creations", CPROF_PROFILES="heap"))
        self.assertEqual({file.profile for file in run.files()} & {"threadcreate", "mutex", "block"}, set())


if __name__ == "__main__":
    harness.main()
