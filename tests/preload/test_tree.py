"""Process trees: who writes, how much stays, and programs that fork, exec, daemonize and lock themselves in."""

import os
import signal
import socket
import subprocess
import time
import unittest

import harness
from harness import bare, preload, start

RATE = {"CPROF_HEAP_RATE": 1}


class Tree(harness.PreloadTest):
    def assert_wrote_by_age(self, run, n_at_once, took):
        """The root, and of its descendants no more than can have lived a second each, whose age is known to 10 ms."""
        wrote = {(file.exe, file.pid) for file in run.files()}
        self.assertIn(run.pid, {pid for _, pid in wrote})
        self.assertLessEqual(len(wrote) - 1, n_at_once * int(took / 0.99), (took, wrote))

    def test_a_thousand_short_children_of_a_shell_leave_only_the_root(self):
        script = "i=0; while [ $i -lt 1000 ]; do /bin/echo $i >/dev/null; i=$((i+1)); done; echo $i"
        began = time.monotonic()
        run = self.assert_ok(preload(["/bin/sh", "-c", script], **RATE))
        self.assertEqual(run.text(), "1000\n")
        self.assert_wrote_by_age(run, 1, time.monotonic() - began)

    def test_make_leaves_only_what_lived_a_second(self):
        directory = harness.temporary_directory()
        for name in "abcdef":
            (directory / f"{name}.c").write_text(f"int {name}(void) {{ return '{name}'; }}\n")
        (directory / "main.c").write_text("int main(void) { return 0; }\n")
        (directory / "Makefile").write_text("all: main a.o b.o c.o d.o e.o f.o\nmain: main.o\n")
        command = [harness.tool("make"), "-j2", "-s", "CC=cc"]
        began = time.monotonic()
        run = self.assert_ok(preload(command, cwd=directory))
        # of the two commands each is cc and its cc1 or as, the last one cc, collect2 and ld
        self.assert_wrote_by_age(run, 2 + 3, time.monotonic() - began)
        self.assertEqual(bare([directory / "main"]).status, 0)

    def test_the_root_stays_root_across_exec(self):
        run = self.assert_ok(preload(["/bin/sh", "-c", "exec env true"]))
        self.assertEqual({(file.exe, file.pid) for file in run.files()}, {("true", run.pid)})

    def test_a_descendant_writes_when_it_lived_long_enough(self):
        for life, seconds, wanted in (("0", 0, {"sh", "sleep"}), ("0s", 0, {"sh", "sleep"}), ("300ms", 0.5, {"sh", "sleep"}),
                                      ("1h", 0, {"sh"}), ("1h", 0.5, {"sh"})):
            run = self.assert_ok(preload(["/bin/sh", "-c", f"sleep {seconds}; :"], CPROF_MIN_LIFE=life, **RATE))
            self.assertEqual({file.exe for file in run.files()}, wanted, (life, seconds))

    # A child that sleeps for longer than 1 s, then, from a parent that is older than that, one that ends at once: again, where
    # the machine took as long for it.  The two times bound a child's life from above; its age is known to 10 ms.
    FORKS = """
import os, time

def child(seconds):
    began = time.clock_gettime(time.CLOCK_BOOTTIME)
    pid = os.fork()
    if pid == 0:
        time.sleep(seconds)
        os._exit(0)
    os.waitpid(pid, 0)
    took = time.clock_gettime(time.CLOCK_BOOTTIME) - began
    print(pid, took)
    return took

child(1.1)
for _ in range(30):
    if child(0) < 0.98:
        break
"""

    def test_a_forked_descendant_is_as_old_as_its_fork(self):
        run = self.assert_ok(preload(["/usr/bin/python3", "-c", self.FORKS], CPROF_MIN_LIFE="1s", **RATE))
        (old, _), *others = [(int(pid), float(took)) for pid, took in map(str.split, run.text().splitlines())]
        young = {pid for pid, took in others if took < 0.98}
        if not young:
            self.skipTest("the machine needs a second for a fork")
        wrote = {file.pid for file in run.files()}
        self.assertLessEqual({run.pid, old}, wrote)
        self.assertEqual(wrote & young, set(), run.text())

    def test_of_a_descendant_a_profile_without_samples_is_not_written(self):
        run = self.assert_ok(preload(["/bin/sh", "-c", "/bin/true; :"], CPROF_MIN_LIFE="0s", CPROF_HEAP_RATE="1g"))
        self.assertEqual({file.pid for file in run.files()}, {run.pid})
        self.assertEqual({file.profile for file in run.files()}, {"heap"})

    def test_only_the_chosen_programs_are_profiled(self):
        for exe, wanted in (("*", {"sh", "date", "env"}), ("date", {"date"}), ("!date", {"sh", "env"}), ("d*,e??", {"date", "env"}),
                            ("*,!sh,!env", {"date"}), ("nothing", set())):
            run = self.assert_ok(preload(["/bin/sh", "-c", "date; env; :"], CPROF_EXE=exe,
                                         CPROF_MIN_LIFE="0", **RATE))
            self.assertEqual({file.exe for file in run.files()}, wanted, exe)


