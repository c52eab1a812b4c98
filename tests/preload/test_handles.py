"""connection, blob and fd: what is open, by the stack that opened it."""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import unittest
from pathlib import Path

import harness
from harness import bare, preload, start

RACE_MS = os.environ.get("RACE_MS", "2000")


def truth(run):
    """(sockets, streams) that the victim counted."""
    return tuple(map(int, re.findall(r"(?:sockets|streams) (\d+)", run.text())))[-2:]


def live(run, name, **which):
    """{function: live ones}, by the first function that is named keeps_..., else by the leaf."""
    found = {}
    try:
        profile = run.profile(name, **which)
    except AssertionError as none:
        if f"no {name} profile" in str(none):
            return found
        raise
    assert [(t.type, t.unit) for t in profile.sample_types] == [(name, "count")], profile.sample_types
    for sample in profile.samples:
        named = [f for f in sample.functions() if f.startswith("keeps_")] + [sample.functions()[0]]
        found[named[0]] = found.get(named[0], 0) + sample.values[0]
    return found


class Ways(harness.PreloadTest):
    def way(self, name, *args, **settings):
        """Runs it bare and preloaded, which must look the same; gives the preloaded run."""
        expected = bare("handles", name, *args)
        self.assertEqual((expected.status, expected.stderr), (0, b""))
        run = preload("handles", name, *args, **settings)
        self.assert_same(expected, run, name)
        return run

    def check_sockets(self, name, expected, *args):
        run = self.way(name, *args)
        self.assertEqual(live(run, "connection"), expected, name)
        self.assertEqual(sum(expected.values()), truth(run)[0], f"{name}: what /proc/self/fd shows")
        return run

    def test_live_sockets_are_those_of_proc_self_fd(self):
        cases = {
            "plain": {"keeps_pair": 2, "keeps_socket": 1},
            "fclose": {"keeps_pair": 1},
            "freopen": {"keeps_pair": 1},
            "dup2": {"keeps_socket": 1, "way_dup2": 3},
            "raw_dup": {"keeps_socket": 1, "way_raw_dup": 3},
            "fcntl": {"keeps_socket": 1, "way_fcntl": 2},
            "close_range": {"keeps_socket": 15},
            "closefrom": {"keeps_socket": 9},
            "syscall": {"keeps_socket": 16},
            "rights": {"keeps_socket": 1, "keeps_pair": 2, "keeps_received": 3, "keeps_received_many": 3},
            "pidfd": {"keeps_socket": 1, "keeps_pidfd_copy": 1},
            "vfork": {"keeps_socket": 20},
            "directories": {"keeps_socket": 1},
            "callers": {"keeps_left": 100, "keeps_right": 100, "keeps_growing": 100},
            "nothing": {},
        }
        for name, expected in cases.items():
            with self.subTest(name=name):
                run = self.way(name)
                self.assertEqual(live(run, "connection"), expected)
                self.assertEqual(sum(expected.values()), truth(run)[0], "what /proc/self/fd shows")

    def test_calls_that_fail_leave_nothing_and_say_the_same(self):
        run = self.way("failures")
        self.assertEqual(sum(live(run, "connection").values()), truth(run)[0])
        self.assertEqual(live(run, "blob"), {})

    def test_a_forked_child_keeps_them(self):
        run = self.way("fork", CPROF_MIN_LIFE="0s")
        profiles = {file.pid: file for file in run.files() if file.profile == "connection"}
        self.assertEqual(len(profiles), 2, run.entries())
        for pid in profiles:
            is_child = pid != run.pid
            self.assertEqual(live(run, "connection", pid=pid), {"keeps_socket": 19 if is_child else 20})
            self.assertEqual(live(run, "blob", pid=pid), {"keeps_file": 2 if is_child else 1})

    def test_a_socket_that_is_sent_is_its_receivers(self):
        run = self.way("rights_fork", CPROF_MIN_LIFE="0s")
        pids = {file.pid for file in run.files() if file.profile == "connection"}
        self.assertEqual(len(pids), 2, run.entries())
        for pid in pids:
            self.assertEqual(live(run, "connection", pid=pid), {"keeps_pair": 2, "keeps_received": 1})
        self.assertEqual(run.text(), "sockets 3 streams 0\n" * 2)

    def test_sockets_that_were_there_are_inherited(self):
        ends = socket.socketpair()
        self.addCleanup(lambda: [end.close() for end in ends])
        fds = [end.fileno() for end in ends]
        run = start("handles", "nothing", pass_fds=fds).finish()
        self.assert_ok(run)
        self.assertEqual(live(run, "connection"), {"[inherited]": 2})
        run = start("handles", "plain", pass_fds=fds).finish()
        self.assertEqual(live(run, "connection"), {"[inherited]": 2, "keeps_pair": 2, "keeps_socket": 1})

    def test_sockets_of_high_numbers_and_among_many_are_inherited_too(self):
        ends = socket.socketpair()
        self.addCleanup(lambda: [end.close() for end in ends])
        for first, n_others in (70, 0), (200, 0), (20, 30), (100, 100):
            with self.subTest(first=first, others=n_others):
                with contextlib.ExitStack() as stack:
                    fds = []
                    for number, end in zip((first, first + 3), ends):
                        fds.append(fcntl.fcntl(end, fcntl.F_DUPFD, number))
                        stack.callback(os.close, fds[-1])
                    for _ in range(n_others):
                        fds.append(os.open("/dev/null", os.O_RDONLY))
                        stack.callback(os.close, fds[-1])
                    run = start("handles", "nothing", pass_fds=fds).finish()
                self.assert_ok(run)
                self.assertEqual(live(run, "connection"), {"[inherited]": 2})

    def test_sockets_that_came_unseen_are_untracked(self):
        self.check_sockets("untracked", {"[untracked]": 1, "keeps_socket": 1})

    def test_a_close_that_came_unseen_leaves_no_ghost(self):
        self.check_sockets("ghost", {"[untracked]": 1, "keeps_socket": 1})

    def test_what_a_close_that_was_interrupted_closed_is_closed(self):
        expected = bare("close_interrupted")
        self.skip_untraced(expected)
        self.assertEqual((expected.status, expected.text()), (0, "ok\n"), expected.stderr)
        run = preload("close_interrupted")
        self.assert_same(expected, run, "close_interrupted")
        self.assertEqual(live(run, "connection"), {"[untracked]": 2})
        self.assertEqual(live(run, "blob"), {})

    def test_labels_say_what_a_socket_is(self):
        path = harness.temporary_directory() / "socket"
        run = preload("handles", "labels", path)
        self.assert_ok(run)
        port, client = (re.search(rf"{name} (\d+)", run.text())[1] for name in ("port", "client"))
        found = set()
        for sample in run.profile("connection").samples:
            labels = {label.key: label.text for label in sample.labels if label.text}
            found.add(tuple(labels.get(key) for key in ("family", "type", "local", "peer")))
            age = sample.label("age")
            self.assertEqual(age.unit, "seconds")
            self.assertIn(age.number, range(1, 60))
        expected = {("inet", "stream", f"127.0.0.1:{port}", None),
                    ("inet", "stream", f"127.0.0.1:{client}", f"127.0.0.1:{port}"),
                    ("inet", "stream", f"127.0.0.1:{port}", f"127.0.0.1:{client}"),
                    ("unix", "seqpacket", str(path), None)}
        six = re.search(r"six (\d+)", run.text())
        if six:
            expected.add(("inet6", "dgram", f"[::1]:{six[1]}", None))
        self.assertEqual({labels for labels in found if labels[0] != "inet6" or six}, expected)

    def test_eight_threads_that_accept_and_close(self):
        run = preload("handles", "race", RACE_MS)
        self.assert_ok(run)
        self.assertEqual(live(run, "connection"), {"keeps_socket": 1})
        self.assertEqual(truth(run)[0], 1)
        self.assertEqual(live(run, "blob"), {})
        self.assertGreater(run.profile("connection").total("connection"), 0)

    def test_the_agents_own_thread_sees_the_same(self):
        # A snapshot may be under way while the sockets are opened: the second one after that began later.
        program = ("import glob, os, socket, threading, time\n"
                   "def seen(): return sorted(glob.glob(os.environ['CPROF_OUT'] + '/*.connection.pb.gz'))\n"
                   "keep = [socket.socket(socket.AF_UNIX) for i in range(20)] + [socket.create_server(('127.0.0.1', 0))]\n"
                   "before = len(seen())\n"
                   "over = threading.Event()\n"
                   "threading.Thread(target=over.wait).start()\n"
                   "while len(seen()) < before + 2: time.sleep(0.01)\n"
                   "print(seen()[before + 1].split('.')[-4])\n"
                   "over.set()\n")
        run = self.assert_ok(preload(["/usr/bin/python3", "-c", program], CPROF_INTERVAL="100ms"))
        profile = run.profile("connection", number=int(run.text()))
        self.assertEqual(profile.total("connection"), 21)
        self.assertEqual([s for s in profile.samples if s.functions()[0].startswith("[")], [])
        self.assertEqual({s.label("family").text for s in profile.samples}, {"unix", "inet"})

    # --- streams

    def test_every_kind_of_stream_is_counted_until_it_is_closed(self):
        run = self.way("streams")
        self.assertEqual(live(run, "blob"), {"keeps_all": truth(run)[1]})
        self.assertEqual(truth(run)[1], 12)

    def test_a_stream_of_cpp_is_one_of_them(self):
        run = self.assert_ok(preload("fstreams", CPROF_PROFILES="blob,fd"))
        self.assertEqual(run.text(), "open 2, descriptors 5\n")
        self.assertEqual(live(run, "blob"), {"keeps_reading": 1, "keeps_writing": 1})
        self.assertEqual(live(run, "fd"), {"keeps_reading": 1, "keeps_writing": 1, "[inherited]": 3})

    def test_freopen_moves_a_stream_and_a_failing_one_releases_it(self):
        run = self.way("reopened")
        self.assertEqual(live(run, "blob"), {"keeps_reopened": 1})
        self.assertEqual(truth(run)[1], 1)

    def test_fcloseall_releases_all(self):
        self.assertEqual(live(self.way("fcloseall"), "blob"), {})

    def test_eight_threads_that_open_and_close_streams(self):
        run = preload("handles", "stream_race", RACE_MS)
        self.assert_ok(run)
        self.assertEqual(live(run, "blob"), {"keeps_file": 1})

    # --- fd

    def test_fd_lists_every_descriptor_with_its_type(self):
        run = self.way("plain", CPROF_PROFILES="fd")
        self.assertEqual(live(run, "fd"), {"[inherited]": 3, "keeps_pair": 2, "keeps_socket": 1})
        run = preload("descriptors", CPROF_PROFILES="fd,blob")
        self.assert_ok(run)
        kinds = {}
        for sample in run.profile("fd").with_function("keeps_one_of_each"):
            kind = sample.label("type").text
            kinds[kind] = kinds.get(kind, 0) + sample.values[0]
        self.assertEqual(kinds, {"file": 8, "pipe": 5, "eventfd": 1, "epoll": 2, "timerfd": 1, "memfd": 1, "inotify": 2,
                                 "signalfd": 1, "socket": 1})
        self.assertEqual(sum(live(run, "fd").values()), int(re.search(r"descriptors (\d+)", run.text())[1]))
        self.assertEqual([name for name in live(run, "fd") if name == "[untracked]"], [])
        for name in ("connection", "heap"):
            self.assertEqual([file for file in run.files() if file.profile == name], [])

    def test_fd_shows_what_libc_opens_by_calls_of_its_own(self):
        run = self.assert_ok(preload("descriptors", "reuse", CPROF_PROFILES="fd"))
        words = dict(line.split() for line in run.text().splitlines())
        expected = {"keeps_temporary": 8, "keeps_shared": 1, "keeps_terminal": 2, "keeps_queue": int(words["queues"]),
                    "keeps_group": int(words["fanotify"]), "keeps_process": int(words["pidfds"]),
                    "[untracked]": int(words["queues"])}
        found = live(run, "fd")
        self.assertEqual({name: found.get(name, 0) for name in expected}, expected)

    def test_who_has_used_up_all_descriptors_is_shown(self):
        settings = {"CPROF_PROFILES": "heap,connection,fd", "CPROF_HEAP_RATE": 1}
        for n_free in (0, 1, 3, 20):
            for how in ("", "busy") if n_free < 8 else ("",):  # with room enough a snapshot takes numbers for a moment
                run = self.assert_ok(preload("exhausted", n_free, how, **settings))
                n_files = 100 - 3 - 30 - n_free
                self.assertEqual(run.text(), f"sockets 30 files {n_files} failed 0\n", (n_free, how))
                for number in (1, 2, 3, 4):
                    connections = run.profile("connection", number=number)
                    self.assertEqual(live(run, "connection", number=number), {"keeps_socket": 30})
                    self.assertEqual({s.label("family").text for s in connections.samples}, {"unix"})
                    if how != "busy" or number == 4:
                        found = live(run, "fd", number=number)
                        self.assertEqual((found["keeps_socket"], sum(found.values())), (30, 100 - n_free), (n_free, how))
                    run.profile("heap", number=number)

    def test_where_a_thread_would_kill_nothing_is_written_and_that_is_said(self):
        run = preload("exhausted", 0, "sandboxed", CPROF_PROFILES="heap,connection")
        self.assertEqual((run.status, run.text()), (0, "sockets 30 files 67 failed 0\n"))
        self.assert_one_message(run, "Too many open files")
        self.assertEqual(run.entries(), [])
        for n_free in (1, 2, 3):  # as many files at a time as there are numbers
            run = self.assert_ok(preload("exhausted", n_free, "sandboxed", CPROF_PROFILES="heap", CPROF_HEAP_RATE=1))
            self.assertEqual({file.profile for file, _ in run.check_all()}, {"heap", "allocs", "heap_peak"}, n_free)
        run = self.assert_ok(preload("exhausted", 20, "sandboxed", CPROF_PROFILES="heap,connection"))
        self.assertEqual(live(run, "connection"), {"keeps_socket": 30})

    def test_by_default_there_is_no_fd_profile(self):
        self.assertNotIn("fd", {file.profile for file in self.way("plain").files()})

    # --- many

    def test_thousands_of_sockets_are_counted_exactly(self):
        program = ("import resource, socket\n"
                   "resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)\n"
                   "keep = [socket.socket(socket.AF_UNIX) for i in range(12000)]\n")
        hard = int(subprocess.check_output(["bash", "-c", "ulimit -Hn"]))
        if hard < 12100:
            self.skipTest(f"only {hard} descriptors are allowed here")
        program += "import os; os.close(keep[0].detach()); os.kill(os.getpid(), 12)\n"
        profile = self.assert_ok(preload(["/usr/bin/python3", "-c", program])).profile("connection", number=1)
        self.assertEqual(profile.total("connection"), 11999)
        self.assertEqual(sum(s.values[0] for s in profile.samples if s.label("family")), 10000,
                         "the first ones have labels, the rest is counted by stack")


