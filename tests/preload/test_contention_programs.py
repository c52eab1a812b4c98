"""Waiting in other languages, in runtimes, and in allocators: the same result, and the waits under the right functions."""

import os
import re
import subprocess
import unittest

import harness
from harness import bare, preload, tool

EXACT = {"CPROF_BLOCK_RATE": "1ns", "CPROF_MUTEX_RATE": "1ns"}
WORK_NS = 20 * 10**6  # how long a holder keeps its waiter waiting, at least (asleep.h)
LEAST_NS = WORK_NS // 2


def label(sample, key):
    found = sample.label(key)
    return found.text if found else None


class Contended(harness.PreloadTest):
    def run_both(self, program, *args, **how):
        """Bare and with exact rates: the same; gives both runs."""
        plain = bare(program, *args, **how)
        run = preload(program, *args, **how, **EXACT)
        self.assert_same(plain, run)
        run.check_all()
        return plain, run

    def waits(self, run, function):
        """{kind of wait: nanoseconds} under `function`."""
        block, sums = run.profile("block"), {}
        at = block.type_index("delay")
        for sample in block.with_function(function):
            sums[label(sample, "wait")] = sums.get(label(sample, "wait"), 0) + sample.values[at]
        return sums

    def assert_waited(self, run, function, kind):
        waited = self.waits(run, function)
        self.assertGreaterEqual(waited.get(kind, 0), LEAST_NS, f"{function}: {waited}")

    def assert_held(self, run, function):
        held = run.profile("mutex").by_any("delay")
        self.assertGreaterEqual(held.get(function, 0), LEAST_NS, held)


class Cpp(Contended):
    KINDS = {
        "mutex": "mutex", "recursive": "mutex", "timed": "mutex", "too_long": "mutex", "to_write": "rwlock",
        "to_read": "rwlock", "to_read_timed": "rwlock", "cond": "cond", "cond_for": "cond", "cond_until": "cond",
        "cond_any": "cond", "cond_in_vain": "cond", "atomic": "futex", "small_atomic": "futex", "semaphore": "futex",
        "semaphore_for": "futex", "latch": "futex", "barrier": "futex", "future": "futex", "join": "join",
    }
    HOLDERS = ("mutex", "recursive", "timed", "too_long", "reading", "writing", "writing_timed")

    def test_every_wait_of_the_library_is_found_in_the_function_that_waits(self):
        plain, run = self.run_both("cpp_waits")
        self.assertEqual(plain.status, 3)
        for scene, kind in self.KINDS.items():
            with self.subTest(scene):
                self.assert_waited(run, f"wait_{scene}", kind)
        self.assertEqual(self.waits(run, "wait_once"), {}, "pthread_once is not wrapped")

    def test_holders_of_every_kind_of_lock_are_charged(self):
        run = self.assert_exact()
        for scene in self.HOLDERS:
            with self.subTest(scene):
                self.assert_held(run, f"hold_{scene}")
        self.assertEqual({name for name in run.profile("mutex").by_leaf("delay") if name.startswith("wait")}, set())

    def assert_exact(self):
        run = preload("cpp_waits", **EXACT)
        self.assertEqual((run.status, run.messages()), (3, []))
        return run

    def test_a_programs_locks_add_up_to_the_same_in_both_profiles(self):
        run = self.assert_exact()
        block = run.profile("block")
        waited = sum(sample.values[1] for sample in block.samples if label(sample, "wait") in ("mutex", "rwlock"))
        self.assertEqual(run.profile("mutex").total("delay"), waited, "[wakeup] included")


class Rust(Contended):
    WAITS = ("mutex", "to_write", "to_read", "cond", "cond_for", "cond_in_vain", "receive", "to_send", "park",
             "park_in_vain", "barrier", "once")

    def test_every_wait_of_std_is_found_in_the_function_that_waits(self):
        plain, run = self.run_both("rust_waits")
        self.assertEqual(plain.status, 4)
        for scene in self.WAITS:
            with self.subTest(scene):
                self.assert_waited(run, f"wait_{scene}", "futex")
        self.assertNotIn("mutex", {file.profile for file in run.files()}, "who holds a futex is not known")