class Keep(harness.PreloadTest):
    def interval(self, until, **settings):
        process = start("with_helper", "wait", CPROF_INTERVAL="5ms", **RATE, **settings)
        process.line()
        foreign = process.run.out / f"with_helper.{process.pid}.0000.heap.pb.gz.mine"
        foreign.write_text("precious")
        process.wait_for(lambda: process.run.last_number() >= until, f"snapshot {until} or a later one")
        return process, foreign

    def end(self, process, foreign):
        process.say("")
        run = process.finish()
        self.assertEqual((run.status, run.stderr), (7, b""))
        self.assertEqual(foreign.read_text(), "precious")
        foreign.unlink()
        run.check_all()
        return run, sorted({file.number for file in run.files()})

    def test_so_many_snapshots_stay_the_newest(self):
        run, numbers = self.end(*self.interval(12, CPROF_KEEP=3))
        self.assertEqual(numbers, list(range(numbers[-1] - 2, numbers[-1] + 1)))
        self.assertGreaterEqual(numbers[-1], 13, "the one at exit counts")

    def test_so_many_stay_also_where_names_have_the_time(self):
        directory = harness.temporary_directory()
        process = start("with_helper", "wait", CPROF_INTERVAL="5ms", CPROF_KEEP=3, CPROF_PROFILES="heap", **RATE,
                        out=f"{directory}/%k.%t.%n")
        process.line()

        def numbers():
            return sorted(int(name.split(".")[2]) for name in os.listdir(directory) if name.startswith("heap."))

        process.wait_for(lambda: max(numbers(), default=0) >= 12, "snapshot 12 or a later one")
        process.say("")
        self.assertEqual((process.finish().status, len(numbers())), (7, 3))

    def test_so_many_bytes_stay_and_the_newest_always(self):
        run, numbers = self.end(*self.interval(12, CPROF_KEEP_BYTES="1"))
        self.assertEqual(len(numbers), 1)
        size = sum(file.path.stat().st_size for file in run.files())
        run, numbers = self.end(*self.interval(12, CPROF_KEEP_BYTES=str(size * 5)))
        self.assertLessEqual(sum(file.path.stat().st_size for file in run.files()), size * 5)
        self.assertGreaterEqual(len(numbers), 3)

    def test_what_was_asked_for_stays(self):
        process = start("with_helper", "wait", CPROF_INTERVAL="1h", CPROF_KEEP=1, **RATE)
        process.line()
        for number in range(1, 6):
            os.kill(process.pid, signal.SIGUSR2)
            name = process.run.out / f"with_helper.{process.pid}.{number:04}.heap.pb.gz"
            process.wait_for(name.exists, f"snapshot {number}")
        process.say("")
        self.assertEqual({file.number for file in process.finish().files()}, {1, 2, 3, 4, 5, 6})

    def put_in_place_of_the_first(self, data, interval):
        """True when the agent had not removed it by then, as it does when the third has been written."""
        process = start("with_helper", "wait", CPROF_INTERVAL=interval, CPROF_KEEP=2, **RATE)
        process.line()
        process.wait_for(lambda: process.run.last_number() >= 1, "the first")
        first = process.run.out / f"with_helper.{process.pid}.0001.heap.pb.gz"
        (process.run.out / "new").write_bytes(data)
        os.rename(process.run.out / "new", first)
        in_time = process.run.last_number() < 3
        process.wait_for(lambda: process.run.last_number() >= 4, "the fourth or a later one")
        process.say("")
        run = process.finish()
        self.assertEqual(first.read_bytes(), data)
        self.assertNotIn(2, {file.number for file in run.files()})
        return in_time

    def test_a_file_that_somebody_put_in_place_of_ours_stays(self):
        process, _ = self.interval(1, CPROF_KEEP=10000)
        data = (process.run.out / f"with_helper.{process.pid}.0001.heap.pb.gz").read_bytes()
        process.say("")
        process.finish()
        self.assertTrue(any(self.put_in_place_of_the_first(data, interval) for interval in ("200ms", "1s", "5s", "5s")))

    def test_a_forked_child_does_not_remove_what_its_parent_wrote(self):
        process = start("with_helper", "fork", CPROF_INTERVAL="20ms", CPROF_KEEP=2, CPROF_MIN_LIFE="0s", **RATE)
        process.line()

        def late_ones():
            return {entry.split(".")[1] for entry in process.run.entries() if ".heap." in entry and entry.split(".")[2] >= "0005"}

        process.wait_for(lambda: len(late_ones()) == 2, "a fifth snapshot of both, or a later one")
        process.say("")
        run = process.finish()
        for pid in {file.pid for file in run.files()}:
            self.assertEqual(len({file.number for file in run.files() if file.pid == pid}), 2)

    def test_nonsense_is_refused(self):
        for value in ("0", "10001"):
            run = preload(["/bin/true"], CPROF_KEEP=value)
            self.assert_one_message(run, f"CPROF_KEEP={value}", "1 to 10000")


