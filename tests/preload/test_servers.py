"""Servers that fork, drop privileges, use SIGUSR2 themselves or replace themselves: as bare, and their profiles."""

import os
import shutil
import signal
import socket
import subprocess
import time
import unittest

import harness
from harness import start, start_bare, tool


def wait_until(condition, what, seconds=harness.SECONDS):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not reached in {seconds} s: {what}")
        time.sleep(0.005)


class Redis(harness.PreloadTest):
    def serve(self, launch, **settings):
        directory = harness.temporary_directory()
        command = [tool("redis-server"), "--port", "0", "--unixsocket", "./s", "--save", "", "--dir", directory, "--dbfilename", "d"]
        process = launch(command, cwd=directory, directory=directory, **settings)
        process.wait_for(lambda: harness.listens(directory / "s"), "the socket")

        def cli(*words):
            return subprocess.run([tool("redis-cli"), "-s", "s", *words], cwd=directory, stdout=subprocess.PIPE, timeout=harness.SECONDS,
                                  env=harness.clean_env()).stdout.decode().strip()

        answers = [cli("debug", "populate", "2000", "k", "200"), cli("bgsave")]
        wait_until(lambda: "rdb_bgsave_in_progress:0" in cli("info", "persistence"), "the end of BGSAVE")
        answers.append([line for line in cli("info", "persistence").splitlines() if "bgsave_status" in line])
        answers += [cli("bgrewriteaof")]
        wait_until(lambda: "aof_rewrite_in_progress:0" in cli("info", "persistence"), "the end of BGREWRITEAOF")
        answers += [cli("dbsize"), (directory / "d").stat().st_size > 2000 * 3, cli("shutdown", "nosave")]
        return process.finish(), answers

    def test_bgsave_in_a_forked_child(self):
        expected, answers = self.serve(start_bare)
        for settings in ({"CPROF_MIN_LIFE": "1h"}, {"CPROF_INTERVAL": "30ms"}, {"CPROF_MIN_LIFE": "0s", "CPROF_HEAP_RATE": 1}):
            run, mine = self.serve(start, **settings)
            self.assertEqual((run.status, mine, run.stderr), (expected.status, answers, expected.stderr), settings)
            run.check_all()
            wrote = len({file.pid for file in run.files()})  # a child that takes longer than the interval has files of its own
            self.assertIn(wrote, {"1h": [1], "0s": [3]}.get(settings.get("CPROF_MIN_LIFE"), [1, 2, 3]), settings)


class Nginx(harness.PreloadTest):
    # nginx keeps only what it is told to of its environment when it replaces itself
    CONFIG = """env LD_PRELOAD; env CPROF_OUT; env CPROF_MIN_LIFE; env CPROF_HEAP_RATE; env CPROF_INTERVAL;
daemon on; pid logs/pid; error_log logs/error;
events {{ }}
http {{ access_log off; server {{ listen 127.0.0.1:{port}; location / {{ return 200 "{text}"; }} }} }}
"""

    def get(self, port):
        with socket.create_connection(("127.0.0.1", port), harness.SECONDS) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            data = b""
            while more := client.recv(4096):
                data += more
        return data.rpartition(b"\r\n\r\n")[2]

    def answers(self, port, text):
        try:
            return self.get(port) == text
        except OSError:
            return False

    def life(self, launch, **settings):
        """Start, reload, upgrade of the binary by SIGUSR2, and the end of both masters."""
        nginx = shutil.which("nginx") or tool("/usr/sbin/nginx")
        directory = harness.public_directory()
        (directory / "logs").mkdir()
        (directory / "out").mkdir()
        os.chmod(directory / "out", 0o777)  # for the workers, which are another user
        port = harness.free_port()
        config = directory / "conf"
        config.write_text(self.CONFIG.format(port=port, text="one"))
        run = launch([nginx, "-p", directory, "-c", config], directory=directory, **settings).finish()
        wait_until(lambda: self.answers(port, b"one"), "the first answer")
        pid_file, old_pid_file = directory / "logs" / "pid", directory / "logs" / "pid.oldbin"
        first = int(pid_file.read_text())
        config.write_text(self.CONFIG.format(port=port, text="two"))
        os.kill(first, signal.SIGHUP)
        wait_until(lambda: self.answers(port, b"two"), "the reload")
        os.kill(first, signal.SIGUSR2)
        wait_until(old_pid_file.exists, "the second master")
        wait_until(lambda: pid_file.exists() and pid_file.read_text().strip(), "its pid file")
        second = int(pid_file.read_text())
        self.assertNotEqual(second, first)
        os.kill(first, signal.SIGQUIT)
        wait_until(lambda: not os.path.exists(f"/proc/{first}/stat"), "the end of the first master")
        self.assertEqual(self.get(port), b"two", "the second master serves alone")
        os.kill(second, signal.SIGTERM)
        wait_until(lambda: not os.path.exists(f"/proc/{second}/stat"), "the end of the second master")
        errors = (directory / "logs" / "error").read_text().splitlines()
        return run, {run.pid, first, second}, [line for line in errors if "[notice]" not in line]

    def test_reload_and_upgrade_with_its_own_sigusr2(self):
        expected, _, errors = self.life(start_bare)
        for settings in ({}, {"CPROF_INTERVAL": "20ms"}):
            run, masters, mine = self.life(start, CPROF_MIN_LIFE="0s", CPROF_HEAP_RATE="4k", **settings)
            self.assertEqual((run.status, run.stdout, len(mine)), (expected.status, expected.stdout, len(errors)), mine)
            self.assertLessEqual(masters, {file.pid for file in run.files()})
            if not settings:
                self.assertEqual({file.number for file in run.files()}, {1}, "SIGUSR2 is nginx's")


