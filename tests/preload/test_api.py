"""include/cprof.h: profiles of the program's own, their errors and files, and programs that run without the agent."""

import gzip
import re
import subprocess
import unittest

import harness
import pprof_decode
from harness import PreloadTest, bare, preload

CODES = """\
active: 1
new NULL: NULL EINVAL
new empty: NULL EINVAL
new space: NULL EINVAL
new tab: NULL EINVAL
new newline: NULL EINVAL
new heap: NULL EEXIST
new threadcreate: NULL EEXIST
new cmdline: NULL EEXIST
new cpu: NULL EEXIST
new flame: NULL EEXIST
new goroutine: NULL EEXIST
new metrics: NULL EEXIST
new profile: NULL EEXIST
new rate: NULL EEXIST
new snapshot: NULL EEXIST
new start: NULL EEXIST
new stop: NULL EEXIST
new symbol: NULL EEXIST
new thread: NULL EEXIST
new trace: NULL EEXIST
new 256 bytes: NULL EINVAL
new 255 bytes: made 0
its name: 255 bytes
new 255 bytes again: NULL EEXIST
new mine: made 0
new other: made 0
new mine again: NULL EEXIST
lookup: mine, NULL, NULL
add 0: 0, again EEXIST
add 0x1: 0, again EEXIST
add 0x7: 0, again EEXIST
add 0xffffffffffffffff: 0, again EEXIST
add 0x8000000000000000: 0, again EEXIST
count 5, other 0
add to another: 0
count 4, other 1
add it again: 0
heap: heap
add to heap: EPERM
heap has stacks: 1
a stream is counted: 1
add to NULL: EINVAL
nothing has count 0 and name ""
write NULL: EINVAL
write debug -1: EINVAL
write to no file: EBADF
write to nobody: EPIPE
errno: 77
"""


def without_agent(text):
    """What the same program prints when every call is a no-op."""
    text = text.replace("active: 1", "active: 0")
    text = re.sub(r"^(new .*): .*$", r"\1: NULL ENOSYS", text, flags=re.M)
    text = re.sub(r"^(add 0.*): .*$", r"\1: 0, again 0", text, flags=re.M)
    text = re.sub(r"^count .*$", "count 0, other 0", text, flags=re.M)
    text = re.sub(r"^(write .*): .*$", r"\1: ENOSYS", text, flags=re.M)
    for line in ("its name: 0 bytes", "add to heap: 0", "add to NULL: 0", "heap: NULL", "heap has stacks: 0", "a stream is counted: 0"):
        text = re.sub(rf"^{line.rpartition(': ')[0]}: .*$", line, text, flags=re.M)
    return text


