"""Every end of a process leaves the last snapshot, and is the end that it is without the agent."""

import os
import signal
import unittest

import harness
from harness import preload, start, start_bare

WAYS = {"_exit": 13, "_Exit": 14, "quick_exit": 15, "exit_group": 16, "in-handler": 21, "raise-TERM": -15}


class ExitTest(harness.PreloadTest):
    def assert_kept(self, run, number=None):
        self.assertEqual(run.profile("heap", number=number).count("kept_at_exit", "inuse_space"), 4321)
        run.check_all()


class Exit(ExitTest):
    def test_in_every_way_leaves_one_snapshot(self):
        for how, status in WAYS.items():
            with self.subTest(how):
                run = preload("exit_ways", how, CPROF_HEAP_RATE=1)
                self.assert_same(harness.bare("exit_ways", how), run)
                self.assertEqual(run.status, status)
                self.assertEqual({file.number for file in run.files()}, {1})
                self.assert_kept(run)

    def test_handlers_of_quick_exit_run_before_it(self):
        run = preload("exit_ways", "quick_exit", CPROF_HEAP_RATE=1)
        self.assertEqual(run.profile("heap").count("kept_by_atexit", "inuse_space"), 1234)

    def test_without_out_leaves_nothing(self):
        for how in WAYS:
            run = preload("exit_ways", how, out=False, CPROF_HEAP_RATE=1)
            self.assert_same(harness.bare("exit_ways", how), run)
            self.assertEqual(os.listdir(run.directory), [])


class Signals(ExitTest):
    def kill(self, how, number, launch, **settings):
        process = launch("exit_ways", how, **settings)
        while process.line() != "waiting":
            pass
        os.kill(process.pid, number)
        return process.finish()

    def test_that_kill_do_so_after_the_last_snapshot(self):
        for how in ("wait", "thread-wait", "cleans-up", "sigsuspend"):
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                if how in ("cleans-up", "sigsuspend") and number != signal.SIGTERM:
                    continue
                with self.subTest(how=how, number=number):
                    run = self.kill(how, number, start, CPROF_HEAP_RATE=1)
                    self.assert_same(self.kill(how, number, start_bare), run)
                    self.assertEqual(run.status, -number)
                    self.assert_kept(run)
                    self.assertEqual(run.profile("heap").count("kept_by_atexit"), 1 if how == "cleans-up" else 0)

    def test_that_kill_a_program_with_the_agents_thread_do_so_too(self):
        run = self.kill("wait", signal.SIGTERM, start, CPROF_HEAP_RATE=1, CPROF_INTERVAL="20ms", CPROF_KEEP=2)
        self.assertEqual((run.status, run.stderr), (-signal.SIGTERM, b""))
        self.assert_kept(run)

    def test_look_untouched_to_the_program(self):
        for how in ("ask", "ignores", "child-killed", "vfork-killed"):
            with self.subTest(how):
                harness.compare_bare(self, "exit_ways", how)

    def test_that_are_ignored_at_the_start_stay_ignored(self):
        def ignore():
            harness.in_foreground()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

        harness.compare_bare(self, "exit_ways", "raise-TERM", preexec=ignore)

    def test_in_python_end_as_they_do(self):
        code = "import os, signal; os.kill(os.getpid(), signal.{}); signal.pause()"
        for name in ("SIGTERM", "SIGINT"):
            runs = harness.compare_bare(self, ["/usr/bin/python3", "-c", code.format(name)])
            self.assertEqual(runs["bare"].status, -getattr(signal, name))
            self.assertIn("heap", {file.profile for file in runs["out"].files()}, name)

    def test_in_bash_with_traps_end_as_they_do(self):
        for script in ("trap 'echo bye' EXIT; kill -TERM $$", "trap 'echo term; trap - TERM; kill -TERM $$' TERM; kill -TERM $$",
                       "sleep 20 & kill $!; wait $!; echo $?", "trap '' HUP; kill -HUP $$; echo alive"):
            harness.compare_bare(self, ["/bin/bash", "-c", script])

    def test_as_process_one_of_a_namespace_do_not_kill(self):
        unshare = harness.tool("unshare")
        if harness.subprocess.run([unshare, "-pfr", "true"]).returncode:
            self.skipTest("no pid namespace may be made here")
        harness.compare_bare(self, [unshare, "-pfr", harness.victim("exit_ways"), "raise-TERM"])


class Crash(ExitTest):
    def test_leaves_a_snapshot_only_when_asked_for(self):
        for how in ("abort", "segv", "raise-SEGV"):
            with self.subTest(how):
                expected = harness.bare("exit_ways", how)
                self.assertIn(expected.status, (-signal.SIGABRT, -signal.SIGSEGV))
                run = preload("exit_ways", how, CPROF_HEAP_RATE=1)
                self.assert_same(expected, run)
                self.assertEqual(run.entries(), [])
                run = preload("exit_ways", how, CPROF_HEAP_RATE=1, CPROF_CRASH=1)
                self.assert_same(expected, run)
                self.assert_kept(run)


if __name__ == "__main__":
    harness.main()
