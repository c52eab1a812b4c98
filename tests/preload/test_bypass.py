"""Wrappers of an agent that is off: a short jump to the real function, and whole again before a profile starts."""

import os
import re
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import harness  # noqa: E402
from harness import PreloadTest, bare, preload  # noqa: E402
from test_http import Served  # noqa: E402

NAMES = ["malloc", "calloc", "free", "pthread_mutex_lock", "pthread_mutex_unlock", "pthread_rwlock_rdlock",
         "pthread_rwlock_wrlock", "pthread_rwlock_unlock"]
SHORT_JUMP, BYTES = 0xeb, 16
ENDBR64 = b"\xf3\x0f\x1e\xfa"  # with -fcf-protection: what an indirect jump must find


def symbols():
    listed = subprocess.run(["nm", "-D", harness.LIBRARY], stdout=subprocess.PIPE, check=True).stdout.decode()
    found = {name: int(at, 16) for at, name in re.findall(r"^([0-9a-f]+) T (\w+)", listed, re.MULTILINE)}
    return {name: found[name] for name in NAMES}


def in_memory(pid):
    """The first bytes of each wrapper in the process, and the permissions of the library's mappings."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    maps = [line.split() for line in lines if line.endswith(str(harness.LIBRARY))]
    base = int(maps[0][0].split("-")[0], 16)
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        return ({name: os.pread(memory.fileno(), BYTES, base + at) for name, at in symbols().items()},
                {fields[1] for fields in maps})


def in_file():
    """Text lies at one distance from its place in the file: that of the executable segment."""
    listed = subprocess.run(["readelf", "-lW", harness.LIBRARY], stdout=subprocess.PIPE, check=True).stdout.decode()
    offset, address = re.search(r"LOAD +0x([0-9a-f]+) 0x([0-9a-f]+) .* R E ", listed).groups()
    data = Path(harness.LIBRARY).read_bytes()
    return {name: data[at + int(offset, 16) - int(address, 16):][:BYTES] for name, at in symbols().items()}


@unittest.skipUnless(harness.MACHINE == "x86_64", "only on x86-64 is text bypassed")
class Bypass(PreloadTest):
    def test_while_off_every_wrapper_begins_with_a_short_jump_and_start_takes_it_away(self):
        whole = in_file()
        with Served(CPROF="off") as served:
            first, rights = in_memory(served.process.pid)
            for name in NAMES:
                begin = len(ENDBR64) if whole[name].startswith(ENDBR64) else 0
                self.assertNotEqual(whole[name][begin], SHORT_JUMP, name)
                self.assertEqual(first[name][begin], SHORT_JUMP, name)
                self.assertEqual(first[name][:begin] + first[name][begin + 2:], whole[name][:begin] + whole[name][begin + 2:], name)
            self.assertFalse([right for right in rights if "w" in right and "x" in right], rights)
            self.assertEqual(served.ask("start", method="POST").status, 200)
            first, rights = in_memory(served.process.pid)
            self.assertEqual(first, whole)
            self.assertFalse([right for right in rights if "w" in right and "x" in right], rights)
            self.assertEqual(served.ask("stop", method="POST").status, 200)
            self.assertEqual(in_memory(served.process.pid)[0], whole, "what was counted may still be freed")

    def test_while_on_every_wrapper_is_whole(self):
        with Served() as served:
            self.assertEqual(in_memory(served.process.pid)[0], in_file())

    def test_programs_behave_as_bare(self):
        for name, *arguments in (("errno_kept",), ("realloc_rules",), ("return_codes", "mutex"), ("return_codes", "rwlock"),
                                 ("fork_threads",), ("dlopen_churn",)):
            expected = bare(name, *arguments)
            run = preload(name, *arguments, CPROF="off")
            self.assert_same(expected, run, name)

    def test_where_text_may_not_be_written_the_wrappers_stay_whole_and_work(self):
        run = preload("no_writable_text", CPROF="off")
        self.assertEqual((run.status, run.stderr, run.text()), (0, b"", "refused\nok\n"))


if __name__ == "__main__":
    harness.main()
