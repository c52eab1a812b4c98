"""What every preload test needs: build a victim, run it bare and preloaded, collect and decode its files.

    run = preload("known", CPROF_HEAP_RATE=1)
    run.profile("heap").count(function="allocates_four")

A victim is a file of tests/programs; its name is the scenario.  A line `flags: ...` in it adds compiler flags,
`needs: a b` names victims that are built before it; lib*.c and lib*.cc become shared libraries.  Everything has a
time limit; a program that reaches it is reported as a hang with the stacks of its threads.
"""

import fcntl
import os
import re
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from collections import namedtuple
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import emulated  # noqa: E402
import pprof_decode  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
BUILD = (ROOT / os.environ.get("CPROF_BUILD", "build")).resolve()
LIBRARY = BUILD / "libcprof.so"
COMMAND = BUILD / "cprof"
PROGRAMS = ROOT / "tests" / "programs"
BUILT = BUILD / "tests" / "programs"
SECONDS = 180  # a program that takes longer hangs, also on a slow and busy machine

# Of another machine: `aarch64-linux-gnu-` makes the victims, `qemu-aarch64 -L ...` runs them (scripts/check-aarch64).
CROSS = os.environ.get("CPROF_CROSS", "")
EMULATOR = os.environ.get("CPROF_EMULATOR", "").split()
MACHINE = CROSS.partition("-")[0] or os.uname().machine

READ = {"aarch64": 63}.get(os.uname().machine, 0)  # system call

FileName = namedtuple("FileName", "exe pid number profile path")


class Hang(AssertionError):
    pass


# --- victims -------------------------------------------------------------------------------------------------------

def _source(name):
    for suffix in (".c", ".cc", ".rs"):
        if (PROGRAMS / (name + suffix)).exists():
            return PROGRAMS / (name + suffix)
    raise FileNotFoundError(f"no victim {name} in {PROGRAMS}")


def _declared(text, word):
    found = re.search(rf"\b{word}: (.*?)\s*(?:\*/)?$", text, re.MULTILINE)
    return found.group(1).split() if found else []


def victim(name):
    """The path of the built program (or shared library) `name`; built when its source or any header is newer."""
    source = _source(name)
    text = source.read_text()
    newest = max(path.stat().st_mtime for path in (source, *PROGRAMS.glob("*.h")))
    for needed in _declared(text, "needs"):
        newest = max(newest, victim(needed).stat().st_mtime)
    shared = name.startswith("lib") and source.suffix != ".rs"
    target = BUILT / (name + ".so" if shared else name)
    BUILT.mkdir(parents=True, exist_ok=True)
    with open(BUILT / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists() and target.stat().st_mtime >= newest:
            return target
        finished = target.with_name(f".{target.name}.{os.getpid()}")
        if source.suffix == ".rs":
            if CROSS:
                raise unittest.SkipTest(f"no Rust for {MACHINE}")
            command = [tool("rustc"), "-O", "-g", "-o", finished, source]
        else:
            compiler = "g++" if source.suffix == ".cc" else "gcc" if CROSS else "cc"
            command = [CROSS + compiler, "-O2", "-g", "-Wall", "-Wno-use-after-free",
                       "-fno-optimize-sibling-calls",
                       "-pthread", f"-I{PROGRAMS}", "-o", finished, source]
            command += ["-std=gnu11", "-D_GNU_SOURCE"] if source.suffix == ".c" else ["-std=c++17"]
            command += ["-shared", "-fPIC"] if shared else []
            command += [flag.replace("@BUILT@", str(BUILT)) for flag in _declared(text, "flags")]
        made = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
        if made.returncode:
            raise AssertionError(f"{name} does not build: {made.stdout.decode(errors='replace')}")
        os.rename(finished, target)
    return target


# --- running -------------------------------------------------------------------------------------------------------

def clean_env(**extra):
    env = {key: value for key, value in os.environ.items()
           if not key.startswith(("CPROF", "LD_", "OTEL_", "MALLOC_", "GLIBC_TUNABLES"))}
    env.update(LC_ALL="C.UTF-8", TZ="UTC")
    env.update({key: str(value) for key, value in extra.items() if value is not None})
    return env


def _processes_of_session(leader):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
                if int(fields[3]) == leader:
                    found.append(int(entry))
            except (OSError, IndexError, ValueError):
                pass
    return found


def stack_dump(pids):
    text = ""
    for pid in pids[:8]:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                text += f"--- {pid}: {file.read().replace(bytes(1), b' ').decode(errors='replace')}\n"
        except OSError:
            continue
        if shutil.which("eu-stack"):
            command = ["eu-stack", "-p", str(pid)]
        elif shutil.which("gdb"):
            command = ["gdb", "-nx", "-batch", "-p", str(pid), "-ex", "thread apply all bt 24"]
        else:
            continue
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30,
                                  stdin=subprocess.DEVNULL)
            text += done.stdout.decode(errors="replace")[-6000:]
        except subprocess.TimeoutExpired:
            text += "(the debugger hangs too)\n"
    return text


