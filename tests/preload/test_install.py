"""make install and uninstall: a DESTDIR tree works where it lies, and goes without a trace."""

import os
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import BUILD, ROOT, PreloadTest, clean_env, temporary_directory, tool, victim  # noqa: E402


def make(*arguments):
    env = {name: value for name, value in os.environ.items() if name not in ("MFLAGS", "MAKELEVEL", "DESTDIR")}
    done = subprocess.run(["make", "-s", f"BUILD={os.path.relpath(BUILD, ROOT)}", *arguments], cwd=ROOT, env=env, timeout=300,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise AssertionError(f"make {' '.join(arguments)}: {done.stdout.decode(errors='replace')}")


def files(tree):
    return sorted(str(path.relative_to(tree)) for path in tree.rglob("*") if not path.is_dir())


class InstallTest(PreloadTest):
    def test_the_installed_tree_works_in_place(self):
        tree = temporary_directory()
        make("install", f"DESTDIR={tree}", "prefix=/usr")
        out = tree / "out"
        out.mkdir()
        done = subprocess.run([tree / "usr/bin/cprof", "run", "--heap-rate", "1", "--out", out, "--", victim("known")],
                              env=clean_env(), cwd="/", stdin=subprocess.DEVNULL, timeout=60, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(list(out.glob("known.*.heap.pb.gz"))), 1, f"{files(out)} {done.stderr}")

    def test_every_folder_can_be_chosen(self):
        tree = temporary_directory()
        make("install", f"DESTDIR={tree}", "prefix=/opt/c", "bindir=/b", "libdir=/l/x86_64", "includedir=/i", "mandir=/m", "docdir=/d",
             "rulesdir=/r")
        installed = files(tree)
        for name in ("b/cprof", "l/x86_64/libcprof.so", "d/LICENSE", "d/README.md", "r/sqlite3.rules"):
            self.assertIn(name, installed)
        self.assertFalse([name for name in installed if name.startswith("opt/")])
        self.assertEqual((tree / "l/x86_64/libcprof.so").read_bytes(), (BUILD / "libcprof.so").read_bytes())

    def test_headers_and_manual_pages_are_installed(self):
        tree = temporary_directory()
        make("install", f"DESTDIR={tree}", "prefix=/usr")
        installed = files(tree)
        for header in (ROOT / "include").glob("*.h"):
            self.assertIn(f"usr/include/{header.name}", installed)
        for section in (1, 3):
            for page in (ROOT / "docs").glob(f"*.{section}"):
                self.assertIn(f"usr/share/man/man{section}/{page.name}", installed)

    def test_pkg_config_finds_the_header_and_links_nothing(self):
        config = tool("pkg-config")
        for folders in (["prefix=/usr"], ["prefix=/opt/c", "libdir=/opt/c/lib/x86_64", "includedir=/opt/inc"]):
            tree = temporary_directory()
            make("install", f"DESTDIR={tree}", *folders)
            found, = tree.rglob("cprof.pc")
            env = clean_env(PKG_CONFIG_PATH=found.parent, PKG_CONFIG_SYSROOT_DIR=tree,
                            PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1)
            asked = {}
            for option in ("--cflags", "--libs", "--modversion", "--variable=preload"):
                asked[option] = subprocess.run([config, option, "cprof"], env=env, stdout=subprocess.PIPE, timeout=60,
                                               check=True).stdout.decode().strip()
            include = Path(asked["--cflags"].removeprefix("-I"))
            self.assertTrue((include / "cprof.h").exists(), asked)
            self.assertTrue(include.is_relative_to(tree), asked)
            self.assertEqual(asked["--libs"], "")
            preload = asked["--variable=preload"]
            self.assertTrue((tree / preload.removeprefix(str(tree)).lstrip("/")).exists(), asked)
            version = subprocess.run([BUILD / "cprof", "--version"], stdout=subprocess.PIPE, timeout=60).stdout.decode()
            self.assertIn(asked["--modversion"], version)

    def test_uninstall_leaves_no_file_of_ours_and_every_other(self):
        tree = temporary_directory()
        for name in ("usr/bin/other", "usr/lib/libother.so", "usr/share/doc/cprof/notes"):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text("not ours")
        before = files(tree)
        make("install", f"DESTDIR={tree}", "prefix=/usr")
        self.assertGreater(len(files(tree)), len(before) + 2)
        make("uninstall", f"DESTDIR={tree}", "prefix=/usr")
        self.assertEqual(files(tree), before)
        self.assertFalse((tree / "usr/share/man").exists(), "a folder that was made for us")

    def test_uninstall_of_a_tree_of_ours_alone_leaves_no_folder(self):
        tree = temporary_directory()
        make("install", f"DESTDIR={tree}", "prefix=/usr")
        make("uninstall", f"DESTDIR={tree}", "prefix=/usr")
        self.assertEqual(list(tree.iterdir()), [])


if __name__ == "__main__":
    unittest.main()
