"""Under valgrind's tools a preloaded program ends as it does without the agent, and the agent does nothing to be reported."""

import unittest

import harness
from harness import preload, start, victim

EXACT = {"CPROF_HEAP_RATE": "1", "CPROF_BLOCK_RATE": "1ns", "CPROF_MUTEX_RATE": "1ns", "CPROF_MIN_LIFE": "0s"}

# Helgrind knows no atomic accesses: it takes them for races, in any program.
ATOMIC = "{\natomic\nHelgrind:Race\n...\nobj:*/libcprof.so\n}\n"


class Valgrind(harness.PreloadTest):
    def check(self, tool, program, *args, options=(), **settings):
        command = [harness.tool("valgrind"), f"--tool={tool}", "-q", "--error-exitcode=9", *options, victim(program), *args]
        run = preload(command, **{**EXACT, **settings})
        if b"unhandled dwarf2 abbrev form code" in run.stderr:
            self.skipTest("this valgrind cannot read this compiler's debugging information")
        self.assertEqual((run.status, run.stderr.decode()), (0, ""), f"{tool} {program}")
        return run

    def test_memcheck_sees_no_lock_touched_after_its_unlock(self):
        run = self.check("memcheck", "drops_last_reference", "20", options=["--leak-check=full"])
        self.assertEqual(run.text(), "mutex freed\nc11 freed\nrwlock freed\n")
        for name, function in (("mutex", "drops_first"), ("block", "drops")):
            samples = run.profile(name).with_function(function)
            self.assertEqual(sum(sample.values[0] for sample in samples if sample.leaf() != function), 60, name)

    def test_memcheck_sees_no_error_in_any_kind_of_wait(self):
        self.assertEqual(self.check("memcheck", "contended", "all").text(), "ok\n")

    def test_memcheck_sees_no_error_on_the_agents_thread(self):
        command = [harness.tool("valgrind"), "-q", "--error-exitcode=9", victim("http_victim")]
        process = start(command, **{**EXACT, "CPROF_INTERVAL": "10ms"})
        self.assertEqual(process.line(), "ready")
        for words in ("keep", "leave 1", "forks 1"):  # the thread ends and another one begins
            process.say(words)
            last = process.run.last_number()
            process.wait_for(lambda last=last: process.run.last_number() > last + 1, "snapshots by time")
        process.popen.stdin.close()
        process.popen.stdin = None
        run = process.finish()
        self.assertEqual((run.status, run.stderr.decode()), (0, ""))

    def test_helgrind_sees_no_lock_in_the_place_of_another(self):
        suppressions = harness.temporary_directory() / "atomic.supp"
        suppressions.write_text(ATOMIC)
        run = self.check("helgrind", "contended", "waiters", "4", "5", options=[f"--suppressions={suppressions}"])
        self.assertEqual(run.profile("block").count("passes_on"), 4)

    def test_drd_sees_no_lock_in_the_place_of_another(self):
        # A program without threads: drd crashes now and then with any library that wraps pthread_create.
        run = self.check("drd", "known")
        self.assertEqual(run.text(), harness.bare("known").text())


if __name__ == "__main__":
    harness.main()