class Run:
    """A finished program: stdout, stderr (bytes), status (negative: killed by that signal), pid and its files."""

    def __init__(self, command, directory):
        self.command = command
        self.directory = Path(directory)
        self.out = self.directory / "out"
        self.stdout = self.stderr = b""
        self.status = self.pid = None

    def text(self):
        return self.stdout.decode(errors="replace")

    def messages(self):
        """The lines of the agent on stderr."""
        return [line for line in self.stderr.decode(errors="replace").splitlines() if line.startswith("cprof")]

    def errors(self):
        """stderr without the agent's word that a setting of a later version does nothing yet."""
        return "".join(line for line in self.stderr.decode(errors="replace").splitlines(True)
                       if not (line.startswith("cprof") and "CPROF_MIN_LIFE=0s: not yet built" in line))

    def entries(self, directory=None):
        """Every directory entry of the output directory, hidden and temporary ones too."""
        directory = Path(directory or self.out)
        return sorted(os.listdir(directory)) if directory.is_dir() else []

    def files(self, directory=None):
        """Profile files by name; anything in the directory that is not one is an error."""
        directory, found = Path(directory or self.out), []
        for entry in self.entries(directory):
            match = re.fullmatch(r"(?P<exe>[A-Za-z0-9._+-]+)\.(?P<pid>\d+)\.(?P<number>\d{4,})\."
                                 r"(?P<profile>[A-Za-z][A-Za-z0-9_.+-]*)\.pb\.gz", entry)
            if not match:
                raise AssertionError(f"{directory} contains {entry}, which is no finished profile")
            found.append(FileName(match["exe"], int(match["pid"]), int(match["number"]), match["profile"],
                                  directory / entry))
        return found

    def last_number(self, pid=None, directory=None):
        """The greatest number of a heap profile that is there now, 0: none.  Older ones go as new ones come."""
        names = [entry.split(".") for entry in self.entries(directory) if entry.endswith(".heap.pb.gz")]
        return max((int(name[-4]) for name in names if int(name[-5]) == (pid or self.pid)), default=0)

    def profile(self, name="heap", number=None, pid=None, directory=None):
        """The decoded and checked profile; the last snapshot of the program itself unless told otherwise."""
        pid = pid or self.pid
        found = [file for file in self.files(directory) if file.profile == name and file.pid == pid
                 and number in (None, file.number)]
        if not found:
            raise AssertionError(f"no {name} profile of pid {pid}, snapshot {number or 'any'}: "
                                 f"{self.entries(directory)}; status {self.status}; stderr "
                                 f"{self.stderr.decode(errors='replace')[-2000:]}")
        profile = pprof_decode.load(max(found, key=lambda file: file.number).path)
        pprof_decode.check_valid(profile)
        return profile

    def check_all(self, directory=None):
        """Decodes and checks every file; gives them as [(FileName, Profile)]."""
        checked = []
        for file in self.files(directory):
            profile = pprof_decode.load(file.path)
            pprof_decode.check_valid(profile)
            checked.append((file, profile))
        return checked


def _emulated(command, env):
    """What runs it: itself, or the emulator, which gives the loader's variables to the program only."""
    if not EMULATOR:
        return command, env
    if not Path(command[0]).resolve().is_relative_to(BUILD):
        raise unittest.SkipTest(f"{command[0]} is not a program of {MACHINE}")
    loaders = [f"{key}={value}" for key, value in env.items() if key.startswith("LD_")]
    env = {key: value for key, value in env.items() if not key.startswith("LD_")}
    return [*EMULATOR, *(word for setting in loaders for word in ("-E", setting)), *command], env


