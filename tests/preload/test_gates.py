"""Every gate of `make check` catches the violation that it is there for."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*command, **how):
    return subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
                          **how)


class GateTest(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="cprof-gates-")
        self.addCleanup(holder.cleanup)
        self.tree = Path(holder.name)

    def write(self, name, text):
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def assert_passes(self, done):
        self.assertEqual(done.returncode, 0, done.stdout.decode())

    def assert_catches(self, done, *parts):
        self.assertEqual(done.returncode, 1, done.stdout.decode())
        for part in parts:
            self.assertIn(part, done.stdout.decode())


class LayersTest(GateTest):
    ALLOWED = {
        "include/cprof.h": "#include <stddef.h>\n",
        "base/log.c": '#include "base/log.h"\n#include <stdio.h>\n#include "cprof.h"\n',
        "encoder/pprof.c": '#include "encoder/profile.pb-c.h"\n#include "base/sink.h"\n',
        "agent/heap.c": '#include "agent/heap.h"\n#include "encoder/pprof.h"\n#include "base/real.h"\n',
        "agent/config.c": '#include "agent/config.def"\n',
        "interpose/malloc.c": '#include "agent/heap.h"\n#include "base/real.h"\n',
        "cli/run.c": '#include "cli/run.h"\n#include "encoder/pprof.h"\n#include "base/text.h"\n#include "agent/config.def"\n',
    }

    def setUp(self):
        super().setUp()
        for name, text in self.ALLOWED.items():
            self.write(name, text)

    def gate(self):
        return run(ROOT / "scripts/check-layers", self.tree)

    def test_what_the_layout_allows_passes(self):
        self.assert_passes(self.gate())

    def test_includes_that_point_back_are_caught(self):
        for name, line in (
                ("include/other.h", '#include "base/atomic.h"'),
                ("base/bad.c", '#include "encoder/gzip.h"'),
                ("base/bad.h", '#include "agent/heap.h"'),
                ("encoder/bad.c", '#include "agent/snapshot.h"'),
                ("encoder/bad.def", '#include "agent/snapshot.h"'),
                ("agent/bad.c", '#include "interpose/malloc.h"'),
                ("agent/bad.S", '#include "cli/top.h"'),
                ("interpose/bad.c", '#include "encoder/pprof.h"'),
                ("cli/bad.c", '#include "agent/config.h"'),
                ("cli/bad.c", '  #  include "interpose/malloc.h"'),
                ("base/bad.c", '#include "../agent/heap.h"'),
                ("base/bad.c", "#include <agent/heap.h>"),
                ("base/bad.c", '#include "tests/check.h"'),
                ("encoder/bad.c", '#include "gzip.h"')):
            with self.subTest(name=name, line=line):
                path = self.write(name, line + "\n")
                self.assert_catches(self.gate(), name, line.strip(), "may include only")
                path.unlink()


class SymbolsTest(GateTest):
    """A library and objects made for the purpose, checked against golden lists of their own."""

    def setUp(self):
        super().setUp()
        self.write("tests/exports.txt", "cprof_hello\nmalloc\n")
        self.write("tests/needed.txt", "libc.so.6\n")
        self.write("base/real.def", "/* comment */\nREAL(malloc)\nREAL_OPT(close)\nREAL_VER(_exit, GLIBC_2.2.5)\n")
        self.write("libcprof.map", "{ global: cprof_*; malloc; local: *; };\n")
        self.source = ("__attribute__((tls_model(\"initial-exec\"))) __thread char state[64];\n"
                       "char *cprof_hello(void); char *cprof_hello(void) { return state; }\n"
                       "void *malloc(unsigned long n) { return (void *)n; }\n"
                       "void hidden(void); void hidden(void) {}\n")
        self.flags = ["-Wl,--no-as-needed"]

    def object(self, layer, source, *flags):
        path = self.write(f"build/{layer}/made.c", source)
        done = run("gcc", "-fPIC", "-O1", "-w", *flags, "-c", "-o", path.with_suffix(".o"), path)
        self.assertEqual(done.returncode, 0, done.stdout.decode())
        return path.with_suffix(".o")

    def gate(self):
        library = self.tree / "build/libcprof.so"
        built = self.object("lib", self.source)
        done = run("gcc", "-shared", "-o", library, built, f"-Wl,--version-script={self.tree}/libcprof.map", *self.flags)
        self.assertEqual(done.returncode, 0, done.stdout.decode())
        return run(ROOT / "scripts/check-symbols", library, self.tree)

    def test_a_good_library_passes(self):
        self.object("agent", "void hidden(void); void agent(void) { hidden(); }")
        self.assert_passes(self.gate())

    def test_an_export_too_many_is_caught(self):
        self.source += "void cprof_new(void) {}\n"
        self.assert_catches(self.gate(), "+cprof_new", "tests/exports.txt")

    def test_a_missing_export_is_caught(self):
        self.write("libcprof.map", "{ global: cprof_*; local: *; };\n")
        self.assert_catches(self.gate(), "-malloc", "tests/exports.txt")

    def test_a_needed_library_too_many_is_caught(self):
        self.flags += ["-lz"]
        self.assert_catches(self.gate(), "+libz.so.1", "tests/needed.txt")

    def test_calls_of_wrapped_functions_are_caught(self):
        for layer in ("base", "encoder", "agent", "interpose"):
            for call in ("malloc", "close", "_exit"):
                with self.subTest(layer=layer, call=call):
                    made = self.object(layer, f"void {call}(); void agent(void) {{ {call}(1); }}", "-fno-builtin")
                    self.assert_catches(self.gate(), f"{layer}/made.o calls {call}")
                    made.unlink()

    def test_calls_that_allocate_lock_or_format_are_caught(self):
        for call in ("free", "printf", "vsnprintf", "__snprintf_chk", "fopen", "fputs", "getenv", "secure_getenv", "strdup",
                     "pthread_mutex_lock", "abort", "localtime_r"):
            with self.subTest(call=call):
                self.object("agent", f"void {call}(); void agent(void) {{ {call}(1); }}", "-fno-builtin")
                self.assert_catches(self.gate(), f"agent/made.o calls {call}")

    def test_too_much_thread_local_storage_is_caught(self):
        self.source = self.source.replace("state[64]", "state[72]")
        self.assert_catches(self.gate(), "72 bytes of thread-local storage")

    def test_another_tls_model_is_caught(self):
        for flags in (["-mtls-dialect=gnu"], ["-mtls-dialect=gnu2"]) if os.uname().machine == "x86_64" else ([],):
            with self.subTest(flags=flags):
                self.source = "__thread char state[8]; char *cprof_hello(void) { return state; } void malloc(void) {}"
                library = self.tree / "build/libcprof.so"
                built = self.object("lib", self.source, *flags)
                done = run("gcc", "-shared", "-o", library, built)
                self.assertEqual(done.returncode, 0, done.stdout.decode())
                self.write("tests/exports.txt", "cprof_hello\nmalloc\nstate\n")
                self.assert_catches(run(ROOT / "scripts/check-symbols", library, self.tree), "not initial-exec")

    @unittest.skipUnless(os.uname().machine == "x86_64", "the assembly of this test is for x86-64")
    def test_relocations_in_the_text_are_caught(self):
        self.source += '__asm__(".text\\n.quad malloc\\n");\n'
        self.flags += ["-Wl,-z,notext"]
        self.assert_catches(self.gate(), "relocations in its text")


class SandboxTest(GateTest):
    """agent/sandbox.c knows every system call that the agent makes: a filter that kills for one it forgot kills the program."""

    CALLS = {
        "base/sys.h": "return SYS_CALL(SYS_read, 1);\nSYS_CALL(436 /* SYS_close_range */, first);\n",
        "agent/clone.c": 'register long x8 __asm__("x8") = SYS_clone; /* SYS_CALL, SYS_FUTEX_WAITV */\n',
        "agent/sandbox.c": '    CALL(read, AGENT),\n    CALL(clone,\n         THREAD | APART),\n    {"close_range", 436, THREAD | APART},\n',
        "interpose/fd.c": "number == SYS_dup2;\n",
    }

    @staticmethod
    def forgotten(tree):
        """What is named under base/, agent/ and encoder/, or called in interpose/, and is not in the table."""
        table = (tree / "agent/sandbox.c").read_text()
        known = re.findall(r"^\s*CALL\((\w+),", table, re.MULTILINE) + re.findall(r'^\s*\{"(\w+)",', table, re.MULTILINE)
        made = set()
        for folder, what in (("base", r"(?:SYS|__NR)_([a-z]\w*)"), ("agent", r"(?:SYS|__NR)_([a-z]\w*)"),
                             ("encoder", r"(?:SYS|__NR)_([a-z]\w*)"), ("interpose", r"SYS_CALL\((?:SYS|__NR)_([a-z]\w*)")):
            for path in (tree / folder).glob("*.[chS]"):
                if path.name != "sandbox.c":
                    made.update(re.findall(what, path.read_text()))
        return sorted(made - set(known))

    def test_knows_every_call(self):
        self.assertEqual(self.forgotten(ROOT), [])

    def test_a_call_that_it_does_not_know_is_caught(self):
        for name, text in self.CALLS.items():
            self.write(name, text)
        self.assertEqual(self.forgotten(self.tree), [])
        for name, line, call in (("base/sys.h", "SYS_CALL(SYS_getsockopt, fd)", "getsockopt"),
                                 ("base/sys.h", "SYS_CALL(434 /* SYS_pidfd_open */, 0)", "pidfd_open"),
                                 ("agent/start.S", "mov $__NR_exit, %eax", "exit"),
                                 ("interpose/fd.c", "SYS_CALL(SYS_dup3, 1, 2, 0)", "dup3")):
            with self.subTest(name=name, line=line):
                path = self.write(name, self.CALLS.get(name, "") + line + "\n")
                self.assertEqual(self.forgotten(self.tree), [call])
                path.write_text(self.CALLS.get(name, ""))


class DocumentationTest(GateTest):
    LINE = 'OPTION(size, heap_rate_bytes, "512k", "CPROF_HEAP_RATE", "bytes" " between samples")\n'

    def setUp(self):
        super().setUp()
        (self.tree / "docs").mkdir()
        self.write("agent/config.def", self.LINE + 'OPTION_LATER(text, http, "", "CPROF_HTTP", "a|b")\n')
        self.assert_passes(run(ROOT / "scripts/docs-from-def", self.tree))

    def gate(self):
        return run(ROOT / "scripts/docs-from-def", "--check", self.tree)

    def test_the_table_becomes_a_page(self):
        page = (self.tree / "docs/environment.md").read_text()
        self.assertIn("| `CPROF_HEAP_RATE` | `512k` | bytes: ", page.partition("not built yet")[0])
        self.assertIn("| bytes between samples |", page)
        self.assertIn("| `CPROF_HTTP` | unset | text | a\\|b |", page.partition("not built yet")[2])
        self.assert_passes(self.gate())

    def test_a_page_that_differs_or_is_missing_is_caught(self):
        page = self.tree / "docs/environment.md"
        page.write_text(page.read_text().replace("CPROF_HEAP_RATE", "CPROF_HEAP_RAT"))
        self.assert_catches(self.gate(), "CPROF_HEAP_RAT`", "run scripts/docs-from-def")
        page.unlink()
        self.assert_catches(self.gate(), "run scripts/docs-from-def")

    def test_lines_that_are_not_understood_are_caught(self):
        for line in ('OPTION(size, memory_bytes, 64 << 20, "CPROF_MEMORY", "cap")\n', 'OPTION(colour, c, "", "CPROF_C", "c")\n'):
            with self.subTest(line=line):
                self.write("agent/config.def", self.LINE + line)
                self.assert_catches(self.gate(), "of 2 lines understood")


class CountingTest(GateTest):
    """scripts/check counts what a test says, and believes no test that dies half way."""

    CASES = (
        # what the test prints, its exit status: passed, failed, skipped
        ("ok 1 - a\nok 2 - b\n1..2\n", 0, (2, 0, 0)),
        ("ok 1 - a\nnot ok 2 - b\n1..2\n", 1, (1, 1, 0)),
        ("ok 1 - a # SKIP no node\n1..1\n", 0, (0, 0, 1)),
        ("1..0 # SKIP no redis\n", 0, (0, 0, 1)),
        ("ok 1 - a\n", 139, (1, 1, 0)),
        ("ok 1 - a\n1..2\n", 0, (1, 1, 0)),
        ("ok 1 - a\n1..1\n", 1, (1, 1, 0)),
        ("anything\n", 0, (1, 0, 0)),
        ("anything\n", 1, (0, 1, 0)),
        ("no node here\n", 77, (0, 0, 1)),
        ("", 1, (0, 1, 0)),
    )

    def test_counts(self):
        shutil.copytree(ROOT / "scripts", self.tree / "scripts")
        self.write("Makefile", "all:\n")
        for text, status, wanted in self.CASES:
            with self.subTest(text=text, status=status):
                self.write("tests/apps/case.sh", f"cat <<'END'\n{text}END\nexit {status}\n")
                done = run(self.tree / "scripts/check", "apps")
                passed, failed, skipped = wanted
                line = f"{passed + 1} passed, {failed} failed" + (f", {skipped} skipped" if skipped else "")
                self.assertEqual(done.stdout.decode().splitlines()[-1], line, done.stdout.decode())
                self.assertEqual(done.returncode, failed != 0)

    def test_python_failures_errors_skips_and_subtests_are_counted(self):
        shutil.copytree(ROOT / "scripts", self.tree / "scripts")
        self.write("Makefile", "all:\n")
        self.write("tests/preload/test_made.py", """\
