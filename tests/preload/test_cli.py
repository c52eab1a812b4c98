"""The command: its tables against `go tool pprof`, files that are none, and programs that it starts."""

import datetime
import gzip
import os
import re
import shutil
import stat
import struct
import subprocess
import unittest
import zlib

import harness

COMMAND = harness.COMMAND
GO = shutil.which("go")


def cprof(*arguments, command=COMMAND, **environment):
    return subprocess.run([str(command), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, env=harness.clean_env(**environment), text=True, timeout=120)


# --- files ---------------------------------------------------------------------------------------------------------

def varint(number):
    number &= (1 << 64) - 1
    data = b""
    while number > 127:
        data += bytes([number & 127 | 128])
        number >>= 7
    return data + bytes([number])


def field(number, value):
    """A varint, or bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


class Builder:
    """A pprof file, field by field: types, stacks of function names (leaf first), comments."""

    def __init__(self, *types):
        self.texts, self.ids, self.parts, self.n_values = [""], {}, [], len(types)
        for kind, unit in types:
            self.part(1, field(1, self.text(kind)) + field(2, self.text(unit)))

    def text(self, text):
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text)

    def part(self, number, value):
        self.parts.append(field(number, value))
        return self

    def mapping(self, file, build_id=""):
        return self.part(3, field(1, 1) + field(2, 0x1000) + field(3, 0x9000) + field(5, self.text(file))
                         + field(6, self.text(build_id)) + field(7, 1))

    def location(self, name):
        """Of one function, or of several inlined ones (a tuple, innermost first)."""
        if name not in self.ids:
            lines = b""
            for inlined in name if isinstance(name, tuple) else (name,):
                number = self.ids.setdefault(("function", inlined), len(self.ids) + 1)
                self.part(5, field(1, number) + field(2, self.text(inlined)) + field(3, self.text(inlined)))
                lines += field(4, field(1, number))
            self.ids[name] = len(self.ids) + 1
            self.part(4, field(1, self.ids[name]) + field(3, 0x1000 + self.ids[name]) + lines)
        return self.ids[name]

    def sample(self, stack, values, labels=(), packed=True):
        locations = [self.location(name) for name in stack]
        if packed:
            body = field(1, b"".join(map(varint, locations))) + field(2, b"".join(map(varint, values)))
        else:
            body = b"".join(field(1, number) for number in locations) + b"".join(field(2, value) for value in values)
        for key, value in labels:
            value = field(2, self.text(value)) if isinstance(value, str) else field(3, value)
            body += field(3, field(1, self.text(key)) + value)
        return self.part(2, body)

    def comment(self, text):
        return self.part(13, self.text(text))

    def raw(self):
        return b"".join(self.parts) + b"".join(field(6, text.encode("utf-8", "surrogateescape")) for text in self.texts)

    def write(self, path, data=None):
        path.write_bytes(gzip.compress(self.raw() if data is None else data, 1))
        return path


HEAP = (("alloc_objects", "count"), ("alloc_space", "bytes"), ("inuse_objects", "count"), ("inuse_space", "bytes"))


def heap(**options):
    builder = Builder(*HEAP).mapping("/usr/bin/server", "abcd12")
    builder.sample(["keep", "parse", "main"], [90, 900000, 40, 400000], [("bytes", 10000), ("pool", "a")], **options)
    builder.sample(["keep", "walk", "walk", "walk", "main"], [5, 51200, 5, 51200], [("pool", "b")], **options)
    builder.sample(["small", "main"], [1, 100, 1, 100], **options)
    builder.sample([("tiny", "inlining"), "main"], [3, 6000, 3, 6000], **options)
    return builder


def table(text):
    """{name: (flat, flat%, cum, cum%)} and the lines of the heading."""
    lines = [line for line in text.rstrip("\n").split("\n") if not line.startswith("next: ")]
    head = next(i for i, line in enumerate(lines) if re.fullmatch(r" +flat +flat% +sum% +cum +cum%(  held by|  waited in)?", line))
    rows = {}
    for line in lines[head + 1:]:
        flat, flat_percent, _, cum, cum_percent, name = line.split(None, 5)
        rows[name] = (flat, flat_percent, cum, cum_percent)
    return rows, lines[:head + 1]


GO_PROGRAM = """
package main
import ("os"; "runtime"; "runtime/pprof"; "sync"; "syscall"; "time")
var kept [][]byte
type holder[K any] struct{ values map[int]K }
func (h *holder[K]) put(key int, value K) { h.values[key] = value }
func leaf(n int) { for i := 0; i < n; i++ { kept = append(kept, make([]byte, 700+i%90)) } }
func recurse(depth int) { if depth > 0 { recurse(depth - 1) }; leaf(300) }
func used() time.Duration {
    var u syscall.Rusage
    syscall.Getrusage(syscall.RUSAGE_SELF, &u)
    return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
func spin(d time.Duration) (x int) { // of the processor's time, which others may have
    for t := used(); used() - t < d; { for i := 0; i < 99999; i++ { x += i * i } }
    return
}
func write(name string) { f, _ := os.Create(name + ".pb.gz"); pprof.Lookup(name).WriteTo(f, 0); f.Close() }
func main() {
    runtime.MemProfileRate = 512
    runtime.SetBlockProfileRate(1)
    f, _ := os.Create("cpu.pb.gz"); pprof.StartCPUProfile(f)
    spin(300 * time.Millisecond); pprof.StopCPUProfile(); f.Close()
    recurse(9)
    h := holder[string]{map[int]string{}}; for i := 0; i < 20000; i++ { h.put(i, "x") }
    var lock sync.Mutex; var all sync.WaitGroup
    for i := 0; i < 3; i++ {
        all.Add(1)
        go func() { lock.Lock(); time.Sleep(3 * time.Millisecond); lock.Unlock(); all.Done() }()
    }
    all.Wait(); runtime.GC()
    for _, name := range []string{"heap", "block", "goroutine"} { write(name) }
}
"""


# How Go 1.24 and later write a profile's time.
NEW_TIME = r"(?m)(?<=^Time: )\d+-\d+-\d+ \d+:\d+:\d+ \w+$"


def as_before(match):
    time = datetime.datetime.strptime(match[0].rpartition(" ")[0], "%Y-%m-%d %H:%M:%S")
    return f"{time:%b} {time.day}, {time.year} at {time.hour % 12 or 12}:{time:%M}{'am' if time.hour < 12 else 'pm'} ({match[0].split()[-1]})"


class Tables(unittest.TestCase):
    def setUp(self):
        self.directory = harness.temporary_directory()
        self.file = heap().write(self.directory / "heap.pb.gz")

    def read(self, verb, *arguments):
        done = cprof(verb, *arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return table(done.stdout)

    def assert_like_pprof(self, file, mine, theirs):
        wanted = subprocess.run([GO, "tool", "pprof", "-top", "-edgefraction=0", *theirs, str(file)],
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=120,
                                env=harness.clean_env(HOME=self.directory)).stdout
        self.assertEqual(self.read(*mine, file), table(re.sub(NEW_TIME, as_before, wanted)), (file.name, mine))

    @unittest.skipUnless(GO, "no go")
    def test_numbers_units_and_heading_are_those_of_go_tool_pprof(self):
        names = Builder(("delay", "nanoseconds"))
        for i, name in enumerate(("_ZN3foo3barIiSsEEvT_T0_", "_ZNSt6vectorIiSaIiEE9push_backEOi", "_ZlsRSoi",
                                  "_ZN1AIXgtLi2ELi1EEEcvbEv", "_ZZ4mainENKUliE_clEi", "_Z3barv.constprop.0",
                                  "_ZN12_GLOBAL__N_13fooEv", "_ZStlsISt11char_traitsIcEERSoS2_PKc",
                                  "_RNvMsr_NtCs3ssYzQotkvD_3std4pathNtB5_7PathBuf3newCs15kBYyAo9fc_7mycrate",
                                  "_ZN4core3fmt5write17h0123456789abcdefE", "a::b<c>(int)"
                                  "plain", "_Z", "\u00e9t\u00e9")):
            names.sample([name, "main"], [7 ** (i + 2)])
        files = [self.file, names.write(self.directory / "names.pb.gz")]
        for file in files:
            for mine, theirs in (("top", "-nodecount=20"), ("text", "-nodefraction=0")):
                self.assert_like_pprof(file, [mine], [theirs])
        for kind, _ in HEAP:
            self.assert_like_pprof(self.file, ["text", "-s", kind], ["-nodefraction=0", f"-sample_index={kind}"])
        self.assert_like_pprof(self.file, ["text", "--focus", "wal[k]"], ["-nodefraction=0", "-focus=wal[k]"])
        self.assert_like_pprof(self.file, ["text", "--ignore", "parse|tiny"], ["-nodefraction=0", "-ignore=parse|tiny"])

    @unittest.skipUnless(GO, "no go")
    def test_real_profiles_of_a_go_program_show_the_numbers_of_go_tool_pprof(self):
        (self.directory / "main.go").write_text(GO_PROGRAM)
        env = harness.clean_env(HOME=self.directory, GOCACHE=self.directory / "cache", GOFLAGS="-mod=mod",
                                GO111MODULE="off")
        subprocess.run([GO, "run", "main.go"], cwd=self.directory, env=env, check=True, timeout=300)
        for name in ("heap", "cpu", "block", "goroutine"):
            file = self.directory / f"{name}.pb.gz"
            self.assert_like_pprof(file, ["top", "-n", "0"], [])
            self.assert_like_pprof(file, ["top", "--cum", "-n", "0"], ["-cum"])
            self.assert_like_pprof(file, ["text", "--focus", "recurse|main"],
                                   ["-nodefraction=0", "-focus=recurse|main"])

    def test_rows_have_flat_and_cum_and_recursion_counts_once(self):
        rows, head = self.read("text", self.file)
        self.assertEqual(rows["keep"], ("440.62kB", "98.67%", "440.62kB", "98.67%"))
        self.assertEqual(rows["walk"], ("0", "0%", "50kB", "11.20%"))
        self.assertEqual(rows["tiny (inline)"][0], "5.86kB")
        self.assertEqual(head[:3], ["File: server", "Build ID: abcd12", "Type: inuse_space"])

    def test_order_is_flat_then_cum_then_name_or_cum_first(self):
        def names(*arguments):
            return list(self.read("text", *arguments, self.file)[0])
        self.assertEqual(names(), ["keep", "tiny (inline)", "small", "main", "parse", "walk", "inlining"])
        self.assertEqual(names("--cum"), ["main", "keep", "parse", "walk", "tiny (inline)", "inlining", "small"])

    def test_top_shows_n_rows_and_says_what_it_leaves_out(self):
        rows, head = self.read("top", self.file, "-n", "2")
        self.assertEqual(list(rows), ["keep", "tiny (inline)"])
        self.assertIn("Dropped 1 node (cum <= 2.23kB)", head)
        self.assertIn("Showing top 2 nodes out of 6", head)

    def test_options_stand_before_or_after_the_file(self):
        self.assertEqual(self.read("top", "-n1", self.file), self.read("top", self.file, "--rows=1"))

    def test_tags_choose_samples_by_text_or_number(self):
        self.assertEqual(self.read("text", self.file, "--tag", "pool=b")[0]["keep"][0], "50kB")
        both = self.read("text", self.file, "--tag", "bytes=10000", "--tag", "pool=a")[0]
        self.assertEqual(both["keep"][0], "390.62kB")
        none = cprof("text", self.file, "--tag", "pool=c")
        self.assertEqual((none.returncode, table(none.stdout)[0]), (0, {}))
        self.assertIn("no sample", none.stderr)

    def test_default_type_is_the_profiles_own_else_the_last(self):
        builder = heap()
        file = builder.part(14, builder.text("alloc_space")).write(self.directory / "allocs.pb.gz")
        self.assertIn("Type: alloc_space", self.read("top", file)[1])
        self.assertIn("Type: inuse_space", self.read("top", self.file)[1])
        self.assertIn("Type: alloc_objects", self.read("top", "-s0", self.file)[1])

    def test_unknown_type_lists_the_ones_that_are_there(self):
        done = cprof("top", self.file, "-s", "space")
        self.assertEqual((done.returncode, done.stdout), (125, ""))
        self.assertIn("alloc_objects alloc_space inuse_objects inuse_space", done.stderr)

    def test_losses_are_always_shown_and_other_comments_on_demand(self):
        builder = heap()
        for comment in ("rate: 512k", "dropped: 12 memory cap", "dropped: 0 inside the agent"):
            builder.comment(comment)
        file = builder.write(self.directory / "lossy.pb.gz")
        self.assertIn("dropped: 12 memory cap", self.read("top", file)[1])
        self.assertNotIn("dropped: 0", cprof("top", file).stdout)
        self.assertNotIn("rate: 512k", self.read("top", file)[1])
        self.assertIn("rate: 512k", self.read("top", file, "-c")[1])

    def test_last_line_is_the_next_command(self):
        odd = heap().write(self.directory / "it's one.pb.gz")
        for file, word in ((self.file, str(self.file)), (odd, "'" + str(odd).replace("'", "'\\''") + "'")):
            self.assertEqual(cprof("top", file).stdout.splitlines()[-1], f"next: go tool pprof -http=: {word}")

    def contention(self, *comments):
        """Two waits that are over, 400 and 100 ms, and one of 300 ms that is not."""
        builder = Builder(("contentions", "count"), ("delay", "nanoseconds")).mapping("/bin/x")
        builder.sample(["fetch", "main"], [8, 400000000], [("wait", "mutex")])
        builder.sample(["store", "main"], [2, 100000000], [("wait", "cond"), ("state", "blocked")])
        builder.sample(["fetch", "main"], [1, 300000000], [("wait", "mutex"), ("state", "waiting")])
        for comment in comments:
            builder.comment(comment)
        return builder.write(self.directory / "contention.pb.gz")

    def test_a_mutex_profile_names_holders_and_a_block_profile_waiters(self):
        for comments, heading in ((["host: h", "profile: mutex"], "  held by"), (["profile: block"], "  waited in"), ([], ""),
                                  (["profile: heap", "labels: profile: mutex"], "")):
            file = self.contention(*comments)
            for verb in ("top", "text"):
                rows, head = self.read(verb, file)
                self.assertTrue(head[-1].endswith("cum%" + heading), (comments, head[-1]))
                self.assertEqual(rows["fetch"][0], "700ms")

    def test_waits_in_progress_are_said_in_one_line(self):
        file = self.contention("profile: block")
        for arguments, line in ((["top"], "Still waiting: 300ms, 37.50% of 800ms total"),
                                (["text", "-s", "contentions"], "Still waiting: 1, 9.09% of 11 total"),
                                (["top", "--focus", "store"], "Still waiting: 300ms, 37.50% of 800ms total")):
            head = self.read(*arguments, file)[1]
            self.assertEqual([found for found in head if "waiting" in found], [line], arguments)
        self.assertNotIn("waiting", cprof("top", self.file).stdout)

    def test_names_cannot_send_escapes(self):
        file = Builder(("n\033[1m", "u\033[1m\x9b\udcff")).mapping("/x/\033[2J")
        file.sample(["evil\033]0;x\007\u009b1m\n"], [1])
        done = cprof("top", file.comment("dropped: 1 \033[31m").write(self.directory / "evil.pb.gz"))
        self.assertEqual(done.returncode, 0)
        self.assertNotRegex(done.stdout, "[\x00-\x09\x0b-\x1f\x7f-\x9f]")

    def test_profile_without_samples_is_an_empty_table(self):
        file = Builder(*HEAP).mapping("/bin/x").write(self.directory / "none.pb.gz")
        rows, head = self.read("top", file)
        self.assertEqual(rows, {})
        self.assertIn("Showing nodes accounting for 0, 0% of 0 total", head)

    def test_other_encodings_of_the_same_profile_give_the_same_table(self):
        wanted = self.read("text", self.file)
        raw = heap().raw()
        halves = gzip.compress(raw[:40]) + gzip.compress(raw[40:])
        twice = heap(packed=False)
        twice.parts.insert(5, field(11, field(1, 1)) + field(99, b"unknown"))
        for name, data in (("plain", raw), ("members", halves), ("unpacked", twice.raw())):
            (self.directory / name).write_bytes(data)
            self.assertEqual(self.read("text", self.directory / name), wanted, name)

    def test_ids_need_no_order(self):
        texts = b"".join(field(6, text) for text in (b"", b"n", b"count", b"f", b"g"))
        raw = field(1, field(1, 1) + field(2, 2)) + texts
        for number, name in ((1 << 63, 3), (7, 4)):
            raw += field(5, field(1, number) + field(2, name)) + field(4, field(1, number) + field(4, field(1, number)))
        raw += field(2, field(1, varint(7) + varint(1 << 63)) + field(2, varint(5)))
        (self.directory / "ids").write_bytes(raw)
        self.assertEqual(self.read("text", self.directory / "ids")[0],
                         {"g": ("5", "100%", "5", "100%"), "f": ("0", "0%", "5", "100%")})

    def test_values_may_be_negative_or_huge(self):
        file = Builder(("n", "count")).sample(["less"], [-5]).sample(["more"], [2]).write(self.directory / "diff.pb.gz")
        rows, _ = self.read("text", file)
        self.assertEqual(rows["less"], ("-5", "71.43%", "-5", "71.43%"))
        huge = Builder(("n", "bytes"))
        for value in ((1 << 63) - 1, -(1 << 63), -(1 << 63)):
            huge.sample(["f", "g"], [value])
        self.read("text", huge.write(self.directory / "huge.pb.gz"))

    def test_a_name_that_demangles_to_gigabytes_stays_as_it_is(self):
        digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

        def substitution(number):
            high, low = divmod(number - 1, 36)
            return f"S{digits[high] if high else ''}{digits[low]}_"
        types = "1A1BIS0_S0_E" + "".join(f"1CI{substitution(i) * 2}E" for i in range(3, 81, 2))
        name = f"_Z1fI{types}EvT_"
        file = Builder(("n", "count")).sample([name], [1]).write(self.directory / "bomb.pb.gz")
        self.assertEqual(list(self.read("text", file)[0]), [name])


class BadFiles(unittest.TestCase):
    def setUp(self):
        self.directory = harness.temporary_directory()

    def assert_refused(self, path, reason, verbs=("top", "text")):
        for verb in verbs:
            done = cprof(verb, path)
            self.assertEqual((done.returncode, done.stdout), (125, ""), (reason, done.stderr))
            self.assertLessEqual(len(done.stderr.splitlines()), 3, done.stderr)
            self.assertIn(str(path), done.stderr)
            self.assertRegex(done.stderr, reason)

    def test_each_is_named_with_its_reason(self):
        good, whole = heap().raw(), gzip.compress(heap().raw())

        def damaged(**fields):
            return b"".join(fields.values()) + good
        cases = {
            "empty": (b"", "empty"),
            "empty_gzip": (gzip.compress(b""), "empty"),
            "text": (b"heap profile: 1: 2 [3: 4] @ heap/1048576\n", "text"),
            "noise": (bytes(range(255, 0, -1)) * 9, "not a pprof profile"),
            "zeros": (bytes(1000), "not a pprof profile"),
            "cut_gzip": (whole[:-20], "truncated"),
            "cut_checksum": (whole[:-8], "truncated"),
            "cut_raw": (good[:-1], "truncated"),
            "flipped": (whole[:60] + bytes([whole[60] ^ 0x55]) + whole[61:], "corrupt gzip|not a pprof"),
            "wrong_sum": (whole[:-8] + struct.pack("<II", zlib.crc32(good) ^ 1, len(good)), "corrupt gzip"),
            "trailing": (whole + b"garbage", "corrupt gzip"),
            "no_types": (field(6, b""), "no sample type"),
            "string_high": (damaged(a=field(13, 999)), "string 999"),
            "string_negative": (damaged(a=field(13, -3)), "string -3"),
            "location_gone": (damaged(a=field(2, field(1, 77) + field(2, bytes([1, 1, 1, 1])))), "location 77"),
            "function_gone": (damaged(a=field(4, field(1, 70) + field(4, field(1, 88)))), "function 88"),
            "mapping_gone": (damaged(a=field(4, field(1, 70) + field(2, 9))), "mapping 9"),
            "function_zero": (damaged(a=field(4, field(1, 70) + field(4, b""))), "function 0"),
            "same_id": (damaged(a=field(4, field(1, 70)), b=field(4, field(1, 70))), "two locations have the id 70"),
            "id_zero": (damaged(a=field(5, b"")), "function has the id 0"),
            "few_values": (damaged(a=field(2, field(2, b"\1"))), "1 values, but there are 4"),
        }
        for name, (data, reason) in cases.items():
            with self.subTest(name):
                (self.directory / name).write_bytes(data)
                self.assert_refused(self.directory / name, reason)

    def test_what_is_no_file_is_named_too(self):
        self.assert_refused(self.directory / "nowhere", "No such file")
        self.assert_refused(self.directory, "directory")

    def test_every_cut_and_every_flipped_bit_ends_well(self):
        raw = heap().raw()
        for i in range(0, len(raw) * 8, 3):
            data = raw[:i // 8] + bytes([raw[i // 8] ^ 1 << i % 8]) + raw[i // 8 + 1:]
            (self.directory / "flipped").write_bytes(data if i % 2 else raw[:i // 8])
            done = cprof("text", self.directory / "flipped")
            self.assertIn(done.returncode, (0, 125), (i, done.stderr))

    def test_a_gzip_bomb_is_refused(self):
        packer, block = zlib.compressobj(9, zlib.DEFLATED, 31), bytes(1 << 24)
        with open(self.directory / "bomb", "wb") as file:
            for _ in range(65):
                file.write(packer.compress(block))
            file.write(packer.flush())
        self.assert_refused(self.directory / "bomb", "too large", ["top"])

    def test_a_full_disk_is_reported(self):
        file = heap().write(self.directory / "heap.pb.gz")
        with open("/dev/full", "w") as full:
            done = subprocess.run([COMMAND, "text", file], stdout=full, stderr=subprocess.PIPE, text=True,
                                  env=harness.clean_env(), timeout=60)
        self.assertEqual(done.returncode, 125)
        self.assertIn("No space left", done.stderr)


class Verbs(unittest.TestCase):
    def test_help_names_every_verb_and_each_has_its_own(self):
        text = cprof("help").stdout
        for verb in ("run", "top", "text"):
            self.assertRegex(text, rf"(?m)^  {verb} ")
            done = cprof("help", verb)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn(f"Usage: cprof {verb}", done.stdout)
            self.assertEqual(done.stdout, cprof(verb, "--help").stdout)

    def test_version_is_one_line(self):
        for arguments in (["--version"], ["top", "--version"]):
            self.assertRegex(cprof(*arguments).stdout, r"\Acprof \d+\.\d+\.\d+\n\Z")

    def test_misspelled_verb_suggests_the_nearest(self):
        for wrong, right in (("tpo", "top"), ("topp", "top"), ("txt", "text"), ("rum", "run"), ("xyzzy", "help")):
            done = cprof(wrong, "x")
            self.assertEqual((done.returncode, done.stdout), (125, ""))
            self.assertIn(f"`cprof {right}'", done.stderr)

    def test_wrong_arguments_are_own_errors(self):
        for arguments in ([], ["top"], ["top", "a", "b"], ["top", "--nonsense", "a"], ["top", "a", "-n", "-1"],
                          ["top", "a", "-n", "1x"], ["top", "a", "--tag", "novalue"], ["run"],
                          ["run", "--nonsense", "1", "ls"], ["run", "--out"]):
            done = cprof(*arguments)
            self.assertEqual((done.returncode, done.stdout), (125, ""), arguments)
            self.assertTrue(done.stderr)

    def test_bad_expression_is_named(self):
        file = heap().write(harness.temporary_directory() / "heap.pb.gz")
        done = cprof("top", file, "--focus", "(")
        self.assertEqual((done.returncode, done.stdout), (125, ""))
        self.assertIn("--focus (", done.stderr)

    @unittest.skipUnless(shutil.which("script"), "no script")
    def test_bold_only_on_a_terminal_and_not_with_no_color(self):
        file = heap().write(harness.temporary_directory() / "heap.pb.gz")

        def on_terminal(**environment):
            return subprocess.run(["script", "-qec", f"{COMMAND} top {file}", "/dev/null"], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, timeout=60,
                                  env=harness.clean_env(TERM="xterm", **environment)).stdout
        self.assertIn(b"\033[1m", on_terminal(NO_COLOR=""))
        self.assertNotIn(b"\033", on_terminal(NO_COLOR="1"))
        self.assertNotIn("\033", cprof("top", file).stdout)


class Run(unittest.TestCase):
    """The command next to a library that does nothing: what is tested here is the start."""

    @classmethod
    def setUpClass(cls):
        cls.directory = harness.temporary_directory()
        for folder in ("bin", "lib"):
            (cls.directory / folder).mkdir()
        cls.command = shutil.copy(COMMAND, cls.directory / "bin")
        cls.library = cls.directory / "lib" / "libcprof.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", cls.library, "-x", "c", "-"], input=b"int nothing;", check=True)

    def run_(self, *arguments, **environment):
        return cprof("run", *arguments, command=self.command, **environment)

    def environment(self, *arguments, **environment):
        done = self.run_(*arguments, "env", **environment)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)

    def program(self, name, data, mode=0o755):
        path = self.directory / name
        path.write_bytes(data)
        path.chmod(mode)
        return path

    def test_settings_become_the_environment(self):
        found = self.environment("--heap-rate", "1k", "--out=/tmp/x y", "--log-level", "info", "--",
                                 CPROF_DEPTH=9, CPROF_OUT="/no")
        self.assertEqual({key: found[key] for key in found if key.startswith("CPROF")},
                         {"CPROF_HEAP_RATE": "1k", "CPROF_OUT": "/tmp/x y", "CPROF_LOG_LEVEL": "info",
                          "CPROF_DEPTH": "9"})

    def test_every_setting_of_the_table_is_an_option(self):
        names = re.findall(r'^OPTION.*"CPROF_(\w+)"', (harness.ROOT / "agent" / "config.def").read_text(), re.MULTILINE)
        self.assertIn("HEAP_RATE", names)
        text = self.run_("--help").stdout
        for name in names:
            self.assertIn(f"--{name.lower().replace('_', '-')}=", text)

    def test_library_goes_first_in_what_is_preloaded_and_once(self):
        libm = "libm.so.6"
        self.assertEqual(self.environment()["LD_PRELOAD"], str(self.library))
        self.assertEqual(self.environment(LD_PRELOAD=libm)["LD_PRELOAD"], f"{self.library}:{libm}")
        self.assertEqual(self.environment(LD_PRELOAD=f"{libm}:{self.library}")["LD_PRELOAD"], f"{libm}:{self.library}")

    def test_library_is_found_in_a_moved_tree(self):
        for place in ("bin", "lib", "lib/cprof", "lib/x86_64-linux-gnu"):
            tree = harness.temporary_directory()
            (tree / "bin").mkdir()
            (tree / place).mkdir(parents=True, exist_ok=True)
            command = shutil.copy(COMMAND, tree / "bin")
            library = shutil.copy(self.library, tree / place / "libcprof.so")
            done = cprof("run", "env", command=command)
            self.assertIn(f"LD_PRELOAD={os.path.realpath(library)}\n", done.stdout)

    def test_missing_library_is_an_own_error(self):
        tree = harness.temporary_directory()
        done = cprof("run", "true", command=shutil.copy(COMMAND, tree))
        self.assertEqual((done.returncode, done.stdout), (125, ""))
        self.assertIn("libcprof.so", done.stderr)

    def unnameable(self, name, library=None):
        """The command in a tree of its own whose path LD_PRELOAD cannot hold, and its library."""
        tree = harness.temporary_directory() / name
        tree.mkdir()
        return shutil.copy(COMMAND, tree), shutil.copy(library or self.library, tree)

    def test_library_whose_path_has_a_space_or_colon_is_preloaded_through_one_link(self):
        for name in ("a space", "co:lon", "both : of them"):
            command, library = self.unnameable(name)
            run = harness.temporary_directory()
            found = {cprof("run", "sh", "-c", "echo $LD_PRELOAD; exit 7", command=command, XDG_RUNTIME_DIR=run).stdout
                     for _ in range(3)}
            self.assertEqual(len(found), 1, found)
            done = cprof("run", "sh", "-c", "echo $LD_PRELOAD; exit 7", command=command, XDG_RUNTIME_DIR=run)
            self.assertEqual((done.returncode, done.stderr), (7, ""))
            link = done.stdout.strip()
            self.assertRegex(link, rf"\A{run}/cprof-{os.geteuid()}/libcprof-[0-9a-f]{{16}}\.so\Z")
            self.assertEqual(os.readlink(link), library)
            self.assertEqual((os.listdir(run), len(os.listdir(os.path.dirname(link)))), ([f"cprof-{os.geteuid()}"], 1))
            self.assertEqual(stat.S_IMODE(os.stat(os.path.dirname(link)).st_mode), 0o700)
            os.unlink(link)
            os.symlink("/somewhere/else", link)
            self.assertEqual(cprof("run", "true", command=command, XDG_RUNTIME_DIR=run).stderr, "")
            self.assertEqual(os.readlink(link), library, "repaired")

    def test_link_lies_only_where_nobody_else_can_write(self):
        command, library = self.unnameable("a space")
        mine = f"cprof-{os.geteuid()}"
        for spoil in (lambda run: (run / mine).mkdir() or (run / mine).chmod(0o777),
                      lambda run: (run / mine).symlink_to(harness.temporary_directory()),
                      lambda run: (run / mine).write_text("a file"),
                      lambda run: run.chmod(0o777)):
            run, temporary = harness.temporary_directory(), harness.temporary_directory()
            spoil(run)
            done = cprof("run", "sh", "-c", "echo $LD_PRELOAD", command=command, XDG_RUNTIME_DIR=run, TMPDIR=temporary)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertTrue(done.stdout.startswith(f"{temporary}/{mine}/"), done.stdout)

    def test_where_no_link_finds_a_place_the_command_runs_without_and_says_so(self):
        if not harness.can_mount():
            self.skipTest("no right to mount in a namespace of its own")
        command, library = self.unnameable("a space")
        script = ('mount --bind /tmp /tmp && mount -o remount,bind,ro /tmp || exit 98; '
                  'exec "$0" run sh -c \'echo "<$LD_PRELOAD>"; exit 7\'')
        done = subprocess.run(["unshare", "-m", "sh", "-c", script, command], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=60,
                              env=harness.clean_env(XDG_RUNTIME_DIR="/nonexistent", TMPDIR="relative"))
        self.assertEqual((done.returncode, done.stdout), (7, "<>\n"), done.stderr)
        self.assertRegex(done.stderr, rf"\Acprof: run: {re.escape(library)}: .*space or colon.*; sh runs without cprof\n\Z")

    def test_program_is_profiled_from_a_path_with_a_space(self):
        command, library = self.unnameable("a space", harness.LIBRARY)
        directory = harness.temporary_directory()
        run = harness.bare([command, "run", "--heap-rate", "1", "--", harness.victim("exit_ways")], directory=directory,
                           env={"XDG_RUNTIME_DIR": harness.temporary_directory(), "CPROF_OUT": directory / "out"})
        self.assertEqual((run.status, run.stderr), (11, b""))
        self.assertEqual(run.profile("heap").count("kept_at_exit", "inuse_space"), 4321)

    def test_process_status_signals_and_arguments_are_the_commands(self):
        self.assertEqual(self.run_("--", "sh", "-c", "exit 7").returncode, 7)
        self.assertEqual(self.run_("sh", "-c", "kill -9 $$").returncode, -9)
        self.assertEqual(self.run_("sh", "-c", 'echo "$0 $1"', "--out", "a b").stdout, "--out a b\n")
        running = subprocess.Popen([self.command, "run", "sh", "-c", "echo $$"], stdout=subprocess.PIPE, text=True,
                                   env=harness.clean_env())
        self.assertEqual(running.communicate(timeout=60)[0], f"{running.pid}\n")

    def test_not_found_and_not_executable_have_their_status(self):
        plain = self.program("plain", b"hello", 0o644)
        for command, status, reason in (("no-such-command", 127, "not found"), ("./no-such-command", 127, "not found"),
                                        (plain, 126, "Permission denied"), (self.directory, 126, "directory"),
                                        ("", 127, "not found"),
                                        (self.program("noise", b"noise"), 126, "Exec format"),
                                        (self.program("lost", b"#!/no/such/one -x\n"), 126, "/no/such/one")):
            done = self.run_(command, PATH="/usr/bin:/bin")
            self.assertEqual((done.returncode, done.stdout), (status, ""), command)
            self.assertRegex(done.stderr, rf"\Acprof: run: {re.escape(str(command))}: .*{reason}.*\n\Z")

    def test_what_cannot_be_preloaded_runs_without_and_says_why_in_one_line(self):
        true = open(shutil.which("true"), "rb").read()
        interpreter = re.search(rb"/[\w/.-]+/ld-linux-x86-64\.so\.2\0", true).group()
        musl = true.replace(interpreter, b"/lib/ld-musl-x86_64.so.1".ljust(len(interpreter), b"\0"))
        static = harness.victim("static_program")
        cases = (
            (static, "statically linked"),
            (self.program("setuid", true, 0o4755), "setuid"),
            (self.program("setgid", true, 0o2755), "setgid"),
            (self.program("small", true[:4] + b"\1" + true[5:18] + b"\3\0" + true[20:]), "32-bit"),
            (self.program("arm", true[:18] + b"\xb7\0" + true[20:]), "another machine"),
            (self.program("musl", musl), "musl"),
            (self.program("script", f"#!{static} -x\n".encode()), "statically linked"),
        )
        for path, reason in cases:
            if reason.startswith("set") and not os.stat(path).st_mode & (stat.S_ISUID | stat.S_ISGID):
                continue
            done = self.run_(path)
            line, rest = done.stderr.split("\n", 1)
            self.assertRegex(line, rf"\Acprof: run: {re.escape(str(path))}: .*{reason}.*; it runs without cprof\Z")
            if reason.startswith(("static", "set")):
                bare = subprocess.run([path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
                self.assertEqual((done.returncode, done.stdout, rest), (bare.returncode, bare.stdout, bare.stderr), path)

    def test_scripts_run(self):
        done = self.run_(self.program("hello", b"#!/bin/sh\necho hello $LD_PRELOAD\n"))
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, f"hello {self.library}\n", ""))

    @unittest.skipUnless(shutil.which("script"), "no script")
    def test_on_a_terminal_the_next_step_is_said(self):
        done = subprocess.run(["script", "-qec", f"{self.command} run true", "/dev/null"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, env=harness.clean_env(), timeout=60)
        self.assertRegex(done.stdout, rb"\Acprof: run: next, for a profile: kill -USR2 \d+\r\n\Z")


if __name__ == "__main__":
    unittest.main()