class Postgres(harness.PreloadTest):
    def find(self, name):
        for place in ("", "/usr/local/bin", *sorted(map(str, harness.Path("/usr/lib/postgresql").glob("*/bin")))):
            path = shutil.which(os.path.join(place, name))
            if path:
                return path
        raise unittest.SkipTest(f"{name} is not installed")

    def life(self, launch, directory, **settings):
        def ordinary_user():
            harness.in_foreground()
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)

        if os.getuid() == 0:
            os.chown(directory, 65534, 65534)
            (directory / "out").mkdir(exist_ok=True)
            os.chown(directory / "out", 65534, 65534)
        env = {"HOME": str(directory)}
        initdb = launch([self.find("initdb"), "-D", directory / "data", "-A", "trust", "-U", "me", "--no-sync", "--no-locale"],
                        directory=directory, cwd=directory, preexec=ordinary_user, env=env, **settings).finish()
        self.assertEqual((initdb.status, initdb.messages()), (0, []), initdb.stderr)
        server = launch([self.find("postgres"), "-D", directory / "data", "-k", directory, "-c", "listen_addresses=", "-F"],
                        directory=directory, cwd=directory, preexec=ordinary_user, env=env, **settings)
        socket_file = directory / ".s.PGSQL.5432"

        def client(program, *words):
            done = subprocess.run([self.find(program), "-h", directory, "-U", "me", *words, "postgres"], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=harness.SECONDS, env=harness.clean_env())
            return done.returncode, done.stdout.decode()

        server.wait_for(socket_file.exists, "the socket")
        server.wait_for(lambda: client("psql", "-Atc", "select 1")[0] == 0, "a first query")
        answers = [client("pgbench", "-i", "-q")[0], client("pgbench", "-n", "-c", "2", "-j", "2", "-t", "100")[0],
                   client("psql", "-Atc", "select count(*), sum(delta) is not null from pgbench_history")]
        os.kill(server.pid, signal.SIGINT)
        run = server.finish()
        self.assertEqual([line for line in run.messages()], [], run.stderr)
        return run, answers

    def test_initdb_and_pgbench(self):
        self.find("pgbench")
        self.skip_unreadable()
        expected, answers = self.life(start_bare, harness.public_directory())
        self.assertEqual(answers, [0, 0, (0, "200|t\n")])
        for settings in ({}, {"CPROF_INTERVAL": "100ms", "CPROF_KEEP": "2"}):
            run, mine = self.life(start, harness.public_directory(), **settings)
            self.assertEqual((run.status, mine), (expected.status, answers), run.stderr[-1000:])
            run.check_all()
            self.assertIn(run.pid, {file.pid for file in run.files() if file.profile == "heap"})


if __name__ == "__main__":
    harness.main()