class Exec(harness.PreloadTest):
    def test_in_every_form_is_as_bare(self):
        for how in ("execve", "execv", "execvp", "execvpe", "execl", "execlp", "execle", "fexecve", "fails", "vfork"):
            for on_exec in "01":
                with self.subTest(how=how, on_exec=on_exec):
                    run = preload("execs", how, CPROF_ON_EXEC=on_exec, **RATE)
                    self.assert_same(bare("execs", how), run)
                    numbers = {file.number for file in run.files() if file.pid == run.pid}
                    wrote = on_exec == "1" and how != "vfork"
                    self.assertEqual(numbers, {1, 2} if wrote else {1})
                    if wrote:
                        self.assertEqual(run.profile("heap", number=1).count("before_exec", "inuse_space"), 4321)
                        if how != "fails":
                            self.assertEqual(run.profile("heap", number=2).count("before_exec"), 0)
                    run.check_all()

    def test_of_a_short_lived_child_writes_nothing(self):
        run = preload("children", "fork_exec", CPROF_ON_EXEC=1, CPROF_MIN_LIFE="1h", **RATE)
        self.assertEqual({file.pid for file in run.files()}, {run.pid})


class Daemon(harness.PreloadTest):
    def lives(self, launch, **settings):
        directory = harness.temporary_directory()
        report, keep_on = directory / "report", directory / "keep-on"
        keep_on.write_text("")
        run = launch("daemonizes", report, keep_on, **settings).finish()
        self.assertEqual((run.status, run.stdout, run.stderr), (7, b"", b""))
        deadline = time.monotonic() + harness.SECONDS

        def wait_for(condition):
            while not condition():
                self.assertLess(time.monotonic(), deadline, report.read_text() if report.exists() else "no report")
                time.sleep(0.005)

        wait_for(lambda: report.exists() and report.read_text().startswith("ready "))
        pid = int(report.read_text().split()[1])
        if settings.get("CPROF_INTERVAL"):
            wait_for(lambda: run.last_number(pid) >= 3)
        if launch is start:
            os.kill(pid, signal.SIGUSR2)
            wait_for(lambda: run.last_number(pid) >= 1)
        keep_on.unlink()
        wait_for(lambda: not os.path.exists(f"/proc/{pid}/stat"))
        return run, pid, report.read_text().splitlines()[1:]

    def test_that_forked_twice_and_closed_everything_is_profiled_and_notices_nothing(self):
        _, _, expected = self.lives(harness.start_bare)
        self.assertEqual(expected, ["next descriptor 3"])
        for settings in ({}, {"CPROF_INTERVAL": "30ms"}):
            run, pid, said = self.lives(start, CPROF_MIN_LIFE="0s", **RATE, **settings)
            self.assertEqual(said, expected, settings)
            self.assertEqual(run.profile("heap", pid=pid).count("daemon_allocates", "inuse_space"), 5432)
            run.check_all()


