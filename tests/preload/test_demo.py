"""The demo and the set-up do what the README says."""

import os
import shutil
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import BUILD, ROOT, PreloadTest, clean_env, temporary_directory  # noqa: E402
import pprof_decode  # noqa: E402

FORGETS, HOLDS, WAITS = "cache_thumbnail_and_forget", "index_cache_under_lock", "note_request"
CONNECTIONS, BLOBS = "serve_listing_and_forget", "peek_blob_and_forget"


def demo(build, **env):
    return subprocess.run([ROOT / "scripts/demo"], env=clean_env(BUILD=os.path.relpath(build, ROOT), **env), cwd="/", timeout=580,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def demo_undisturbed(build, directory):
    """What it did, and its directory of profiles.  Where the machine stood still for a second just when the wrong one waited,
    that second outweighs all the others: then once more."""
    for attempt in range(5):
        tmp = directory / str(attempt)
        tmp.mkdir()
        done = demo(build, TMPDIR=tmp)
        if b"not the function that waits" not in done.stderr:
            break
    return done, tmp


def left_in(directory, seconds=60):
    """Processes whose environment names `directory`; those that are ending get their time."""
    deadline = time.monotonic() + seconds
    while (found := processes_in(directory)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


def processes_in(directory):
    """Processes whose environment names `directory`."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if str(directory).encode() in Path(f"/proc/{entry}/environ").read_bytes() and int(entry) != os.getpid():
                found.append(entry)
        except OSError:
            pass
    return found


class DemoTest(PreloadTest):
    @classmethod
    def setUpClass(cls):
        subprocess.run(["make", "-s", f"BUILD={os.path.relpath(BUILD, ROOT)}", f"{os.path.relpath(BUILD, ROOT)}/demo/blobserver"],
                       cwd=ROOT, check=True, timeout=300, stdin=subprocess.DEVNULL)

    def setUp(self):
        self.tmp = temporary_directory()
        (BUILD / "demo/opens_sqlite").unlink(missing_ok=True)

    def test_a_rules_file_shows_who_leaves_databases_open(self):
        if not os.path.exists("/usr/include/sqlite3.h"):
            self.skipTest("libsqlite3-dev is not installed")
        subprocess.run(["make", "-s", f"BUILD={os.path.relpath(BUILD, ROOT)}", f"{os.path.relpath(BUILD, ROOT)}/demo/opens_sqlite"],
                       cwd=ROOT, check=True, timeout=300, stdin=subprocess.DEVNULL)
        done, _ = demo_undisturbed(BUILD, self.tmp)
        out = done.stdout.decode()
        self.assertEqual((done.returncode, done.stderr), (0, b""), out)
        rows = [after.split()[-1] for line, after in zip(out.splitlines(), out.splitlines()[1:]) if "flat%" in line]
        self.assertEqual(rows, [FORGETS, FORGETS, HOLDS, WAITS, CONNECTIONS, BLOBS, BLOBS, "opens_db"], out)
        self.assertLess(len(out.splitlines()), 74, out)

    def test_the_functions_that_forget_hold_and_wait_are_the_first_rows(self):
        done, tmp = demo_undisturbed(BUILD, self.tmp)
        out = done.stdout.decode()
        self.assertEqual((done.returncode, done.stderr), (0, b""), out)
        rows = [after.split()[-1] for line, after in zip(out.splitlines(), out.splitlines()[1:]) if "flat%" in line]
        self.assertEqual(rows, [FORGETS, FORGETS, HOLDS, WAITS, CONNECTIONS, BLOBS, BLOBS], out)
        self.assertEqual([line.split("cum%")[-1].strip() for line in out.splitlines() if "flat%" in line],
                         ["", "", "held by", "waited in", "", "", ""])
        self.assertLess(len(out.splitlines()), 64, out)
        self.assertEqual(left_in(self.tmp), [])
        self.assertIn("SQLite is not installed", out)

        directory, = tmp.glob("cprof-demo.*")
        self.assertEqual([name for name in os.listdir(directory) if not name.endswith(".pb.gz")], [])
        files = sorted(directory.glob("*.heap.pb.gz"))
        self.assertEqual([file.name.split(".", 2)[2] for file in files], ["0001.heap.pb.gz", "0002.heap.pb.gz"])
        self.assertIn(str(directory), out.partition("Profiles:")[2])
        for file in files:
            self.assertIn(str(file), out)
        for number, live in (("0001", 24), ("0002", 48)):
            for name, function in (("connection", CONNECTIONS), ("blob", BLOBS), ("blobstore.Open", BLOBS)):
                profile = pprof_decode.load(next(directory.glob(f"blobserver.*.{number}.{name}.pb.gz")))
                self.assertEqual(profile.count(function), live, f"{name}, snapshot {number}")
        half, whole = (pprof_decode.load(file).count(FORGETS, "inuse_space") for file in files)
        # of 384 objects each half has 45 +- 6 in the samples
        self.assertTrue(1.1 < whole / half < 6, f"{half} bytes half way, {whole} at the end; 24 and 48 MiB are expected")

    def test_a_table_with_another_first_row_fails_and_says_so(self):
        build = self.tmp / "build"
        shutil.copytree(BUILD / "demo", build / "demo")
        shutil.copy(BUILD / "libcprof.so", build)
        for row, reason in (("malloc", 'first row is "malloc", which is no function of tests/programs'),
                            ("open_blob", "first row is open_blob, not the function that forgets"),
                            ("", "first row")):
            with self.subTest(row=row):
                (build / "cprof").write_text(f"#!/bin/sh\necho ' flat  flat%   sum%  cum   cum%'\necho ' 1MB 1% 1% 1MB 1% {row}'\n")
                (build / "cprof").chmod(0o755)
                done = demo(build, TMPDIR=self.tmp)
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertIn(reason, done.stderr.decode())
                self.assertEqual(left_in(self.tmp), [])

    def test_another_holder_or_waiter_fails_and_says_so(self):
        build = self.tmp / "build"
        shutil.copytree(BUILD / "demo", build / "demo")
        shutil.copy(BUILD / "libcprof.so", build)
        for mutex, block, reason in ((FORGETS, WAITS, f"first row is {FORGETS}, not the function that holds"),
                                     ("[wakeup]", WAITS, 'first row is "[wakeup]", which is no function'),
                                     (HOLDS, HOLDS, f"first row is {HOLDS}, not the function that waits")):
            with self.subTest(mutex=mutex, block=block):
                (build / "cprof").write_text(
                    f"#!/bin/sh\nrow={FORGETS}\ncase $* in *mutex.pb.gz) row='{mutex}' ;; *block.pb.gz) row='{block}' ;; esac\n"
                    "echo ' flat  flat%   sum%  cum   cum%'\necho \" 1MB 1% 1% 1MB 1% $row\"\n")
                (build / "cprof").chmod(0o755)
                done = demo(build, TMPDIR=self.tmp)
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertIn(reason, done.stderr.decode())

    def test_a_server_that_dies_fails_and_leaves_nothing_behind(self):
        build = self.tmp / "build"
        (build / "demo").mkdir(parents=True)
        for name in ("libcprof.so", "cprof"):
            shutil.copy(BUILD / name, build)
        (build / "demo/blobserver").write_text("#!/bin/sh\nexit 3\n")
        (build / "demo/blobserver").chmod(0o755)
        # the shell that runs the demo notices the end when it expects a line, or before its next command
        (self.tmp / "notice").write_text("trap 'for ((i = 0; i < 20; i++)); do [ -z \"$(jobs -rp)\" ] || sleep 0.01; done' DEBUG\n")
        for name, notice in (("late", {}), ("at once", {"BASH_ENV": self.tmp / "notice"})):
            with self.subTest(name):
                done = demo(build, TMPDIR=self.tmp, **notice)
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertIn('before it said "half way"', done.stderr.decode())
                self.assertEqual(left_in(self.tmp), [])


class DepsTest(unittest.TestCase):
    def deps(self, *arguments, path="/usr/bin:/bin", **env):
        return subprocess.run([ROOT / "scripts/deps", *arguments], stdin=subprocess.DEVNULL, timeout=60, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env={**os.environ, "PATH": path, **env})

    def test_the_list_is_one_package_per_line(self):
        done = self.deps("--list")
        self.assertEqual(done.returncode, 0)
        for package in ("gcc", "libunwind-dev", "libprotobuf-c-dev", "zlib1g-dev", "golang-go"):
            self.assertIn(package, done.stdout.decode().splitlines())

    def test_an_unknown_option_is_refused(self):
        done = self.deps("--lits")
        self.assertEqual((done.returncode, done.stdout), (2, b""))
        self.assertIn(b"usage", done.stderr)

    @unittest.skipUnless(shutil.which("dpkg-query"), "no dpkg here")
    def test_nothing_is_said_or_done_when_all_is_there(self):
        wanted = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status}\n", *self.deps("--list").stdout.decode().split()],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if wanted.returncode or set(wanted.stdout.split()) != {b"installed"}:
            self.skipTest(f"something is missing here: {wanted.stderr.decode().strip()}")
        done = self.deps()
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))

    def test_what_cannot_be_installed_is_no_error_where_only_tests_need_it(self):
        folder = temporary_directory()
        for name, text in (("dpkg-query", '[ "${4-}" = "$MISSING" ] || echo installed'), ("id", "echo 1000"), ("sudo", "exit 1")):
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)
        for missing, status in (("valgrind", 0), ("gcc", 1)):
            done = self.deps(path=f"{folder}:/usr/bin:/bin", MISSING=missing)
            self.assertEqual((done.returncode, done.stdout), (status, f"deps: installing: {missing}\n".encode()))
            self.assertEqual(done.stderr.decode(), f"deps: not root and no sudo; as root: apt-get install {missing}\n")


if __name__ == "__main__":
    unittest.main()
