"""The agent's own thread: there only when asked for, and nothing that the program can notice."""

import os
import re
import signal
import time
import unittest

import harness
from harness import preload, start

OFTEN = {"CPROF_INTERVAL": "20ms"}


class Agent(harness.PreloadTest):
    def assert_as_bare(self, *arguments, stdin=b"", **settings):
        expected = harness.bare("with_helper", *arguments, stdin=stdin)
        run = preload("with_helper", *arguments, stdin=stdin, **OFTEN, **settings)
        self.assert_same(expected, run)
        return run

    def test_thread_is_one_more_with_a_name_and_all_signals_blocked(self):
        run = preload("with_helper", "list", CPROF_INTERVAL="10s")
        self.assertEqual(run.text(), "Name:\twith_helper\nSigBlk:\t0000000000000000\n"
                                     "Name:\tcprof\nSigBlk:\tfffffffffffbfeff\n")  # all but SIGKILL and SIGSTOP
        self.assertEqual((run.status, run.stderr), (7, b""))

    def test_thread_takes_snapshots_while_the_program_waits(self):
        process = start("with_helper", "wait", CPROF_HEAP_RATE=1, **OFTEN)
        process.line()
        process.wait_for(lambda: process.run.last_number() >= 4, "the fourth snapshot or a later one")
        process.say("")
        run = process.finish()
        self.assertEqual((run.status, run.stderr), (7, b""))
        run.check_all()
        self.assertEqual(run.profile("heap").count("held_all_along", "inuse_space"), 4321)

    def test_thread_writes_what_a_signal_asks_for(self):
        process = start("with_helper", "wait", CPROF_HEAP_RATE=1, CPROF_INTERVAL="1h")
        process.line()
        os.kill(process.pid, signal.SIGUSR2)
        process.wait_for((process.run.out / f"with_helper.{process.pid}.0001.heap.pb.gz").exists, "the snapshot")
        process.say("")
        run = process.finish()
        self.assertEqual(run.profile("heap", number=1).count("held_all_along", "inuse_space"), 4321)

    def test_thread_with_the_longest_interval_that_can_be_set_takes_no_snapshot_by_time(self):
        for interval in ("18446744073s", "5124095h"):
            process = start("with_helper", "wait", CPROF_HEAP_RATE=1, CPROF_INTERVAL=interval)
            process.line()
            os.kill(process.pid, signal.SIGUSR2)
            process.wait_for(lambda: process.run.last_number() >= 1, "the snapshot that was asked for")
            process.say("")
            self.assertEqual({file.number for file in process.finish().files()}, {1, 2}, interval)

    def test_thread_keeps_its_interval_when_the_clock_is_set(self):
        interval = 0.02
        began = time.monotonic()
        process = start("clock_steps", CPROF_HEAP_RATE=1, CPROF_KEEP=10000, CPROF_INTERVAL="20ms")
        process.line()

        def numbers():
            return [int(name.split(".")[2]) for name in process.run.entries() if name.endswith(".heap.pb.gz")] or [0]

        for step in (86400, -7 * 86400, -86400 * 365 * 5, 86400 * 365 * 9):
            process.say(str(step))
            self.assertEqual(process.line(), "ok")
            last = max(numbers())
            process.wait_for(lambda: max(numbers()) >= last + 5, f"five snapshots after a step of {step} s")
        count, took = len(numbers()), time.monotonic() - began
        self.assertLessEqual(count, took / interval + 1, "more than one in an interval")
        process.popen.stdin.close()
        process.popen.stdin = None
        run = process.finish()
        self.assertEqual((run.status, run.stderr), (0, b""))
        profiles = [profile for file, profile in run.check_all() if file.profile == "heap"]
        took = time.monotonic() - began
        times = [profile.time_nanos for profile in profiles]
        self.assertGreater(max(times) - min(times), 8 * 365 * 86400e9, "the steps were seen")
        for profile in profiles:
            up = next(int(re.search(r"up (\d+) s", comment)[1]) for comment in profile.comments if "start: " in comment)
            self.assertLessEqual(up, took + 1, "how long the program has run")

    def test_thread_does_not_show_in_profiles(self):
        run = self.assert_as_bare("threads", CPROF_HEAP_RATE=1, CPROF_BLOCK_RATE="1ns", CPROF_MUTEX_RATE="1ns")
        self.assertEqual(run.profile("threadcreate").total("threadcreate"), 300)
        for file, profile in run.check_all():
            self.assertEqual([name for name in profile.function_names() if "agent_thread" in name], [], file)

    def test_thread_stands_aside_when_the_program_changes_its_identity(self):
        if os.getuid():
            self.skipTest("changing the user needs root")
        for what in ("identity-many", "unshare"):
            self.assert_as_bare(what, CPROF_LOG_LEVEL="error")  # user 65534 may not write there
        expected = harness.bare("with_helper", "capabilities")
        self.assertEqual(expected.text(), "capset -1 Invalid argument\n")
        self.assert_same(expected, preload("with_helper", "capabilities", "waits", CPROF_INTERVAL="1h", out=False))
        run = preload("with_helper", "identity", CPROF_INTERVAL="1h", out=False)
        self.assertEqual((run.status, run.stdout, run.stderr), (7, b"done\n", b""))

    def test_thread_that_is_being_started_takes_part_in_a_change_of_identity(self):
        if os.getuid():
            self.skipTest("changing the user needs root")
        expected = harness.bare("with_helper", "identity-twice")
        self.skip_untraced(expected)
        self.assertEqual((expected.status, expected.text()), (7, "done\n"), expected.stderr)
        run = preload("with_helper", "identity-twice", "waits", CPROF_INTERVAL="1h", out=False)
        self.assertEqual((run.status, run.stdout, run.stderr), (7, b"done\n", b""))

    def test_thread_does_not_keep_a_process_alive_whose_threads_have_ended(self):
        run = preload("with_helper", "pthread_exit", stdin=b"\n", **OFTEN)
        self.assertEqual((run.status, run.text(), run.stderr), (0, "last thread\n", b""))

    def test_thread_is_there_again_in_a_forked_child(self):
        process = start("with_helper", "fork", CPROF_HEAP_RATE=1, **OFTEN)
        process.line()

        def child_wrote():
            return [name for name in process.run.entries() if ".heap." in name and int(name.split(".")[1]) != process.pid]

        process.wait_for(child_wrote, "a file of the child")
        process.say("")
        run = process.finish()
        self.assertEqual((run.status, run.stderr), (7, b""))
        run.check_all()

    def test_thread_survives_many_forks(self):
        self.assert_as_bare("forks")


if __name__ == "__main__":
    harness.main()
