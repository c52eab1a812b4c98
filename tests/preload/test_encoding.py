"""Every file: the sample types, the rules of the format, and what other programs think of it."""

import gzip
import os
import re
import socket
import subprocess
import unittest

import harness
import pprof_decode
from harness import preload

SECRET = "argument-that-must-not-appear"


class EveryFile(harness.PreloadTest):
    @classmethod
    def setUpClass(cls):
        cls.runs = {
            "known": preload("known", SECRET, CPROF_HEAP_RATE=1, env={"MY_TOKEN": SECRET}),
            "truth": preload("truth", "20000", CPROF_HEAP_RATE=1),
            "c++": preload("cpp_names", CPROF_HEAP_RATE=1),
            "rust": preload("rust_words", CPROF_HEAP_RATE=1),
            "deep": preload("deep", "300", CPROF_HEAP_RATE=1),
            "default rate": preload("sizes", "20", "524288"),
            "no samples": preload("known", CPROF_HEAP_RATE=0),
            "two snapshots": preload("usr2_snapshot", "/nonexistent", CPROF_HEAP_RATE=1),
        }

    def files(self):
        found = [(what, file) for what, run in self.runs.items() for file in run.files()]
        self.assertGreater(len(found), 16)
        return found

    def test_obeys_every_rule(self):
        for what, file in self.files():
            with self.subTest(what, file=file.path.name):
                pprof_decode.check_valid(pprof_decode.load(file.path))

    def test_has_exactly_the_types_of_its_profile(self):
        for what, file in self.files():
            with self.subTest(what, file=file.path.name):
                profile = pprof_decode.load(file.path)
                types, period_type, default = pprof_decode.EXPECTED_TYPES[file.profile]
                self.assertEqual(profile.sample_types, types)
                self.assertEqual(profile.period_type, period_type)
                self.assertEqual(profile.default_sample_type, default)

    def test_of_heap_allocs_and_heap_peak_exists_with_one_snapshot_number(self):
        for what in ("known", "truth", "c++", "default rate"):
            files = self.runs[what].files()
            self.assertLessEqual({"heap", "allocs", "heap_peak"}, {file.profile for file in files}, what)
            self.assertEqual({file.number for file in files}, {1}, what)
        numbers = {(file.profile, file.number) for file in self.runs["two snapshots"].files()}
        self.assertIn(("heap", 1), numbers)
        self.assertIn(("heap", 2), numbers)

    def test_is_named_after_the_program_and_its_pid(self):
        for what, name in (("known", "known"), ("truth", "truth"), ("rust", "rust_words")):
            for file in self.runs[what].files():
                self.assertEqual((file.exe, file.pid), (name, self.runs[what].pid))

    def test_belongs_to_its_owner_alone(self):
        for _, file in self.files():
            self.assertEqual(os.stat(file.path).st_mode & 0o7777, 0o600)

    def test_tells_in_comments_what_it_is(self):
        run = self.runs["known"]
        for name in ("heap", "allocs", "heap_peak"):
            profile = run.profile(name)
            self.assertIn(f"profile: {name}", profile.comments)
            executable = str(harness.victim("known"))
            for pattern in (r"cprof.*\d+\.\d+", re.escape(executable), rf"pid\D{{0,3}}{run.pid}\b", r"rate\D{0,12}1\b",
                            r"kept", r"dropped", r"RSS|resident", re.escape(socket.gethostname()), r"start",
                            r"function names from symbol tables; lines: cprof symbolize"):
                self.assertIsNotNone(profile.comment(pattern), f"no {pattern} in {profile.comments}")
            self.assertGreater(harness.agent_bytes(profile), 0)

    def test_never_holds_arguments_or_environment(self):
        self.assertEqual(len(self.runs["known"].files()), 3)
        for file in self.runs["known"].files():
            self.assertNotIn(SECRET.encode(), gzip.decompress(file.path.read_bytes()))

    def test_without_samples_is_written_only_for_the_heap(self):
        run = self.assert_ok(self.runs["no samples"])
        self.assertEqual([file.profile for file in run.files()], ["heap"])
        self.assertEqual(run.profile("heap").samples, [])
        self.assertLessEqual(run.profile("heap").period, 1)

    def test_is_accepted_by_go_tool_pprof(self):
        go = harness.tool("go")
        pprof = subprocess.run([go, "tool", "-n", "pprof"], stdout=subprocess.PIPE, check=True, timeout=60)
        command = pprof.stdout.decode().split() or [go, "tool", "pprof"]
        env = harness.clean_env(HOME=harness.temporary_directory(), PPROF_TMPDIR=harness.temporary_directory())
        for what, file in self.files():
            for mode in ("-raw", "-top"):
                with self.subTest(what, file=file.path.name, mode=mode):
                    done = subprocess.run(command + ["-symbolize=none", mode, str(file.path)], stdout=subprocess.PIPE,
                                          stderr=subprocess.PIPE, env=env, timeout=60, stdin=subprocess.DEVNULL)
                    self.assertEqual(done.returncode, 0, done.stderr.decode())
                    if mode == "-raw":
                        self.assertIn(b"Samples:", done.stdout)
                    if (what, mode, file.profile) == ("known", "-top", "heap"):
                        self.assertRegex(done.stdout.decode(), r"512kB\s+.*allocates_large")

    def test_keeps_its_names_when_go_tool_pprof_symbolizes(self):
        go = harness.tool("go")
        env = harness.clean_env(HOME=harness.temporary_directory(), PPROF_TMPDIR=harness.temporary_directory())
        run = self.runs["c++"]
        heap = [file for file in run.files() if file.profile == "heap"][0]
        done = subprocess.run([go, "tool", "pprof", "-sample_index=alloc_objects", "-top", str(heap.path)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, timeout=60,
                              stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        self.assertIn("shop::Store::fill", done.stdout.decode())
        self.assertNotIn("[libstdc++", done.stdout.decode())

    def test_is_accepted_by_protoc(self):
        protoc = harness.tool("protoc")
        for what, file in self.files():
            with self.subTest(what, file=file.path.name):
                done = subprocess.run([protoc, "--decode=perftools.profiles.Profile", f"--proto_path={harness.ROOT}",
                                       "encoder/profile.proto"], input=gzip.decompress(file.path.read_bytes()),
                                      cwd=harness.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
                self.assertEqual(done.returncode, 0, done.stderr.decode())
                self.assertIn(b"sample_type {", done.stdout)
                self.assertNotRegex(done.stdout.decode(), r"(?m)^\s*\d+: ", "a field that the schema does not know")

    def test_names_are_the_mangled_ones(self):
        names = self.runs["c++"].profile("heap").function_names()
        self.assertIn("_ZN4shop5Store4fillEi", names)
        self.assertIn("rust_keeps", self.runs["rust"].profile("heap").function_names())

    def test_names_an_address_without_symbol_after_its_module(self):
        stripped = harness.temporary_directory() / "stripped"
        subprocess.run(["strip", "-o", stripped, harness.victim("known")], check=True)
        run = preload([stripped], CPROF_HEAP_RATE=1)
        names = run.profile("heap").function_names()
        self.assertNotIn("allocates_four", names)
        unknown = [name for name in names if re.fullmatch(r"stripped\+0x[0-9a-f]+", name)]
        self.assertGreater(len(unknown), 2, names)


class Mappings(harness.PreloadTest):
    @classmethod
    def setUpClass(cls):
        cls.printed = preload("prints_maps", CPROF_HEAP_RATE=1)
        cls.expected = []
        for line in cls.printed.text().splitlines():
            fields = line.split(None, 5)
            if not fields[1].startswith("r-x"):
                continue
            start, limit = (int(n, 16) for n in fields[0].split("-"))
            path, offset = fields[5] if len(fields) > 5 else "", int(fields[2], 16)
            last = cls.expected[-1] if cls.expected else None
            if last and path and last[3] == path and last[1] == start and last[2] + last[1] - last[0] == offset:
                cls.expected[-1] = (last[0], limit, last[2], path)
            else:
                cls.expected.append((start, limit, offset, path))

    def test_are_the_executable_lines_of_proc_self_maps(self):
        heap = self.assert_ok(self.printed).profile("heap")
        found = {(m.start, m.limit, m.offset, m.file) for m in heap.mappings}
        expected = set(self.expected)
        hidden = {entry for entry in expected if re.search(r"libcprof|libunwind|liblzma", entry[3])}
        self.assertLessEqual(found, expected, "a mapping that is not there")
        self.assertLessEqual(expected - hidden, found, "a mapping is missing")

    def test_begin_with_the_executable_and_keep_the_vdso(self):
        mappings = self.printed.profile("heap").mappings
        self.assertEqual(mappings[0].file, str(harness.victim("prints_maps")))
        self.assertIn("[vdso]", [mapping.file for mapping in mappings])

    def test_carry_the_build_id_of_their_file(self):
        for mapping in self.printed.profile("heap").mappings:
            if not mapping.file.startswith("/"):
                continue
            notes = subprocess.run(["readelf", "-n", mapping.file], stdout=subprocess.PIPE, check=True).stdout.decode()
            expected = re.search(r"Build ID: ([0-9a-f]+)", notes)
            self.assertEqual(mapping.build_id, expected.group(1) if expected else "", mapping)

    def test_hold_addresses_inside_the_calls(self):
        """Return address - 1: the address belongs to the call instruction of the named function."""
        heap = self.printed.profile("heap")
        sample = heap.with_function("duplicates")[0]
        location = [loc for loc in sample.locations if "duplicates" in loc.names()][0]
        symbols = subprocess.run(["nm", "-S", harness.victim("prints_maps")], stdout=subprocess.PIPE, check=True)
        start, size = re.search(r"(?m)^(\w+) (\w+) \w duplicates$", symbols.stdout.decode()).groups()
        mapping = location.mapping
        code = subprocess.run(["objdump", "-d", "--no-show-raw-insn", harness.victim("prints_maps")],
                              stdout=subprocess.PIPE, check=True).stdout.decode()
        # r-x segment: its virtual address equals its file offset in a default link of Debian's gcc.
        address = location.address - mapping.start + mapping.offset
        self.assertTrue(int(start, 16) <= address < int(start, 16) + int(size, 16))
        after_call = re.search(rf"(?m)^\s*{address + 1:x}:", code)
        self.assertIsNotNone(after_call, f"{address:x} is not the last byte of an instruction")
        self.assertRegex(code[:after_call.start()].rstrip().splitlines()[-1], r"\bcall\b")

    def test_of_a_deleted_program_have_its_clean_name(self):
        copy = harness.temporary_directory() / "deletes_itself"
        copy.write_bytes(harness.victim("deletes_itself").read_bytes())
        copy.chmod(0o700)
        run = self.assert_ok(preload([copy], CPROF_HEAP_RATE=1))
        self.assertEqual(run.profile("heap").mappings[0].file, str(copy))


class Symbols(harness.PreloadTest):
    def test_off_gives_raw_addresses(self):
        run = self.assert_ok(preload("known", CPROF_HEAP_RATE=1, CPROF_SYMBOLS="off"))
        path = [file.path for file in run.files() if file.profile == "heap"][0]
        profile = pprof_decode.load(path)
        pprof_decode.check_valid(profile, symbols=False)
        self.assertGreater(len(profile.samples), 4)
        self.assertEqual(profile.functions, [])


if __name__ == "__main__":
    harness.main()