class Api(Contended):
    SETTINGS = {"CPROF_BLOCK_RATE": "2ms", "CPROF_MUTEX_RATE": "3ms", "CPROF_MUTEX_FRACTION": "0"}

    def test_rates_return_the_previous_one_and_nothing_without_the_agent(self):
        for program in ("contention_api", "contention_api_cpp"):
            for run in (bare(program), preload(program, CPROF="off")):
                lines = run.text().splitlines()
                self.assertEqual((run.status, len(lines)), (0, 5), run.stderr)
                for line in lines:
                    self.assertIn(": block 0, mutex 0, fraction 0, errno 77", line)
            run = self.assert_ok(preload(program, **self.SETTINGS))
            self.assertEqual(run.text().splitlines(), [
                "before switching off: block 2000000, mutex 3000000, fraction 0, errno 77",
                "before exact: block 0, mutex 0, fraction 0, errno 77",
                "before the fraction: block 1, mutex 1, fraction 0, errno 77",
                "at the end: block 1000000000000, mutex 0, fraction 1, errno 77",
                "and once more: block 12345, mutex 54321, fraction 5, errno 77"])

    def test_a_rate_is_in_force_from_the_call_on_and_what_was_seen_stays(self):
        for program in ("contention_api", "contention_api_cpp"):
            run = self.assert_ok(preload(program, **self.SETTINGS))
            held, waited = (run.profile(name).by_any("delay") for name in ("mutex", "block"))
            seen = {"at_first": (True, True), "switched_off": (False, False), "exact": (True, True)}
            for pair, wanted in seen.items():
                self.assertEqual((f"hold_{pair}" in held, f"wait_{pair}" in waited), wanted, (program, pair))
            self.assertIn("hold_by_fraction", held, "one of one")


    def test_a_profile_that_no_setting_names_is_there_when_the_program_switches_it_on(self):
        run = self.assert_ok(preload("contention_api", CPROF_PROFILES="heap"))
        self.assertIn("before switching off: block 0, mutex 0, fraction 0", run.text())
        for profile, function in (("block", "wait_exact"), ("mutex", "hold_exact")):
            self.assertIn(function, run.profile(profile).by_any("delay"))
            self.assertNotIn(function.replace("exact", "at_first"), run.profile(profile).by_any("delay"))


