"""Living in somebody else's process: threads, forks, exits, handlers, odd stacks."""

import os
import re
import shutil
import unittest

import harness
from harness import bare, preload, start, victim


class Fork(harness.PreloadTest):
    def test_200_children_of_a_multithreaded_parent_start_threads_and_none_hangs(self):
        for rate in (1, 4096, 524288):
            n = 200 if rate == 4096 else 60
            run = preload("fork_threads", str(n), CPROF_HEAP_RATE=rate, CPROF_MIN_LIFE="0s")
            self.assertEqual((run.status, run.text()), (0, "0 hung, 0 failed\n"), f"rate {rate}: {run.stderr}")
            files = [file for file in run.files() if file.profile == "heap"]
            if rate < 500000:  # one each; where many threads come and go a pid may come again
                self.assertEqual(len(files), n + 1, f"rate {rate}")
            run.check_all()

    def test_the_child_writes_its_own_file_with_what_it_inherited(self):
        run = preload("fork_once", CPROF_HEAP_RATE=1, CPROF_MIN_LIFE="0s")
        self.assertEqual(run.status, 0, run.stderr)
        child = int(run.text().split()[-1])
        self.assertEqual({file.pid for file in run.files()}, {run.pid, child})
        mine, its = run.profile("heap"), run.profile("heap", pid=child)
        inuse = "inuse_space"
        self.assertEqual([mine.count(f, inuse) for f in ("parent_makes", "inherited", "child_makes")], [5000, 6000, 0])
        self.assertEqual([its.count(f, inuse) for f in ("parent_makes", "inherited", "child_makes")], [0, 6000, 7000])
        self.assertIsNotNone(its.comment(rf"pid\D{{0,3}}{child}\b"), its.comments)


class Exec(harness.PreloadTest):
    def children(self, what):
        command = [harness.victim("children")]
        run = preload(command, what, CPROF_HEAP_RATE=1, CPROF_MIN_LIFE="0s")
        self.assertEqual((run.status, run.errors()), (5 if what == "exec" else 0, ""))
        by_pid = {}
        for file in run.files():
            by_pid.setdefault(file.pid, set()).add(file.number)
        self.assertTrue(all(numbers == {1} for numbers in by_pid.values()), f"more than one snapshot: {by_pid}")
        run.check_all()
        return run, set(by_pid), {int(pid) for pid in re.findall(r"child (\d+)", run.text())}

    def test_a_child_that_execs_has_a_file_of_its_own(self):
        for what in ("fork_exec", "vfork_exec", "posix_spawn"):
            run, wrote, children = self.children(what)
            self.assertEqual(wrote, {run.pid} | children, what)
            child = run.profile("heap", pid=children.pop())
            self.assertEqual(child.count("execed_allocates", "inuse_space"), 4000, what)
            self.assertEqual(child.with_function("parent_allocates"), [], what)
            self.assertEqual(run.profile("heap").count("parent_allocates", "inuse_space"), 3000, what)

    def test_an_exec_starts_anew_under_the_same_pid(self):
        run, wrote, _ = self.children("exec")
        self.assertEqual(wrote, {run.pid})
        self.assertEqual(run.profile("heap").with_function("parent_allocates"), [])
        self.assertEqual(run.profile("heap").count("execed_allocates", "inuse_space"), 4000)

    def test_under_a_filter_that_refuses_the_clock_knows_the_time(self):
        run = self.assert_ok(preload("refused_clock", CPROF_HEAP_RATE=1))
        heap = run.profile("heap")
        self.assertEqual((run.text(), heap.count("allocates")), ("done\n", 1))
        started, up = map(int, re.search(r"start: (\d+) \(unix time\), up (\d+) s", "\n".join(heap.comments)).groups())
        self.assertLess(up, 600)
        self.assertLess(abs(heap.time_nanos / 1e9 - started), 600)

    def test_a_vfork_child_that_exits_writes_nothing_and_changes_nothing(self):
        run, wrote, children = self.children("vfork_exit")
        self.assertEqual(wrote, {run.pid})
        self.assertTrue(children)
        self.assertEqual(run.profile("heap").count("parent_allocates", "inuse_space"), 3000)

    def test_a_failed_spawn_and_system_are_as_bare(self):
        for what in ("posix_spawn_fails", "system"):
            expected = harness.bare([harness.victim("children")], what)
            run = preload([harness.victim("children")], what, CPROF_HEAP_RATE=1)
            self.assert_same(expected, run)
            self.assertEqual(run.profile("heap").count("parent_allocates", "inuse_space"), 3000)


