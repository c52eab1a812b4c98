"""Real programs: the same output and exit status as without the agent, silent, and their profiles can be read."""

import os
import re
import subprocess
import unittest

import harness
from harness import compare_bare, preload, start, start_bare, tool


class Shells(harness.PreloadTest):
    def test_bash_with_pipelines_subshells_and_traps(self):
        script = r"""
            set -u
            trap 'echo "exit trap, status $?"' EXIT
            declare -A seen
            for word in one two three two one; do seen[$word]=$(( ${seen[$word]:-0} + 1 )); done
            for word in one two three; do echo "$word ${seen[$word]}"; done
            printf '%s\n' {1..500} | sort -rn | head -3 | tr '\n' ' '; echo
            (trap 'echo subshell gone' EXIT; x=$(echo nested; exit 3); echo "$x $?"; exit 4); echo "status $?"
            exec 5> >(cat >&2); echo "through a process substitution" >&5; exec 5>&-; wait
            cat <<< "a here string" | { read -r a b c; echo "$c $b $a"; }
            kill -TERM $BASHPID & wait $!; echo "killed: $?"
            trap 'echo got USR1' USR1; kill -USR1 $$
            export LONG=$(printf 'x%.0s' {1..2000}); env | grep -c '^LONG='
            mapfile -t lines < <(seq 1 300); echo "${#lines[@]} lines"
            exit 17
        """
        runs = compare_bare(self, ["/bin/bash", "-c", script])
        self.assertEqual(runs["bare"].status, 17)
        self.assertIn(b"exit trap, status 17", runs["bare"].stdout)

    def test_launchers_pass_the_agent_on(self):
        for command in (["env", "A=b"], ["/bin/sh", "-c", 'exec "$0" "$@"'], ["taskset", "-c", "0"], ["nice", "-n", "1"],
                        ["timeout", "1000"]):
            run = preload(command, str(harness.victim("known")), CPROF_HEAP_RATE=1, CPROF_MIN_LIFE="0s")
            self.assertEqual((run.status, run.errors()), (0, ""), command)
            self.assertIn("known", {file.exe for file in run.files()}, command)

    def test_ldd_prints_what_it_prints(self):
        runs = {"bare": harness.bare(["ldd", "/bin/ls"]), "agent": preload(["ldd", "/bin/ls"], out=False)}
        names = {what: [line.split()[0] for line in run.text().splitlines() if "libcprof" not in line]
                 for what, run in runs.items()}
        self.assertEqual(names["bare"], names["agent"])
        self.assertEqual((runs["agent"].status, runs["agent"].stderr), (0, b""))


class Python(harness.PreloadTest):
    SCRIPT = r"""
import json, os, re, subprocess, sys, threading, zlib, hashlib, random
random.seed(7)
data = [{"id": i, "name": "name %d" % i, "tags": [random.randrange(100) for _ in range(20)]} for i in range(800)]
text = json.dumps(data)
assert json.loads(text) == data
print(len(text), hashlib.sha256(text.encode()).hexdigest())
print(len(zlib.compress(text.encode())), len(re.findall(r"name \d*7", text)))
done = subprocess.run(["/bin/sh", "-c", "echo from a child; exit 9"], stdout=subprocess.PIPE)
print(done)
results = {}
def work(n):
    results[n] = sum(len(str(i)) for i in range(n * 1000))
threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(sorted(results.items()))
pid = os.fork()
if pid == 0:
    print("in the child", flush=True)
    os._exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
try:
    raise ValueError("as planned")
except ValueError as error:
    print(error, file=sys.stderr)
sys.stdout.flush()
sys.exit(21)
"""

    def test_json_subprocesses_threads_and_fork(self):
        runs = compare_bare(self, ["/usr/bin/python3", "-c", self.SCRIPT])
        self.assertEqual(runs["bare"].status, 21)
        heap = runs["exact"].profile("heap")
        self.assertGreater(heap.total("alloc_objects"), 2000)
        self.assertTrue([name for name in heap.function_names() if name.startswith("_Py") or name.startswith("Py")])

    def test_ctypes_and_sqlite_modules_load(self):
        code = ("import ctypes, sqlite3, ssl\nlibc = ctypes.CDLL(None)\nlibc.malloc.restype = ctypes.c_void_p\n"
                "p = libc.malloc(1000)\nlibc.free.argtypes = [ctypes.c_void_p]\nlibc.free(p)\n"
                "db = sqlite3.connect(':memory:')\ndb.execute('create table t(a)')\n"
                "db.executemany('insert into t values(?)', [(i,) for i in range(1000)])\n"
                "print(db.execute('select sum(a) from t').fetchall())")
        compare_bare(self, ["/usr/bin/python3", "-c", code])


