"""A program with a sanitizer built in runs as ever; the agent switches itself off and says so."""

import ctypes
import subprocess
import unittest

import harness
from harness import bare, preload


def fixed_addresses():
    """The runtimes of gcc 12 and clang 14 die by chance where the kernel randomizes more than 28 bits of an address."""
    harness.in_foreground()
    ctypes.CDLL(None).personality(0x40000)  # ADDR_NO_RANDOMIZE


class Sanitizer(harness.PreloadTest):
    NAMES = {"address": "AddressSanitizer", "thread": "ThreadSanitizer", "leak": "LeakSanitizer",
             "memory": "MemorySanitizer", "undefined": None}

    def build(self, compiler, sanitizer):
        target = harness.temporary_directory() / "sanitized"
        command = [harness.tool(compiler), "-std=gnu11", "-D_GNU_SOURCE", "-g", "-O1", "-w", f"-I{harness.PROGRAMS}", "-pthread",
                   f"-fsanitize={sanitizer}", harness.PROGRAMS / "sanitized.c", "-o", target]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            self.skipTest(f"{compiler} has no {sanitizer} sanitizer: {done.stdout[-200:]}")
        return target

    def check(self, compiler, sanitizer):
        program = self.build(compiler, sanitizer)
        for what in ("", "use-after-free", "signal"):
            expected = bare([program], what, preexec=fixed_addresses)
            silent = preload([program], what, out=False, preexec=fixed_addresses)
            self.assertEqual((silent.status, silent.stdout, silent.messages()), (expected.status, expected.stdout, []), what)
            run = preload([program], what, preexec=fixed_addresses, CPROF_HEAP_RATE=1, CPROF_MIN_LIFE="0s")
            self.assertEqual((run.status, run.stdout), (expected.status, expected.stdout), run.stderr)
            if self.NAMES[sanitizer]:
                self.assert_one_message(run, self.NAMES[sanitizer], "cprof is off") if what == "" else None
                self.assertNotIn("sanitized", {file.exe for file in run.files()})
            else:
                self.assertEqual(run.messages(), [])
                self.assertIn("heap", {file.profile for file in run.files()})
            self.assertEqual(b"ERROR: AddressSanitizer: heap-use-after-free" in run.stderr,
                             b"ERROR: AddressSanitizer: heap-use-after-free" in expected.stderr)

    def test_of_gcc_and_its_shared_libraries_runs_and_reports(self):
        for sanitizer in ("address", "thread", "leak", "undefined"):
            with self.subTest(sanitizer):
                self.check("gcc", sanitizer)

    def test_of_clang_in_the_program_runs_and_reports(self):
        for sanitizer in ("address", "thread", "memory"):
            with self.subTest(sanitizer):
                self.check("clang", sanitizer)


if __name__ == "__main__":
    harness.main()