class Exit(harness.PreloadTest):
    def test_from_main_and_by_exit_leaves_a_profile_of_the_end(self):
        for how, status in (("return", 11), ("exit", 12)):
            run = preload("exit_ways", how, CPROF_HEAP_RATE=1)
            self.assertEqual((run.status, run.stderr), (status, b""), how)
            heap = run.profile("heap")
            self.assertEqual(heap.count("kept_at_exit", "inuse_space"), 4321, how)
            self.assertEqual(heap.count("kept_by_atexit", "inuse_space"), 1234, "what exit handlers allocate counts")

    def test_of_the_last_thread_after_pthread_exit_in_main(self):
        run = self.assert_ok(preload("pthread_exit_main", CPROF_HEAP_RATE=1))
        self.assertEqual(run.text(), "done\n")
        self.assertEqual(run.profile("heap").count("outlives_main", "inuse_objects"), 50)

    def test_while_other_threads_ask_for_snapshots_leaves_a_whole_last_one(self):
        for how in ("api", "signal"):
            for i in range(10):
                run = preload("exit_during_snapshots", how, CPROF_HEAP_RATE=1)
                self.assertEqual((run.status, run.stderr), (5, b""), (how, i))
                last = max(file.number for file, _ in run.check_all())  # a temporary file that is left fails here
                self.assertLessEqual({"heap", "allocs", "heap_peak", "threadcreate"},
                                     {file.profile for file in run.files() if file.number == last}, (how, i))
                self.assertEqual(run.profile("heap").count("kept_by_atexit", "inuse_space"), 1234, (how, i))

    def test_without_out_serves_what_was_asked_for_and_cuts_nothing_off(self):
        for i in range(10):
            run = preload("exit_during_snapshots", "api", out=False, CPROF_HEAP_RATE=1)
            self.assertEqual((run.status, run.stderr), (5, b""), i)
            last = max(file.number for file, _ in run.check_all(run.directory))
            self.assertLessEqual({"heap", "allocs", "heap_peak", "threadcreate"},
                                 {file.profile for file in run.files(run.directory) if file.number == last}, i)

    def test_without_out_leaves_no_file(self):
        run = self.assert_ok(preload("known", out=False, CPROF_HEAP_RATE=1))
        self.assertEqual(os.listdir(run.directory), [])


class Handlers(harness.PreloadTest):
    def test_that_allocate_work_and_are_counted(self):
        run = self.assert_ok(preload("handler_malloc", CPROF_HEAP_RATE=1))
        heap = run.profile("heap")
        count = heap.count("from_handler")
        self.assertGreaterEqual(count, 5000)
        self.assertEqual(heap.count("from_handler", "inuse_objects"), 0)
        self.assertEqual(heap.count("main_allocates", "inuse_objects"), 0)

    def test_that_allocate_while_a_snapshot_is_written_do_no_harm(self):
        for rate in (1, 4096):
            run = self.assert_ok(preload("handler_malloc", "snapshots", CPROF_HEAP_RATE=rate))
            self.assertGreater(len({file.number for file, _ in run.check_all()}), 1)
            self.assertEqual(run.profile("heap").count("main_allocates", "inuse_objects"), 0)

    def test_that_leave_by_siglongjmp_do_not_stop_the_agent(self):
        for rate in (1, 1000):
            run = self.assert_ok(preload("siglongjmp_out", CPROF_HEAP_RATE=rate))
            self.assertEqual(run.text(), "3000 jumps\n")
            heap = run.profile("heap")
            if rate == 1:
                self.assertEqual(heap.all_values("after_jumps"), (100, 64000, 100, 64000))
            else:
                self.assertGreater(heap.count("after_jumps", "inuse_objects"), 25)  # of 100, +- 11

    def test_on_8_kib_stacks_can_allocate_and_ask_for_a_snapshot(self):
        for arguments in ((), ("snapshots",)):
            for rate in (1, 524288):
                run = self.assert_ok(preload("altstack_8k", *arguments, CPROF_HEAP_RATE=rate))
                self.assertEqual(run.text(), "done\n")
                self.assertEqual(len({file.number for file in run.files()}), 11 if arguments else 1)
                if rate == 1:
                    self.assertEqual(run.profile("heap").all_values("on_altstack"), (1000, 1234000, 0, 0))


