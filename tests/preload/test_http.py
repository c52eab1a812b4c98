"""/debug/pprof over HTTP: the same answers as a Go program gives, pages for people, and no harm by any client."""

import base64
import contextlib
import html.parser
import os
import re
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
import unittest
import urllib.parse
from collections import namedtuple
from concurrent import futures
from pathlib import Path

import harness
import pprof_decode
from harness import PreloadTest, free_port, start, temporary_directory, tool

Answer = namedtuple("Answer", "status fields body")
PROFILES = ["heap", "allocs", "heap_peak", "mutex", "block", "threadcreate"]
ODD = 'odd/"name+1%&'  # the victim's own profile
ODD_URL = urllib.parse.quote(ODD, safe="")
OPENED = ["connection", "blob", "fd"]
BASE = "/debug/pprof/"
EXACT = {"CPROF_HEAP_RATE": 1, "CPROF_BLOCK_RATE": "1ns", "CPROF_MUTEX_RATE": "1ns"}
ARTEFACTS = harness.BUILD / "check"


def connect(address, seconds=harness.SECONDS):
    """address: a port of the loopback, or the path of a socket."""
    client = socket.socket(socket.AF_INET if isinstance(address, int) else socket.AF_UNIX)
    client.settimeout(seconds)
    try:
        client.connect(("127.0.0.1", address) if isinstance(address, int) else str(address))
    except OSError:
        client.close()
        raise
    return client


def read_all(client):
    parts = []
    while part := client.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def parse(data):
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    match = re.fullmatch(r"HTTP/1\.[01] (\d{3}) .+", lines[0])
    if not match:
        raise AssertionError(f"no HTTP: {data[:200]!r}")
    fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
    if fields.get("transfer-encoding") == "chunked":
        whole = b""
        while body:
            size, _, body = body.partition(b"\r\n")
            whole, body = whole + body[:int(size, 16)], body[int(size, 16) + 2:]
        body = whole
    return Answer(int(match[1]), fields, body)


def send(address, data):
    with connect(address) as client:
        client.sendall(data)
        return parse(read_all(client))


def ask(address, path, method="GET", body=b"", host="localhost", **fields):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    lines += [f"Content-Length: {len(body)}"] if body or method == "POST" else []
    return send(address, "\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def profile_of(answer):
    if answer.status != 200:
        raise AssertionError(f"{answer.status}: {answer.body[:300]!r}")
    profile = pprof_decode.decode(answer.body)
    pprof_decode.check_valid(profile)
    return profile


class Served:
    """A victim under the agent, served on a port of its own."""

    def __init__(self, address=None, out=False, program="http_victim", **settings):
        self.address = address or free_port()
        typed = self.address if isinstance(self.address, int) else f"unix:{self.address}"
        self.process = start(program, out=out, **{"CPROF_HTTP": typed, **settings})
        assert self.process.line() == "ready"

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.process.popen.stdin.close()
        self.process.popen.stdin = None
        self.run = self.process.finish()

    def do(self, words):
        """What the victim prints for it."""
        self.process.say(words)
        lines = []
        while (line := self.process.line()) != "ok":
            lines.append(line)
        return lines

    def ask(self, path, *how, **more):
        return ask(self.address, path if path.startswith("/") else BASE + path, *how, **more)

    def metric(self, name):
        text = self.ask("/metrics").body.decode()
        return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)[1])

    def sockets(self):
        """Of the agent's thread, which has descriptors of its own: their numbers."""
        folder, numbers = f"/proc/{self.process.pid}/task/{self.agent_tid()}/fd", []
        for fd in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                if int(fd) >= 1000 and os.readlink(f"{folder}/{fd}").startswith("socket:"):
                    numbers.append(int(fd))
        return numbers

    def n_sockets(self):
        return len(self.sockets())

    def descriptors(self, tid=None):
        return sorted(int(fd) for fd in os.listdir(f"/proc/{self.process.pid}/task/{tid or self.process.pid}/fd"))

    def thread_states(self):
        return {task.read_text().rpartition(")")[2].split()[0] for task in Path(f"/proc/{self.process.pid}/task").glob("*/stat")}

    def agent_tid(self):
        tasks = Path(f"/proc/{self.process.pid}/task")

        def named():
            for tid in os.listdir(tasks):
                with contextlib.suppress(OSError):  # it has ended meanwhile
                    if (tasks / tid / "comm").read_text() == "cprof\n":
                        found.append(tid)
            return found
        found = []
        self.process.wait_for(named, "the agent's thread has its name")
        return found[-1]  # one that is ending comes before the new one


_go_binary = []


def go_server():
    """The path of the built tests/go/pprof_server.go."""
    if not _go_binary:
        target = harness.BUILT / "pprof_server"
        source = harness.ROOT / "tests" / "go" / "pprof_server.go"
        harness.BUILT.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
            env = {**os.environ, "GOCACHE": str(harness.BUILD / "go-cache"), "GOPROXY": "off", "GO111MODULE": "off"}
            subprocess.run([tool("go"), "build", "-o", target, source], check=True, env=env, timeout=300,
                           stdout=subprocess.DEVNULL)
        _go_binary.append(target)
    return _go_binary[0]


