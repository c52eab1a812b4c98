"""Rules: profiles of what named functions open and close, without a change to the program."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import unittest

import harness
from harness import ROOT, bare, preload, start, tool, victim

RULES = ROOT / "scripts" / "rules"

# How handles_*.cc call the library.
LINKED = ("handles_lazy", "handles_now", "handles_noplt", "handles_fixed")

HANDLES = """
profile handles
  acquire handle_open  key=*arg2  if ret==0
  acquire handle_new   key=ret    if ret!=0
  acquire handle_grow  key=ret    bytes=0
  release handle_grow  key=arg1
  release handle_close key=arg1   if ret==0
  release handle_drop  key=arg1
"""

# A structure is an argument, or a result, by its address: x86-64 has it for results only, in arg1; aarch64 for arguments
# only, and for four doubles neither.
HIDDEN, BY_ADDRESS = ("arg1", "arg2") if harness.MACHINE == "aarch64" else ("arg2", "arg1")

KEYS = "\nprofile keys\n" + "".join(
    f"  acquire {name} key={key}\n" for name, key in (
        ("opens_many", "arg1"), ("opens_doubles", "arg1"), ("opens_varargs", "arg1"), ("opens_on_stack", f"{BY_ADDRESS} if {BY_ADDRESS}==1004"),
        ("opens_two_longs", "arg1"), ("opens_two_doubles", "arg1"), ("opens_mix", "arg1"),
        ("opens_large", f"{HIDDEN} if {HIDDEN}==2004"), ("opens_four_doubles", f"{HIDDEN} if {HIDDEN}==2010"),
        ("opens_long_double", "arg1"), ("opens_complex", "arg1"), ("opens_float", "arg1"), ("opens_int128", "arg1"),
        ("opens_and_keeps_errno", "arg1"), ("opens_by_stack_argument", "arg10 if arg10==1005"), ("opens_and_calls", "arg1"),
        ("opens_and_throws", "arg1")))


class RulesTest(harness.PreloadTest):
    def rules(self, text):
        path = harness.temporary_directory() / "test.rules"
        path.write_text(text)
        return path

    def same(self, program, *args, rules, **settings):
        """The program's words and status are those without the agent; gives the run."""
        run = preload(program, *args, CPROF_RULES=self.rules(rules), **settings)
        self.assert_same(bare(program, *args), run, f"{program} {args}")
        return run

    def live(self, run, profile, number=None):
        """Live objects by the function that opened them; a profile without any has no file, or an empty one."""
        if not any(file.profile == profile and number in (None, file.number) for file in run.files()):
            return {}
        return {name: n for name, n in run.profile(profile, number=number).by_leaf(profile).items() if n}


