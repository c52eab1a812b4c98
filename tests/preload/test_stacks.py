"""What stands in a stack: depth, truncation, modules that come and go, no frame of the agent."""

import re
import shutil
import unittest

import harness
from harness import preload, victim


class Depth(harness.PreloadTest):
    def stack(self, calls, **settings):
        run = self.assert_ok(preload("deep", str(calls), CPROF_HEAP_RATE=1, **settings))
        samples = [sample for sample in run.profile("heap").samples if sample.leaf() == "deepest"]
        self.assertEqual(len(samples), 1)
        return samples[0].functions()

    def test_65_calls_are_all_there_down_to_the_start(self):
        names = self.stack(65)
        self.assertEqual(names[:67], ["deepest"] + ["down"] * 65 + ["main"])
        self.assertNotIn("[truncated]", names)
        self.assertEqual(names[-1], "_start")

    def test_of_more_calls_the_128_innermost_stay_and_the_cut_is_marked(self):
        for calls in (128, 200, 5000):
            names = self.stack(calls)
            self.assertEqual(names, ["deepest"] + ["down"] * 127 + ["[truncated]"], f"{calls} calls")

    def test_a_stack_that_just_fits_is_not_marked(self):
        outside = len(self.stack(10)) - 10
        names = self.stack(128 - outside)
        self.assertEqual((len(names), names[-1]), (128, "_start"))
        names = self.stack(129 - outside)
        self.assertEqual((len(names), names[-1]), (129, "[truncated]"))

    def test_the_depth_can_be_set(self):
        self.assertEqual(self.stack(100, CPROF_DEPTH=16), ["deepest"] + ["down"] * 15 + ["[truncated]"])
        names = self.stack(900, CPROF_DEPTH=1024)
        self.assertEqual((names.count("down"), names[-1]), (900, "_start"))

    def test_the_mark_of_a_cut_has_neither_address_nor_mapping(self):
        run = preload("deep", "300", CPROF_HEAP_RATE=1)
        cut = [location for sample in run.profile("heap").samples for location in sample.locations
               if location.names() == ["[truncated]"]]
        self.assertTrue(cut)
        self.assertTrue(all(location.address == 0 and location.mapping is None for location in cut))


class Agent(harness.PreloadTest):
    def test_never_shows_in_a_stack(self):
        for what in (("known",), ("truth", "20000"), ("cpp_names",), ("tls_destructors",), ("pthread_exit_main",)):
            run = preload(*what, CPROF_HEAP_RATE=1)
            self.assertTrue(run.profile("heap").samples, what)
            for _, profile in run.check_all():
                for sample in profile.samples:
                    for location in sample.locations:
                        if location.mapping:
                            self.assertNotIn("libcprof", location.mapping.file, what)
                            self.assertNotIn("libunwind", location.mapping.file, what)
                    self.assertFalse([name for name in sample.functions() if name in
                                      ("malloc", "calloc", "realloc", "free", "posix_memalign", "heap_malloc_sampled")
                                      or "cprof" in name.lower()], f"{what}: {sample}")

    def test_allocations_are_charged_to_their_caller(self):
        heap = preload("truth", "5000", CPROF_HEAP_RATE=1).profile("heap")
        leaves = set(heap.by_leaf("alloc_objects"))
        self.assertLessEqual({"by_malloc", "by_calloc", "by_realloc", "by_realloc_new", "by_reallocarray", "by_memalign",
                              "by_posix_memalign", "by_aligned_alloc", "by_valloc"}, leaves)

    def test_threads_stacks_reach_the_threads_start(self):
        heap = preload("free_elsewhere", CPROF_HEAP_RATE=1).profile("heap")
        names = heap.with_function("makes")[0].functions()
        self.assertEqual(names[0], "makes")
        self.assertRegex(names[1], r"^(start_thread|libc\.so\.6\+0x[0-9a-f]+)$", "libc's names may be stripped")


