"""Bad settings, bad directories, bad surroundings: one clear line, the program runs on, nothing half-written is left."""

import gzip
import os
import re
import resource
import signal
import socket
import subprocess
import unittest

import harness
import pprof_decode
from harness import preload, start

RATE = {"CPROF_HEAP_RATE": 1}


def files_up_to(size):
    """For a process that may write none that is larger."""
    def limit():
        harness.in_foreground()
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return limit


class Settings(harness.PreloadTest):
    def one_line(self, parts, **settings):
        expected = harness.bare("exit_ways")
        run = preload("exit_ways", **settings)
        self.assertEqual((run.status, run.stdout), (expected.status, expected.stdout))
        line = self.assert_one_message(run, *parts)
        self.assertEqual(run.stderr.count(b"\n"), 1)
        self.assertLess(len(line), 400)
        run.check_all()
        self.assertTrue(run.files(), "the program is profiled all the same")
        return run, line

    def test_that_are_right_say_nothing(self):
        for settings in ({"CPROF_HEAP_RATE": "512k"}, {"CPROF_HEAP_RATE": "2m"}, {"CPROF_DEPTH": "64"},
                         {"CPROF_MEMORY": "16m"}, {"CPROF_SIGNAL": "none"}, {"CPROF_SIGNAL": "USR1"},
                         {"CPROF_SIGNAL": "RTMAX-4"}, {"CPROF": "heap_rate=1,depth=16"}, {"CPROF_PROFILES": "heap"},
                         {"CPROF_SYMBOLS": "symtab"}, {"CPROF_LOG_LEVEL": "warn"}):
            run = preload("exit_ways", **settings)
            self.assertEqual((run.status, run.stderr), (11, b""), settings)

    def test_unknown_ones_are_answered_with_the_nearest(self):
        for name, nearest in (("CPROF_HEAP_RAET", "CPROF_HEAP_RATE"), ("CPROF_HEAPRATE", "CPROF_HEAP_RATE"),
                              ("CPROF_OUTT", "CPROF_OUT"), ("CPROF_MEMROY", "CPROF_MEMORY"),
                              ("CPROF_SIGNALS", "CPROF_SIGNAL")):
            self.one_line([name, nearest], **{name: "1"})

    def test_unknown_ones_in_the_shorthand_are_answered_too(self):
        _, line = self.one_line([], CPROF="heap_raet=1")
        self.assertIn("heap_raet", line.lower())
        self.assertIn("heap_rate", line.lower())

    def test_malformed_sizes_name_setting_value_form_and_default(self):
        for value in ("fast", "12q", "-1", "1.5k", "k", "99999999999999999999", " 5", "5 k", "0x10"):
            _, line = self.one_line(["CPROF_HEAP_RATE", value.strip()], CPROF_HEAP_RATE=value)
            self.assertRegex(line, r"512k|524288", "the default in use")
        run, _ = self.one_line(["CPROF_HEAP_RATE", "fast"], CPROF_HEAP_RATE="fast")
        self.assertEqual(run.profile("heap").period, 524288)

    def test_malformed_depth_memory_and_signal_name_setting_value_and_default(self):
        for name, value, default in (("CPROF_DEPTH", "deep", "128"), ("CPROF_DEPTH", "5000", "128|1024"),
                                     ("CPROF_DEPTH", "-3", "128"), ("CPROF_MEMORY", "lots", "64m|67108864"),
                                     ("CPROF_SIGNAL", "USR9", "USR2"), ("CPROF_SIGNAL", "KILL", "USR2"),
                                     ("CPROF_SYMBOLS", "maybe", "symtab")):
            _, line = self.one_line([name, value], **{name: value})
            self.assertRegex(line, default)

    def test_malformed_profiles_name_the_unknown_one(self):
        self.one_line(["CPROF_PROFILES", "heapp"], CPROF_PROFILES="heapp")

    def test_malformed_profiles_name_the_known_ones(self):
        _, line = self.one_line(["heapp"], CPROF_PROFILES="heapp")
        for name in re.findall(r"^PROFILE\((\w+)", (harness.ROOT / "agent" / "profiles.def").read_text(), re.MULTILINE):
            self.assertIn(f"{name}, ", line)

    def test_profiles_not_built_yet_are_named_and_the_others_written(self):
        run, _ = self.one_line(["CPROF_PROFILES=heap,profile", "not yet built: profile"], CPROF_PROFILES="heap,profile")
        self.assertIn("heap", {file.profile for file in run.files()})

    def test_without_a_profile_that_is_built_nothing_is_written_which_is_said(self):
        for ask in ("exit_ways", "asks_for_snapshot"):
            run = preload(ask, CPROF_PROFILES="profile", CPROF_HEAP_RATE=1)
            self.assertEqual(run.status, 11 if ask == "exit_ways" else 0)
            self.assert_one_message(run, "CPROF_PROFILES=profile", "not yet built", "no file is written")
            self.assertEqual(run.entries(), [])
        run = preload("exit_ways", CPROF_PROFILES="none")
        self.assertEqual((run.status, run.stderr, run.entries()), (11, b"", []))

    def test_a_relative_log_file_belongs_to_the_start_directory(self):
        run = preload("usr2_owner", "chdir-and-raise", CPROF_LOG="my.log", CPROF_LOG_LEVEL="info")
        self.assertEqual((run.status, run.stderr), (0, b""))
        self.assertIn("written", (run.directory / "my.log").read_text())

    def test_that_are_no_utf_8_become_valid_comments(self):
        run = preload("exit_ways", CPROF_LABELS=os.fsdecode(b"team=\xff\xc3\xa9\xc3(\xed\xa0\x80"),
                      env={"OTEL_SERVICE_NAME": os.fsdecode(b"shop\x80")})
        self.assertEqual((run.status, run.stderr), (11, b""))
        labels = "labels: team=\ufffdé\ufffd(\ufffd\ufffd\ufffd"
        self.assertLessEqual({labels, "service: shop\ufffd"}, set(run.profile("heap").comments))
        for file in run.files():
            raw = gzip.decompress(file.path.read_bytes())
            done = subprocess.run([harness.tool("protoc"), "--decode=perftools.profiles.Profile",
                                   f"--proto_path={harness.ROOT}", "encoder/profile.proto"], input=raw, cwd=harness.ROOT,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertIn(labels.encode(), raw)

    def test_an_empty_value_is_as_unset_or_named(self):
        run = preload("exit_ways", CPROF_HEAP_RATE="")
        self.assertEqual(run.status, 11)
        self.assertLessEqual(len(run.messages()), 1)
        self.assertEqual(run.profile("heap").period, 524288)

    def test_of_every_documented_key_are_known(self):
        values = {"PROFILES": "heap", "HEAP_RATE": "64k", "BLOCK_RATE": "100us", "MUTEX_RATE": "1ms", "MUTEX_FRACTION": "10",
                  "CPU_HZ": "100", "INTERVAL": "10s", "KEEP": "20", "KEEP_BYTES": "256m", "SIGNAL": "USR2",
                  "HTTP": "off", "HTTP_PREFIX": "/debug/pprof", "HTTP_TOKEN_FILE": "/dev/null", "HTTP_ALLOW_REMOTE": "0",
                  "HTTP_CMDLINE": "0", "HTTP_HOSTS": "dev.example", "RULES": "/dev/null", "DEPTH": "64", "MEMORY": "32m", "SYMBOLS": "symtab",
                  "EXE": "*", "MIN_LIFE": "1s", "ON_EXEC": "0", "LABELS": "team=a,tier=b", "LOG": "stderr",
                  "LOG_LEVEL": "warn", "CONFIG": "/dev/null"}
        for name, value in values.items():
            with self.subTest(name):
                run = preload("exit_ways", **{f"CPROF_{name}": value})
                self.assertEqual(run.status, 11)
                self.assertLessEqual(len(run.messages()), 1, run.stderr)
                for line in run.messages():
                    self.assertIn("not yet built", line)
                    self.assertIn(name, line)

    def test_come_from_a_file_too_and_the_environment_wins(self):
        directory = harness.temporary_directory()
        (directory / "settings").write_text("# a comment\nheap_rate=2k\n\ndepth=16\n")
        run = preload("exit_ways", CPROF_CONFIG=directory / "settings")
        self.assertEqual((run.status, run.stderr), (11, b""))
        self.assertEqual(run.profile("heap").period, 2048)
        run = preload("exit_ways", CPROF_CONFIG=directory / "settings", CPROF_HEAP_RATE="4k")
        self.assertEqual(run.profile("heap").period, 4096)

    def test_files_that_are_missing_are_named(self):
        self.one_line(["/nonexistent/settings", "No such file or directory"], CPROF_CONFIG="/nonexistent/settings")

    def test_messages_go_to_the_log_file_that_was_asked_for(self):
        directory = harness.temporary_directory()
        run = preload("exit_ways", CPROF_HEAP_RATE="fast", CPROF_LOG=directory / "log")
        self.assertEqual((run.status, run.stderr), (11, b""))
        lines = (directory / "log").read_text().splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("CPROF_HEAP_RATE", lines[0])

    def test_off_switches_everything_off(self):
        run = preload("exit_ways", CPROF="off")
        self.assertEqual((run.status, run.stderr, run.files()), (11, b"", []))

    def test_the_shorthand_works_and_the_long_form_wins(self):
        run = preload("exit_ways", CPROF="heap_rate=1")
        self.assertEqual(run.profile("heap").period, 1)
        run = preload("exit_ways", CPROF="heap_rate=1", CPROF_HEAP_RATE="4k")
        self.assertEqual(run.profile("heap").period, 4096)

    def test_rate_0_runs_and_leaves_a_valid_empty_heap(self):
        run = preload("exit_ways", CPROF_HEAP_RATE=0)
        self.assertEqual((run.status, run.stderr), (11, b""))
        self.assertEqual(run.profile("heap").samples, [])


class Output(harness.PreloadTest):
    def refused(self, out, *parts, preexec=harness.in_foreground, command=None, cwd=None, **settings):
        expected = harness.bare("exit_ways")
        run = preload(command or "exit_ways", out=out, preexec=preexec, cwd=cwd, CPROF_HEAP_RATE=1, **settings)
        self.assertEqual((run.status, run.stdout), (expected.status, expected.stdout))
        self.assert_one_message(run, *parts)
        return run

    def test_a_directory_that_is_missing_is_created(self):
        directory = harness.temporary_directory()
        for out in (f"{directory}/new", f"{directory}/newer/"):
            run = preload("exit_ways", out=out, CPROF_HEAP_RATE=1)
            self.assertEqual((run.status, run.stderr), (11, b""))
            self.assertIn("heap", {file.profile for file in run.files(out)})
            self.assertEqual(os.stat(out).st_mode & 0o7777, 0o700)

    def test_a_pattern_names_the_files(self):
        directory = harness.temporary_directory()
        run = preload("exit_ways", out=f"{directory}/%k-%p-%e-%n-%%.pb.gz", CPROF_HEAP_RATE=1)
        self.assertEqual((run.status, run.stderr), (11, b""))
        self.assertIn(f"heap-{run.pid}-exit_ways-0001-%.pb.gz", os.listdir(directory))

    def test_a_pattern_knows_host_environment_and_time(self):
        directory = harness.temporary_directory()
        run = preload("exit_ways", out=f"{directory}/%k-%h-%{{SHARD}}-%t", env={"SHARD": "seven"}, CPROF_HEAP_RATE=1)
        self.assertEqual((run.status, run.stderr), (11, b""))
        pattern = rf"heap-{re.escape(socket.gethostname())}-seven-1\d{{9}}"
        self.assertTrue([name for name in os.listdir(directory) if re.fullmatch(pattern, name)], os.listdir(directory))

    def test_a_pattern_takes_no_path_out_of_the_environment(self):
        directory = harness.temporary_directory()
        run = preload("exit_ways", out=f"{directory}/in%{{SHARD}}.%k", env={"SHARD": "/../../a b%p"}, CPROF_HEAP_RATE=1)
        self.assertEqual((run.status, run.stderr), (11, b""))
        self.assertIn("in_.._.._a_b_p.heap", os.listdir(directory))

    def test_files_are_named_after_what_was_typed(self):
        directory = harness.temporary_directory()
        script = directory / "tool one!.py"
        script.write_text("#!/usr/bin/python3\nprint('hello')\n")
        script.chmod(0o755)
        link = directory / "other-name"
        link.symlink_to(harness.victim("known"))
        for path, name in ((script, "tool_one_.py"), (link, "other-name")):
            run = self.assert_ok(preload([path], CPROF_HEAP_RATE=1))
            self.assertEqual({file.exe for file in run.files()}, {name})

    def test_a_relative_directory_belongs_to_the_start_directory(self):
        run = preload("usr2_owner", "chdir-and-raise", out="profiles", CPROF_HEAP_RATE=1)
        self.assertEqual((run.status, run.stderr), (0, b""))
        self.assertIn("heap", {file.profile for file in run.files(run.directory / "profiles")})

    def test_of_a_start_directory_with_percent_signs_is_taken_as_it_is(self):
        here = harness.temporary_directory() / "100%k %p%%"
        here.mkdir()
        run = preload("usr2_owner", "chdir-and-raise", out="profiles", cwd=here, CPROF_HEAP_RATE=1)
        self.assertEqual((run.status, run.stderr, os.listdir(here)), (0, b"", ["profiles"]))
        self.assertTrue(run.profile("heap", directory=here / "profiles").samples)
        run = preload("asks_for_snapshot", out=False, cwd=here, CPROF_HEAP_RATE=1)
        (here / "profiles").rename(here.parent / "profiles")
        self.assertTrue(run.profile("heap", directory=here).samples)
        self.refused("missing/deep/out", f"{here}/missing/deep/out: No such file or directory", cwd=here)

    def test_of_a_start_directory_of_2500_bytes_is_as_any(self):
        here = harness.temporary_directory().joinpath(*["d" * 250] * 10)
        here.mkdir(parents=True)
        self.assert_same(harness.bare("exit_ways"), preload("exit_ways", out=False, cwd=here))
        run = preload("exit_ways", out="profiles", cwd=here, CPROF_HEAP_RATE=1)
        self.assertEqual((run.status, run.stderr), (11, b""))
        self.assertTrue(run.profile("heap", directory=here / "profiles").samples)
        self.refused("missing/deep/out", "/missing/deep/out: No such file or directory", cwd=here)

    def test_of_a_start_directory_that_no_path_names_is_off_and_said_only_when_asked_for(self):
        def deep():
            harness.in_foreground()
            for _ in range(20):
                os.makedirs("d" * 250, exist_ok=True)
                os.chdir("d" * 250)
        self.assert_same(harness.bare("exit_ways"), preload("exit_ways", out=False, preexec=deep))
        for out, program in ((False, "asks_for_snapshot"), ("profiles", "asks_for_snapshot"), ("profiles", "exit_ways")):
            run = preload(program, out=out, preexec=deep, CPROF_HEAP_RATE=1)
            self.assertEqual((run.status, run.stdout), (0, b"active 1, snapshot written, errno 77\n")
                             if program == "asks_for_snapshot" else (11, b"before the end\n"))
            self.assert_one_message(run, "CPROF_OUT" if out else "start directory", "File name too long")
            self.assertEqual([files for _, _, files, _ in os.fwalk(run.directory) if files], [])

    def test_is_written_where_a_killed_process_of_the_same_pid_left_its_temporary_file(self):
        process = start(["cat"], CPROF_HEAP_RATE=1)  # until its input ends
        out, pid = process.run.out, process.popen.pid
        left = [out / f".cprof.{pid}.1.{name}.tmp" for name in ("heap", "allocs")]
        left[0].write_text("left")
        left[1].symlink_to(out / "elsewhere")
        run = process.finish()
        self.assertEqual((left[0].read_text(), (out / "elsewhere").exists()), ("left", False), "not ours, not touched")
        for path in left:
            path.unlink()
        self.assertEqual((run.status, run.stderr), (0, b""))
        self.assertLessEqual({"heap", "allocs"}, {file.profile for file, _ in run.check_all()})

    def test_without_a_number_looks_for_none_that_is_free(self):
        directory = harness.temporary_directory()
        counts = []
        for _ in range(2):
            run = preload("snapshot_calls", out=f"{directory}/%k.pb.gz", CPROF_HEAP_RATE=1)
            self.skip_untraced(run)
            self.assertEqual((run.status, run.stderr), (0, b""))
            counts.append(int(run.text()))
        self.assertIn("heap.pb.gz", os.listdir(directory))
        self.assertLess(counts[1], 2 * counts[0], "system calls where there are files already")

    def test_whose_parent_is_missing_is_named_with_the_reason(self):
        directory = harness.temporary_directory()
        self.refused(f"{directory}/missing/deep/out", f"{directory}/missing", "No such file or directory")
        self.assertEqual(os.listdir(directory), [])

    def test_with_a_file_in_the_way_is_named_with_the_reason(self):
        directory = harness.temporary_directory()
        (directory / "file").write_text("mine")
        self.refused(f"{directory}/file/", f"{directory}/file", "Not a directory")
        self.assertEqual((directory / "file").read_text(), "mine")

    def test_with_a_directory_where_a_file_should_go_leaves_both_alone(self):
        directory = harness.temporary_directory()
        (directory / "taken.heap").mkdir()
        (directory / "taken.allocs").mkdir()
        (directory / "taken.heap_peak").mkdir()
        run = preload("exit_ways", out=f"{directory}/taken.%k", CPROF_HEAP_RATE=1)
        self.assertEqual((run.status, len(run.messages())), (11, 1), run.stderr)
        self.assertIn("Is a directory", run.messages()[0])
        self.assertEqual(sorted(os.listdir(directory)), ["taken.allocs", "taken.heap", "taken.heap_peak"])

    def test_with_one_file_in_the_way_writes_the_others(self):
        for taken in ("heap", "allocs"):
            directory = harness.temporary_directory()
            (directory / f"taken.{taken}").mkdir()
            run = preload("exit_ways", out=f"{directory}/taken.%k", CPROF_HEAP_RATE=1)
            self.assertEqual((run.status, len(run.messages())), (11, 1), run.stderr)
            self.assertIn(f"{directory}/taken.{taken}: Is a directory", run.messages()[0])
            self.assertEqual(sorted(os.listdir(directory)), ["taken.allocs", "taken.heap", "taken.heap_peak"])
            for other in {"heap", "allocs", "heap_peak"} - {taken}:
                pprof_decode.check_valid(pprof_decode.load(directory / f"taken.{other}"))

    def test_with_a_component_over_255_bytes_is_named(self):
        directory = harness.temporary_directory()
        self.refused(f"{directory}/{'x' * 300}/", "File name too long")
        self.assertEqual(os.listdir(directory), [])

    def test_of_a_process_that_is_killed_has_nothing_half_written(self):
        for _ in range(20):
            process = harness.start("malloc_loop", "2", CPROF_HEAP_RATE=1, CPROF_INTERVAL="1ms")
            out = process.run.out
            process.wait_for(lambda: len(list(out.iterdir())) > 6, "two snapshots")
            os.kill(process.pid, signal.SIGKILL)
            self.assertEqual(process.finish().status, -signal.SIGKILL)
            self.assertEqual([name for name in os.listdir(out) if not name.endswith(".pb.gz")], [])

    def test_where_no_link_may_be_made_is_written_all_the_same(self):
        for when in ("here", "before", "old"):
            run = self.assert_ok(preload("forbids_links", when, CPROF_HEAP_RATE=1))
            self.assertEqual((run.text(), run.profile("heap").count("allocates_ten", "alloc_objects")), ("done\n", 10))
            self.assertLessEqual({"heap", "allocs", "heap_peak"}, {file.profile for file, _ in run.check_all()})
            self.assertEqual({os.stat(file.path).st_mode & 0o7777 for file in run.files()}, {0o600})
            self.assertEqual([name for name in os.listdir(run.out) if not name.endswith(".pb.gz")], [])

    def test_that_cannot_be_opened_above_the_standard_descriptors_leaves_nothing(self):
        run = preload("forbids_links", "full", CPROF_HEAP_RATE=1)
        self.assertEqual((run.status, run.text(), run.entries()), (0, "done\n", []))
        self.assert_one_message(run, str(run.out))

    def test_under_a_temporary_name_leaves_nothing_when_it_cannot_be_written(self):
        for when in ("here", "before"):
            run = preload("forbids_links", when, preexec=files_up_to(64), CPROF_HEAP_RATE=1)
            self.assertEqual((run.status, run.text()), (0, "done\n"))
            self.assert_one_message(run, "File too large")
            self.assertEqual(run.entries(), [])

    def test_of_a_file_system_that_asks_to_try_again_is_given_up(self):
        run = preload("forbids_links", "busy", CPROF_HEAP_RATE=1)
        self.assertEqual((run.status, run.text()), (0, "done\n"))
        self.assert_one_message(run, "Resource temporarily unavailable; this profile is not written")
        self.assertEqual(run.entries(), [], "nothing half-written")

    def test_does_not_follow_a_link_planted_at_its_temporary_or_final_name(self):
        directory = harness.temporary_directory()
        (directory / "out").mkdir()
        (directory / "precious").write_text("mine")
        os.symlink(directory / "precious", directory / "out" / "heap.pb.gz")
        run = preload("exit_ways", out=f"{directory}/out/%k.pb.gz", CPROF_HEAP_RATE=1)
        self.assertEqual(run.status, 11)
        self.assertEqual((directory / "precious").read_text(), "mine")

    def namespaced(self, setup, out, look, program=None, preexec=harness.in_foreground, **settings):
        """Runs the victim where `setup` has mounted something at `out`; gives the run and what `look` prints after."""
        if not harness.can_mount():
            self.skipTest("no right to mount in a namespace of its own")
        program = program or [str(harness.victim("exit_ways"))]
        settings = " ".join(f"{key}={value}" for key, value in {"CPROF_HEAP_RATE": 1, **settings}.items())
        script = (f'{setup} || exit 98; env LD_PRELOAD="{harness.LIBRARY}" CPROF_OUT="{out}" {settings} '
                  f'{" ".join(map(str, program))}; status=$?; {{ {look}; }} >"{out.parent}/look"; exit $status')
        run = harness.bare(["unshare", "-m", "/bin/sh", "-c", script], preexec=preexec)
        self.assertNotEqual(run.status, 98, run.stderr)
        seen = (out.parent / "look").read_text()
        return run, seen

    def mounted(self):
        directory = harness.temporary_directory()
        (directory / "out").mkdir()
        return directory / "out"

    def test_on_a_read_only_file_system_is_named_with_the_reason(self):
        out = self.mounted()
        run, seen = self.namespaced(f"mount -t tmpfs -o ro none {out}", out, f"ls -A {out}")
        self.assertEqual((run.status, run.text(), seen), (11, "before the end\n", ""))
        self.assert_one_message(run, str(out), "Read-only file system")

    def test_on_a_full_file_system_leaves_nothing_half_written(self):
        for space in (0, 1, 4):  # KiB left
            out = self.mounted()
            fill = f"head -c {1024 - 4 * ((space + 3) // 4)}k /dev/zero >{out}/filler"
            run, seen = self.namespaced(f"mount -t tmpfs -o size=1m none {out}; {fill}", out, f"ls -A {out}",
                                        program=[harness.victim("distinct_stacks"), "10"])
            self.assertEqual((run.status, run.text()), (7, harness.bare("distinct_stacks", "10").text()))
            self.assert_one_message(run, str(out), "No space left on device")
            left = seen.split()
            self.assertIn("filler", left)
            self.assertEqual([name for name in left if name != "filler" and not name.endswith(".pb.gz")], [], space)
            if space == 0:
                self.assertEqual(left, ["filler"])

    def test_without_permission_is_named_with_the_reason(self):
        directory = harness.public_directory()
        (directory / "out").mkdir(mode=0o555)
        if os.geteuid() != 0:
            run = preload("exit_ways", out=directory / "out", CPROF_HEAP_RATE=1)
        else:
            command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env",
                       f"LD_PRELOAD={self.readable_library()}", f"CPROF_OUT={directory}/out", "CPROF_HEAP_RATE=1",
                       str(self.readable_victim())]
            run = harness.bare(command)
        self.assertEqual((run.status, run.text()), (11, "before the end\n"), run.stderr)
        self.assert_one_message(run, f"{directory}/out", "Permission denied")
        self.assertEqual(os.listdir(directory / "out"), [])

    def readable_library(self):
        return self.readable_copy(harness.LIBRARY)

    def readable_victim(self):
        return self.readable_copy(harness.victim("exit_ways"))

    def readable_copy(self, path):
        """A copy that another user can reach, wherever the build folder lies."""
        directory = harness.public_directory()
        copy = directory / path.name
        copy.write_bytes(path.read_bytes())
        copy.chmod(0o755)
        return copy