class Interpreters(Contended):
    PYTHON = r"""
import sys, threading, time
lock, held, main = threading.Lock(), threading.Event(), threading.get_native_id()
def waits_for_the_lock():  # in futex(), with no time limit: for the interpreter it waits 5 ms at a time
    call = open("/proc/self/task/%d/syscall" % main).read().split()
    return call[0] == "202" and call[4] == "0x0"
def hold():
    with lock:
        held.set()
        while not waiting: pass
        while not waits_for_the_lock(): pass
        time.sleep(0.05)
waiting = []
holder = threading.Thread(target=hold)
holder.start()
held.wait()
waiting.append(1)
with lock: print("the lock is mine")
holder.join()
sums = []
def count():
    total = 0
    for i in range(200000):
        total += i
    with lock: sums.append(total)
threads = [threading.Thread(target=count) for _ in range(3)]
for t in threads: t.start()
for t in threads: t.join()
condition, ready = threading.Condition(), []
def give():
    with condition:
        ready.append(1)
        condition.notify()
with condition:
    threading.Thread(target=give).start()
    while not ready: condition.wait()
print(sums, threading.Barrier(1).wait())
sys.exit(5)
"""

    def test_python_threads_that_contend(self):
        plain, run = self.run_both(["/usr/bin/python3", "-c", self.PYTHON])
        self.assertEqual(plain.status, 5)
        names = ("PyThread_acquire_lock_timed", "_PySemaphore_Wait")  # up to 3.12, and later
        self.assertGreaterEqual(sum(self.waits(run, name).get("sem", 0) for name in names), LEAST_NS)
        kinds = {label(sample, "wait") for sample in run.profile("block").samples}
        self.assertIn("cond", kinds, "threads that wait for the interpreter")

    NODE = r"""
const { Worker, isMainThread, workerData, parentPort } = require('worker_threads');
const shared = isMainThread ? new SharedArrayBuffer(16) : workerData;
const cells = new Int32Array(shared);
if (!isMainThread) {
    const a = Atomics.wait(cells, 0, 0);
    let b = 0; // its clock runs before the wait begins: of many short ones a stop of the process takes one
    for (let i = 0; i < 100; i++) b += Atomics.wait(cells, 1, 0, 1) === 'timed-out';
    for (let i = 0; i < 1000; i++) Atomics.add(cells, 2, 1);
    parentPort.postMessage(a + ' ' + b);
} else {
    let left = 3;
    const answers = [], worker = () => new Worker(__filename, { workerData: shared })
        .on('message', m => answers.push(m))
        .on('exit', () => { if (--left === 0) { console.log(answers.sort().join(), cells[2]); process.exitCode = 7; } });
    for (let i = 0; i < 3; i++) worker();
    const wake = () => { const n = Atomics.notify(cells, 0); woken += n; if (woken < 3) setTimeout(wake, 20); };
    let woken = 0;
    setTimeout(wake, 20);
}
"""

    def test_node_workers_that_wait_for_atomics(self):
        script = harness.temporary_directory() / "waits.js"
        script.write_text(self.NODE)
        plain, run = self.run_both([tool("node"), script])
        self.assertEqual((plain.status, plain.stdout), (7, b"ok 100,ok 100,ok 100 3000\n"))
        block = run.profile("block")
        waited = sum(sample.values[1] for sample in block.samples
                     if label(sample, "wait") == "cond" and any("FutexEmulation" in name for name in sample.functions()))
        self.assertGreaterEqual(waited, 3 * 100 * 10**6 * 0.5)

    def test_a_java_program_with_monitors_locks_and_queues(self):
        directory = harness.temporary_directory()
        subprocess.run([tool("javac"), "-d", directory, harness.PROGRAMS / "Waits.java"], check=True, timeout=100,
                       env=harness.clean_env())
        plain, run = self.run_both([tool("java"), "-Xmx64m", "-cp", directory, "Waits"])
        self.assertEqual((plain.status, plain.text().splitlines()[:2]), (6, ["monitors 1200", "held 1210"]))
        waited = sum(sample.values[1] for sample in run.profile("block").samples if label(sample, "wait") == "cond"
                     and any(re.search("ObjectMonitor.*[eE]nter", name) for name in sample.functions()))
        self.assertGreaterEqual(waited, LEAST_NS)


class Allocators(Contended):
    """Their locks contend inside malloc: before the agent in LD_PRELOAD or behind it."""
    LIBRARIES = (r"libjemalloc\.so\.2", r"libtcmalloc_minimal\.so\.4", r"libmimalloc\.so\.[23]")
    OPERATIONS = os.environ.get("CROWD_OPERATIONS", "1000000")

    def path_of(self, library):
        listing = subprocess.run(["/sbin/ldconfig", "-p"], stdout=subprocess.PIPE, check=True).stdout.decode()
        found = re.search(rf"^\s*{library} .*=> (\S+)$", listing, re.MULTILINE)
        if not found:
            self.skipTest(f"{library} is not installed: scripts/deps")
        return found.group(1)

    def crowd(self, library):
        path = self.path_of(library)
        expected = bare("malloc_crowd", self.OPERATIONS, env={"LD_PRELOAD": path})
        self.assertEqual(expected.status, 0, expected.stderr)
        for preloads in (f"{path} {harness.LIBRARY}", f"{harness.LIBRARY} {path}"):
            with self.subTest(preloads):
                run = preload("malloc_crowd", self.OPERATIONS, env={"LD_PRELOAD": preloads, "ASK": "1"},
                              CPROF_HEAP_RATE="64k", **EXACT)
                self.assertEqual((run.status, run.stdout), (0, expected.stdout), run.stderr)
                run.check_all()
                # Even four threads on one processor meet at their lock sometimes.
                self.assertGreater(run.profile("block").by_any("contentions").get("fight_for_the_lock", 0), 0)

    def test_jemalloc_whose_locks_contend(self):
        self.crowd(self.LIBRARIES[0])

    def test_tcmalloc_whose_locks_contend(self):
        self.crowd(self.LIBRARIES[1])

    def test_mimalloc_whose_locks_contend(self):
        self.crowd(self.LIBRARIES[2])


if __name__ == "__main__":
    harness.main()