class Modules(harness.PreloadTest):
    def test_of_a_dlopen_churn_keep_their_names_and_cost_little(self):
        plugins = [victim("libplug_a"), victim("libplug_b")]
        run = self.assert_ok(preload("dlopen_churn", *plugins, "2000", CPROF_HEAP_RATE=1))
        heap = run.profile("heap")
        self.assertEqual(heap.all_values("plug_a_allocates"), (2000, 2000000, 0, 0))
        self.assertEqual(heap.all_values("plug_b_allocates"), (2000, 4000000, 0, 0))
        for name in ("plug_a_allocates", "plug_b_allocates"):
            for sample in heap.with_function(name):
                self.assertEqual(sample.functions()[:4], [name, "plug", "plug_once", "main"])
        small = preload("dlopen_churn", *plugins, "200", CPROF_HEAP_RATE=1).profile("heap")
        self.assertLess(harness.agent_bytes(heap), harness.agent_bytes(small) + (512 << 10))

    def test_loaded_at_the_end_have_names_too(self):
        run = self.assert_ok(preload("plugin_stays", victim("libplug_a"), CPROF_HEAP_RATE=1))
        self.assertEqual(run.profile("heap").all_values("plug_a_allocates"), (1, 12345, 1, 12345))

    def test_opened_by_a_relative_path_have_names_wherever_the_program_goes(self):
        directory = harness.temporary_directory()
        library = shutil.copy(victim("libplug_a"), directory)
        for elsewhere in ((), ("/",)):
            run = self.assert_ok(preload("plugin_stays", "./libplug_a.so", *elsewhere, cwd=directory, CPROF_HEAP_RATE=1))
            samples = run.profile("heap").with_function("plug_a_allocates")
            self.assertEqual(len(samples), 1, f"{run.profile('heap').samples}")
            self.assertEqual(samples[0].functions()[:3], ["plug_a_allocates", "plug", "main"])
            self.assertEqual(samples[0].locations[0].mapping.file, library)

    def test_replaced_on_disk_have_no_names_of_the_new_file(self):
        directory = harness.temporary_directory()
        library, other = directory / "libplug.so", directory / "other.so"
        shutil.copy(victim("libplug_a"), library)
        shutil.copy(victim("libplug_b"), other)
        run = self.assert_ok(preload("plugin_stays", library, "/", other, CPROF_HEAP_RATE=1))
        samples = [s for s in run.profile("heap").samples if s.values[1] == 12345]
        self.assertEqual(len(samples), 1)
        for function in samples[0].functions()[:2]:
            self.assertRegex(function, r"^libplug\.so\+0x[0-9a-f]+$")

    def test_of_a_program_started_through_the_loader_have_its_names(self):
        program = victim("known")
        interpreter = re.search(rb"/[\w/.-]+/ld-[\w.-]+\.so\.\d\0", program.read_bytes())
        if not interpreter:
            self.skipTest("the program names no loader")
        run = self.assert_ok(preload([interpreter.group()[:-1].decode(), program], CPROF_HEAP_RATE=1))
        heap = run.profile("heap")
        self.assertEqual(heap.all_values("allocates_four"), (4, 4096, 3, 3072))
        self.assertIn(f"exe: {program}", heap.comments)
        self.assertEqual(heap.mappings[0].file, str(program))

    def test_of_a_program_whose_link_is_cut_short_have_its_names(self):
        expected = harness.bare("cut_link")
        self.skip_untraced(expected)
        self.assertEqual((expected.status, expected.text()), (0, "ok\n"), expected.stderr)
        run = preload("cut_link", CPROF_HEAP_RATE=1)
        self.assert_same(expected, run, "cut_link")
        heap = run.profile("heap")
        self.assertEqual(heap.all_values("keeps"), (1, 4711, 1, 4711))
        self.assertIn(f"exe: {victim('cut_link')}", heap.comments)