class Compiler(harness.PreloadTest):
    def test_cc1_writes_the_same_assembly(self):
        source = harness.PROGRAMS / "truth.c"
        runs = compare_bare(self, ["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-S", "-o", "-", source])
        self.assertGreater(len(runs["bare"].stdout), 10000)

    def test_cc1_itself_leaves_a_profile_with_its_functions(self):
        def ask(what):
            return subprocess.run(["gcc", what], stdout=subprocess.PIPE, check=True).stdout.decode().strip()

        source = harness.PROGRAMS / "peak.c"
        run = preload([ask("-print-prog-name=cc1"), "-quiet", "-imultiarch", ask("-print-multiarch"), "-D_GNU_SOURCE",
                       "-O2", str(source), "-o", "-"])
        self.assertEqual((run.status, run.messages()), (0, []))
        self.assertGreater(run.profile("heap").total("alloc_space"), 1 << 20)

    def test_errors_look_the_same(self):
        runs = compare_bare(self, ["gcc", "-fsyntax-only", "-x", "c", "-"], stdin=b"int main(void) { return x }\n")
        self.assertEqual(runs["bare"].status, 1)


class Databases(harness.PreloadTest):
    def test_sqlite3(self):
        sql = b"""
            create table t(a integer primary key, b text, c real);
            with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000)
                insert into t select i, printf('row %d', i * 7919 % 5000), i / 3.0 from n;
            create index tb on t(b);
            select count(*), sum(a), max(b) from t where b like 'row 1%';
            select a % 10, count(*), round(avg(c), 3) from t group by 1 order by 1;
            begin; delete from t where a % 3 = 0; rollback;
            select x from nowhere;
            select count(*) from t;
        """
        runs = compare_bare(self, [tool("sqlite3"), ":memory:"], stdin=sql)
        self.assertIn(b"no such table", runs["bare"].stderr)
        self.assertTrue([name for name in runs["exact"].profile("heap").function_names() if name.startswith("sqlite3")])

    def redis(self, launch, **settings):
        server, client = tool("redis-server"), tool("redis-cli")
        directory = harness.temporary_directory()
        command = [server, "--port", "0", "--unixsocket", "./s", "--save", "", "--appendonly", "no", "--dir", directory]
        process = launch(command, cwd=directory, directory=directory, **settings)
        process.wait_for(lambda: harness.listens(directory / "s"), "the socket")

        def cli(*arguments, text=b""):
            done = subprocess.run([client, "-s", "s", *arguments], input=text, cwd=directory, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=harness.SECONDS, env=harness.clean_env())
            return done.returncode, done.stdout

        answers = [cli("ping"), cli("set", "key", "value"), cli("get", "key")]
        many = b"".join(b"SET k%d %s\n" % (i, b"x" * (i % 3000)) for i in range(3000))
        answers.append(cli(text=many + b"INCRBY n 41\nINCR n\n"))
        answers.append(cli("eval", "local t = {} for i = 1, 1000 do t[i] = i .. 'x' end return #table.concat(t)", "0"))
        answers.append(cli("dbsize"))
        answers.append(cli("del", *[f"k{i}" for i in range(0, 3000, 2)]))
        answers.append(cli("get", "n"))
        answers.append(cli("shutdown", "nosave"))
        run = process.finish()
        return run, answers

    def test_redis_with_its_own_jemalloc(self):
        expected, answers = self.redis(start_bare)
        self.assertEqual(expected.status, 0)
        self.assertEqual(answers[2], (0, b"value\n"))
        for settings in ({"out": False}, {}, {"CPROF_HEAP_RATE": 1}):
            run, mine = self.redis(start, **settings)
            self.assertEqual((run.status, mine, run.stderr), (0, answers, expected.stderr), settings)
            if settings.get("out") is False:
                self.assertEqual([name for name in os.listdir(run.directory) if "pb.gz" in name], [])
                continue
            run.check_all()
            heap = run.profile("heap")
            self.assertTrue(heap.samples, settings)
            own = [sample for sample in heap.samples if any(
                location.mapping and "redis" in location.mapping.file
                and not any("+0x" in name for name in location.names()) for location in sample.locations)]
            self.assertGreater(len(own), len(heap.samples) / 2, "most allocations are charged to redis functions")
        self.assertGreater(run.profile("heap").total("inuse_space"), 1500 * 1000)