class Threads(harness.PreloadTest):
    def test_may_free_in_tls_destructors(self):
        run = self.assert_ok(preload("tls_destructors", CPROF_HEAP_RATE=1))
        heap = run.profile("heap")
        self.assertEqual(heap.all_values("freed_by_destructor"), (400, 220000, 0, 0))
        self.assertEqual(heap.all_values("destructor_allocates"), (400, 133200, 0, 0))

    def test_of_the_smallest_stack_run_at_rate_1(self):
        run = self.assert_ok(preload("small_stacks", CPROF_HEAP_RATE=1))
        self.assertEqual(run.text(), "done\n")
        self.assertEqual(run.profile("heap").count("on_small_stack"), 10 * 4 * 20 * 4)
        self.assertEqual(run.profile("heap").count("on_small_stack", "inuse_objects"), 0)

    def test_with_nearly_full_stacks_run_on(self):
        for rate in (1, 524288):
            run = self.assert_ok(preload("nearly_full_stack", CPROF_HEAP_RATE=rate))
            self.assertEqual(run.text(), "done\n")
        heap = preload("nearly_full_stack", CPROF_HEAP_RATE=1).profile("heap")
        self.assertEqual(heap.count("with_little_stack", "inuse_objects"), 0)

    def test_may_be_cancelled(self):
        run = self.assert_ok(preload("cancelled", CPROF_HEAP_RATE=1))
        self.assertEqual(run.text(), "done\n")
        self.assertEqual(run.profile("heap").count("freed_when_cancelled", "inuse_objects"), 0)

    def test_find_all_their_keys(self):
        harness.compare_bare(self, "keys_max")

    def test_coroutines_are_unwound_on_their_own_stacks(self):
        run = self.assert_ok(preload("coroutines", CPROF_HEAP_RATE=1))
        heap = run.profile("heap")
        self.assertEqual(heap.count("coroutine_allocates", "inuse_objects"), 64 * 20)
        for sample in heap.with_function("coroutine_allocates"):
            self.assertEqual(sample.functions()[:2], ["coroutine_allocates", "body"])

    def test_by_the_ten_thousands_do_not_grow_the_agent(self):
        run = self.assert_ok(preload("many_threads", "20000", CPROF_HEAP_RATE=1))
        early, late = map(int, run.text().split())
        self.assertLess(late - early, 1024, f"{early} KiB after 2000 threads, {late} KiB after 20000")
        self.assertEqual(run.profile("heap").all_values("short_lived"), (100000, 10000000, 0, 0))

    def test_stay_one_when_the_program_has_one(self):
        for settings in ({}, {"CPROF_HEAP_RATE": 1}):
            run = preload("usr2_snapshot", "/nonexistent", **settings)
            self.assertIn("Threads:\t1\n", run.text())
        process = start(["/bin/sh", "-c", "grep Threads: /proc/$$/status"], out=False)
        self.assertIn("Threads:\t1\n", process.finish().text())

    def test_one_suffices_for_unshare_and_setpriv(self):
        harness.compare_bare(self, ["unshare", "-r", "true"], modes=("default",))
        self.skip_unreadable()
        harness.compare_bare(self, ["setpriv", "--reuid=65534", "--clear-groups", "true"], modes=("default",))


class FirstCalls(harness.PreloadTest):
    """What is behind a wrapper may be looked up at its first call, wherever that is."""

    def test_work_where_little_is_allowed(self):
        self.check("handler", "vfork", "loading", "errno", "threads")

    def test_work_in_a_child_without_tls(self):
        self.check("tls")

    def check(self, *places):
        between = f"{harness.LIBRARY}:{victim('libbump')}"
        for where in places:
            expected = bare("first_calls", where)
            self.assertEqual((expected.status, expected.text()), (0, f"{where}: 0\n"))
            for how in ({}, {"CPROF": "off"}, {"CPROF_HEAP_RATE": 1}, {"env": {"LD_PRELOAD": between}}):
                with self.subTest(where, **how):
                    self.assert_same(expected, preload("first_calls", where, **how))

    def test_what_was_allocated_while_the_agent_looked_is_given_back(self):
        for how in ({}, {"CPROF": "off"}, {"CPROF_HEAP_RATE": 1}):
            with self.subTest(**how):
                run = preload(["/bin/true"], env={"LD_PRELOAD": f"{harness.LIBRARY}:{victim('libearly')}"}, **how)
                self.assertEqual((run.status, run.text(), run.stderr), (0, "given back\n", b""))


