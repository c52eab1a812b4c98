"""SIGUSR2 asks for a snapshot; programs that use the signal themselves never notice."""

import os
import signal
import unittest

import harness
from harness import preload, start


def ignore_usr2():
    harness.in_foreground()
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


class Snapshot(harness.PreloadTest):
    def directory(self):
        path = harness.temporary_directory()
        (path / "out").mkdir()
        return path

    def test_of_a_single_threaded_program_is_complete_before_raise_returns(self):
        directory = self.directory()
        run = self.assert_ok(preload("usr2_snapshot", directory / "out", directory=directory, CPROF_HEAP_RATE=1))
        # heap and allocs; heap_peak where so small a heap has one
        self.assertRegex(run.text(), r"^heap files: 1\nall files: [23]\nThreads:\t1\n$")
        first, last = run.profile("heap", number=1), run.profile("heap", number=2)
        self.assertEqual(first.all_values("held_at_snapshot"), (10, 10000, 10, 10000))
        self.assertEqual(last.all_values("held_at_snapshot"), (10, 10000, 0, 0))
        self.assertLess(first.time_nanos, last.time_nanos)
        self.assertGreaterEqual(len(run.check_all()), 4)

    def test_of_a_multithreaded_program_is_written(self):
        directory = self.directory()
        run = self.assert_ok(preload("usr2_snapshot", directory / "out", "threads", directory=directory,
                                     CPROF_HEAP_RATE=1))
        self.assertEqual(run.text(), "heap files: 1\n")
        self.assertEqual(run.profile("heap", number=1).all_values("held_at_snapshot"), (10, 10000, 10, 10000))
        self.assertEqual(run.profile("heap", number=2).all_values("held_at_snapshot"), (10, 10000, 0, 0))
        run.check_all()

    def storm(self, threads, snapshots, **settings):
        process = start("malloc_loop", str(threads), **settings)
        self.assertEqual(process.line(), "ready")
        out = process.run.out
        for number in range(1, snapshots + 1):
            os.kill(process.pid, signal.SIGUSR2)
            name = out / f"malloc_loop.{process.pid}.{number:04}.heap.pb.gz"
            process.wait_for(name.exists, f"snapshot {number}")
        os.kill(process.pid, signal.SIGTERM)
        run = self.assert_ok(process.finish())
        self.assertEqual(run.text(), "ready\nstopped\n")
        files = run.check_all()
        self.assertEqual({file.number for file, _ in files}, set(range(1, snapshots + 2)))
        self.assertEqual(run.profile("heap").count("loops", "inuse_objects"), 0)
        return run

    def test_200_times_into_a_tight_malloc_loop_neither_hangs_nor_spoils_a_file(self):
        self.storm(1, 200)

    def test_into_a_tight_malloc_loop_at_rate_1_neither_hangs_nor_spoils_a_file(self):
        self.storm(1, 50, CPROF_HEAP_RATE=1)

    def test_into_four_allocating_threads_neither_hangs_nor_spoils_a_file(self):
        self.storm(4, 50)
        self.storm(4, 20, CPROF_HEAP_RATE=1)

    def test_heap_and_allocs_of_one_snapshot_are_of_one_moment(self):
        run = self.storm(4, 10, CPROF_HEAP_RATE=1)
        for number in range(1, 12):
            heap, allocs = (run.profile(name, number=number) for name in ("heap", "allocs"))
            self.assertGreater(heap.total("alloc_objects"), 0)
            for kind in ("alloc_objects", "alloc_space", "inuse_objects", "inuse_space"):
                self.assertEqual(heap.total(kind), allocs.total(kind), (number, kind))

    def test_requests_during_one_are_merged_and_the_program_goes_on(self):
        process = start("malloc_loop", "1", CPROF_HEAP_RATE=1)
        process.line()
        for _ in range(2000):
            os.kill(process.pid, signal.SIGUSR2)
        os.kill(process.pid, signal.SIGTERM)
        run = self.assert_ok(process.finish())
        self.assertGreaterEqual(len({file.number for file, _ in run.check_all()}), 2)

    def test_without_out_goes_into_the_start_directory_even_after_chdir(self):
        run = self.assert_ok(preload("usr2_owner", "chdir-and-raise", out=False))
        self.assertEqual(run.text(), "went on\n")
        self.assertIn("heap", {file.profile for file in run.files(run.directory)})
        run.check_all(run.directory)


class Blocked(harness.PreloadTest):
    def test_calls_go_on_after_a_snapshot(self):
        """The handler is one with SA_RESTART: read() does not end with EINTR."""
        expected = harness.bare("read_blocked", stdin=b"ab")
        process = start("read_blocked", CPROF_HEAP_RATE=1)
        for number, byte in ((1, b"a"), (2, b"b")):
            process.line()
            process.wait_for(process.is_reading, "it reads")
            os.kill(process.pid, signal.SIGUSR2)
            process.wait_for((process.run.out / f"read_blocked.{process.pid}.{number:04}.heap.pb.gz").exists, "the snapshot")
            process.wait_for(process.is_reading, "it reads again")
            process.popen.stdin.write(byte)
            process.popen.stdin.flush()
            if number == 1:
                process.line()
        run = process.finish()
        self.assert_same(expected, run)
        run.check_all()