class TestHttpAnswers(PreloadTest):
    SAME_FIELDS = ("content-type", "content-disposition", "x-content-type-options", "x-go-pprof", "location")

    # path, method, body; what is not in both programs by nature is not here
    REQUESTS = [
        ("", "GET", b""), ("heap", "GET", b""), ("allocs", "GET", b""), ("mutex", "GET", b""), ("block", "GET", b""),
        ("threadcreate", "GET", b""), ("heap?debug=1", "GET", b""), ("heap?debug=x", "GET", b""), ("heap?gc=1", "GET", b""),
        ("mutex?debug=1", "GET", b""), ("block?debug=1", "GET", b""), ("threadcreate?debug=1", "GET", b""),
        ("heap?seconds=1", "GET", b""), ("heap?seconds=0", "GET", b""), ("heap?seconds=-1", "GET", b""),
        ("heap?seconds=x", "GET", b""), ("heap?seconds=", "GET", b""), ("heap?seconds=99999999999999999999", "GET", b""),
        ("heap?seconds=1&debug=1", "GET", b""), ("heap?%73econds=0", "GET", b""), ("heap?a=1;seconds=0", "GET", b""),
        ("nope", "GET", b""), ("nope?seconds=1", "GET", b""), ("heap/", "GET", b""), ("HEAP", "GET", b""),
        ("cmdline", "GET", b""), ("symbol", "GET", b""), ("symbol?0x1", "GET", b""), ("symbol", "POST", b"0x1+0x2"),
        ("heap", "HEAD", b""),
    ]

    def test_are_those_of_a_go_program(self):
        go = subprocess.Popen([go_server()], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            port = int(go.stdout.readline())
            with Served(**EXACT) as served:
                served.do("keep")
                served.do("contend")
                for path, method, body in self.REQUESTS + [(BASE[:-1], "GET", b"")]:
                    path = path if path.startswith("/") else BASE + path
                    with self.subTest(f"{method} {path}"):
                        wanted, got = ask(port, path, method, body), served.ask(path, method, body)
                        self.assertEqual(got.status, wanted.status)
                        for name in self.SAME_FIELDS if wanted.status != 301 else ("location",):
                            self.assertEqual(got.fields.get(name), wanted.fields.get(name), name)
                        self.assert_same_shape(path, wanted, got)
        finally:
            go.stdin.close()
            go.wait(harness.SECONDS)
            go.stdout.close()

    def assert_same_shape(self, path, wanted, got):
        kind = wanted.fields.get("content-type", "")
        if wanted.status >= 400:
            self.assertEqual(got.body, wanted.body)
        elif kind == "application/octet-stream":
            self.assertEqual(got.body[:2], wanted.body[:2])
            if got.body:
                ours, theirs = profile_of(got), pprof_decode.decode(wanted.body)
                self.assertEqual(ours.sample_types, theirs.sample_types)
        elif "debug=1" in path:
            first = [re.sub(r"\d+", "N", answer.body.decode().splitlines()[0]).replace("--- mutex:", "--- contention:")
                     for answer in (wanted, got)]  # pprof takes both for the same
            self.assertEqual(first[0], first[1])
        elif "symbol" in path:
            self.assertEqual(got.body.splitlines()[0], wanted.body.splitlines()[0])

    def test_end_every_connection(self):
        with Served() as served:
            for path in ("", "heap", "nope"):
                answer = served.ask(path)
                self.assertEqual(answer.fields["connection"], "close")
                self.assertEqual(int(answer.fields["content-length"]), len(answer.body))

    def test_for_profiles_that_come_later_are_unknown_profile(self):
        with Served() as served:
            for name in ("profile", "thread", "goroutine", "trace"):
                answer = served.ask(name)
                self.assertEqual((answer.status, answer.body), (404, b"Unknown profile\n"), name)

    def test_come_within_a_second_of_the_start(self):
        def seconds():
            port = free_port()
            begin = time.monotonic()
            process = start("http_victim", out=False, CPROF_HTTP=port)
            status = None
            while status != 200:
                self.assertLess(time.monotonic(), process.deadline)
                with contextlib.suppress(ConnectionRefusedError):
                    status = ask(port, BASE + "heap").status
            took = time.monotonic() - begin
            process.popen.stdin.close()
            process.popen.stdin = None
            self.assert_ok(process.finish())
            return took
        self.assert_at_best(seconds, 1)

    def test_hold_every_profile_the_program_made(self):
        with Served(**EXACT) as served:
            served.do("keep")
            served.do("contend")
            served.do("contend")
            heap = profile_of(served.ask("heap"))
            self.assertEqual(heap.all_values("keeps_hundred")[:4], (100, 100000, 100, 100000))
            self.assertEqual(profile_of(served.ask("mutex")).count("holds_mutex", "contentions"), 2)
            waits = profile_of(served.ask("block")).count("contends", "contentions")
            self.assertIn(waits, range(4, 7), "mutex and join, and perhaps the barrier")
            self.assertEqual(profile_of(served.ask("threadcreate")).count("contends"), 2)
        self.assert_ok(served.run)

    def test_without_symbols_are_raw_addresses(self):
        with Served(**EXACT) as served:
            served.do("keep")
            raw = pprof_decode.decode(served.ask("heap?symbolize=none").body)
            self.assertEqual((len(raw.functions), any(mapping.has_functions for mapping in raw.mappings)), (0, False))
            self.assertGreater(len(raw.locations), 2)

    def test_of_symbol_name_addresses_of_profiles_and_others(self):
        with Served(**EXACT) as served:
            served.do("keep")
            heap = profile_of(served.ask("heap"))
            addresses = {location.address: location.names()[0] for location in heap.locations if location.address}
            for method in ("GET", "POST"):
                words = "+".join(f"{address:#x}" for address in addresses)
                answer = served.ask("symbol" + (f"?{words}" if method == "GET" else ""), method,
                                    words.encode() if method == "POST" else b"")
                first, *lines = answer.body.decode().splitlines()
                self.assertEqual((answer.status, first), (200, "num_symbols: 1"))
                self.assertEqual({int(line.split()[0], 16): line.split(" ", 1)[1] for line in lines}, addresses)
            inside = next(a for a, name in addresses.items() if name == "keeps_hundred") + 1  # in no profile
            self.assertIn(b" keeps_hundred\n", served.ask(f"symbol?{inside:#x}").body)
            self.assertEqual(served.ask("symbol?0x10+junk+++0xffffffffffffffff+0x").body, b"num_symbols: 1\n")
            self.assertEqual(served.ask("of/any/symbol").body, b"num_symbols: 1\n")  # pprof asks beside the profile
            self.assertEqual([served.ask(path).status for path in ("flame/symbol", "asymbol", "symbol/x")], [404] * 3)

    def test_of_cmdline_are_the_arguments(self):
        with Served() as served:
            self.assertEqual(served.ask("cmdline").body, str(served.process.command[0]).encode())
        with Served(CPROF_HTTP_CMDLINE=0) as served:
            self.assertEqual(served.ask("cmdline").status, 403)
            self.assertNotIn(b"cmdline", served.ask("").body)

    def test_of_metrics_are_prometheus_text(self):
        with Served(**EXACT) as served:
            served.do("keep")
            answer = served.ask("/metrics")
            self.assertEqual(answer.fields["content-type"], "text/plain; version=0.0.4; charset=utf-8")
            names = set()
            for line in answer.body.decode().splitlines():
                if line.startswith("# "):
                    self.assertRegex(line, r"^# (HELP|TYPE) cprof_[a-z_]+ .+$")
                    continue
                match = re.fullmatch(r'(cprof_[a-z_]+)(\{([a-z_]+="([^"\\\n]|\\.)*",?)+\})? [0-9.]+', line)
                self.assertTrue(match, line)
                self.assertNotIn(line.rsplit(" ", 1)[0], names, "twice")
                names.add(line.rsplit(" ", 1)[0])
            self.assertGreaterEqual(served.metric('cprof_samples_total{source="heap"}'), 100)
            self.assertGreaterEqual(
                served.metric('cprof_profile_value{profile="heap",type="inuse_space",unit="bytes"}'), 100000)
            self.assertEqual(served.ask("metrics").status, 200)
            for name in ("cprof_memory_bytes", "cprof_memory_limit_bytes", "cprof_stacks", "cprof_cpu_seconds_total"):
                self.assertGreater(served.metric(name), 0, name)

    def test_of_metrics_count_what_is_alive_in_the_program(self):
        with Served(**EXACT) as served:
            def values():
                opened = (f'cprof_profile_value{{profile="{name}",type="{name}",unit="count"}}'
                          for name in ("connection", "blob"))
                return [served.metric(name) for name in ("cprof_threads", *opened)]
            self.assertEqual(values(), [1, 0, 0])
            served.do("threads 5")
            served.do("sockets 3")
            served.do("streams 4")
            self.assertEqual(values(), [6, 3, 4])
            heap = 'cprof_table_places{table="heap"}'
            before = served.metric(heap)
            served.do("stacks 50000")
            self.assertGreaterEqual(before, 1)
            self.assertGreaterEqual(served.metric(heap), 50000)
            self.assertEqual(served.metric('cprof_table_places{table="handles"}'), 4096)
            self.assertEqual(served.metric('cprof_table_places{table="values"}'), 16)
            self.assertEqual(served.metric('cprof_table_places{table="streams"}'), 0)
        self.assert_ok(served.run)

    def test_of_metrics_count_the_time_of_all_the_agents_threads(self):
        with Served(**EXACT) as served:
            served.do("stacks 20000")
            for _ in range(3):
                served.ask("heap")
            before, tid = served.metric("cprof_cpu_seconds_total"), served.agent_tid()
            served.do("leave 1")
            self.assertGreaterEqual(served.metric("cprof_cpu_seconds_total"), before)
            served.process.wait_for(lambda: served.agent_tid() != tid, "another thread")
        self.assert_ok(served.run)

    def test_stand_under_another_prefix(self):
        for typed, prefix in (("/x/y/", "/x/y/"), ("z", "/z/"), ("/", "/")):
            with Served(CPROF_HTTP_PREFIX=typed) as served:
                self.assertEqual(served.ask(prefix + "heap").status, 200, typed)
                self.assertIn(b"<table>", served.ask(prefix).body)
                self.assertEqual(served.ask("/debug/pprof/heap").status, 404)
                self.assertEqual(served.ask("/metrics").status, 200)


class TestHttpDeltas(PreloadTest):
    def ask_for_windows(self, served, seconds):
        """A delta of each profile, asked for at the same time, while the program works: the answers by name, and if the
        work lies in each of the windows, by their own words."""
        answers, threads = {}, []
        for name in [*PROFILES, ODD_URL]:
            threads.append(threading.Thread(
                target=lambda name=name: answers.update({name: served.ask(f"{name}?seconds={seconds}")})))
            threads[-1].start()
        served.process.wait_for(lambda: served.metric("cprof_http_connections") == len(PROFILES) + 2, "all wait")
        served.metric("cprof_http_connections")  # who is accepted is read before the next one is answered
        begin = time.time_ns()
        self.assertEqual(served.ask("heap").status, 200)
        served.do("keep")
        served.do("contend")
        served.do("values")
        end = time.time_ns()
        for thread in threads:
            thread.join()
        self.assertEqual(len(answers), len(PROFILES) + 1)
        profiles = [profile_of(answer) for answer in answers.values()]
        return answers, all(profile.time_nanos - profile.duration_nanos < begin and end < profile.time_nanos for profile in profiles)

    def test_show_what_happened_in_the_window_and_serve_others_meanwhile(self):
        for seconds in (2, 4, 8, 16, 32):  # in which the work is done, with another request before it
            with Served(**EXACT) as served:
                served.do("keep")
                served.do("contend")
                asked = time.monotonic()
                answers, is_inside = self.ask_for_windows(served, seconds)
                took = time.monotonic() - asked
            self.assert_ok(served.run)
            if is_inside:
                break
        self.assertTrue(is_inside, "a request waits for the deltas")
        self.assertEqual(profile_of(answers[ODD_URL]).count("adds_values"), 2)
        for name, answer in answers.items():
            profile = profile_of(answer)
            filename = f'attachment; filename="{"odd__name+1%&" if name == ODD_URL else name}-delta"'
            self.assertEqual(answer.fields["content-disposition"], filename)
            self.assertTrue(seconds * 1e9 <= profile.duration_nanos <= took * 1e9, (name, profile.duration_nanos, took))
        self.assertEqual(profile_of(answers["heap"]).all_values("keeps_hundred")[:4], (100, 100000, 200, 200000))
        self.assertEqual(profile_of(answers["mutex"]).count("holds_mutex", "contentions"), 1)
        self.assertEqual(profile_of(answers["threadcreate"]).count("contends"), 1)

    def test_of_delta_heap_are_since_the_last_fetch(self):
        with Served(**EXACT) as served:
            served.do("keep")
            self.assertEqual(profile_of(served.ask("delta_heap")).all_values("keeps_hundred")[:4],
                             (100, 100000, 100, 100000))
            served.do("keep")
            second = profile_of(served.ask("delta_heap"))
            self.assertEqual(second.all_values("keeps_hundred")[:4], (100, 100000, 200, 200000))
            self.assertGreater(second.duration_nanos, 0)
            third = profile_of(served.ask("delta_heap"))
            self.assertEqual(third.all_values("keeps_hundred")[:4], (0, 0, 200, 200000))
            served.do("contend")
            self.assertEqual(profile_of(served.ask("delta_mutex")).count("holds_mutex", "contentions"), 1)
            self.assertEqual(profile_of(served.ask("delta_mutex")).count("holds_mutex", "contentions"), 0)
            self.assertIn(profile_of(served.ask("delta_block")).count("contends", "contentions"), (2, 3))
            self.assertEqual(profile_of(served.ask("delta_block")).count("contends", "contentions"), 0)
            self.assertEqual(served.ask("heap").fields["content-disposition"], 'attachment; filename="heap"')

    def test_last_as_long_as_they_did_when_the_clock_is_set(self):
        for step in (-86400, 86400):
            with Served(program="clock_steps", **EXACT) as served, futures.ThreadPoolExecutor(1) as pool:
                for seconds in (1, 8, 64):  # in which it is seen to wait
                    asked = pool.submit(served.ask, f"heap?seconds={seconds}")
                    served.process.wait_for(lambda: asked.done() or served.metric("cprof_http_connections") == 2, "it waits")
                    if not asked.done():
                        break
                served.do(str(step))
                durations = [profile_of(answer).duration_nanos
                             for answer in (asked.result(), served.ask("delta_heap"), served.ask("delta_heap"))]
                self.assertTrue(all(0 < duration < 3600e9 for duration in durations), (step, durations))
                self.assertGreaterEqual(durations[0], 1e9, step)
                up = re.search(r"up (\d+) s", served.ask("").body.decode())[1]
                self.assertTrue(1 <= int(up) < 3600, (step, up))

    def test_that_are_too_long_are_refused(self):
        with Served() as served:
            answer = served.ask("heap?seconds=601")
            self.assertEqual((answer.status, answer.fields["x-go-pprof"]), (400, "1"))

    def test_of_clients_that_went_away_end_at_once(self):
        with Served() as served:
            for _ in range(3):
                with connect(served.address) as client:
                    client.sendall(f"GET {BASE}heap?seconds=600 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                    served.process.wait_for(lambda: served.metric("cprof_http_connections") == 2, "it waits")
                served.process.wait_for(lambda: served.metric("cprof_http_connections") == 1, "it is gone")

    def test_leave_one_place_free(self):
        with Served() as served:
            clients = [connect(served.address) for _ in range(8)]
            for client in clients:
                client.sendall(f"GET {BASE}heap?seconds=600 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            served.process.wait_for(lambda: served.metric("cprof_http_connections") == 8, "seven wait")
            refused, _, _ = select.select(clients, [], [], harness.SECONDS)
            self.assertEqual([parse(read_all(client)).status for client in refused], [503])
            for client in clients:
                client.close()


class TestHttpPprof(PreloadTest):
    def pprof(self, *args):
        directory = temporary_directory()
        env = {**os.environ, "PPROF_TMPDIR": str(directory), "HOME": str(directory)}
        # for the answer it would wait no longer than half as long again as the profile takes
        done = subprocess.run([tool("go"), "tool", "pprof", f"-timeout={harness.SECONDS}", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=harness.SECONDS, env=env)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stdout.decode(), done.stderr.decode()

    def test_reads_every_profile(self):
        with Served(**EXACT) as served:
            served.do("keep")
            served.do("contend")
            found = {"heap": "keeps_hundred", "allocs": "keeps_hundred", "heap_peak": "keeps_hundred",
                     "mutex": "holds_mutex", "block": "contends", "threadcreate": "contends", ODD_URL: "adds_values"}
            served.do("values")
            for name in [*PROFILES, ODD_URL]:
                with self.subTest(name):
                    url = f"http://localhost:{served.address}{BASE}{name}"
                    raw, _ = self.pprof("-raw", url)
                    self.assertIn(found[name], raw)
                    top, _ = self.pprof("-top", url)
                    self.assertIn(found[name], top)
                    text, _ = self.pprof("-top", url + "?debug=1")
                    self.assertIn(found[name], text)

    def test_reads_what_is_open(self):
        with Served(CPROF_PROFILES="+fd") as served:
            for name in OPENED:
                for suffix in ("", "?debug=1"):
                    with self.subTest(name + suffix):
                        raw, _ = self.pprof("-raw", f"http://localhost:{served.address}{BASE}{name}{suffix}")
                        if not suffix:
                            self.assertIn(f"{name}/count", raw)
                raw, _ = self.pprof("-raw", "-seconds=1", f"http://localhost:{served.address}{BASE}{name}")
                self.assertIn("Duration: ", raw, name)

    def test_reads_every_delta(self):
        with Served(**EXACT) as served:
            results, threads = {}, []

            def fetch(name):
                results[name] = self.pprof("-raw", "-seconds=1", f"http://localhost:{served.address}{BASE}{name}")

            names = [*PROFILES, ODD_URL]
            for name in names:
                threads.append(threading.Thread(target=fetch, args=(name,)))
                threads[-1].start()
            for thread in threads:
                thread.join()
            self.assertEqual(sorted(results), sorted(names))
            for name, (raw, _) in results.items():
                self.assertIn("Duration: ", raw, name)

    def test_finds_no_name_missing(self):
        """It posts to /symbol whenever a mapping lacks names, and gives up when that fails."""
        with Served(**EXACT) as served:
            served.do("keep")
            raw, said = self.pprof("-raw", "-symbolize=remote", f"http://localhost:{served.address}{BASE}heap?symbolize=none")
            self.assertIn("keeps_hundred", raw, said)

    def test_agrees_about_the_text_with_the_binary_form(self):
        with Served(CPROF_HEAP_RATE="4k") as served:
            served.do("stacks 2000")
            url = f"http://localhost:{served.address}{BASE}heap"
            sums = []
            for suffix in ("", "?debug=1"):
                raw, _ = self.pprof("-raw", url + suffix)
                # The text has two columns when nothing was freed: what is in use comes last.
                rows = re.findall(r"^[\s\d]*?(\d+)\s+(\d+): [0-9 ]+$", raw, re.MULTILINE)
                self.assertGreater(len(rows), 3, raw[:2000])
                sums.append([sum(int(row[i]) for row in rows) for i in range(2)])
            self.assertEqual(sums[0], sums[1])

    def test_sends_the_token_as_password(self):
        directory = temporary_directory()
        (directory / "token").write_text("s3cret\n")
        with Served(CPROF_HTTP_TOKEN_FILE=directory / "token") as served:
            raw, _ = self.pprof("-raw", f"http://any:s3cret@localhost:{served.address}{BASE}heap")
            self.assertIn("inuse_space", raw)


class TestHttpClients(PreloadTest):
    @staticmethod
    def send_at_once(address, data):
        """Once more where the machine kept us from that: the server waits 5 s for a request, and 2 s for what it refuses."""
        for _ in range(20):
            begin, answer = time.monotonic(), None
            with contextlib.suppress(ConnectionError):
                answer = send(address, data)
            was_held_up = time.monotonic() - begin > 1
            if answer and not (was_held_up and answer.status == 408):
                return answer
            assert was_held_up, f"cut off: {data[:60]}"
        raise AssertionError("never within a second")

    def test_that_are_wrong_get_a_status_each(self):
        cases = [
            (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
            (b"GET / HTTP/1.1\r\nHost: 127.0.0.1.evil.example:80\r\n\r\n", 403),
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"GET /metrics HTTP/1.0\r\n\r\n", 200),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n", 400),
            (b"GET /metrics HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
            (b"DELETE /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
            (b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
            (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-Y: z\r\n" * 2000 + b"\r\n", 431),
            (b"POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048577\r\n\r\n" + b"x" * 1048577, 413),
            (b"POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048576\r\n\r\n" + b"+" * 1048576, 200),
            (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20, 200),  # pipelined: the first one is answered
        ]
        with Served() as served:
            for data, status in cases:
                with self.subTest(data[:60]):
                    self.assertEqual(self.send_at_once(served.address, data).status, status)
            self.assertEqual(served.ask("heap").status, 200)
        self.assert_ok(served.run)

    def test_that_send_a_body_late_are_told_to_go_on(self):
        with Served() as served, connect(served.address) as client:
            client.sendall(f"POST {BASE}symbol HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
                           "Content-Length: 3\r\n\r\n".encode())
            self.assertEqual(client.recv(25), b"HTTP/1.1 100 Continue\r\n\r\n")
            client.sendall(b"0x1")
            self.assertEqual(parse(read_all(client)).status, 200)

    def test_that_are_slow_take_no_place_from_others(self):
        def both_in_time():
            with Served() as served:
                slow = [connect(served.address) for _ in range(8)]
                for client in slow:
                    client.sendall(b"GET /debug")
                served.process.wait_for(lambda: served.n_sockets() == 9, "all are connected")
                begin = time.monotonic()
                self.assertEqual(served.ask("heap").status, 200)
                answered = time.monotonic() - begin
                self.assertEqual([parse(read_all(client)).status for client in slow], [408] * 8)
                ended = time.monotonic() - begin
                for client in slow:
                    client.close()
                served.process.wait_for(lambda: served.metric("cprof_http_connections") == 1, "all places are free")
            return max(answered / 3, ended / 9)
        self.assert_at_best(both_in_time, 1, tries=5)

    def test_that_have_sent_while_the_process_stood_still_are_not_taken_for_slow(self):
        with Served() as served:
            clients = [connect(served.address) for _ in range(7)]
            served.process.wait_for(lambda: served.n_sockets() == 8, "all are connected")
            accepted = time.monotonic()
            os.kill(served.process.pid, signal.SIGSTOP)
            served.process.wait_for(lambda: served.thread_states() == {"T"}, "it stands still")
            clients += [connect(served.address) for _ in range(2)]  # for whom there is one place
            for client in clients:
                client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            served.process.wait_for(lambda: time.monotonic() > accepted + 1.1, "a second, after which one is slow")
            os.kill(served.process.pid, signal.SIGCONT)
            self.assertEqual([parse(read_all(client)).status for client in clients], [200] * 9)
            for client in clients:
                client.close()
        self.assert_ok(served.run)

    def test_that_read_slowly_get_all_of_it(self):
        with Served(**EXACT) as served:
            served.do("stacks 5000")
            with connect(served.address) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
                client.sendall(f"GET {BASE}heap?debug=1 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                self.assertEqual(served.ask("mutex").status, 200)
                answer = parse(read_all(client))
            self.assertEqual(len(answer.body), int(answer.fields["content-length"]))
            self.assertGreater(len(answer.body), 1 << 20)

    def test_without_the_token_are_refused(self):
        directory = temporary_directory()
        (directory / "token").write_text("s3cret\nnot this\n")
        with Served(CPROF_HTTP_TOKEN_FILE=directory / "token") as served:
            def status(text):
                encoded = base64.b64encode(text.encode()).decode()
                return served.ask("heap", Authorization=f"Basic {encoded}").status
            refused = served.ask("heap")
            self.assertEqual((refused.status, refused.fields["www-authenticate"]), (401, 'Basic realm="cprof"'))
            self.assertEqual(served.ask("/metrics").status, 401)
            self.assertEqual([status(text) for text in ("x:wrong", "x:s3cre", "x:s3crets", "s3cret", "x:s3cret", ":s3cret")],
                             [401, 401, 401, 401, 200, 200])
        self.assert_ok(served.run)

    def test_in_a_row_cost_neither_descriptors_nor_memory(self):
        """While the program works, as a server does."""
        n = int(os.environ.get("CPROF_TEST_REQUESTS", "10000"))
        with Served(**EXACT) as served, futures.ThreadPoolExecutor(1) as pool:
            served.do("keep")
            paths = ["heap", "mutex", "", "heap?debug=1", "nope", "symbol", "flame/heap", "/metrics"]

            def rss():
                with open(f"/proc/{served.process.pid}/smaps_rollup") as file:  # exact, which statm is not
                    return int(re.search(r"^Rss: +(\d+) kB$", file.read(), re.MULTILINE)[1]) << 10

            def asks(n):
                stop, until = threading.Event(), time.monotonic() + 60

                def works():
                    while not stop.is_set():
                        served.do("malloc")
                load = pool.submit(works)
                try:
                    for i in range(n):
                        served.ask(paths[i % len(paths)])
                        if time.monotonic() > until and i >= n / 10:
                            break  # on a slow machine
                finally:
                    stop.set()
                load.result()
                served.process.wait_for(lambda: served.n_sockets() == 1, "only the listener is left")
                return served.descriptors(), served.metric("cprof_memory_bytes"), rss()

            before = asks(200)
            after = asks(n)
            self.assertEqual(after[:2], before[:2])
            self.assertLess(after[2] - before[2], 256 << 10)
        self.assert_ok(served.run)


class TestHttpControl(PreloadTest):
    def test_changes_by_post_only_and_not_from_other_sites(self):
        with Served() as served:
            for name in ("rate", "snapshot", "start", "stop"):
                self.assertEqual((served.ask(name).status, served.ask(name).fields["allow"]), (405, "POST"), name)
                for field in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}):
                    self.assertEqual(served.ask(name, "POST", **field).status, 403, (name, field))
            self.assertEqual(served.metric("cprof_collecting"), 1)
            same = served.ask("stop", "POST", Origin="http://localhost", Sec_Fetch_Site="same-origin")
            self.assertEqual(same.status, 200)
            self.assertEqual(served.metric("cprof_collecting"), 0)

    def test_sets_rates(self):
        with Served() as served:
            self.assertEqual(served.ask("rate", "POST").body, b"heap=524288 block=100000 mutex=100000\n")
            self.assertEqual(served.ask("rate?heap=64k&block=1us", "POST").body, b"heap=65536 block=1000 mutex=100000\n")
            self.assertEqual(served.ask("rate", "POST", b"heap=1&mutex=1").body, b"heap=1 block=1000 mutex=1\n")
            self.assertEqual(profile_of(served.ask("heap")).period, 1)
            for wrong in ("heap=x", "heap=-1", "block=10q", "heap=7&mutex=y", "heap="):
                self.assertEqual(served.ask("rate?" + wrong, "POST").status, 400, wrong)
            self.assertEqual(served.ask("rate", "POST").body, b"heap=1 block=1000 mutex=1\n")

    def test_answers_a_snapshot_with_what_became_of_its_files(self):
        directory = temporary_directory() / "there"
        directory.mkdir()
        with Served(out=directory / "out", CPROF_LOG_LEVEL="error", **EXACT) as served:
            served.do("keep")
            written = served.ask("snapshot", "POST")
            self.assertEqual((written.status, written.body),
                             (200, b"snapshot written: %d files\n" % len(os.listdir(directory / "out"))))
            shutil.rmtree(directory)
            for body in (b"", b"back=1"):
                failed = served.ask("snapshot", "POST", body)
                self.assertEqual((failed.status, failed.fields["content-type"], failed.fields["x-go-pprof"], failed.body),
                                 (500, "text/plain; charset=utf-8", "1",
                                  b"snapshot: No such file or directory; not all profiles are written\n"))
            directory.mkdir()
            self.assertEqual(served.ask("snapshot", "POST").body, written.body)
        self.assertEqual((served.run.status, served.run.messages()), (0, []))

    def test_writes_every_snapshot_it_is_asked_for_while_the_program_works_on(self):
        n_posted, n_signalled = 50, 20
        with Served(out=True, CPROF_HEAP_RATE=1) as served, futures.ThreadPoolExecutor(1) as pool:
            served.do("keep")
            stop = threading.Event()

            def works():
                n = 0
                while not stop.is_set():
                    self.assertEqual(served.do("malloc"), [])
                    n += 1
                return n

            done = pool.submit(works)
            try:
                for _ in range(n_posted):
                    self.assertEqual(served.ask("snapshot", "POST").status, 200)
                for number in range(n_posted + 1, n_posted + n_signalled + 1):
                    served.process.popen.send_signal(signal.SIGUSR2)
                    name = f"http_victim.{served.process.pid}.{number:04}.heap.pb.gz"
                    served.process.wait_for((served.process.run.out / name).exists, name)
            finally:
                stop.set()
            self.assertGreater(done.result(), 0)
        heaps = [profile for file, profile in served.run.check_all() if file.profile == "heap"]
        self.assertEqual(len(heaps), n_posted + n_signalled + 1, "and the one at exit")
        self.assertEqual({profile.all_values("keeps_hundred")[2] for profile in heaps}, {100})
        self.assert_ok(served.run)

    def test_says_that_the_disk_is_full(self):
        if os.getuid() or not harness.can_mount():
            self.skipTest("mounting a small file system needs root, and may be forbidden here")
        directory, port = temporary_directory(), free_port()
        script = ('mount -t tmpfs -o size=64k none "$OUT" && head -c 61440 /dev/zero >"$OUT/filler"; '
                  'LD_PRELOAD=$LIB CPROF_OUT=$OUT CPROF_HEAP_RATE=1 CPROF_HTTP=$PORT exec "$0"')
        process = harness.start_bare(["unshare", "-m", "/bin/sh", "-c", script, harness.victim("http_victim")],
                                     env={"LIB": harness.LIBRARY, "OUT": directory, "PORT": port})
        self.assertEqual(process.line(), "ready")
        process.say("stacks 2000")
        self.assertEqual(process.line(), "ok")
        answer = ask(port, BASE + "snapshot", "POST")
        self.assertEqual((answer.status, answer.body),
                         (500, b"snapshot: No space left on device; not all profiles are written\n"))
        process.popen.stdin.close()
        process.popen.stdin = None
        self.assert_one_message(process.finish(), "No space left on device")

    def test_stops_and_starts_and_keeps_what_was_collected(self):
        with Served(**EXACT) as served:
            served.do("keep")
            self.assertEqual(served.ask("stop", "POST").status, 200)
            served.do("keep")
            self.assertEqual(profile_of(served.ask("heap")).all_values("keeps_hundred")[:2], (100, 100000))
            self.assertEqual(served.ask("start", "POST").status, 200)
            served.do("stacks 20000")  # a thread looks again after 1 MiB
            served.do("keep")
            self.assertEqual(profile_of(served.ask("heap")).all_values("keeps_hundred")[:2], (200, 200000))

    def test_starts_what_was_off(self):
        with Served(CPROF="off", **EXACT) as served:
            served.do("keep")
            self.assertEqual(profile_of(served.ask("heap")).samples, [])
            self.assertEqual(served.metric("cprof_collecting"), 0)
            self.assertEqual(served.ask("start", "POST").status, 200)
            served.do("contend")
            served.do("stacks 20000")
            served.do("keep")
            self.assertEqual(profile_of(served.ask("heap")).all_values("keeps_hundred")[:2], (100, 100000))
            self.assertEqual(profile_of(served.ask("mutex")).count("holds_mutex", "contentions"), 1)
            self.assertEqual(profile_of(served.ask("threadcreate")).count("contends"), 1)
            served.do("sockets 3")
            served.do("streams 4")
            self.assertEqual(profile_of(served.ask("connection")).count("opens_sockets"), 3)
            self.assertEqual(profile_of(served.ask("blob")).count("opens_streams"), 4)
        self.assert_ok(served.run)

    def test_starts_the_profiles_of_a_program_that_made_them_while_it_was_off(self):
        with Served(CPROF="off") as served:
            self.assertEqual(served.do("values"), ["0 0 "])
            self.assertEqual(profile_of(served.ask(ODD_URL)).samples, [])
            served.ask("start", "POST")
            self.assertEqual(served.do("values"), ["0 0 "], "adding succeeds as it did")
            self.assertEqual(profile_of(served.ask(ODD_URL)).count("adds_values"), 2)
        self.assert_ok(served.run)

    def test_starts_the_files_at_exit_and_by_time_of_what_was_off(self):
        with Served(CPROF="off", out=True, CPROF_INTERVAL="20ms", **EXACT) as served:
            served.ask("start", "POST")
            served.do("stacks 20000")  # a thread that has allocated while it was off notices after 1 MiB
            served.do("keep")
            out = served.process.run.out
            served.process.wait_for(lambda: len(list(out.glob("*.heap.pb.gz"))) > 2, "files by time")
        self.assert_ok(served.run)
        numbers = {file.number for file in served.run.files()}
        self.assertEqual(served.run.profile("heap", number=max(numbers)).count("keeps_hundred", "inuse_objects"), 100)

    def test_starts_the_files_by_signal_of_what_was_off(self):
        for number in (signal.SIGUSR2, signal.SIGTERM):
            process = start("http_victim", CPROF="off", CPROF_HTTP=(port := free_port()), **EXACT)
            self.assertEqual(process.line(), "ready")
            self.assertEqual(process.run.entries(), [])
            self.assertEqual(ask(port, BASE + "start", "POST").status, 200)
            os.kill(process.pid, number)
            name = process.run.out / f"http_victim.{process.pid}.0001.heap.pb.gz"
            if number == signal.SIGUSR2:
                process.wait_for(name.exists, "the snapshot")
                os.kill(process.pid, signal.SIGTERM)
            run = process.finish()
            self.assertEqual((run.status, run.messages(), name.exists()), (-signal.SIGTERM, [], True))

    def test_leaves_files_and_signals_of_what_is_off_alone(self):
        process = start("http_victim", CPROF="off", CPROF_HTTP=free_port())
        self.assertEqual(process.line(), "ready")
        os.kill(process.pid, signal.SIGUSR2)
        run = process.finish()
        self.assertEqual((run.status, run.entries()), (-signal.SIGUSR2, []))

    def test_writes_files(self):
        with Served(out=True, **EXACT) as served:
            served.do("keep")
            self.assertEqual(served.ask("snapshot", "POST").status, 200)
            self.assertEqual(served.process.run.profile("heap", number=1).count("keeps_hundred", "inuse_objects"), 100)

    def test_sends_a_browser_back_to_the_index(self):
        with Served() as served:
            answer = served.ask("stop", "POST", b"back=1")
            self.assertEqual((answer.status, answer.fields["location"]), (303, "./"))


class TestHttpSockets(PreloadTest):
    def test_serve_the_hosts_that_are_listed(self):
        with Served(CPROF_HTTP_HOSTS="dev.example,proxy") as served:
            for host, status in (("proxy:80", 200), ("DEV.example", 200), ("localhost", 200), ("evil.example", 403),
                                 ("dev", 403)):
                self.assertEqual(served.ask("heap", host=host).status, status, host)
        self.assert_ok(served.run)

    def test_of_a_file_are_private_and_go_with_the_process(self):
        directory = temporary_directory() / "made"
        pattern = directory / "%e.%p.sock"
        process = start("http_victim", out=False, CPROF_HTTP=f"unix:{pattern}")
        self.assertEqual(process.line(), "ready")
        path = directory / f"http_victim.{process.pid}.sock"
        self.assertEqual((os.stat(directory).st_mode & 0o777, os.stat(path).st_mode & 0o777), (0o700, 0o600))
        self.assertEqual(ask(path, BASE + "heap", host="anything").status, 200)
        with self.subTest("curl"):
            done = subprocess.run([tool("curl"), "-sS", "--unix-socket", path, f"http://x{BASE}heap?debug=1"], timeout=harness.SECONDS,
                                  stdout=subprocess.PIPE, check=True)
            self.assertTrue(done.stdout.startswith(b"heap profile: "))
        process.popen.stdin.close()
        process.popen.stdin = None
        self.assert_ok(process.finish())
        self.assertFalse(path.exists())

    @unittest.skipUnless(os.geteuid() == 0, "needs root to be another user")
    def test_of_a_file_are_for_the_same_user_and_root(self):
        path = harness.public_directory() / "s"
        with Served(path) as served:
            os.chmod(path, 0o666)  # who gets that far is asked who it is
            code = ("import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX);"
                    f"s.connect({str(path)!r}); s.sendall(b'GET /metrics HTTP/1.0\\r\\n\\r\\n');"
                    "print(len(s.recv(100)))")
            done = subprocess.run(["/usr/bin/python3", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=harness.SECONDS)
            self.assertTrue(done.stdout == b"0\n" or b"ConnectionReset" in done.stderr or b"BrokenPipe" in done.stderr,
                            done)
            self.assertEqual(served.ask("heap").status, 200)

    def test_that_a_dead_process_left_are_replaced_and_others_are_not(self):
        directory = temporary_directory()
        path = directory / "s"
        left = socket.socket(socket.AF_UNIX)
        left.bind(str(path))
        left.close()
        with Served(path) as served:
            self.assertEqual(served.ask("heap").status, 200)
            second = start("http_victim", out=False, CPROF_HTTP=f"unix:{path}").finish()
            self.assert_one_message(second, "CPROF_HTTP", "Address already in use")
            self.assertEqual(second.status, 0)
            self.assertEqual(served.ask("heap").status, 200)
        (directory / "file").write_text("mine")
        third = start("http_victim", out=False, CPROF_HTTP=f"unix:{directory}/file").finish()
        self.assert_one_message(third, "CPROF_HTTP", "File exists")
        self.assertEqual((directory / "file").read_text(), "mine")

    @staticmethod
    def token():
        path = temporary_directory() / "token"
        path.write_text("t\n")
        return path

    def test_that_cannot_be_are_said_in_one_line(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            cases = [
                ({"CPROF_HTTP": taken.getsockname()[1]}, "Address already in use"),
                ({"CPROF_HTTP": "nonsense"}, "Invalid argument"),
                ({"CPROF_HTTP": "70000"}, "Invalid argument"),
                ({"CPROF_HTTP": "1.2.3:80"}, "Invalid argument"),
                ({"CPROF_HTTP": "0.0.0.0:6061"}, "CPROF_HTTP_ALLOW_REMOTE"),
                ({"CPROF_HTTP": "0.0.0.0:6061", "CPROF_HTTP_ALLOW_REMOTE": 1}, "CPROF_HTTP_TOKEN_FILE"),
                ({"CPROF_HTTP": "192.0.2.1:6061", "CPROF_HTTP_ALLOW_REMOTE": 1, "CPROF_HTTP_TOKEN_FILE": self.token()},
                 "Cannot assign requested address"),
                ({"CPROF_HTTP": free_port(), "CPROF_HTTP_TOKEN_FILE": "/nonexistent"}, "No such file or directory"),
                ({"CPROF_HTTP": free_port(), "CPROF_HTTP_TOKEN_FILE": "/dev/null"}, "Invalid argument"),
                ({"CPROF_HTTP": "unix:/nonexistent/a/b.sock"}, "No such file or directory"),
                ({"CPROF_HTTP": "unix:/" + "x" * 120}, "File name too long"),
                ({"CPROF_HTTP": "unix:"}, "Invalid argument"),
            ]
            for settings, reason in cases:
                with self.subTest(settings):
                    run = start("http_victim", out=False, **settings).finish()
                    self.assert_one_message(run, reason, next(reversed(settings)) if "TOKEN_FILE" in reason else "CPROF_HTTP")
                    self.assertEqual(run.status, 0)
        self.assert_ok(start("http_victim", out=False, CPROF_HTTP="off").finish())

    def test_serve_the_loopback_of_ipv6(self):
        try:
            with socket.socket(socket.AF_INET6) as probe:
                port = free_port()  # nobody listens at 127.0.0.1
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("::1", port))
        except OSError as reason:
            self.skipTest(f"no IPv6 here: {reason}")
        process = start("http_victim", out=False, CPROF_HTTP=f"[::1]:{port}")
        self.assertEqual(process.line(), "ready")
        for host, status in ((f"[::1]:{port}", 200), ("[::2]", 403), ("evil.example", 403)):
            with socket.create_connection(("::1", port), harness.SECONDS) as client:
                client.sendall(f"GET {BASE}heap HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                self.assertEqual(parse(read_all(client)).status, status, host)
        self.assertRaises(ConnectionRefusedError, connect, port)
        process.popen.stdin.close()
        process.popen.stdin = None
        self.assert_ok(process.finish())

    def test_serve_remote_addresses_with_a_token_under_any_host(self):
        directory = temporary_directory()
        (directory / "token").write_text("t")
        port = free_port()
        process = start("http_victim", out=False, CPROF_HTTP=f"0.0.0.0:{port}", CPROF_HTTP_ALLOW_REMOTE=1,
                        CPROF_HTTP_TOKEN_FILE=directory / "token")
        self.assertEqual(process.line(), "ready")
        self.assertEqual(ask(port, BASE, host="pod.example:6060").status, 401)
        self.assertEqual(ask(port, BASE, host="pod.example:6060", Authorization="Basic OnQ=").status, 200)
        process.popen.stdin.close()
        process.popen.stdin = None
        self.assert_ok(process.finish())

    def test_are_above_the_programs_numbers_and_closed_on_exec(self):
        with Served() as served:
            served.ask("heap")
            self.assertEqual(served.do("fds"), ["0 1 2 "])
            for fd in (fd for fd in served.descriptors() if fd > 2):
                self.assertGreaterEqual(fd, 1000)
                with open(f"/proc/{served.process.pid}/fdinfo/{fd}") as info:
                    self.assertTrue(int(re.search(r"flags:\s+(\d+)", info.read())[1], 8) & os.O_CLOEXEC, fd)

    def test_are_not_next_to_the_threads_pipe_also_with_the_limit_of_most_shells(self):
        """A pipe that is made anew must not come to lie where a socket was."""
        def as_in_shells():
            resource.setrlimit(resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        for preexec in (None, as_in_shells):
            with Served(preexec=preexec) as served:
                waiting = [socket.create_connection(("127.0.0.1", served.address)) for _ in range(8)]
                served.process.wait_for(lambda: served.n_sockets() == 9, "all are connected")
                self.assertGreater(min(served.sockets()), 1010)
                for connection in waiting:
                    connection.close()

    def test_take_no_number_from_the_program_at_any_moment(self):
        with Served(out=True) as served:
            served.ask("heap")
            n_asked = 0
            with futures.ThreadPoolExecutor(1) as pool:
                while n_asked <= 3:
                    opened = pool.submit(served.do, "opens 200000")
                    while not opened.done():
                        self.assertEqual(served.ask("heap").status, 200)
                        self.assertEqual(served.ask("snapshot", "POST").status, 200)
                        n_asked += 1
                    self.assertEqual(opened.result(), ["0"])

    def test_that_come_and_go_while_the_program_forks_do_its_children_no_harm(self):
        with Served() as served, futures.ThreadPoolExecutor(4) as pool:
            forked = pool.submit(served.do, "forks 4000")

            def ask_on():
                while not forked.done():
                    self.assertEqual(served.ask("symbol", "POST", b"0x1" * 99).status, 200)
            for asked in [pool.submit(ask_on) for _ in range(3)]:
                asked.result()
            self.assertEqual(forked.result(), ["0"])

    def test_serve_on_when_the_program_changes_its_identity(self):
        for closed in False, True:
            with Served() as served:
                self.assertEqual(served.ask("heap").status, 200)
                if closed:
                    served.do("close")
                served.do("leave 20")
                self.assertEqual(served.ask("heap").status, 200)
                self.assertEqual(served.do("fds"), ["0 1 2 "])

    def test_are_not_cut_off_by_a_change_of_identity(self):
        with Served(**EXACT) as served:
            served.do("stacks 3000")
            n_whole = 0
            with futures.ThreadPoolExecutor(1) as pool:
                while n_whole < 5:
                    left = pool.submit(served.do, "leave 10000")
                    while not left.done():
                        answer = served.ask("heap")
                        self.assertEqual(len(answer.body), int(answer.fields["content-length"]))
                        self.assertIn(answer.status, (200, 503), "503: one that the machine was too busy for")
                        n_whole += answer.status == 200
                    left.result()

    def test_that_cannot_be_answered_before_a_change_of_identity_are_told_so(self):
        half = f"GET {BASE}heap HTTP/1.1\r\nHost: loc".encode()
        later = f"GET {BASE}heap?seconds=600 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        with Served() as served:
            for _ in range(3):  # not all of them get the time that the first one had
                clients = [connect(served.address) for _ in range(2)]
                for client, data in zip(clients, (half, later)):
                    client.sendall(data)
                served.process.wait_for(lambda: served.metric("cprof_http_connections") == 3, "both are there")
                served.do("leave 1")
                for client in clients:
                    answer = parse(read_all(client))
                    self.assertEqual((answer.status, answer.fields["x-go-pprof"]), (503, "1"))
                    client.close()
            self.assertEqual(served.ask("heap").status, 200)

    def test_write_what_a_signal_asks_for_when_the_program_has_closed_what_wakes_the_thread(self):
        with Served(out=True) as served:
            served.ask("heap")
            served.do("close")
            served.process.popen.send_signal(signal.SIGUSR2)
            served.process.wait_for(lambda: list(served.process.run.out.glob("*.0001.heap.pb.gz")), "the snapshot")

    def test_serve_on_where_descriptors_are_few(self):
        for limit in (12, 64, min(1030, resource.getrlimit(resource.RLIMIT_NOFILE)[1])):
            def few():
                harness.in_foreground()
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            with self.subTest(limit), Served(preexec=few, **EXACT) as served:
                served.do("keep")
                served.do("takes")
                for _ in range(3):
                    self.assertEqual(profile_of(served.ask("heap")).all_values("keeps_hundred")[2], 100)
                served.do("gives")
                self.assertEqual(served.ask("heap").status, 200)
            self.assert_ok(served.run)

    def test_are_in_no_profile_of_what_is_open(self):
        with Served(CPROF_PROFILES="+fd") as served:
            for name in OPENED:
                profile = profile_of(served.ask(name))
                numbers = {sample.label("fd") for sample in profile.samples}
                self.assertEqual(profile.total(name), {"connection": 0, "blob": 0, "fd": 3}[name], (name, numbers))

    @unittest.skipUnless(os.geteuid() == 0, "chroot needs root")
    def test_of_a_program_in_a_chroot_are_told_from_its_own(self):
        with Served(CPROF_PROFILES="+fd") as served:
            served.do("sockets 1")
            served.do("streams 2")
            for name in OPENED:  # the names of functions must be known before
                served.ask(name)
            served.do(f"chroot {temporary_directory()}")
            served.do("sockets 3")
            for _ in range(2):
                self.assertEqual(profile_of(served.ask("connection")).count("opens_sockets"), 4)
                self.assertEqual(profile_of(served.ask("blob")).count("opens_streams"), 2)
                profile = profile_of(served.ask("fd"))
                self.assertEqual((profile.count("opens_sockets"), profile.count("opens_streams")), (4, 2))
        self.assert_ok(served.run)

    def test_come_back_when_the_program_closes_them(self):
        with Served() as served:
            served.do("close")

            def answers():
                try:
                    return served.ask("heap").status == 200
                except (ConnectionError, AssertionError):
                    return False  # the one that was waiting at the closed socket
            served.process.wait_for(answers, "it answers again")
            self.assertEqual(served.do("fds"), ["0 1 2 "])
        self.assertEqual(served.run.status, 0)

    def test_are_dropped_by_a_forked_child(self):
        with Served() as served:
            child = int(served.do("fork")[0])

            def sockets_of_child():
                names = []
                for fd in os.listdir(f"/proc/{child}/fd"):
                    try:
                        names.append(os.readlink(f"/proc/{child}/fd/{fd}"))
                    except OSError:
                        pass
                return [name for name in names if name.startswith("socket:")]
            served.process.wait_for(lambda: not sockets_of_child(), "the child has closed its copies")
            self.assertEqual(served.ask("heap").status, 200)
            os.kill(child, 9)


class Page(html.parser.HTMLParser):
    """The links (text, title, href), texts of cells, buttons and form actions of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.cells, self.forms, self.tags = [], [], [], []
        self._in = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._in.append(tag)
        if tag == "a":
            self.links.append([dict(attributes).get("href", ""), dict(attributes).get("title", ""), ""])
        if tag == "form":
            self.forms.append(dict(attributes))
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        while self._in and self._in.pop() != tag:
            pass

    def handle_data(self, text):
        if "a" in self._in:
            self.links[-1][2] += text
        if self._in and ("td" in self._in or "th" in self._in):
            self.cells[-1] += text


class TestHttpPages(PreloadTest):
    def test_index_lists_everything_and_every_link_of_it_works(self):
        with Served(**EXACT) as served:
            served.do("keep")
            page = Page(served.ask("").body.decode())
            for name in PROFILES:
                self.assertIn(name, page.cells)
                self.assertTrue(any(href == f"flame/{name}" and "flame" in text for href, _, text in page.links), name)
            for href, title, text in page.links:
                if "seconds" not in href:
                    self.assertEqual(served.ask(BASE + href).status, 200, (href, title, text))
            self.assertTrue(any("inside the agent" in cell or cell == "0" for cell in page.cells))
            self.assertEqual(sorted({form["action"] for form in page.forms}), ["rate", "snapshot", "stop"])
            self.assertIn("heap", " ".join(page.cells))

    def test_index_counts_what_is_open(self):
        """It had 0 of what the program inherited next to a sum that was not 0."""
        with Served(CPROF_PROFILES="+fd") as served:
            rows = re.findall(r'<tr><td class="n">(\d+)</td><td><a [^>]*>(\w+)</a>', served.ask("").body.decode())
            self.assertEqual({name: int(count) for count, name in rows if name in OPENED},
                             {"connection": 0, "blob": 0, "fd": 3})

    def test_index_says_how_to_get_a_profile_from_here(self):
        with Served(CPROF_HTTP_PREFIX="/x") as served:
            hint = html.unescape(served.ask("/x/", host="localhost:6060").body.decode())
            self.assertIn("<code>go tool pprof -http=: http://localhost:6060/x/heap</code>", hint)

    def test_flame_page_needs_no_script_for_its_table_and_nothing_from_outside(self):
        with Served(**EXACT) as served:
            served.do("keep")
            answer = served.ask("flame/heap")
            text = answer.body.decode()
            page = Page(text)
            self.assertIn("keeps_hundred", page.cells)
            self.assertEqual([(tag, fields) for tag, fields in page.tags if "src" in fields or tag in ("link", "img")], [])
            self.assertNotIn("http://", text.replace("http://ADDRESS", ""))
            self.assertIn("default-src 'none'", answer.fields["content-security-policy"])
            for name in PROFILES:
                self.assertTrue(any(href == name and "flame" in title for href, title, _ in page.links), name)
            self.assertEqual(served.ask("flame/nope").status, 404)
            self.assertEqual(served.ask("flame/heap?seconds=x").status, 400)
            self.assertEqual(served.ask("flame/mutex?seconds=1").status, 200)  # an empty one

    def chromium(self, url, *flags):
        name = next((name for name in ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
                     if shutil.which(name)), None)
        if not name:
            self.skipTest("no chromium is installed; the page is tested as parsed HTML only")
        directory = temporary_directory()
        done = subprocess.run([name, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={directory}",
                               "--virtual-time-budget=3000", "--window-size=1300,900", *flags, url],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=harness.SECONDS)
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        return done.stdout.decode()

    def test_flame_page_draws_in_a_browser(self):
        with Served(**EXACT) as served:
            served.do("keep")
            served.do("stacks 500")
            url = f"http://localhost:{served.address}{BASE}flame/heap"
            dom = self.chromium(url + "#search=keeps_hundred", "--dump-dom")
            graph = dom[dom.index('id="graph"'):dom.index('id="top"')]
            for name in ("all", "main", "keeps_hundred"):
                self.assertRegex(graph, rf">{name}</div>")
            self.assertRegex(graph, r'class="[^"]*\bhit\b[^"]*"[^>]*>keeps_hundred')
            share = float(re.search(r"matched (\d+\.\d\d)%", dom)[1])
            heap = profile_of(served.ask("heap"))
            wanted = 100 * heap.by_any("inuse_space")["keeps_hundred"] / heap.total("inuse_space")
            self.assertAlmostEqual(share, wanted, delta=0.02)
            for kind in ("alloc_objects", "alloc_space", "inuse_objects", "inuse_space"):
                self.assertRegex(dom, rf"<option[^>]*>{kind}</option>")
            by_number = self.chromium(url + "#type=alloc_objects&search=branch_", "--dump-dom")
            self.assertRegex(by_number, r"matched \d+\.\d\d%")
            ARTEFACTS.mkdir(parents=True, exist_ok=True)
            self.chromium(url, f"--screenshot={ARTEFACTS}/flame.png")
            index = f"http://localhost:{served.address}{BASE}"
            self.chromium(index, f"--screenshot={ARTEFACTS}/index.png")
            self.assertRegex(self.chromium(index, "--dump-dom"), r'title="flame graph of heap">flame graph</a>')
            for name in ("flame", "index"):
                width, height = struct.unpack(">II", (ARTEFACTS / f"{name}.png").read_bytes()[16:24])
                self.assertGreater(min(width, height), 300)


class TestHttpGuest(PreloadTest):
    def test_program_is_the_same_with_and_without(self):
        wanted = harness.bare("http_victim", stdin=b"keep\ncontend\nfds\n")
        got = harness.preload("http_victim", stdin=b"keep\ncontend\nfds\n", out=False, CPROF_HTTP=free_port())
        self.assert_same(wanted, got)

    def test_programs_that_are_not_selected_leave_the_address_alone(self):
        port = free_port()
        process = start(["sh", "-c", '"$0"; exit $?', harness.victim("http_victim")], out=False, CPROF_HTTP=port,
                        CPROF_EXE="http_victim")
        self.assertEqual(process.line(), "ready")
        self.assertIn(b"http_victim", ask(port, BASE + "cmdline").body.split(b"\0")[0])
        process.popen.stdin.close()
        process.popen.stdin = None
        self.assert_ok(process.finish())

    def test_children_that_find_the_address_taken_say_nothing(self):
        port = free_port()
        run = start(["sh", "-c", "/bin/true; /bin/true; echo done"], out=False, CPROF_HTTP=port).finish()
        self.assertEqual((run.status, run.stdout, run.stderr), (0, b"done\n", b""))

    def test_orphans_of_the_program_that_serves_say_nothing(self):
        """One that lost its parent before its exec looked like a program of somebody else."""
        run = start("orphan_execs", "/bin/true", out=False, CPROF_HTTP=free_port()).finish()
        self.assertEqual((run.status, run.stdout, run.stderr), (0, b"done\n", b""))

    def test_idle_server_uses_no_time(self):
        with Served() as served:
            served.ask("heap")
            agent, program = (f"/proc/{served.process.pid}/task/{tid}/stat" for tid in (served.agent_tid(), served.process.pid))

            def cpu_seconds(path):
                return sum(map(int, Path(path).read_text().rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")
            begin, before = cpu_seconds(program), cpu_seconds(agent)
            while cpu_seconds(program) - begin < 0.3:
                served.do("malloc")
            self.assertLess(cpu_seconds(agent) - before, 0.05)  # one that spins gets as much as the program


if __name__ == "__main__":
    harness.main()