class Sandbox(harness.PreloadTest):
    def test_that_kills_for_our_calls_ends_the_agent_and_not_the_program(self):
        for how in ("strict", "prctl", "syscall"):
            for settings in (RATE, {}, {"CPROF_INTERVAL": "10ms", **RATE}):
                with self.subTest(how=how, settings=settings):
                    expected = bare("seccomp_kills", how)
                    run = preload("seccomp_kills", how, **settings)
                    self.assertEqual((run.status, run.stdout), (expected.status, expected.stdout), run.stderr)
                    self.assertEqual((expected.status, expected.text()), (9, "before\nafter\n"))
                    self.assert_one_message(run, "seccomp", "cprof is off from here on")
                    run.check_all()
                    if settings is RATE:
                        self.assertEqual(run.profile("heap").count("kept_before", "inuse_space"), 4321)

    # how, what is forbidden, settings, what is said once (None: nothing that is on needs it)
    DENIED = (
        ("thread", ["getsockopt", "getsockname", "getpeername"], {}, "getsockopt: * sockets have no labels"),
        ("thread", ["getpeername"], {}, "getpeername: * sockets have no labels"),
        ("thread", ["getpeername"], {"CPROF_PROFILES": "heap"}, None),
        ("thread", ["getdents64"], {}, "getdents64: * only descriptors whose opening was seen"),
        ("thread", ["mprotect"], {"CPROF_RULES": harness.ROOT / "scripts/rules/zlib.rules"}, "mprotect: * rules follow fewer"),
        ("thread", ["ppoll", "accept4", "prctl", "mprotect"], {}, None),
        ("thread", ["prctl"], {"CPROF_INTERVAL": "10s"}, "prctl: * does not come back"),
        ("process", ["prctl"], {"CPROF_INTERVAL": "10s"}, "prctl: * no snapshots by time and no HTTP"),
        ("process", ["madvise"], {"CPROF_INTERVAL": "10s"}, "madvise: * cprof is off"),
    )

    def assert_survives(self, run, how, denied, said):
        expected = bare("denies_calls", how, *denied)
        self.assertEqual((run.status, run.stdout), (expected.status, expected.stdout), run.stderr)
        self.assertEqual((expected.status, expected.text()), (9, "denied\nchild 7\n"))
        if said:
            call, _, end = said.partition(" * ")
            self.assert_one_message(run, f"seccomp: {call} ", end)
        else:
            self.assertEqual(run.messages(), [])
        run.check_all()

    def test_that_kills_for_what_a_part_needs_ends_that_part(self):
        for how, denied, settings, said in self.DENIED:
            with self.subTest(how=how, denied=denied, settings=settings):
                run = preload("denies_calls", how, *denied, **RATE, **settings)
                self.assert_survives(run, how, denied, said)
                if "CPROF_PROFILES" not in settings and "off" not in (said or ""):
                    sockets = run.profile("connection")
                    self.assertEqual(sockets.count(function="opens_sockets"), 900)

    def test_that_kills_for_what_http_needs_ends_http(self):
        for denied, settings, said in (
                (["ppoll"], {}, "ppoll: * no HTTP"),
                (["accept4"], {}, "accept4: * no HTTP"),
                (["madvise"], {"CPROF": "off"}, "madvise: * cprof is off"),
                (["mprotect"], {"CPROF": "off"}, "mprotect: * cprof is off")):
            with self.subTest(denied=denied, settings=settings):
                path = harness.temporary_directory() / "socket"
                process = start("denies_calls", "process", *denied, CPROF_HTTP=f"unix:{path}", **RATE, **settings)
                self.assertEqual(process.line(), "denied")
                self.assertFalse(path.exists())
                process.say("")
                self.assert_survives(process.finish(), "process", denied, said)

    def test_that_is_for_one_thread_leaves_http_until_the_agents_thread_ends(self):
        path = harness.temporary_directory() / "socket"
        process = start("denies_calls", "thread", "accept4", CPROF_HTTP=f"unix:{path}", **RATE)
        self.assertEqual(process.line(), "denied")
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(harness.SECONDS)
            client.connect(str(path))
            client.sendall(b"GET /debug/pprof/cmdline HTTP/1.0\r\n\r\n")
            self.assertIn(b" 200 ", client.recv(100))
        process.say("")
        self.assert_survives(process.finish(), "thread", ["accept4"], "accept4: * does not come back")
        self.assertFalse(path.exists())

    def test_that_refuses_even_getpid_ends_the_agent(self):
        run = preload("seccomp_kills", "refuse", **RATE)
        self.assertEqual((run.status, run.text()), (9, "before\nafter\n"), run.stderr)
        self.assert_one_message(run, "seccomp: getpid", "cprof is off from here on")

    def test_that_the_kernel_refuses_is_not_looked_into(self):
        for how in ("broken", "asks"):
            with self.subTest(how=how):
                run = preload("seccomp_kills", how, **RATE)
                self.assert_same(bare("seccomp_kills", how), run)


