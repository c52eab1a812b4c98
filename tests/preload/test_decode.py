"""The tests' own decoder: it reads what is right, and check_valid() finds each broken rule."""

import gzip
import unittest

import pprof_decode
from pprof_decode import Malformed, check_valid, decode


def varint(n):
    out = b""
    n &= (1 << 64) - 1
    while n > 0x7f:
        out += bytes([n & 0x7f | 0x80])
        n >>= 7
    return out + bytes([n])


def number(field, n):
    return varint(field << 3) + varint(n)


def chunk(field, data):
    return varint(field << 3 | 2) + varint(len(data)) + data


def pack(numbers):
    return b"".join(map(varint, numbers))


STRINGS = ["", "objects", "count", "space", "bytes", "/bin/prog", "abcd", "main", "work", "[truncated]", "profile: heap"]


def build(**changes):
    """A small valid profile; `changes` replace one part each."""
    parts = {
        "types": chunk(1, number(1, 1) + number(2, 2)) + chunk(1, number(1, 3) + number(2, 4)),
        "samples": chunk(2, chunk(1, pack([2, 1, 3])) + chunk(2, pack([3, 300])) + chunk(3, number(1, 4) + number(3, 112)
                                                                                         + number(4, 4))),
        "mappings": chunk(3, number(1, 1) + number(2, 0x1000) + number(3, 0x3000) + number(5, 5) + number(6, 6)
                          + number(7, 1)),
        "locations": (chunk(4, number(1, 1) + number(2, 1) + number(3, 0x1100) + chunk(4, number(1, 1)))
                      + chunk(4, number(1, 2) + number(2, 1) + number(3, 0x1200) + chunk(4, number(1, 2)))
                      + chunk(4, number(1, 3) + chunk(4, number(1, 3)))),
        "functions": b"".join(chunk(5, number(1, i) + number(2, 6 + i) + number(3, 6 + i)) for i in (1, 2, 3)),
        "strings": b"".join(chunk(6, text.encode()) for text in STRINGS),
        "time": number(9, 1790000000 * 10**9),
        "period": chunk(11, number(1, 3) + number(2, 4)) + number(12, 524288),
        "comments": chunk(13, pack([10])),
        "more": b"",
    }
    parts.update(changes)
    return gzip.compress(b"".join(parts.values()), 1)


class DecodeTest(unittest.TestCase):
    def broken(self, text, level=1, **changes):
        with self.assertRaises(AssertionError) as raised:
            check_valid(decode(build(**changes)))
        self.assertIn(text, str(raised.exception))

    def test_reads_every_part(self):
        profile = decode(build())
        check_valid(profile)
        self.assertEqual(profile.all_values("work"), (3, 300))
        self.assertEqual(profile.samples[0].functions(), ["work", "main", "[truncated]"])
        self.assertEqual(profile.samples[0].label("bytes"), pprof_decode.Label("bytes", None, 112, "bytes"))
        self.assertEqual((profile.mappings[0].file, profile.mappings[0].build_id), ("/bin/prog", "abcd"))
        self.assertEqual((profile.period_type, profile.period), (("space", "bytes"), 524288))
        self.assertEqual(profile.comments, ["profile: heap"])
        self.assertEqual(profile.by_any("space"), {"work": 300, "main": 300, "[truncated]": 300})

    def test_reads_unpacked_numbers_and_negative_values(self):
        profile = decode(build(samples=chunk(2, number(1, 2) + number(1, 1) + number(2, -3) + number(2, 300))))
        self.assertEqual(profile.all_values("work"), (-3, 300))
        with self.assertRaises(AssertionError):
            check_valid(profile)

    def test_finds_every_broken_rule(self):
        mapping = number(1, 1) + number(2, 0x1000) + number(3, 0x3000) + number(5, 5)
        stack = chunk(1, pack([2, 1, 3]))
        self.broken("values for", samples=chunk(2, stack + chunk(2, pack([3]))))
        self.broken("all values are zero", samples=chunk(2, stack + chunk(2, pack([0, 0]))))
        self.broken("negative", samples=chunk(2, stack + chunk(2, pack([1, -1]))))
        self.broken("equal stack", samples=2 * chunk(2, stack + chunk(2, pack([1, 1]))))
        self.broken("without stack", samples=chunk(2, chunk(2, pack([1, 1]))))
        self.broken("location 9", samples=chunk(2, chunk(1, pack([9])) + chunk(2, pack([1, 1]))))
        self.broken("outermost", samples=chunk(2, chunk(1, pack([3, 1])) + chunk(2, pack([1, 1]))))
        self.broken("has_functions", mappings=chunk(3, mapping))
        self.broken("not hex", mappings=chunk(3, mapping + number(6, 7) + number(7, 1)))
        self.broken("1..N", mappings=chunk(3, mapping + number(7, 1)) + chunk(3, number(1, 3) + mapping[2:]))
        self.broken("no mapping 2", locations=build_locations(2))
        self.broken("pseudo", locations=build_locations(0))
        self.broken("outside", locations=build_locations(1, address=0x3000))
        self.broken("location twice", locations=build_locations(1) + chunk(4, number(1, 4) + number(2, 1)
                    + number(3, 0x1100) + chunk(4, number(1, 1))))
        self.broken("no line", locations=build_locations(1, line=b""))
        self.broken("has no name", functions=b"".join(chunk(5, number(1, i)) for i in (1, 2, 3)))
        self.broken("!=", functions=b"".join(chunk(5, number(1, i) + number(2, 7)) for i in (1, 2, 3)))
        self.broken("same id", functions=b"".join(chunk(5, number(1, i) + number(2, 7)) for i in (1, 2, 3, 1)))
        self.broken("not empty", strings=b"".join(chunk(6, text.encode()) for text in ["x"] + STRINGS[1:]))
        self.broken("not UTF-8", strings=b"".join(chunk(6, text.encode()) for text in STRINGS) + chunk(6, b"\xff"))
        self.broken("string 11", more=number(14, 11))
        self.broken("default type", more=number(14, 5))
        self.broken("time_nanos", time=b"")
        self.broken("time_nanos", more=number(9, 1790000000 * 10**9))
        self.broken("no sample types", types=b"", samples=b"")
        self.broken("without name or unit", period=number(12, 1))

    def test_finds_broken_streams(self):
        data = build()
        for bad in (data[:-9], data + b"x", data + data, b"", gzip.compress(b"\x08"), gzip.compress(b"\x0a\x7f")):
            with self.assertRaises(Malformed):
                decode(bad)
        with self.assertRaises(AssertionError):
            check_valid(decode(gzip.compress(gzip.decompress(data), 9)))


def build_locations(mapping, address=0x1100, line=None):
    line = chunk(4, number(1, 1)) if line is None else line
    return (chunk(4, number(1, 1) + number(2, mapping) + number(3, address) + line)
            + chunk(4, number(1, 2) + number(2, 1) + number(3, 0x1200) + chunk(4, number(1, 2)))
            + chunk(4, number(1, 3) + chunk(4, number(1, 3))))


if __name__ == "__main__":
    unittest.main()