class Calls(RulesTest):
    """... whatever they pass, and however the caller was linked."""

    def test_arguments_arrive_in_registers_and_on_the_stack(self):
        for program in LINKED:
            run = self.same(program, "arguments", rules=KEYS)
            self.assertEqual(self.live(run, "keys"), {"passes_arguments": 5}, program)

    def test_results_come_back_in_all_registers_and_errno_is_kept(self):
        for program in LINKED:
            run = self.same(program, "results", rules=KEYS)
            self.assertEqual(self.live(run, "keys"), {"takes_results": 10}, program)

    def test_conditions_and_keys_say_what_is_open(self):
        for program in LINKED:
            run = self.same(program, "handles", rules=HANDLES.replace(" bytes=0", "").replace("   \n", "\n"))
            # Left open: the odd one, which could not be closed and keeps its stack, and the one that was grown last.
            self.assertEqual(self.live(run, "handles"), {"opens": 1, "opens_and_closes": 1}, program)

    def test_sizes_make_a_second_type(self):
        rules = HANDLES.replace("profile handles", "profile handles bytes=8").replace("bytes=0", "bytes=arg2*arg3")
        profile = self.same("handles_now", "handles", rules=rules).profile("handles")
        self.assertEqual([kind.type for kind in profile.sample_types], ["handles", "handles_space"])
        self.assertEqual(profile.by_leaf("handles_space"), {"opens": 8, "opens_and_closes": 48})

    def test_left_by_exceptions_and_longjmp_record_nothing(self):
        for program in LINKED:
            run = self.same(program, "exceptions", rules=KEYS)
            self.assertEqual(self.live(run, "keys"), {}, program)

    def test_left_by_cancellation_record_nothing(self):
        run = self.same("handles_lazy", "cancel", rules=KEYS)
        self.assertEqual(self.live(run, "keys"), {})

    def test_recursion_records_every_level(self):
        for program in LINKED:
            run = self.same(program, "recursion", rules=KEYS)
            self.assertEqual(self.live(run, "keys"), {"goes_deeper": 100, "recurses": 1}, program)
        deepest = max(run.profile("keys").samples, key=lambda sample: len(sample.functions()))
        # The library's frames are between those of the program, and nothing of the agent is.
        self.assertEqual(deepest.functions()[:4], ["goes_deeper", "opens_and_calls", "goes_deeper", "opens_and_calls"])

    def test_threads_lose_none(self):
        for program in LINKED:
            run = self.same(program, "threads", rules=KEYS + HANDLES.replace(" bytes=0", ""))
            self.assertEqual(self.live(run, "keys"), {"in_thread": 80}, program)
            self.assertEqual(self.live(run, "handles"), {}, program)

    def test_signal_handlers_may_call_them(self):
        run = self.same("handles_lazy", "signals", rules=KEYS)
        live = self.live(run, "keys")
        self.assertEqual(live["in_signal_handlers"], 1)
        self.assertGreaterEqual(sum(live.values()), 200)  # [lost] ones too: the handler may interrupt the agent

    def test_a_stack_may_end_right_above_the_caller(self):
        for program in LINKED:
            run = self.same(program, "stack", rules=KEYS)
            self.assertEqual(self.live(run, "keys"), {"on_small_stack": 2}, program)

    def test_pointers_in_data_are_slots_too(self):
        for program in ("handles_now", "handles_noplt"):
            run = self.same(program, "pointers", rules="profile p\nacquire opens_inside key=arg1\n")
            self.assertEqual(self.live(run, "p"), {"by_pointers": 2}, program)
        # At a fixed place the pointers lead to the executable's own PLT: each call is seen once.
        run = self.same("handles_fixed", "pointers", rules="profile p\nacquire opens_inside key=arg1\n")
        self.assertEqual(sum(self.live(run, "p").values()), 2)

    def test_outside_leaves_out_the_librarys_own_calls(self):
        for word, expected in (("", {"opens_inside": 2}), ("outside", {})):
            run = self.same("handles_now", "pointers", rules=f"profile p\nacquire opens_two_longs {word} key=arg1\n")
            self.assertEqual(self.live(run, "p"), expected)

    def test_a_vfork_child_changes_nothing(self):
        run = self.same("handles_lazy", "vfork", rules=KEYS + HANDLES.replace(" bytes=0", ""))
        self.assertEqual(self.live(run, "keys"), {})
        self.assertEqual(self.live(run, "handles"), {"opens": 1})

    def test_read_only_slots_are_read_only_again(self):
        run = self.same("maps_now", rules="profile files\n acquire fopen key=ret if ret!=0\n release fclose key=arg1\n"
                                          " acquire readlink key=arg1\n")
        self.assertEqual(run.text().split()[-2:], ["r--p", "rw-p"])
        self.assertEqual(self.live(run, "files"), {"main": 1})

    def test_an_argument_that_is_no_pointer_costs_only_its_objects(self):
        path = self.rules("profile p\nacquire opens_many key=*arg2\nacquire opens_by_stack_argument key=*arg10\n")
        run = preload("handles_now", "arguments", CPROF_RULES=path)
        self.assertEqual((run.status, run.stdout, self.live(run, "p")), (0, bare("handles_now", "arguments").stdout, {}))
        self.assert_one_message(run, "cprof: rules: opens_", "what a rule looks at cannot be read")