class Surroundings(harness.PreloadTest):
    def test_a_cap_on_memory_is_kept_and_told_in_the_file(self):
        expected = harness.bare("distinct_stacks", "15")
        run = preload("distinct_stacks", "15", CPROF_HEAP_RATE=1, CPROF_MEMORY="1m")
        self.assertEqual((run.status, run.stdout), (expected.status, expected.stdout))
        self.assertLessEqual(len(run.messages()), 1, run.stderr)
        heap = run.profile("heap")
        self.assertEqual(heap.total("alloc_objects") >= 2**15, True, "no allocation is lost from the totals")
        self.assertGreater(heap.by_any("alloc_objects").get("[overflow]", 0), 0, "stacks over the cap go to [overflow]")
        self.assertLessEqual(harness.agent_bytes(heap), 1 << 20)

    def test_a_cap_hit_by_live_objects_is_told_in_the_file(self):
        expected = harness.bare("distinct_stacks", "4", "20000")
        run = preload("distinct_stacks", "4", "20000", CPROF_HEAP_RATE=1, CPROF_MEMORY="1m")
        self.assertEqual((run.status, run.stdout), (expected.status, expected.stdout))
        heap = run.profile("heap")
        self.assertEqual(heap.count("bottom"), 320000, "what is not tracked still counts as allocated")
        self.assertLess(heap.count("bottom", "inuse_objects"), 320000)
        self.assertIsNotNone(heap.comment(r"dropped.*[1-9]"), heap.comments)

    def test_a_full_agent_still_writes_what_there_is_room_for(self):
        """A snapshot of all stacks took more than the reserve, and there was no file."""
        run = preload("distinct_stacks", "15", CPROF_HEAP_RATE=1, CPROF_MEMORY="4m")
        self.assert_status(run, 7)
        for name in ("heap", "allocs", "heap_peak"):
            with self.subTest(profile=name):
                profile = run.profile(name)
                objects = "inuse_objects" if name == "heap_peak" else "alloc_objects"
                overflow = profile.by_any(objects)["[overflow]"]
                self.assertIsNotNone(profile.comment(r"dropped: [1-9]\d* stacks"), profile.comments)
                self.assertGreater(profile.total(objects) - overflow, 1000, "some have their stacks")
        self.assertGreaterEqual(run.profile("heap").total("alloc_objects"), 2**15, "none is lost from the totals")

    def test_without_a_cap_in_the_way_nothing_overflows(self):
        heap = self.assert_status(preload("distinct_stacks", "12", CPROF_HEAP_RATE=1), 7).profile("heap")
        self.assertEqual(heap.count("bottom"), 2**12)
        self.assertNotIn("[overflow]", heap.function_names())
        self.assertEqual(len(heap.with_function("bottom")), 2**12)

    def assert_status(self, run, status):
        self.assertEqual((run.status, run.messages()), (status, []))
        return run

    def test_a_missing_libunwind_is_not_missed(self):
        if not harness.can_mount():
            self.skipTest("no right to mount in a namespace of its own")
        listing = subprocess.run(["ldconfig", "-p"], stdout=subprocess.PIPE, env={"PATH": "/sbin:/usr/sbin"}, check=True)
        paths = [line.split()[-1] for line in listing.stdout.decode().splitlines() if "libunwind.so.8 " in line]
        directory = harness.temporary_directory()
        (directory / "out").mkdir()
        (directory / "empty").write_bytes(b"")
        hide = " && ".join(f"mount --bind {directory}/empty $(readlink -f {path})" for path in paths) or "true"
        script = (f'{hide} || exit 98; exec env LD_PRELOAD="{harness.LIBRARY}" CPROF_OUT="{directory}/out" '
                  f'CPROF_HEAP_RATE=1 {harness.victim("exit_ways")}')
        run = harness.bare(["unshare", "-m", "/bin/sh", "-c", script], directory=directory)
        self.assertEqual((run.status, run.text()), (11, "before the end\n"), run.stderr)
        self.assertEqual(run.messages(), [], "the engine of our own needs no library")
        self.assertEqual(run.profile("heap").count("[lost]"), 0)
        self.assertTrue(run.profile("heap").samples)

    def test_closed_standard_descriptors_stay_the_programs(self):
        for closed in ((0, 1, 2), (2,), (1,), (0,)):
            for settings in (RATE, {}):
                def close(closed=closed):
                    harness.in_foreground()
                    for fd in closed:
                        os.close(fd)
                work = [harness.temporary_directory() for _ in range(2)]
                expected = harness.bare("stdio_fds", work[0], preexec=close).status
                self.assertEqual(expected, -12, "SIGUSR2 ends the program without the agent")
                run = preload("stdio_fds", work[1], preexec=close, **settings)
                self.assertEqual(run.status, 3, run.stderr)
                self.assertEqual(sorted(os.listdir(work[1])), ["first", "report", "second", "third"])
                self.assertEqual([(work[1] / name).read_text() for name in ("first", "second", "third")],
                                 ["first\n", "second\n", "third\n"])
                numbers = (work[1] / "report").read_text().split()
                free = [fd for fd in list(range(3, 8)) + list(closed)]
                self.assertEqual(numbers, [str(fd) for fd in sorted(free)[:4]], "the lowest free numbers, as without")
                self.assertEqual(run.stdout + run.stderr, b"")
                self.assertEqual({file.number for file, _ in run.check_all()}, {1, 2})

    def test_the_log_never_goes_into_a_file_that_took_the_place_of_stderr(self):
        directory = harness.temporary_directory()
        run = preload("stderr_replaced", directory / "data", out=f"{directory}/missing/deep/out", CPROF_HEAP_RATE=1)
        self.assertEqual(run.status, 0)
        self.assertEqual((directory / "data").read_text(), "data\n")

    def test_a_program_that_closes_every_descriptor_owns_them_all(self):
        directory = harness.temporary_directory()
        run = self.assert_ok(preload("closes_all", directory / "data", CPROF_HEAP_RATE=1))
        self.assertEqual(run.text(), "descriptor 3\n")
        self.assertEqual((directory / "data").read_text(), "".join(f"line {i}\n" for i in range(10)))
        self.assertEqual({file.number for file, _ in run.check_all()}, set(range(1, 12)))

    def test_no_byte_of_the_programs_pipes_is_read_or_written_by_the_unwinder(self):
        runs = harness.compare_bare(self, "writes_after_unwinding")
        self.assertEqual(runs["bare"].text(), "descriptor 3: precious\ndescriptor 5: precious\n")
        self.assertEqual(runs["exact"].profile("heap").count("from_jit"), 200)

    def test_a_program_in_a_chroot_runs_on(self):
        if os.geteuid() != 0:
            self.skipTest("chroot needs root")
        empty = harness.temporary_directory()
        run = preload("chrooted", empty, CPROF_HEAP_RATE=1)
        self.assertEqual((run.status, run.text()), (0, "done\n"), run.stderr)
        self.assertLessEqual(len(run.messages()), 1, run.stderr)
        self.assertEqual(os.listdir(empty), [])

    def test_a_program_that_forbids_itself_files_runs_on(self):
        run = preload("seccomp_filter", CPROF_HEAP_RATE=1)
        self.assertEqual((run.status, run.text()), (9, "done\n"), run.stderr)
        self.assert_one_message(run, str(run.out), "Operation not permitted")
        self.assertEqual(run.entries(), [])

    def test_a_small_file_size_limit_kills_nobody(self):
        for limit in (0, 100, 1000):
            run = preload("exit_ways", preexec=files_up_to(limit), CPROF_HEAP_RATE=1)
            self.assertEqual((run.status, run.text()), (11, "before the end\n"), f"limit {limit}: {run.stderr}")
            self.assertLessEqual(len(run.messages()), 1, run.stderr)
            if limit == 0:
                self.assert_one_message(run, "File too large")
                self.assertEqual(run.entries(), [])
            run.check_all()

    def test_without_a_free_descriptor_the_program_runs_on(self):
        for n_free in (0, 1):
            run = preload("limits_descriptors", n_free, CPROF_HEAP_RATE=1)
            self.assertEqual((run.status, run.text(), run.messages()), (11, "before the end\n", []), run.stderr)
            self.assertLessEqual({"heap", "allocs", "heap_peak"}, {file.profile for file, _ in run.check_all()}, n_free)

    def test_a_disk_with_room_for_one_file_has_one(self):
        if not harness.can_mount():
            self.skipTest("mounting is not permitted here")
        settings = {"CPROF_HEAP_RATE": 1, "CPROF_PROFILES": "heap"}
        plenty = preload("distinct_stacks", 13, **settings)
        largest = max(file.path.stat().st_size for file in plenty.files() if file.profile in ("heap", "allocs"))
        directory = harness.temporary_directory()
        script = ('mount -t tmpfs -o size=$SIZE none "$CPROF_OUT" && LD_PRELOAD=$LIB "$0" 13; status=$?; ls -A "$CPROF_OUT"; '
                  'exit $status')
        run = harness.bare(["unshare", "-m", "/bin/sh", "-c", script, harness.victim("distinct_stacks")],
                           env={"LIB": harness.LIBRARY, "CPROF_OUT": directory, "SIZE": largest + 2 * 4096, **settings})
        self.assertEqual(run.status, plenty.status, run.stderr)
        self.assert_one_message(run, "allocs", "No space left on device")
        self.assertRegex(run.text(), r"\.heap\.pb\.gz\n")
        self.assertNotRegex(run.text(), r"tmp|allocs")

    def test_a_small_address_space_is_no_reason_to_die(self):
        def limited():
            harness.in_foreground()
            resource.setrlimit(resource.RLIMIT_AS, (48 << 20, 48 << 20))
        expected = harness.bare("known", preexec=limited)
        self.assertEqual(expected.status, 0)
        run = preload("known", preexec=limited, CPROF_HEAP_RATE=1)
        self.assertEqual(run.status, 0, run.stderr)
        self.assertLessEqual(len(run.messages()), 1)

    def test_a_statically_linked_program_runs_as_ever_and_cprof_run_says_why(self):
        expected = harness.bare("static_program")
        self.assert_same(expected, preload("static_program", CPROF_HEAP_RATE=1))
        directory = harness.temporary_directory()
        run = harness.bare([harness.COMMAND, "run", "--out", directory / "out", "--", harness.victim("static_program")])
        self.assertEqual((run.status, run.stdout), (expected.status, expected.stdout))
        self.assertTrue([line for line in run.messages() if "static" in line], run.stderr)


if __name__ == "__main__":
    harness.main()