class Process:
    """A running program with a time limit and captured output."""

    def __init__(self, command, env, cwd=None, stdin=b"", preexec=None, seconds=SECONDS, directory=None,
                 pass_fds=(), capture=True):
        self.command, env = _emulated([str(part) for part in command], env)
        self.seconds = seconds
        self.deadline = time.monotonic() + seconds
        self.run = Run(self.command, directory or cwd or "/nonexistent")
        pipe = subprocess.PIPE if capture else None
        self.popen = subprocess.Popen(self.command, env=env, cwd=cwd, stdin=subprocess.PIPE, stdout=pipe, stderr=pipe,
                                      preexec_fn=preexec, start_new_session=True, pass_fds=pass_fds,
                                      bufsize=0)
        self.pid = self.run.pid = self.popen.pid
        self._stdin = stdin

    def hang(self, what="still runs"):
        pids = _processes_of_session(self.pid)
        dump = stack_dump(pids)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        out, err = self.popen.communicate()
        raise Hang(f"{' '.join(self.command)} {what} after {self.seconds} s\nstdout: {(out or b'')[-1000:]!r}\n"
                   f"stderr: {(err or b'')[-1000:]!r}\n{dump}")

    def line(self):
        """One line of stdout, without the newline."""
        answer = []
        reader = threading.Thread(target=lambda: answer.append(self.popen.stdout.readline()), daemon=True)
        reader.start()
        reader.join(max(0.1, self.deadline - time.monotonic()))
        if not answer:
            self.hang("prints nothing")
        if not answer[0]:
            self.wait_for(lambda: False, "a line of its output")
        self._read = getattr(self, "_read", b"") + answer[0]
        return answer[0].decode().rstrip("\n")

    def say(self, text):
        self.popen.stdin.write(text.encode() + b"\n")
        self.popen.stdin.flush()

    def is_reading(self):
        """Its first thread waits in read(0, ...)."""
        with open(f"/proc/{self.pid}/syscall") as file:
            return file.read().startswith(f"{READ} 0x0 ")

    def wait_for(self, condition, what):
        """Waits until condition() is true; a program that ends or takes too long first is a failure."""
        while not condition():
            if time.monotonic() > self.deadline:
                self.hang(f"does not reach: {what};")
            if self.popen.poll() is not None and not condition():
                out, err = self.popen.communicate()
                raise AssertionError(f"{' '.join(self.command)} ended with {self.popen.returncode} before: {what}\n"
                                     f"stdout {out!r} stderr {err!r}")
            time.sleep(0.002)

    def finish(self):
        try:
            out, err = self.popen.communicate(self._stdin or None, max(0.1, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.hang()
        self.run.stdout, self.run.stderr = getattr(self, "_read", b"") + (out or b""), err or b""
        self.run.status = self.popen.returncode
        return self.run


def in_foreground():
    """Nothing is ignored, as for what a shell or nohup starts in the background; and no core is left."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


_directories = []


def temporary_directory(parent=None):
    """A new empty directory, removed when the test run ends."""
    holder = tempfile.TemporaryDirectory(prefix="cprof-test-", dir=parent)
    _directories.append(holder)
    return Path(holder.name)


def public_directory():
    """One that other users can enter, also where TMPDIR is private."""
    directory = temporary_directory("/tmp")
    os.chmod(directory, 0o755)
    return directory


def _command(program, args):
    if isinstance(program, (list, tuple)):
        return list(program) + list(args)
    return [victim(program)] + list(args)


def start_bare(program, *args, env=None, cwd=None, stdin=b"", preexec=in_foreground, seconds=SECONDS, directory=None,
               **more):
    return Process(_command(program, args), clean_env(**(env or {})), cwd, stdin, preexec, seconds, directory, **more)


def start(program, *args, env=None, cwd=None, stdin=b"", preexec=in_foreground, seconds=SECONDS, directory=None, out=True,
          pass_fds=(), capture=True, **settings):
    """Starts a victim (by name) or a command (a list) under the agent; CPROF_x=... are its settings.

    out=True sets CPROF_OUT to a new directory, out=False leaves it unset, a path is taken as it is."""
    if not LIBRARY.exists():
        raise AssertionError(f"{LIBRARY} is not built")
    directory = Path(directory or temporary_directory())
    if out is True:
        (directory / "out").mkdir(exist_ok=True)
        settings.setdefault("CPROF_OUT", directory / "out")
    elif out is not False:
        settings.setdefault("CPROF_OUT", out)
    return Process(_command(program, args), clean_env(**{"LD_PRELOAD": LIBRARY, **settings, **(env or {})}),
                   cwd or directory, stdin, preexec, seconds, directory, pass_fds, capture)


def bare(program, *args, **how):
    return start_bare(program, *args, **how).finish()


def preload(program, *args, **how):
    return start(program, *args, **how).finish()


class PreloadTest(unittest.TestCase):
    maxDiff = 4000

    def run(self, result=None):
        reason = EMULATOR and emulated.CANNOT.get(self.id())
        if reason:
            setattr(self, self._testMethodName, unittest.skip(reason)(getattr(self, self._testMethodName)))
        return super().run(result)

    def skip_untraced(self, run):
        """A victim that is traced by its child (traced.h) says so when that is not allowed."""
        if run.status == 77:
            self.skipTest("no process may be traced here")

    def skip_unreadable(self):
        """The library cannot be loaded by user 65534: it lies in a private directory, or was built under a private umask."""
        if not all(os.stat(path).st_mode & stat.S_IXOTH for path in (LIBRARY.resolve(), *LIBRARY.resolve().parents)):
            self.skipTest(f"user 65534 may not load {LIBRARY}")

    def assert_same(self, expected, run, what=""):
        """The program did what it does without the agent."""
        for part, wanted, found in (("status", expected.status, run.status), ("stdout", expected.stdout, run.stdout),
                                    ("stderr", expected.stderr, run.stderr)):
            if wanted != found:
                at = 0
                if part != "status":  # a diff of long outputs takes for ever: show where they part
                    at = len(os.path.commonprefix([wanted, found]))
                    wanted, found = wanted[max(0, at - 80):at + 300], found[max(0, at - 80):at + 300]
                self.fail(f"{what} {' '.join(map(str, run.command))[:300]}: {part} differs at {at}: {found!r} instead of "
                          f"{wanted!r}; stderr {run.stderr[-600:]!r}")

    def assert_one_message(self, run, *parts):
        """Exactly one line of the agent, containing every part; returns it."""
        self.assertEqual(len(run.messages()), 1, f"one line expected: {run.stderr.decode(errors='replace')}")
        for part in parts:
            self.assertIn(part, run.messages()[0])
        return run.messages()[0]

    def assert_at_best(self, measure, limit, tries=20):
        """measure() gives something, mostly seconds, that no busy machine makes too much every time."""
        measured = []
        while not measured or measured[-1] >= limit:
            self.assertLess(len(measured), tries, f"never less than {limit}: {measured}")
            measured.append(measure())

    def assert_ok(self, run):
        self.assertEqual((run.status, run.messages()), (0, []),
                         f"stdout {run.stdout[-1000:]!r} stderr {run.stderr[-2000:]!r}")
        return run


def compare_bare(test, program, *args, modes=("default", "out", "exact"), **how):
    """Runs it bare, with default settings, with CPROF_OUT, and at rate 1: stdout, stderr and exit status are equal.

    Gives the runs by mode.  Without CPROF_OUT nothing may be left in the start directory."""
    runs = {"bare": bare(program, *args, **{**how, "cwd": how.get("cwd") or temporary_directory()})}
    for mode in modes:
        settings = {"CPROF_HEAP_RATE": 1} if mode == "exact" else {}
        settings.update({"CPROF_MIN_LIFE": "0s"} if mode == "children" else {})
        runs[mode] = preload(program, *args, **{**how, "out": mode != "default", **settings})
        test.assert_same(runs["bare"], runs[mode], mode)
        if mode == "default":
            left = [name for name in os.listdir(how.get("cwd") or runs[mode].directory) if ".pb.gz" in name]
            test.assertEqual(left, [], "files without being asked for")
        else:
            runs[mode].check_all()
    return runs


def tool(name):
    """The path of a command that a test needs, or the test is skipped with the reason."""
    path = shutil.which(name)
    if not path:
        raise unittest.SkipTest(f"{name} is not installed")
    return path


_reserved = []


def free_port():
    """A port of the loopback that nobody else is given while this test program runs: bound, and not listened at.  Who sets
    SO_REUSEADDR, as servers do, can bind and listen."""
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind(("127.0.0.1", 0))
    _reserved.append(probe)
    return probe.getsockname()[1]


def listens(path):
    """Does somebody accept connections at this Unix socket?  Its file is there before, since bind()."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def can_mount():
    return subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode == 0


def agent_bytes(profile):
    """The agent's own memory as the profile's comments tell it."""
    match = profile.comment(r"agent.{0,24}?memory\D{0,12}(\d+)|memory.{0,16}agent\D{0,12}(\d+)|agent.bytes\D{0,6}(\d+)")
    if not match:
        raise AssertionError(f"no comment tells the agent's memory: {profile.comments}")
    return int(next(group for group in match.groups() if group))


def main():
    unittest.main(verbosity=int(os.environ.get("V", "1")))