class Loading(RulesTest):
    """... of objects while the program runs."""

    def test_libraries_that_come_later_are_followed(self):
        library = victim("libhandles_user")
        for how, expected in (("dlopen", 1), ("dlmopen", 1), ("twice", 2)):
            run = self.same("handles_plugin", how, library, rules=HANDLES.replace(" bytes=0", ""))
            self.assertEqual(self.live(run, "handles"), {"uses_handles": expected}, how)

    def test_the_callers_runpath_stays_the_callers(self):
        run = self.same("runpath_host", rules=KEYS)
        self.assertEqual((run.status, run.text()), (0, "the error is kept\n"))
        run = self.same("dlopen_constructor", rules=KEYS)
        self.assertEqual(run.text(), "loaded\n")

    def test_stacks_inside_dlopen_have_the_programs_frames_only(self):
        bare_stack = preload("dlopen_constructor", CPROF_HEAP_RATE=1).profile("heap").with_function("allocates_at_load")
        run = self.same("dlopen_constructor", rules=KEYS, CPROF_HEAP_RATE=1)
        stack = run.profile("heap").with_function("allocates_at_load")
        self.assertEqual((len(bare_stack), len(stack)), (1, 1))
        self.assertEqual(stack[0].functions(), bare_stack[0].functions())
        self.assertIn("loads_it", stack[0].functions())

    def test_a_lazy_slot_that_may_lead_to_several_functions_is_left_alone_and_said(self):
        directory = harness.temporary_directory()
        copy = shutil.copy(victim("libhandles"), directory / "libcopy.so")
        args = ("both", victim("libhandles_user"), copy)
        run = preload("handles_plugin", *args, CPROF_RULES=self.rules("profile p\n acquire handle_new key=ret\n"))
        self.assert_one_message(run, "cprof: rules: handle_new: several objects define it")
        self.assertEqual((run.status, run.stdout), (0, bare("handles_plugin", *args).stdout))

    def test_exceptions_of_constructors_end_as_without_rules(self):
        run = self.same("catches_constructor", victim("libthrows_at_load"), rules=KEYS)
        self.assertIn(b"at load", run.stdout + run.stderr)

    def test_churn_keeps_working(self):
        plugins = [victim("libplug_a"), victim("libplug_b")]
        rules = (RULES / "dlopen.rules").read_text()
        run = self.same("dlopen_churn", *plugins, "500", rules=rules)
        self.assertEqual((run.messages(), self.live(run, "dl.handles")), ([], {}))

    def test_threads_load_and_unload_at_once(self):
        plugins = [victim("libplug_a"), victim("libplug_b")]
        rules = "profile blocks\n acquire malloc key=ret if ret!=0\n release free key=arg1\n"
        run = self.same("dlopen_threads", *plugins, "300", rules=rules)
        self.assertFalse({"plug_a_allocates", "plug_b_allocates"} & set(self.live(run, "blocks")))

    def test_what_another_thread_is_loading_is_left_to_it(self):
        rules = "profile blocks\n acquire malloc key=ret if ret!=0\n release free key=arg1\n"
        run = self.same("half_loaded", victim("libhalf_loaded"), victim("libplug_a"), rules=rules,
                        CPROF_PROFILES="none")  # a sample of its own would look at the objects too early
        self.assertEqual(run.text(), "loaded\n")
        self.assertEqual(self.live(run, "blocks").get("half_allocates"), 1)

    def test_real_programs_do_the_same_with_everything_followed(self):
        rules = "profile blocks bytes=arg1\n" \
                "  acquire malloc key=ret if ret!=0\n  acquire calloc key=ret bytes=arg1*arg2 if ret!=0\n" \
                "  acquire realloc key=ret bytes=arg2 if ret!=0\n  release realloc key=arg1 if ret:long!=0\n" \
                "  release free key=arg1\n" \
                "profile others\n" + "".join(f"  acquire {name} key=arg1\n" for name in (
                    "memcpy", "strlen", "memset", "read", "write", "printf", "snprintf", "__cxa_throw", "_Znwm",
                    "pthread_mutex_lock", "pthread_create", "dlsym", "open64", "qsort")) + \
                "  release pthread_mutex_unlock key=arg1\n  release dlsym key=arg1\n"
        python = "import ctypes, hashlib, json, subprocess, threading, zlib\n" \
                 "print(json.dumps(sorted(hashlib.sha256(b'x').hexdigest())))\n" \
                 "print(subprocess.check_output(['echo', 'child']))\n" \
                 "threads = [threading.Thread(target=lambda: zlib.compress(b'x' * 100000)) for i in range(4)]\n" \
                 "[thread.start() for thread in threads]\n[thread.join() for thread in threads]\n"
        for command, stdin in ((["/usr/bin/python3", "-c", python], b""),
                               (["perl", "-MPOSIX", "-e", "print join ',', floor(3.7), map { $_ * 2 } 1 .. 10"], b""),
                               (["g++", "-x", "c++", "-fsyntax-only", "-"], b"#include <vector>\nint main() { return x; }\n")):
            run = preload([tool(command[0])] + command[1:], CPROF_RULES=self.rules(rules), stdin=stdin)
            self.assert_same(bare([tool(command[0])] + command[1:], stdin=stdin), run, command[0])
            self.assertGreater(sum(self.live(run, "blocks").values()), 10, command[0])