import unittest
class Made(unittest.TestCase):
    def test_good(self): pass
    def test_bad(self): self.assertEqual(1, 2)
    def test_error(self): raise OSError("no")
    def test_two_subtests(self):
        for i in range(2):
            with self.subTest(i=i): self.assertEqual(i, 2)
    def test_skip(self): self.skipTest("no node")
    @unittest.expectedFailure
    def test_unexpected(self): pass
class NoSetup(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise OSError("no class")
    def test_never(self): pass
""")
        done = run(self.tree / "scripts/check", "preload")
        self.assertEqual(done.stdout.decode().splitlines()[-1], "2 passed, 5 failed, 1 skipped", done.stdout.decode())
        self.assertIn("no node", done.stdout.decode())

    def test_what_a_fuzzer_finds_is_counted(self):
        if not shutil.which("clang"):
            self.skipTest("clang is not installed")
        shutil.copytree(ROOT / "scripts", self.tree / "scripts")
        self.write("Makefile", "all:\nfuzz-build:\n\tmkdir -p build-fuzz/fuzz\n"
                               "\tclang -fsanitize=fuzzer -o build-fuzz/fuzz/made_fuzz tests/fuzz/made_fuzz.c\n")
        self.write("tests/fuzz/made_fuzz.c", """\
#include <stddef.h>
#include <stdlib.h>
int LLVMFuzzerTestOneInput(const char *data, size_t size)
{
    if (size && data[0] == 'x')
        abort();
    return 0;
}
""")
        done = run(self.tree / "scripts/check", "fuzz")
        self.assertEqual((done.stdout.decode().splitlines()[-1], done.returncode), ("2 passed, 1 failed", 1))
        self.assertEqual([path.read_bytes()[:1] for path in (self.tree / "build-fuzz/fuzz").glob("made_fuzz.crash-*")], [b"x"])

    def test_a_broken_build_fails(self):
        shutil.copytree(ROOT / "scripts", self.tree / "scripts")
        self.write("Makefile", "all:\n\tfalse\n")
        done = run(self.tree / "scripts/check", "apps")
        self.assertEqual((done.stdout.decode().splitlines()[-1], done.returncode), ("0 passed, 1 failed", 1))


if __name__ == "__main__":
    unittest.main()