class Programs(harness.PreloadTest):
    def test_subprocess_of_a_program_with_1000_sockets_leaves_1000(self):
        program = ("import socket, subprocess, sys, os\n"
                   "keep = [socket.socket(socket.AF_UNIX) for i in range(1000)]\n"
                   "assert subprocess._USE_VFORK\n"
                   "for i in range(5):\n"
                   "    subprocess.run(['/bin/true'], close_fds=True, check=True)\n"
                   "    subprocess.run(['/bin/true'], close_fds=True, check=True, stdin=keep[i].fileno())\n"
                   "    subprocess.run(['/bin/true'], pass_fds=[keep[i].fileno()], check=True)\n"
                   "os.kill(os.getpid(), 12)\n"
                   "keep.clear()\n")
        run = self.assert_ok(preload(["/usr/bin/python3", "-c", program], env={"CPROF_PROFILES": "connection"}))
        self.assertEqual(live_leaves(run, 1), 1000)
        self.assertEqual([s.functions() for s in run.profile("connection", number=1).samples if s.functions()[0][0] == "["], [])
        self.assertNotIn(2, [file.number for file in run.files() if file.profile == "connection"])

    def test_outputs_of_programs_are_the_same(self):
        harness.tool("git")
        git = ("export HOME=$PWD GIT_AUTHOR_DATE='2020-01-01 00:00:00' GIT_COMMITTER_DATE='2020-01-01 00:00:00'; rm -rf r;"
               "git init -q r && cd r && git config user.email a@b && git config user.name a &&"
               "for i in 1 2 3; do seq $i 200 >f$i; git add .; git commit -qm $i; done;"
               "git log --stat; git gc -q; git fsck; git blame f2 | tail -2")
        bash = ("for i in {1..200}; do echo $i >f$i; exec 7<f$i; read -u 7 x; exec 8<&7 7<&- 8<&-; echo $x; done;"
                "cat <(echo a) <(echo b) | sort -r; exec 9>&1; echo x >&9; exec 9>&-; echo $(<f5); ls /nonexistent")
        python = ("import os, socket, subprocess, tempfile, asyncio\n"
                  "async def main():\n"
                  "    async def on(r, w): w.write(await r.readline()); w.close()\n"
                  "    s = await asyncio.start_server(on, '127.0.0.1', 0)\n"
                  "    for i in range(50):\n"
                  "        r, w = await asyncio.open_connection(*s.sockets[0].getsockname()); w.write(b'%d\\n' % i)\n"
                  "        print(await r.read()); w.close()\n"
                  "asyncio.run(main())\n"
                  "for i in range(200):\n"
                  "    with tempfile.TemporaryFile() as f, os.fdopen(os.dup(f.fileno()), 'w') as g: g.write('x')\n"
                  "print(subprocess.run('echo a; ls /proc/self/fd', shell=True, capture_output=True))\n"
                  "print(os.listdir('/proc/self/fd'), os.popen('echo b').read())\n")
        for name, command in (("git", ["bash", "-c", git]), ("bash", ["bash", "-c", bash]),
                              ("python3", ["/usr/bin/python3", "-c", python])):
            with self.subTest(name=name):
                expected = bare(command, cwd=harness.temporary_directory())
                self.assertEqual(expected.status, 0 if name != "bash" else 2, expected.stderr)
                for settings in ({}, {"CPROF_PROFILES": "all,-profile"}):
                    run = preload(command, cwd=harness.temporary_directory(), **settings)
                    self.assert_same(expected, run, name)

    def test_curl_is_the_same(self):
        curl = harness.tool("curl")
        server = subprocess.Popen(["/usr/bin/python3", "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=harness.ROOT / "include")
        try:
            port = re.search(rb"port (\d+)", server.stdout.readline())[1].decode()
            urls = [f"http://127.0.0.1:{port}/cprof.h"] * 5
            self.assert_same(bare([curl, "-sS", *urls]), preload([curl, "-sS", *urls], out=False), "curl")
            run = self.assert_ok(preload([curl, "-sS", *urls]))
            self.assertEqual(live_leaves(run), 0)
        finally:
            server.kill()
            server.wait()
            server.stdout.close()


def live_leaves(run, number=None):
    try:
        return run.profile("connection", number=number).total("connection")
    except AssertionError as none:
        if "no connection profile" in str(none):
            return 0
        raise


NGINX = """
daemon off; master_process off; error_log stderr; pid {dir}/pid; worker_rlimit_nofile 1024;
events {{ worker_connections 512; }}
http {{ access_log off; keepalive_timeout 600; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  server {{ listen unix:{dir}/sock; root {root}; }} }}
"""


class Nginx(harness.PreloadTest):
    """The connection profile of a server against /proc/PID/fd, before, while and after it is busy."""

    def sockets(self, pid):
        n = 0
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                n += os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:")
            except FileNotFoundError:
                pass
        return n

    def ask(self, path, how_many):
        ends = []
        for _ in range(how_many):
            end = socket.socket(socket.AF_UNIX)
            end.settimeout(harness.SECONDS)
            end.connect(path)
            end.sendall(b"GET /cprof.h HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertIn(b"200 OK", end.recv(100))
            ends.append(end)
        return ends

    def test_connections_are_those_of_the_kernel(self):
        if not shutil.which("nginx", path="/usr/sbin:/usr/bin"):
            raise unittest.SkipTest("nginx is not installed")
        where = harness.temporary_directory()
        (where / "conf").write_text(NGINX.format(dir=where, root=harness.ROOT / "include"))
        server = start(["/usr/sbin/nginx", "-p", where, "-c", where / "conf"], directory=where, seconds=300, CPROF_SIGNAL="RTMIN+3")
        self.addCleanup(server.popen.kill)
        server.wait_for(lambda: (where / "sock").exists() and (where / "pid").exists() and (where / "pid").read_text(), "nginx listens")

        def snapshot(number):
            os.kill(server.pid, 34 + 3)
            path = where / "out" / f"nginx.{server.pid}.{number:04d}.connection.pb.gz"
            server.wait_for(path.exists, path.name)
            return harness.pprof_decode.load(path)
        ends = self.ask(str(where / "sock"), 1)
        before = snapshot(1)
        self.assertEqual(before.total("connection"), self.sockets(server.pid))
        ends += self.ask(str(where / "sock"), 200)
        while_busy = snapshot(2)
        self.assertEqual(while_busy.total("connection"), self.sockets(server.pid))
        self.assertEqual(while_busy.total("connection") - before.total("connection"), 200)
        self.assertEqual([s for s in while_busy.samples if s.functions()[0].startswith("[")], [])
        accepted = [s for s in while_busy.samples if "ngx_event_accept" in " ".join(s.functions()) or
                    s.label("local") and s.label("local").text == str(where / "sock")]
        self.assertGreaterEqual(sum(s.values[0] for s in accepted), 200)
        for end in ends:
            end.close()
        server.wait_for(lambda: self.sockets(server.pid) <= before.total("connection") - 1, "nginx closes")
        after = snapshot(3)
        self.assertEqual(after.total("connection"), self.sockets(server.pid))
        server.popen.terminate()
        self.assertEqual(server.finish().messages(), [])


BUSY_NGINX = """
user root; daemon off; worker_processes 2; error_log stderr; pid {dir}/pid; worker_rlimit_nofile 1024;
events {{ worker_connections 512; }}
http {{ access_log off; client_header_timeout 600; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p;
  fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  server {{ listen 127.0.0.1:{port} backlog=512; root {root}; }} }}
"""


class Load:
    """Threads that ask again and again, each time on a new connection, until they are told to stop."""

    def __init__(self, port, n_threads):
        self.address, self.is_over, self.errors = ("127.0.0.1", port), threading.Event(), []
        self.n_answers = 0
        self.threads = [threading.Thread(target=self.churn, daemon=True) for _ in range(n_threads)]
        for thread in self.threads:
            thread.start()

    def churn(self):
        while not self.is_over.is_set():
            try:
                with socket.create_connection(self.address, timeout=harness.SECONDS) as end:
                    end.sendall(b"GET /cprof.h HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                    answer = b""
                    while part := end.recv(1 << 16):
                        answer += part
                    if not answer.startswith(b"HTTP/1.1 200 "):
                        self.errors.append(answer[:100])
                    self.n_answers += 1
            except OSError as error:
                self.errors.append(error)

    def stop(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join(harness.SECONDS)
        return self.errors


def seen_by_ss(pid):
    """{family: how many sockets the kernel shows of this process}, as `ss` reads them over netlink."""
    seen = {}
    for family, flags in (("inet", "-H4tuanp"), ("inet6", "-H6tuanp"), ("unix", "-Hxap")):
        text = subprocess.run(["ss", flags], capture_output=True, text=True, check=True).stdout
        n = len(re.findall(rf"\bpid={pid},fd=\d+", text))
        if n:
            seen[family] = n
    return seen


def n_untracked(profile):
    return sum(sample.values[0] for sample in profile.samples if sample.functions()[0] == "[untracked]")


class BusyNginx(harness.PreloadTest):
    """The connection profiles of nginx's workers against what `ss` shows of them, before, while and after they are busy."""

    HELD = 40

    def snapshot(self, pid):
        number = self.numbers[pid] = self.numbers.get(pid, 0) + 1
        os.kill(pid, 34 + 3)
        path = self.where / "out" / f"nginx.{pid}.{number:04d}.connection.pb.gz"
        self.server.wait_for(path.exists, path.name)
        profile = harness.pprof_decode.load(path)
        harness.pprof_decode.check_valid(profile)
        return profile

    def check(self, what):
        """Each worker's profile by family, which is what ss shows right before and right after; the sum of inet."""
        total = 0
        for pid in self.workers:
            before, profile, after = seen_by_ss(pid), self.snapshot(pid), seen_by_ss(pid)
            self.assertEqual(n_untracked(profile), 0, what)
            found = {}
            for sample in profile.samples:
                family = sample.label("family").text
                found[family] = found.get(family, 0) + sample.values[0]
            self.assertEqual((found, found), (before, after), f"{what}: worker {pid}")
            total += found.get("inet", 0)
        return total

    def wait_for_ss(self, n, what):
        self.server.wait_for(lambda: sum(seen_by_ss(pid).get("inet", 0) for pid in self.workers) == n, what)

    def start(self):
        self.port = harness.free_port()
        (self.where / "conf").write_text(BUSY_NGINX.format(dir=self.where, root=harness.ROOT / "include", port=self.port))
        self.server = start(["/usr/sbin/nginx", "-p", self.where, "-c", self.where / "conf"], directory=self.where,
                            seconds=300, CPROF_SIGNAL="RTMIN+3", CPROF_PROFILES="connection", CPROF_MIN_LIFE="0s")
        self.addCleanup(self.server.popen.kill)
        self.server.wait_for(self.are_ready, "two workers with their channels")

    def are_ready(self):
        """A worker is called so at the end of its start; the master then gives each its own channel and that to the other."""
        try:
            children = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text().split()
            self.workers = [int(pid) for pid in children]
            return len(self.workers) == 2 and all(
                "worker process" in Path(f"/proc/{pid}/cmdline").read_text() and seen_by_ss(pid).get("unix") == 2
                for pid in self.workers)
        except FileNotFoundError:  # it has ended
            return False

    def hold(self):
        """Connections in the middle of a request, accepted: each has had an answer before."""
        held = []
        for _ in range(self.HELD):
            end = socket.create_connection(("127.0.0.1", self.port), timeout=harness.SECONDS)
            end.sendall(b"GET /cprof.h HTTP/1.1\r\nHost: a\r\n\r\n" b"GET /cprof.h HTTP/1.1\r\nHo")
            self.assertIn(b"200 OK", end.recv(100))
            held.append(end)
        return held

    def test_connections_are_what_ss_shows(self):
        harness.tool("ss")
        if not shutil.which("nginx", path="/usr/sbin:/usr/bin"):
            raise unittest.SkipTest("nginx is not installed")
        self.where, self.numbers = harness.temporary_directory(), {}
        self.start()
        self.assertEqual(self.check("before"), 2, "each worker has the listening socket")
        load = Load(self.port, 6)
        self.addCleanup(load.is_over.set)
        self.server.wait_for(lambda: load.n_answers > 100, "requests are answered")
        held = self.hold()
        n_before = load.n_answers
        for pid in self.workers:
            profile = self.snapshot(pid)
            self.assertLess(profile.total("connection"), self.HELD + 6 + 10)
            # The signal may come when accept() has its descriptor and the wrapper does not.
            self.assertLessEqual(n_untracked(profile), 1)
        self.server.wait_for(lambda: load.n_answers > n_before + 300, "requests are answered during snapshots")
        self.assertEqual(load.stop(), [])
        self.wait_for_ss(2 + self.HELD, "the held connections stay")
        self.assertEqual(self.check("while busy"), 2 + self.HELD)
        for end in held:
            end.sendall(b"st: a\r\nConnection: close\r\n\r\n")
            while end.recv(1 << 16):
                pass
            end.close()
        self.wait_for_ss(2, "nginx closes")
        self.assertEqual(self.check("after"), 2)
        self.server.popen.send_signal(signal.SIGQUIT)
        self.assertEqual(self.server.finish().messages(), [])


if __name__ == "__main__":
    harness.main()