class Messages(RulesTest):
    def test_each_error_is_one_line_and_the_other_rules_work(self):
        path = self.rules("profile keys\n  acquire opens_many key=arg1\n  acquire opens_doubles kay=arg1\n"
                          "profile heap\n  acquire handle_new key=ret\n")
        run = preload("handles_now", "arguments", CPROF_RULES=path)
        self.assertEqual(run.messages(), [
            f"cprof: rules: {path}:3: kay=arg1: no key; expected key=ret, key=argN or key=*argN",
            f"cprof: rules: {path}:4: profile heap: there is one of this name; expected another name"])
        self.assertEqual(self.live(run, "keys"), {"passes_arguments": 1})

    def test_a_missing_file_is_one_line_and_the_program_runs(self):
        run = preload("handles_now", "arguments", CPROF_RULES="/nonexistent/x.rules")
        self.assert_one_message(run, "cprof: rules: CPROF_RULES=/nonexistent/x.rules: No such file or directory; "
                                     "its rules are left out")
        self.assertEqual((run.status, run.stdout), (0, bare("handles_now", "arguments").stdout))

    def test_a_file_that_is_too_large_is_one_line_and_the_program_runs(self):
        for size, messages in (((256 << 10) - 1, 0), (256 << 10, 1)):
            text = "profile keys\n  acquire opens_many key=arg1\n"
            path = self.rules(text + "#\n" * ((size - len(text)) // 2) + "\n" * ((size - len(text)) % 2))
            self.assertEqual(path.stat().st_size, size)
            run = preload("handles_now", "arguments", CPROF_RULES=path)
            self.assertEqual(run.messages(), [f"cprof: rules: CPROF_RULES={path}: 256 KiB or larger; its rules are left out"]
                             * messages)
            self.assertEqual((run.status, run.stdout), (0, bare("handles_now", "arguments").stdout))
            self.assertEqual(self.live(run, "keys"), {} if messages else {"passes_arguments": 1})

    def test_several_files_are_separated_by_colons(self):
        paths = f"{self.rules('profile a' + chr(10) + 'acquire opens_many key=arg1')}:" \
                f"{self.rules('profile b' + chr(10) + 'acquire opens_doubles key=arg1')}"
        run = self.assert_ok(preload("handles_now", "arguments", CPROF_RULES=paths))
        self.assertEqual((self.live(run, "a"), self.live(run, "b")),
                         ({"passes_arguments": 1}, {"passes_arguments": 1}))

    def test_a_function_that_nobody_defines_is_said_at_info_only(self):
        rules = "profile p\n  acquire no_such_function_here key=ret\n"
        self.assertEqual(self.same("known", rules=rules).messages(), [])
        run = preload("known", CPROF_RULES=self.rules(rules), CPROF_LOG_LEVEL="info")
        said = [line for line in run.messages() if "no_such_function_here" in line]
        self.assertEqual(said, ["cprof: rules: no_such_function_here: no loaded object defines it; "
                                "looked for again after each dlopen()"])

    def test_rules_without_any_effect_are_said_once_where_their_library_is_loaded(self):
        nobody = "profile p\n  acquire opens_for_nobody key=arg1\n"
        run = preload("handles_now", "arguments", CPROF_RULES=self.rules(nobody))
        self.assert_one_message(run, "cprof: rules: opens_for_nobody: loaded, but no object calls it through a slot",
                                "by dlsym")
        # Where others have an effect the program just does not use this one, which is for those who ask.
        run = preload("handles_now", "arguments", CPROF_RULES=self.rules(nobody + "  acquire opens_many key=arg1\n"))
        self.assertEqual(run.messages(), [])
        # Who asks for no profile is not told.
        self.assertEqual(preload("handles_now", "arguments", out=False, CPROF_RULES=self.rules(nobody)).messages(), [])
        # libc is everywhere: that nobody calls one of its functions is no news.
        for name, rules in (("opens_for_nobody", nobody), ("getsubopt", "profile p\n acquire getsubopt key=ret\n")):
            path = self.rules(rules)
            run = preload("handles_now", "arguments", CPROF_RULES=path, CPROF_LOG_LEVEL="info")
            self.assertIn(f"cprof: rules: {name}: no loaded object calls it through a slot; looked for again after each "
                          "dlopen()", run.messages())
        self.assertEqual(self.same("known", rules="profile p\n acquire getsubopt key=ret\n").messages(), [])

    def test_objects_whose_releases_cannot_be_seen_are_said_once(self):
        keys = "profile keys\n  acquire opens_many key=arg1\n  release "
        cases = {"opens_for_nobody key=arg1": "opens_for_nobody (no loaded object calls it through a slot)",
                 "no_such key=arg1": "no_such (no loaded object defines it)"}
        for release, why in cases.items():
            run = preload("handles_now", "arguments", CPROF_RULES=self.rules(keys + release))
            self.assertEqual((run.status, run.stdout), (0, bare("handles_now", "arguments").stdout))
            self.assertEqual(run.messages(), [f"cprof: rules: profile keys: no release of it is seen: {why}; "
                                              "all that was opened looks open"])
        both = "profile p\n acquire handle_new key=ret\n acquire handle_grow key=ret\n release handle_grow key=arg1\n" \
               " release opens_for_nobody key=arg1\n"
        self.assert_one_message(preload("handles_now", "handles", CPROF_RULES=self.rules(both)),
                                "profile p: no release of it is seen: opens_for_nobody (")
        silent = {"one of them is seen": ("arguments", keys + "opens_for_nobody key=arg1\n release opens_doubles key=arg1"),
                  "libc has it": ("arguments", keys + "getsubopt key=arg1"),
                  "nothing was opened": ("handles", keys + "opens_for_nobody key=arg1"),
                  "nothing closes them": ("arguments", "profile keys\n  acquire opens_many key=arg1")}
        for why, (how, rules) in silent.items():
            with self.subTest(why):
                self.assertEqual(self.same("handles_now", how, rules=rules).messages(), [])

    def test_a_release_of_a_library_that_comes_later_is_no_news(self):
        for release, first, said in (("handle_drop", "libplug_a", 0), ("opens_for_nobody", "libhandles", 1)):
            rules = self.rules(f"profile p\n  acquire dlopen key=ret if ret!=0\n  release {release} key=arg1\n")
            run = preload("handles_plugin", "snapshot", victim("libhandles_user"), victim(first), CPROF_RULES=rules)
            self.assertEqual(sorted(file.number for file in run.files() if file.profile == "p"), [1, 2], release)
            self.assertEqual(len(run.messages()), said, run.messages())

    def test_nothing_is_done_and_said_when_the_agent_is_off(self):
        run = preload("handles_now", "arguments", CPROF="off", CPROF_RULES="/nonexistent/x.rules")
        self.assertEqual((run.status, run.stderr), (0, b""))


class Shipped(RulesTest):
    """scripts/rules, with the real libraries."""

    def shipped(self, name, program, *args, profiles, stdin=b"", **how):
        plain = bare(program, *args, stdin=stdin, **how)
        run = preload(program, *args, stdin=stdin, CPROF_RULES=RULES / f"{name}.rules", **how)
        self.assert_same(plain, run, name)
        for profile, expected in profiles.items():
            self.assertEqual(self.live(run, profile), expected, profile)
        return run

    def test_sqlite_cli_leaves_nothing_open(self):
        sql = b"create table t(a); insert into t values(1),(2); select sum(a) from t; select * from sqlite_master;"
        run = self.shipped("sqlite3", [tool("sqlite3"), ":memory:"], stdin=sql,
                           profiles={"sqlite.db": {}, "sqlite.stmt": {}})
        self.assertIn(b"3\n", run.stdout)

    def test_sqlite_databases_that_are_open_are_shown(self):
        python = f"import sqlite3\ndef leaks():\n    return [sqlite3.connect(':memory:') for i in range(3)]\n" \
                 f"keep = leaks()\nsqlite3.connect(':memory:').close()\nimport os, signal\n" \
                 f"os.kill(os.getpid(), signal.SIGUSR2)\n"
        if subprocess.run(["/usr/bin/python3", "-c", "import sqlite3"], stderr=subprocess.DEVNULL).returncode:
            self.skipTest("python3 has no sqlite3")
        run = preload(["/usr/bin/python3", "-c", python], CPROF_RULES=RULES / "sqlite3.rules")
        self.assertEqual((run.status, run.messages()), (0, []))
        profile = run.profile("sqlite.db", number=1)
        self.assertEqual(profile.total("sqlite.db"), 3)

    def test_sqlite(self):
        self.shipped("sqlite3", "opens_sqlite", profiles={"sqlite.db": {"opens_db": 2}, "sqlite.stmt": {"prepares": 1}})

    def test_curl(self):
        self.shipped("curl", "opens_curl", profiles={"curl.easy": {"opens_easy": 1}, "curl.multi": {"opens_multi": 1}})

    def test_openssl(self):
        run = self.shipped("openssl", "opens_openssl", profiles={
            "openssl.ssl": {"opens_tls": 1}, "openssl.ssl_ctx": {"opens_tls": 1},
            "openssl.md_ctx": {"opens_digest": 1}, "openssl.cipher_ctx": {"opens_cipher": 1},
            "openssl.pkey_ctx": {"opens_keys": 1}, "openssl.encode_ctx": {"opens_encoder": 1},
            "openssl.mac_ctx": {"opens_mac": 1}, "openssl.kdf_ctx": {"opens_kdf": 1}})
        bios = self.live(run, "openssl.bio")
        self.assertEqual(bios.pop("opens_bio"), 1)
        self.assertIn([*bios.values()], ([], [1]), "OpenSSL 3.5 has one of its own for each SSL")
        self.assertTrue(all(opener.startswith("libssl.so") for opener in bios), bios)

    def test_zlib(self):
        self.shipped("zlib", "opens_zlib", profiles={
            "zlib.inflate": {"opens_inflate": 1}, "zlib.deflate": {"opens_deflate": 1}, "zlib.gz": {"opens_gz": 1}})

    def test_libpq(self):
        self.shipped("libpq", "opens_pq", profiles={"pq.conn": {"opens_connection": 1}, "pq.result": {"makes_result": 1}})

    def test_thread_specific_keys(self):
        self.shipped("pthread", "opens_libc", victim("libplug_a"), profiles={"pthread.keys": {"creates_keys": 2}})

    def test_handles_of_dlopen(self):
        self.shipped("dlopen", "opens_libc", victim("libplug_a"), profiles={"dl.handles": {"loads": 1}})

    def test_mappings_have_sizes(self):
        run = self.shipped("mmap", "opens_libc", victim("libplug_a"), profiles={})
        profile = run.profile("mappings")
        self.assertEqual(profile.all_values("maps"), (1, 3 << 20))

    def test_cuda(self):
        run = self.shipped("cuda", "opens_cuda", profiles={"cuda.memory": {"opens_memory": 1, "opens_rows": 1, "opens_slices": 1},
                                                           "cuda.array": {"opens_arrays": 2},
                                                           "cuda.stream": {"opens_streams": 1}})
        for function, values in (("opens_memory", (1, 5000)), ("opens_rows", (1, 0)), ("opens_slices", (1, 0))):
            self.assertEqual(run.profile("cuda.memory").all_values(function), values, function)

    def test_all_at_once(self):
        paths = ":".join(str(path) for path in sorted(RULES.glob("*.rules")))
        for program in ("opens_sqlite", "opens_openssl", "opens_zlib"):
            run = preload(program, CPROF_RULES=paths)
            self.assert_same(bare(program), run, program)

    def test_curl_cli_leaves_no_handle(self):
        page = harness.temporary_directory() / "page"
        page.write_text("hello\n")
        run = self.shipped("curl", [tool("curl"), "-s", f"file://{page}"], profiles={"curl.easy": {}, "curl.multi": {}})
        self.assertEqual(run.stdout, b"hello\n")

    def test_curl_cli_in_the_middle_of_a_transfer_has_one_handle(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(harness.SECONDS)
            run = start([tool("curl"), "-sN", f"http://127.0.0.1:{server.getsockname()[1]}/"],
                        CPROF_RULES=RULES / "curl.rules")
            with server.accept()[0] as end:
                end.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 12\r\n\r\nfirst\n")
                self.assertEqual(run.line(), "first")
                os.kill(run.pid, signal.SIGUSR2)
                out = run.run.out
                run.wait_for(lambda: list(out.glob("*.0001.curl.easy.pb.gz")), "a snapshot")
                end.sendall(b"later\n")
        run = run.finish()
        self.assertEqual((run.status, run.messages(), run.stdout), (0, [], b"first\nlater\n"))
        self.assertEqual(sum(self.live(run, "curl.easy", number=1).values()), 1)
        self.assertEqual([file for file in run.files() if file.profile == "curl.easy" and file.number > 1], [])

    def test_sqlite_cli_has_the_database_that_it_works_on(self):
        sql = b"create table t(a);\n.shell kill -USR2 $PPID\n.open :memory:\n.shell kill -USR2 $PPID\nselect 3;\n"
        run = preload([tool("sqlite3"), ":memory:"], stdin=sql, CPROF_RULES=RULES / "sqlite3.rules")
        self.assertEqual((run.status, run.messages(), run.stdout), (0, [], b"3\n"))
        for number in (1, 2):
            self.assertEqual(sum(self.live(run, "sqlite.db", number=number).values()), 1, number)
        self.assertEqual([file for file in run.files() if file.profile == "sqlite.db" and file.number > 2], [])


if __name__ == "__main__":
    harness.main()