class Choice(harness.PreloadTest):
    def test_none_leaves_the_signal_to_the_program(self):
        expected = harness.bare("usr2_owner", "raise")
        self.assertEqual(expected.status, -signal.SIGUSR2)
        run = preload("usr2_owner", "raise", out=False, CPROF_SIGNAL="none")
        self.assert_same(expected, run)
        self.assertEqual(os.listdir(run.directory), [])

    def test_usr1_takes_its_place(self):
        run = self.assert_ok(preload("usr2_owner", "raise-usr1", CPROF_SIGNAL="USR1"))
        self.assertEqual({file.number for file, _ in run.check_all()}, {1, 2})
        run = preload("usr2_owner", "raise", CPROF_SIGNAL="USR1")
        self.assertEqual(run.status, -signal.SIGUSR2, "SIGUSR2 does what it always does")

    def test_a_real_time_signal_can_be_chosen(self):
        process = start("malloc_loop", "1", CPROF_SIGNAL="RTMAX-4")
        process.line()
        os.kill(process.pid, signal.SIGRTMAX - 4)
        name = process.run.out / f"malloc_loop.{process.pid}.0001.heap.pb.gz"
        process.wait_for(name.exists, "the snapshot")
        os.kill(process.pid, signal.SIGTERM)
        self.assert_ok(process.finish()).check_all()


class Owner(harness.PreloadTest):
    def test_sees_the_default_disposition_at_start(self):
        harness.compare_bare(self, "usr2_owner", "query")

    def test_keeps_its_handler_and_sees_what_it_set(self):
        for how in ("signal", "sigaction", "sigwait"):
            runs = harness.compare_bare(self, "usr2_owner", how)
            self.assertEqual({file.number for file in runs["out"].files()}, {1}, f"{how}: only the snapshot at exit")

    def test_that_takes_the_signal_later_is_said_once(self):
        for how in ("signal", "sigaction"):
            run = preload("usr2_owner", how, CPROF_LOG_LEVEL="info")
            taken = [line for line in run.messages() if ": taken by the program; no snapshots by signal" in line]
            self.assertEqual(len(taken), 1, run.messages())
            self.assertIn(f"signal: {int(signal.SIGUSR2)}: ", taken[0])
        run = preload("usr2_owner", "query", CPROF_LOG_LEVEL="info")
        self.assertFalse([line for line in run.messages() if "taken" in line])

    def test_that_collects_it_gets_every_one_also_beside_the_agents_thread(self):
        harness.compare_bare(self, "usr2_owner", "sent")
        expected = harness.bare("usr2_owner", "sent")
        self.assertEqual(expected.text(), "waited for 1, read 1\n")
        run = preload("usr2_owner", "sent", CPROF_INTERVAL="5ms", CPROF_KEEP=1)
        self.assert_same(expected, run)
        own = {file.number for file in run.files() if file.pid == run.pid}  # a slow child has its own
        self.assertEqual(len(own), 1, "no snapshot was asked for")

    def test_that_ignores_the_signal_from_the_start_keeps_ignoring_it(self):
        for what in ("query", "raise"):
            runs = harness.compare_bare(self, "usr2_owner", what, preexec=ignore_usr2)
            self.assertEqual({file.number for file in runs["out"].files()}, {1})

    def test_in_python_gets_its_signals(self):
        code = ("import os, signal\n"
                "print(signal.getsignal(signal.SIGUSR2))\n"
                "signal.signal(signal.SIGUSR2, lambda *_: print('mine'))\n"
                "os.kill(os.getpid(), signal.SIGUSR2)\n"
                "signal.signal(signal.SIGUSR2, signal.SIG_IGN)\n"
                "os.kill(os.getpid(), signal.SIGUSR2)\n")
        harness.compare_bare(self, ["/usr/bin/python3", "-c", code])

    def test_in_bash_gets_its_traps(self):
        runs = harness.compare_bare(self, ["/bin/bash", "-c", "trap 'echo trapped' USR2; kill -USR2 $$; echo end"])
        self.assertEqual(runs["bare"].text(), "trapped\nend\n")


class ProfOwner(harness.PreloadTest):
    """SIGPROF and ITIMER_PROF are the program's, also beside the agent's thread and while snapshots are written."""

    def test_gets_its_ticks_and_sees_what_it_set(self):
        for what, status in (("handler", 3), ("signalfd", 3), ("default", -signal.SIGPROF)):
            expected = harness.bare("sigprof_owner", what)
            self.assertEqual(expected.status, status)
            for settings in ({}, {"CPROF_INTERVAL": "20ms"}, {"CPROF_SIGNAL": "USR1", "CPROF_HEAP_RATE": 1}):
                with self.subTest(what=what, settings=settings):
                    run = preload("sigprof_owner", what, **settings)
                    self.assert_same(expected, run)
                    if status >= 0:  # else it may have been killed while it wrote
                        run.check_all()


class Calls(harness.PreloadTest):
    def test_of_the_signal_family_answer_as_without_the_agent(self):
        runs = harness.compare_bare(self, "signal_calls")
        self.assertIn("child: signal 12\nsysv_signal: SIG_DFL\nsignal: own\n", runs["bare"].text())


class Api(harness.PreloadTest):
    def test_a_program_asks_for_a_snapshot_through_the_header_alone(self):
        self.assertEqual(harness.bare("asks_for_snapshot").text(),
                         "active 0, snapshot Function not implemented, errno 77\n")
        run = self.assert_ok(preload("asks_for_snapshot", CPROF_HEAP_RATE=1))
        self.assertEqual(run.text(), "active 1, snapshot written, errno 77\n")
        self.assertEqual(run.profile("heap", number=1).count("kept_for_the_snapshot"), 1)

    def test_of_an_agent_that_is_off_says_so(self):
        run = self.assert_ok(preload("asks_for_snapshot", CPROF="off"))
        self.assertEqual(run.text(), "active 0, snapshot Function not implemented, errno 77\n")


if __name__ == "__main__":
    harness.main()