class Runtimes(harness.PreloadTest):
    def test_node_with_worker_threads(self):
        directory = harness.temporary_directory()
        script = directory / "work.js"
        script.write_text(r"""
            const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
            if (!isMainThread) {
                const words = {};
                for (let i = 0; i < 20000; i++) { const w = 'w' + (i * workerData % 311); words[w] = (words[w] || 0) + 1; }
                parentPort.postMessage([workerData, Object.keys(words).length]);
            } else {
                const zlib = require('zlib'), crypto = require('crypto');
                const data = Buffer.from('abc'.repeat(100000));
                console.log(zlib.gzipSync(data).length, crypto.createHash('sha256').update(data).digest('hex'));
                const results = [];
                let left = 3;
                for (let n = 1; n <= 3; n++)
                    new Worker(__filename, { workerData: n }).on('message', m => results.push(m)).on('exit', () => {
                        if (--left === 0) { console.log(JSON.stringify(results.sort())); console.error('done'); process.exitCode = 5; }
                    });
            }
        """)
        runs = compare_bare(self, [tool("node"), script])
        self.assertEqual((runs["bare"].status, runs["bare"].stderr), (5, b"done\n"))
        self.assertGreater(runs["exact"].profile("heap").total("alloc_objects"), 10000)

    def test_a_cpp_program_with_exceptions(self):
        runs = compare_bare(self, "cpp_names")
        self.assertEqual(runs["bare"].status, 4)
        heap = runs["exact"].profile("heap")
        self.assertGreater(heap.by_any("alloc_objects")["_ZN4shop5Store4fillEi"], 2000)
        self.assertEqual(heap.by_any("inuse_objects")["_ZN4shop5Store4fillEi"], 0, "destructors ran before the snapshot")

    def test_a_rust_program_with_threads_and_a_panic(self):
        runs = compare_bare(self, "rust_words")
        self.assertEqual(runs["bare"].status, 6)
        heap = runs["exact"].profile("heap")
        self.assertGreaterEqual(heap.by_any("inuse_space")["rust_keeps"], 200 * 1000)