def go_pprof(*args):
    """stdout of `go tool pprof`."""
    env = harness.clean_env(HOME=harness.temporary_directory(), PPROF_TMPDIR=harness.temporary_directory())
    done = subprocess.run([harness.tool("go"), "tool", "pprof", "-symbolize=none", *map(str, args)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, timeout=60, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise AssertionError(f"{args}: {done.stderr.decode()}")
    return done.stdout.decode()


def load(path):
    profile = pprof_decode.load(path)
    pprof_decode.check_valid(profile)
    return profile


class Errors(PreloadTest):
    def test_every_call_says_what_the_header_says(self):
        run = self.assert_ok(preload("api_codes", CPROF_HEAP_RATE=1))
        self.assertEqual(run.text(), CODES)

    def test_without_the_agent_every_call_is_a_no_op(self):
        self.assertEqual(harness.bare("api_codes").text(), without_agent(CODES))

    def test_with_the_agent_off_every_call_is_a_no_op(self):
        run = self.assert_ok(preload("api_codes", CPROF="off"))
        self.assertEqual(run.text(), without_agent(CODES))
        self.assertEqual(run.entries(), [])


class Values(PreloadTest):
    def test_64_threads_add_and_remove_a_million_while_it_is_written(self):
        run = self.assert_ok(preload("api_threads"))
        self.assertEqual(run.text(), "live 640, written meanwhile\n")
        profile = run.profile("value")
        self.assertEqual(profile.total("value"), 640)
        self.assertEqual(profile.count("opens", "value"), 640)
        self.assertTrue(profile.comment(r"samples kept: (\d+)").group(1) == "1000000", profile.comments)
        self.assertTrue(profile.comment(r"in use, age under 1m: 640 objects$"), profile.comments)

    def test_handlers_add_too_and_may_jump_away(self):
        run = self.assert_ok(preload("api_handler"))
        jumps, live = map(int, re.fullmatch(r"jumps (\d+), live (\d+)\n", run.text()).groups())
        self.assertGreater(jumps, 10, "something was left half-way")
        profile = run.profile("value")
        self.assertLessEqual(profile.total("value"), 2, "what is shown is what is there: the last one, and one more")
        self.assertLessEqual(abs(profile.total("value") - live), jumps)

    def test_skip_says_whose_it_is(self):
        profile = self.assert_ok(preload("api_skip")).profile("conn")
        leaves = sorted((sample.functions()[0], sample.values) for sample in profile.samples)
        self.assertEqual(leaves, [("[lost]", [2]), ("helper", [2]), ("opens", [1])])

    def test_every_moment_of_a_program(self):
        run = preload("api_moments", harness.victim("libapi_plug"), CPROF_MIN_LIFE="0s")
        self.assertEqual((run.status, run.errors()), (0, ""))
        lines = run.text().splitlines()
        self.assertEqual(lines[0], "vfork child: add 0, write Operation not permitted, "
                                   "snapshot Operation not permitted, count 5")
        child = int(lines[-1].split()[1])
        early = run.profile("early")
        self.assertEqual(early.count("added_in_constructor", "early"), 1)
        self.assertEqual(early.count("added_at_exit", "early"), 1)
        self.assertEqual(early.total("early"), 3, "and the destructor's")
        self.assertEqual(run.profile("late").count("added_at_exit", "late"), 1)
        plug = run.profile("plug")
        self.assertEqual(plug.count("plug_opens", "plug"), 2, "from a library that is gone")
        forked = run.profile("forked")
        self.assertEqual(forked.count("added_by_parent", "forked"), 5, "a vfork child changes nothing")
        self.assertEqual(forked.count("added_by_child", "forked"), 0)
        theirs = run.profile("forked", pid=child)
        self.assertEqual(theirs.count("added_by_parent", "forked"), 4, "the child keeps its parent's, without 0")
        self.assertEqual(theirs.count("added_by_child", "forked"), 3)

    def test_children_in_the_programs_memory_change_nothing(self):
        run = self.assert_ok(preload("api_vfork", CPROF_HEAP_RATE=12345, CPROF_BLOCK_RATE="54321ns"))
        self.assertEqual(run.text().splitlines(), [f"{what}: 0, 1" for what in (
            "vfork", "exec", "signal", "nested", "clone", "parent", "again")] + ["rate 12345 54321"])
        profile = run.profile("values")
        self.assertEqual(profile.by_leaf("values"), {"added_by_parent": 1})

    def test_a_class_of_cpp(self):
        self.assertEqual(harness.bare("api_cpp").text(), "active 0, sessions 0, profiles none, errno-free 38\n")
        run = self.assert_ok(preload("api_cpp", CPROF_PROFILES="none"))
        self.assertEqual(run.text(), "active 1, sessions 4, profiles some, errno-free 22\n")
        profile = run.profile("session", number=1)
        self.assertEqual([sample.values for sample in profile.samples], [[4]])
        self.assertRegex(profile.samples[0].functions()[0], "log_in")
        self.assertEqual([file.profile for file in run.files()], ["session"], "at the end none is live")


class Files(PreloadTest):
    def test_a_thousand_profiles(self):
        run = self.assert_ok(preload("api_many", CPROF_PROFILES="none"))
        self.assertEqual(run.text(), "1000 of them own, sorted 1, with the agent's 1\n")
        checked = run.check_all()
        self.assertEqual(len(checked), 1000)
        self.assertEqual({file.number for file, _ in checked}, {1})
        for file, profile in checked:
            self.assertEqual(profile.count("opens", file.profile), 1)
        self.assertLess(harness.agent_bytes(checked[0][1]), 4 << 20)

    def test_names_that_no_file_can_have(self):
        run = self.assert_ok(preload("api_names", CPROF_PROFILES="none"))
        names = {}
        for entry in run.entries():
            name = re.fullmatch(rf"api_names\.{run.pid}\.0001\.(.*)\.pb\.gz", entry).group(1)
            profile = load(run.out / entry)
            said = profile.comment(r"^profile: (.*)$").group(1)
            names[said] = (name, profile.sample_types[0].type, profile.samples[0].values[0])
        most = "0123456789" * 25 + "five"
        self.assertEqual(names, {
            most + "1": (most[:160], most + "1", 11), most + "2": (most[:160] + "+2", most + "2", 12),
            "sqlite.db": ("sqlite.db", "sqlite.db", 1), "a/b": ("a_b+2", "a/b", 2), "a_b": ("a_b", "a_b", 3),
            "a:b": ("a_b+3", "a:b", 4), "../up": (".._up", "../up", 5), "%e": ("_e", "%e", 6),
            "\ufffd": ("_", "\ufffd", 7), "é": ("__", "é", 8), "a-b": ("a-b", "a_b", 9)})

    def test_a_snapshot_has_those_with_live_values_only(self):
        run = self.assert_ok(preload("api_names", CPROF_PROFILES="none"))
        self.assertFalse([entry for entry in run.entries() if "empty" in entry])


class Writing(PreloadTest):
    @classmethod
    def setUpClass(cls):
        cls.directory = harness.temporary_directory()
        cls.run_ = preload("api_write", cls.directory)
        cls.names = sorted(path.name[:-4] for path in cls.directory.glob("*.txt"))

    def test_needs_neither_malloc_nor_stdio(self):
        self.assertEqual(self.run_.status, 0, self.run_.stderr)
        self.assertEqual(self.run_.text(), "calls of malloc and free: 0\n")

    def test_every_profile_can_be_written_and_is_valid(self):
        self.assertLessEqual({"allocs", "block", "conn", "heap", "heap_peak", "mutex", "threadcreate", "unused"},
                             set(self.names))
        for name in self.names:
            with self.subTest(name):
                load(self.directory / f"{name}.pb.gz")

    def test_an_own_profile_is_written_whole(self):
        profile = load(self.directory / "conn.pb.gz")
        self.assertEqual([(kind.type, kind.unit) for kind in profile.sample_types], [("conn", "count")])
        self.assertEqual((profile.period_type.type, profile.period_type.unit, profile.period), ("conn", "count", 1))
        self.assertEqual(profile.total("conn"), 3)
        self.assertEqual(sum(sample.values[0] for sample in profile.samples if "opens_two" in sample.functions()), 2)

    def test_its_text_is_the_legacy_format(self):
        text = (self.directory / "conn.txt").read_text()
        self.assertRegex(text, r"\Aconn profile: total 3\n1 @( 0x[0-9a-f]+)+\n#\t0x[0-9a-f]+\topens\+0x[0-9a-f]+\t/\S+\n")
        self.assertRegex(text, r"\n--- Memory map: ---\n([0-9a-f]{8,}-[0-9a-f]{8,} r-xp [0-9a-f]{8} 00:00 0 \S+\n)+\Z")

    def test_text_offsets_are_those_of_the_symbol_table(self):
        text = (self.directory / "conn.txt").read_text()
        symbols = subprocess.run([harness.tool("nm"), harness.victim("api_write")], stdout=subprocess.PIPE, timeout=60)
        start = int(re.search(r"^([0-9a-f]+) . opens_two$", symbols.stdout.decode(), re.M).group(1), 16)
        address, offset = re.search(r"#\t0x([0-9a-f]+)\topens_two\+0x([0-9a-f]+)\t", text).groups()
        self.assertEqual((int(address, 16) - int(offset, 16)) % 4096, start % 4096)

    def test_go_tool_pprof_reads_the_text(self):
        raw = go_pprof("-raw", self.directory / "conn.txt")
        self.assertIn("PeriodType: conn count", raw)
        values = re.search(r"Samples:\nconn/count\n(.*?)Locations", raw, re.S).group(1)
        self.assertEqual(sum(int(n) for n in re.findall(r"^\s+(\d+):", values, re.M)), 3)

    def test_go_tool_pprof_reads_every_file(self):
        for name in self.names:
            with self.subTest(name):
                self.assertIn("PeriodType:", go_pprof("-raw", self.directory / f"{name}.pb.gz"))
        for name in self.names:
            with self.subTest(name, text=True):
                self.assertIn("PeriodType:", go_pprof("-raw", self.directory / f"{name}.txt"))


class SlowReader(PreloadTest):
    def test_a_reader_that_does_not_read_holds_up_nobody_else(self):
        run = self.assert_ok(preload("api_slow_reader"))
        self.assertEqual(run.text(), "meanwhile: write 0, snapshot 0\nread all: 1\n")
        self.assertEqual(run.profile("conn", number=1).total("conn"), 40)


class Refused(PreloadTest):
    def test_a_handler_that_interrupted_the_agent_is_told_busy_and_who_has_no_memory_so(self):
        run = self.assert_ok(preload("api_refused", CPROF_HEAP_RATE=1))
        self.assertEqual(run.text(), "in handlers: written and busy, else 0\n"
                                     "without memory: Cannot allocate memory\nwith memory: 0\n")
        self.assertEqual(run.profile("conn").total("conn"), 1)


class BuiltIn(PreloadTest):
    """Text and pprof file of the agent's own profiles say the same."""

    @classmethod
    def setUpClass(cls):
        cls.directory = harness.temporary_directory()
        cls.run_ = preload("api_heap_text", cls.directory, CPROF_HEAP_RATE=1, CPROF_BLOCK_RATE="1ns",
                           CPROF_MUTEX_RATE="1ns")

    def test_the_rate_can_be_set(self):
        self.assert_ok(self.run_)
        self.assertEqual(self.run_.text(), "rate 1, then 0, then 4096\n")

    def sums(self, name, suffix):
        """The sums of every sample type, as `go tool pprof` reads them."""
        raw = go_pprof("-raw", self.directory / (name + suffix))
        types, samples = re.search(r"Samples:\n([^\n]*)\n(.*?)Locations", raw, re.S).groups()
        columns = [column.partition("[")[0] for column in types.split()]
        sums = [0] * len(columns)
        for line in re.findall(r"^\s+((?:\d+\s*)+):", samples, re.M):
            sums = [a + int(b) for a, b in zip(sums, line.split())]
        return dict(zip(columns, sums))

    def test_go_reads_the_same_from_both(self):
        for name in ("heap", "allocs", "block", "threadcreate"):
            with self.subTest(name):
                binary = self.sums(name, ".pb.gz")
                self.assertEqual(self.sums(name, ".txt"), binary)
                self.assertGreater(max(binary.values()), 0, "there is something to compare")

    def test_the_heap_says_what_is_in_use_and_what_was(self):
        text = (self.directory / "heap.txt").read_text()
        self.assertRegex(text, r"\Aheap profile: \d+: \d+ \[\d+: \d+\] @ heap/2\n")
        self.assertRegex(text, r"\n3: 3000 \[3: 3000\] @ [^\n]+\n#\t0x[0-9a-f]+\tkeeps\+")
        self.assertRegex(text, r"\n0: 0 \[1: 5000\] @ [^\n]+\n#\t0x[0-9a-f]+\tdrops\+")
        inuse = [int(n) for n in re.findall(r"^\d+: (\d+) \[", text, re.M)]
        self.assertEqual(inuse, sorted(inuse, reverse=True), "the largest first")

    def test_waits_are_in_nanoseconds(self):
        text = (self.directory / "block.txt").read_text()
        self.assertRegex(text, r"\A--- contention:\ncycles/second=1000000000\nsampling period=1\n\d+ \d+ @")


class Documents(PreloadTest):
    """What docs/ says about the API is so."""

    MAIN = """
        #include <stdlib.h>
        void conn_state(void *conn, int state);
        struct blob *blob_open(const char *name);
        void blob_close(struct blob *blob);
        int dump(const char *path);
        static void __attribute__((noinline)) user_forgets(void) { blob_open("a"); blob_open("b"); __asm__(""); }
        int main(int argc, char **argv)
        {
            static int conns[3];
            for (int i = 0; i < 3; i++)
                conn_state(&conns[i], 0);
            conn_state(&conns[1], 2);
            user_forgets();
            blob_close(blob_open("c"));
            return argc < 2 ? 1 : dump(argv[1]);
        }
    """

    def test_every_function_is_in_header_manual_and_exports(self):
        exported = set(re.findall(r"^cprof_\w+$", (harness.ROOT / "tests/exports.txt").read_text(), re.M))
        header = re.sub(r"/\*.*?\*/", "", (harness.ROOT / "include/cprof.h").read_text(), flags=re.S)
        declared = set(re.findall(r"\b(cprof_\w+)\([^;]*?__attribute__\(\(weak\)\);", header))
        self.assertEqual(declared, exported)
        self.assertEqual(set(re.findall(r"^#define (cprof_\w+)\(", header, re.M)), exported, "each is a no-op without")
        manual = (harness.ROOT / "docs/libcprof.3").read_text()
        self.assertEqual(set(re.findall(r"\b(cprof_\w+)\(", manual)), exported)
        self.assertEqual(set(re.findall(r"\b(cprof_\w+)[,\s]", manual.partition(".SH SYNOPSIS")[0])), exported)

    def test_it_works_however_the_program_is_compiled_and_linked(self):
        source = harness.temporary_directory() / "counts.c"
        source.write_text("""
            #include <cprof.h>
            int main(void)
            {
                cprof_profile *p = cprof_profile_new("p");
                return cprof_profile_add(p, &p, 0) == 0 && cprof_active() ? (int)cprof_profile_count(p) + 40 : 3;
            }""")
        for flags in ("-O2 -fPIE -pie", "-O0 -fno-pie -no-pie", "-O2 -fno-pie -no-pie", "-O2 -fno-pie -no-pie -flto",
                      "-O2 -fno-plt -fno-pie -no-pie", "-O2 -masm=intel", "-O2 -static"):
            program = source.with_suffix("")
            subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "-pedantic", *flags.split(), f"-I{harness.ROOT}/include",
                            "-o", program, source], check=True, timeout=60)
            self.assertEqual(harness.bare([program]).status, 3, flags)
            self.assertEqual(preload([program]).status, 3 if "static" in flags else 41, flags)

    def test_the_examples_of_the_tutorial_work(self):
        text = (harness.ROOT / "docs/api.md").read_text()
        examples = [block for block in re.findall(r"```c\n(.*?)```", text, re.S) if "{" in block] + [self.MAIN]
        self.assertEqual(len(examples), 4)
        directory, objects = harness.temporary_directory(), []
        for i, example in enumerate(examples):
            (directory / f"{i}.c").write_text(example)
            objects.append(directory / f"{i}.o")
            made = subprocess.run(["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fno-optimize-sibling-calls",
                                   f"-I{harness.ROOT}/include", "-c", "-o", objects[-1], directory / f"{i}.c"],
                                  stderr=subprocess.PIPE, timeout=60)
            self.assertEqual(made.returncode, 0, made.stderr.decode())
        program = directory / "program"
        subprocess.run(["cc", "-o", program, *objects], check=True, timeout=60)
        self.assertEqual(harness.bare([program], directory / "none").status, 38, "ENOSYS")
        run = self.assert_ok(preload([program], directory / "blobs.pb.gz"))
        blobs = load(directory / "blobs.pb.gz")
        self.assertEqual(blobs.total("blobstore.Open"), 2)
        self.assertEqual({sample.functions()[0] for sample in blobs.samples}, {"user_forgets"})
        self.assertEqual(run.profile("conns").total("conns"), 2)
        self.assertIn(f"program.{run.pid}.0001.blobstore.Open.pb.gz", run.entries())


class Labels(PreloadTest):
    def test_of_a_thread_stand_at_its_waits_in_progress(self):
        run = preload("labelled", CPROF_MIN_LIFE=0)
        self.assertEqual((run.status, run.text()), (0, "0 0 0 22 errno 77\n"), run.stderr)
        found = {}
        for sample in run.profile("block", number=1).samples:
            labels = {label.key: label.text for label in sample.labels}
            for function in ("wait_with_labels", "wait_without"):
                if function in sample.functions():
                    found[function] = (labels.get("state"), labels.get("tenant"), labels.get("job"))
        self.assertEqual(found, {"wait_with_labels": ("waiting", "acme", None), "wait_without": ("waiting", None, None)})

    def test_are_a_no_op_without_the_agent(self):
        for run in (bare("labelled"), preload("labelled", CPROF="off")):
            self.assertEqual((run.status, run.text(), run.stderr), (0, "0 0 0 0 errno 77\n", b""))


if __name__ == "__main__":
    harness.main()