class Unwinder(harness.PreloadTest):
    def test_exceptions_of_a_cpp_library_in_a_c_host_stay_with_libgcc(self):
        library = victim("libthrows")
        directory = harness.temporary_directory()
        run = preload("c_host_of_cpp", library, CPROF_HEAP_RATE=1,
                      env={"LD_DEBUG": "bindings", "LD_DEBUG_OUTPUT": str(directory / "bindings")})
        self.assertEqual((run.status, run.text()), (0, "caught 1000\n"))
        bindings = "".join(path.read_text(errors="replace") for path in directory.iterdir())
        bound = re.findall(r"binding file (\S+) \[\d+\] to (\S+) \[\d+\]: normal symbol `(_Unwind_\w+)'", bindings)
        bound = [(user, provider, symbol) for user, provider, symbol in bound
                 if "libunwind" not in user and "libcprof" not in user and "libgcc_s" not in user]
        self.assertTrue([symbol for user, _, symbol in bound if "libthrows" in user], bindings[-500:])
        self.assertTrue([symbol for _, _, symbol in bound if symbol == "_Unwind_RaiseException"])
        self.assertEqual([binding for binding in bound if "libgcc_s" not in binding[1]], [])

    def test_a_host_of_throwing_libraries_does_what_it_does_bare(self):
        harness.compare_bare(self, "c_host_of_cpp", victim("libthrows"))

    def test_a_host_with_runpath_finds_its_plugins_and_keeps_dlerror(self):
        runs = harness.compare_bare(self, "runpath_host")
        self.assertEqual(runs["exact"].text(), "the error is kept\n")
        self.assertEqual(runs["exact"].profile("heap").count("plug_a_allocates"), 2)

    def test_what_the_agent_looked_for_and_did_not_find_is_no_error_of_the_program(self):
        # the C++ library is behind libc, so that the agent has to ask; the allocator has no operator new
        for behind, settings in ("libthrows", {"CPROF": "off"}), ("libbump", {}):
            with self.subTest(behind):
                run = preload("runpath_host", env={"LD_PRELOAD": f"{harness.LIBRARY}:{victim(behind)}"}, **settings)
                self.assertEqual((run.status, run.text(), run.messages()), (0, "the error is kept\n", []))

    def test_an_interrupted_function_is_named_at_its_first_byte_too(self):
        run = self.assert_ok(preload("interrupted_at_entry", CPROF_HEAP_RATE=1))
        names = run.profile("heap").with_function("handler_allocates")[0].functions()
        self.assertEqual(names[:2], ["handler_allocates", "on_ill"])
        self.assertEqual(names[names.index("calls_it") - 1:][:3], ["fails_at_its_first_byte", "calls_it", "main"])


class Room(harness.PreloadTest):
    def test_of_a_coroutine_stack_is_not_remembered_for_what_lies_there_next(self):
        run = self.assert_ok(preload("coroutine_stack_replaced", CPROF_HEAP_RATE=1))
        heap = run.profile("heap")
        self.assertEqual(run.text(), "done\n")
        self.assertEqual((heap.count("deep_allocates"), heap.count("near_the_end_allocates")), (2, 2))
        for sample in heap.with_function("near_the_end_allocates"):
            self.assertEqual(sample.functions()[1:3], ["sink_to", "on_small_stack"])

    def test_a_handler_that_interrupts_the_agent_needs_none_on_6_kib(self):
        run = self.assert_ok(preload("altstack_6k", "libcprof", CPROF_HEAP_RATE=1))
        self.assertEqual(run.text(), "done\n")
        self.assertTrue(run.profile("heap").samples)

    def test_a_handler_on_a_disarmed_stack_does_not_enter_the_interrupted_agent(self):
        run = self.assert_ok(preload("altstack_disarmed", "libcprof", CPROF_HEAP_RATE=1))
        self.assertEqual(run.text(), "done\n")
        heap = run.profile("heap")
        inside = heap.comment(r"dropped: (\d+) inside the agent")
        self.assertIsNotNone(inside, "it never found the guard up")
        self.assertEqual(int(inside[1]) + heap.count("on_altstack"), 300)
        self.assertGreater(int(inside[1]), 60, "most of the agent's time is under the guard")


if __name__ == "__main__":
    harness.main()