class Copies(harness.PreloadTest):
    """Preloaded from different places: by a setting of the whole machine and once more by the command."""

    def preload(self, *args, **how):
        second = harness.temporary_directory() / "libcprof.so"
        shutil.copy(harness.LIBRARY, second)
        return preload(*args, env={"LD_PRELOAD": f"{harness.LIBRARY}:{second}"}, **how)

    def test_count_once_and_leave_one_snapshot(self):
        run = self.assert_ok(self.preload("known", CPROF_HEAP_RATE=1))
        self.assertEqual(run.profile("heap").all_values("allocates_four"), (4, 4096, 3, 3072))
        self.assertEqual({file.number for file in run.files()}, {1})

    def test_serve_one_address(self):
        socket = harness.temporary_directory() / "%p.sock"
        self.assert_ok(self.preload(["/bin/true"], out=False, CPROF_HTTP=f"unix:{socket}"))

    def test_but_the_first_are_off_which_is_said_at_info(self):
        run = self.preload("known", CPROF_LOG_LEVEL="info")
        self.assertEqual([line for line in run.messages() if "off" in line],
                         ["cprof: start: libcprof.so: another one is preloaded before it; this one is off"])


class Privileged(harness.PreloadTest):
    """LD_PRELOAD does not reach programs that are more than their user; /etc/ld.so.preload does."""

    @unittest.skipUnless(os.geteuid() == 0, "needs root to make one")
    def test_programs_listen_to_no_setting_of_their_user(self):
        out = harness.temporary_directory() / "out"
        out.mkdir()
        script = (f"mount -t tmpfs none /etc && cp '{harness.LIBRARY}' /etc/libcprof.so && cp '{harness.victim('known')}' /etc/own "
                  "&& cp /etc/own /etc/roots && chmod 755 /etc /etc/own && chmod 4755 /etc/roots "
                  "&& echo /etc/libcprof.so > /etc/ld.so.preload && /etc/own && setpriv --reuid=65534 --clear-groups /etc/roots")
        run = harness.bare(["unshare", "-m", "sh", "-c", script], directory=out.parent,
                           env={"CPROF_OUT": out, "CPROF_LOG": out / "log", "CPROF_LOG_LEVEL": "debug"})
        if run.status == 32 or b"unshare" in run.stderr:
            self.skipTest(f"no mounts here: {run.stderr.decode()[-200:]}")
        self.assertEqual((run.status, run.stderr), (0, b""))
        log = out / "log"
        self.assertNotIn("roots", log.read_text())
        log.unlink()
        self.assertEqual({file.exe for file in run.files()} & {"own", "roots"}, {"own"})


class Cost(harness.PreloadTest):
    def test_small_zeroed_data_lie_in_the_pages_that_come_at_once(self):
        """A linker that sorts no sections, or a new array that is not LARGE, would scatter them."""
        symbols = [line.split() for line in harness.bare(["nm", "-S", harness.LIBRARY]).text().splitlines()]
        start = next(int(words[0], 16) for words in symbols if words[-1] == "__bss_start")
        zeroed = [(int(words[0], 16), int(words[1], 16), words[3]) for words in symbols if len(words) == 4 and words[2] in "bB"]
        self.assertGreater(len(zeroed), 50)
        pages = -(-start // 4096) * 4096
        self.assertEqual([name for address, size, name in zeroed if size < 1024 and address + size > pages + 5 * 4096], [])
        self.assertGreater(sum(size for address, size, name in zeroed if address >= pages + 5 * 4096), 3 << 20)

    def test_start_adds_less_than_a_mebibyte(self):
        without = min(int(harness.bare("many_threads", "0").text()) for _ in range(3))
        agent = min(int(self.assert_ok(preload("many_threads", "0", out=False)).text()) for _ in range(3))
        self.assertLess(agent - without, 1024, f"{without} KiB bare, {agent} KiB with the agent")

    def test_the_root_leaves_a_heap_file_however_short_it_lived(self):
        run = self.assert_ok(preload(["/bin/true"]))
        self.assertEqual([(file.exe, file.pid) for file in run.files() if file.profile == "heap"], [("true", run.pid)])


if __name__ == "__main__":
    harness.main()