class Allocators(harness.PreloadTest):
    def truth_under(self, preloads):
        run = preload("truth", "50000", CPROF_HEAP_RATE=1, env={"LD_PRELOAD": preloads})
        self.assertEqual((run.status, run.messages()), (0, []), run.stderr)
        return run

    def jemalloc(self):
        listing = subprocess.run(["/sbin/ldconfig", "-p"], stdout=subprocess.PIPE, check=True).stdout.decode()
        paths = [line.split()[-1] for line in listing.splitlines() if "libjemalloc.so.2 " in line]
        if not paths:
            self.skipTest("libjemalloc.so.2 is not installed")
        return paths[0]

    def test_jemalloc_behind_the_agent_is_used_and_counted(self):
        run = self.truth_under(f"{harness.LIBRARY} {self.jemalloc()}")
        heap = run.profile("heap")
        truth = {line.split()[0]: tuple(map(int, line.split()[1:])) for line in run.text().splitlines()}
        self.assertEqual({name: heap.all_values(name) for name in truth}, truth)

    def test_an_auditor_answers_for_what_is_behind_the_agent(self):
        run = preload(["/bin/sh", "-c", ": >&2"], CPROF="off", env={"LD_AUDIT": harness.victim("libaudits")})
        self.assertEqual((run.status, run.stderr.split(b"\n")[0]), (0, b"audited"))

    def huge_pages(self, preloads):
        """KiB of them in the agent's zeroed data, which follow its last mapping of a file, and whether these may have any."""
        if not os.path.exists("/sys/kernel/mm/transparent_hugepage"):
            self.skipTest("this kernel has no huge pages")
        run = self.assert_ok(preload(["/bin/cat", "/proc/self/smaps"], out=False, env={"LD_PRELOAD": preloads}))
        mappings = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", run.text(), flags=re.M)
        last = max(i for i, mapping in enumerate(mappings) if "libcprof.so" in mapping.split("\n")[0])
        data = mappings[last + 1]
        self.assertGreater(int(re.search(r"^Size: *(\d+) kB", data, re.M)[1]), 2048, data)
        return int(re.search(r"^AnonHugePages: *(\d+) kB", data, re.M)[1]), not re.search(r"^VmFlags:.* nh\b", data, re.M)

    def test_the_agents_data_take_no_huge_page(self):
        self.assertEqual(self.huge_pages(str(harness.LIBRARY)), (0, False))

    def test_the_agents_data_take_no_huge_page_when_an_allocator_starts_before_it(self):
        self.assertEqual(self.huge_pages(f"{harness.LIBRARY} {self.jemalloc()}"), (0, False))

    def test_jemalloc_before_the_agent_does_no_harm(self):
        run = preload("truth", "50000", CPROF_HEAP_RATE=1, env={"LD_PRELOAD": f"{self.jemalloc()} {harness.LIBRARY}"})
        self.assertEqual((run.status, len(run.text().splitlines())), (0, 9), run.stderr)
        run.check_all()

    def test_one_before_the_agent_is_said_also_where_mallocs_address_is_the_executables(self):
        run = preload("address_of_malloc", CPROF_HEAP_RATE=1, env={"LD_PRELOAD": f"{self.jemalloc()} {harness.LIBRARY}"})
        self.assertEqual((run.status, run.text()), (5, "done\n"), run.stderr)
        self.assert_one_message(run, "defines malloc itself", "profile is empty")

    def test_one_with_its_own_operator_new_is_said(self):
        env = {"LD_PRELOAD": f"{harness.LIBRARY} {self.jemalloc()}"}
        for settings in ({"CPROF_LOG_LEVEL": "info"}, {}):
            run = preload("cpp_names", CPROF_HEAP_RATE=1, env=env, **settings)
            said = [line for line in run.messages() if "has its own operator new: C++ allocations are not seen" in line]
            self.assertEqual((run.status, len(said)), (4, 1 if settings else 0), run.stderr)
            self.assertTrue(run.profile("heap").comment("its own operator new"))
        self.assertFalse(preload("cpp_names", CPROF_HEAP_RATE=1).profile("heap").comment("its own operator new"))

    def test_a_stub_for_mallocs_address_is_no_allocator(self):
        run = preload("address_of_malloc", CPROF_HEAP_RATE=1)
        self.assertEqual((run.status, run.messages()), (5, []), run.stderr)
        self.assertEqual(run.profile("heap").count(function="main"), 1)


class Tools(harness.PreloadTest):
    def test_git(self):
        tool("git")
        script = r"""
            set -e
            export GIT_AUTHOR_DATE='2026-01-01T00:00:00Z' GIT_COMMITTER_DATE='2026-01-01T00:00:00Z' HOME=$PWD
            export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org
            rm -rf repo; git init -q -b main repo; cd repo
            for i in 1 2 3 4 5; do seq 1 $((i * 500)) > file; git add file; git commit -qm "commit $i"; done
            git log --oneline --stat; git repack -adq; git fsck; git diff HEAD~3 --stat; git blame file | tail -2
            git gc -q; git rev-parse HEAD; git show nothing || echo "status $?"
        """
        runs = compare_bare(self, ["/bin/sh", "-c", script])
        self.assertEqual(runs["bare"].status, 0, runs["bare"].stderr)

    def test_sort_and_xz_pipelines(self):
        script = ("seq 1 60000 | sort -k1.3 --parallel=2 | tee /dev/stderr | xz -1 -T2 --block-size=100KiB | xz -dc "
                  "| sort -n | tail -2")
        runs = compare_bare(self, ["/bin/bash", "-o", "pipefail", "-c", script])
        self.assertEqual((runs["bare"].status, runs["bare"].stdout), (0, b"59999\n60000\n"))

    def test_tools_of_every_day(self):
        for command in (["ls", "-l", "/usr/lib"], ["find", "/usr/share/doc", "-maxdepth", "1", "-name", "lib*"],
                        ["awk", "BEGIN { for (i = 0; i < 20000; i++) a[i % 700] = a[i % 700] i; print length(a[1]) }"],
                        ["perl", "-e", 'my %h; $h{$_ % 97} .= $_ for 1..20000; print length($h{5}), "\\n"; exit 3'],
                        ["make", "--version"], ["tar", "-cf", "/dev/null", "/usr/share/doc/bash"],
                        ["openssl", "dgst", "-sha256", "/bin/bash"]):
            with self.subTest(command[0]):
                harness.tool(command[0])
                compare_bare(self, command)


if __name__ == "__main__":
    harness.main()