class Output(harness.PreloadTest):
    def test_on_a_full_disk_says_so_once_and_leaves_nothing_half(self):
        if os.getuid():
            self.skipTest("mounting a small file system needs root")
        if not harness.can_mount():
            self.skipTest("mounting is not permitted here")
        script = ('mount -t tmpfs -o size=64k,nr_inodes=100 none "$1" && head -c 57344 /dev/zero > "$1/filler"; shift; '
                  'LD_PRELOAD=$LIB CPROF_OUT=$OUT CPROF_HEAP_RATE=1 CPROF_INTERVAL=20ms "$@"; status=$?; '
                  'ls -A "$OUT" >&2; exit $status')
        directory = harness.temporary_directory()
        run = bare(["unshare", "-m", "/bin/sh", "-c", script, "sh", directory, harness.victim("distinct_stacks"), "11"],
                   env={"LIB": harness.LIBRARY, "OUT": directory})
        expected = bare("distinct_stacks", "11")
        self.assertEqual((run.status, run.stdout), (expected.status, expected.stdout), run.stderr)
        lines = run.stderr.decode().splitlines()
        self.assertEqual(len([line for line in lines if "No space left on device" in line]), 1, lines)
        self.assertEqual([line for line in lines if line.endswith(".tmp")], [])

    def test_over_quota_says_so_once_and_leaves_nothing_half(self):
        expected = bare("over_quota", cwd=harness.temporary_directory())
        run = preload("over_quota", **RATE)
        self.assertEqual((run.status, run.stdout), (expected.status, expected.stdout), run.stderr)
        self.assert_one_message(run, "Disk quota exceeded", str(run.out), "the program goes on")
        self.assertEqual(run.entries(), [])

    def test_a_directory_that_vanishes_is_made_again_or_said_once(self):
        for parent_too in (False, True):
            directory = harness.temporary_directory()
            out = directory / "parent" / "out"
            out.parent.mkdir()
            process = start("with_helper", "wait", out=out, **RATE)
            process.line()
            os.kill(process.pid, signal.SIGUSR2)
            process.wait_for(lambda: out.is_dir() and len(os.listdir(out)) >= 2 and process.is_reading(), "a whole snapshot")
            subprocess.run(["rm", "-rf", out.parent if parent_too else out], check=True)
            process.say("")
            run = process.finish()
            self.assertEqual(run.status, 7)
            if parent_too:
                self.assert_one_message(run, "No such file or directory")
            else:
                self.assertIn("heap", {file.profile for file in run.files(out)})

    def test_a_directory_that_may_not_be_written_is_said_at_the_start(self):
        if os.getuid() == 0:
            out = "/proc"
        else:
            out = harness.temporary_directory() / "closed"
            out.mkdir(mode=0o500)
        run = preload("exit_ways", out=out, **RATE)
        self.assertEqual((run.status, run.text()), (11, "before the end\n"))
        self.assertEqual(len(run.messages()), 1, run.stderr)


if __name__ == "__main__":
    harness.main()
