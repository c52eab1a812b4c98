"""Reads pprof files without any dependency: gzip, the protobuf wire format, and the rules a profile must obey.

decode(data) gives a Profile; check_valid(profile) raises AssertionError with the first broken rule.
Written from the field numbers of google/pprof's proto/profile.proto; knows nothing of the encoder under test.
"""

import re
import struct
import zlib
from collections import namedtuple

PSEUDO_FRAMES = {"[overflow]", "[truncated]", "[lost]", "[wakeup]", "[untracked]", "[inherited]", "[unknown]"}

ValueType = namedtuple("ValueType", "type unit")
Label = namedtuple("Label", "key text number unit")
Line = namedtuple("Line", "function line")
Frame = namedtuple("Frame", "function location")  # function: its name


class Malformed(AssertionError):
    pass


class Mapping:
    def __init__(self):
        self.id = self.start = self.limit = self.offset = 0
        self.file = self.build_id = ""
        self.has_functions = self.has_filenames = self.has_line_numbers = self.has_inline_frames = False

    def __repr__(self):
        return f"Mapping({self.id} {self.start:#x}-{self.limit:#x} +{self.offset:#x} {self.file} {self.build_id})"


class Function:
    def __init__(self):
        self.id = self.start_line = 0
        self.name = self.system_name = self.filename = ""

    def __repr__(self):
        return f"Function({self.id} {self.name})"


class Location:
    def __init__(self):
        self.id = self.address = self.mapping_id = 0
        self.lines = []
        self.is_folded = False
        self.mapping = None

    def names(self):
        return [line.function.name for line in self.lines]

    def __repr__(self):
        return f"Location({self.id} {self.address:#x} {self.names()})"


class Sample:
    def __init__(self):
        self.location_ids = []
        self.values = []
        self.labels = []
        self.locations = []

    def functions(self):
        """Names, innermost first."""
        return [name for location in self.locations for name in location.names()]

    def leaf(self):
        names = self.functions()
        return names[0] if names else ""

    def label(self, key):
        found = [label for label in self.labels if label.key == key]
        return found[0] if found else None

    def __repr__(self):
        return f"Sample({self.values} {self.functions()} {self.labels})"


class Profile:
    def __init__(self):
        self.sample_types = []
        self.samples = []
        self.mappings = []
        self.locations = []
        self.functions = []
        self.strings = []
        self.time_nanos = self.duration_nanos = self.period = 0
        self.period_type = None
        self.comments = []
        self.default_sample_type = ""
        self.drop_frames = self.keep_frames = ""
        self.field_counts = {}  # field number -> how often it was on the wire
        self.gzip_level_hint = 0
        self.path = None

    def type_index(self, name):
        for i, kind in enumerate(self.sample_types):
            if kind.type == name:
                return i
        raise KeyError(f"no sample type {name} in {self.sample_types}")

    def by_leaf(self, kind):
        """Sum of values of `kind` by the name of the innermost function."""
        i, sums = self.type_index(kind), {}
        for sample in self.samples:
            sums[sample.leaf()] = sums.get(sample.leaf(), 0) + sample.values[i]
        return sums

    def by_any(self, kind):
        """Sum of values of `kind` by every function in the stack, once per sample (cum)."""
        i, sums = self.type_index(kind), {}
        for sample in self.samples:
            for name in set(sample.functions()):
                sums[name] = sums.get(name, 0) + sample.values[i]
        return sums

    def total(self, kind):
        i = self.type_index(kind)
        return sum(sample.values[i] for sample in self.samples)

    def count(self, function, kind=None):
        """Sum of `kind` (the first type by default) over samples whose innermost function is `function`."""
        return self.by_leaf(kind or self.sample_types[0].type).get(function, 0)

    def all_values(self, function):
        """The sums of all types of one innermost function, as a tuple in the order of sample_types."""
        return tuple(self.by_leaf(kind.type).get(function, 0) for kind in self.sample_types)

    def with_function(self, function):
        return [sample for sample in self.samples if function in sample.functions()]

    def function_names(self):
        return {name for sample in self.samples for name in sample.functions()}

    def comment(self, pattern):
        """The match of the first comment that `pattern` finds (ignoring case), or None."""
        for comment in self.comments:
            match = re.search(pattern, comment, re.IGNORECASE)
            if match:
                return match
        return None


# --- wire format -----------------------------------------------------------------------------------------------------

def _varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data):
            raise Malformed("varint runs over the end")
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        if byte < 0x80:
            if value >= 1 << 64:
                raise Malformed("varint over 64 bits")
            return value, at
        shift += 7
        if shift > 63:
            raise Malformed("varint over 10 bytes")


def _fields(data):
    """Yields (field, wire type, value); value is an int or the bytes of a length-delimited field."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        field, wire = key >> 3, key & 7
        if field == 0:
            raise Malformed("field number 0")
        if wire == 0:
            value, at = _varint(data, at)
        elif wire == 2:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise Malformed(f"field {field} runs over the end")
            value = data[at:at + size]
            at += size
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            if at + size > len(data):
                raise Malformed(f"field {field} runs over the end")
            value = struct.unpack_from("<Q" if wire == 1 else "<I", data, at)[0]
            at += size
        else:
            raise Malformed(f"wire type {wire} of field {field}")
        yield field, wire, value


def _signed(value):
    return value - (1 << 64) if value >= 1 << 63 else value


def _want(wire, expected, what):
    if wire != expected:
        raise Malformed(f"{what} has wire type {wire}, not {expected}")


def _numbers(wire, value, what):
    if wire == 0:
        return [value]
    _want(wire, 2, what)
    numbers, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(number)
    return numbers


def _scalars(data, names, what):
    """A message of varint fields only: {name: value}, unknown fields are an error."""
    found = {}
    for field, wire, value in _fields(data):
        if field not in names:
            raise Malformed(f"unknown field {field} in {what}")
        _want(wire, 0, f"{what}.{names[field]}")
        found[names[field]] = value
    return found


def gunzip(data):
    """Exactly one gzip stream, nothing after it."""
    if data[:3] != b"\x1f\x8b\x08":
        raise Malformed("no gzip header")
    stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
    plain = stream.decompress(data) + stream.flush()
    if not stream.eof:
        raise Malformed("the gzip stream is cut short")
    if stream.unused_data:
        raise Malformed(f"{len(stream.unused_data)} bytes after the gzip stream")
    return plain


def decode(data):
    profile = Profile()
    profile.gzip_level_hint = data[8] if len(data) > 8 else 0
    raw_types, raw_comments, raw_labels = [], [], []
    period_type, default_type, drop, keep = None, 0, 0, 0
    for field, wire, value in _fields(gunzip(data)):
        profile.field_counts[field] = profile.field_counts.get(field, 0) + 1
        if field in (1, 2, 3, 4, 5, 6, 11):
            _want(wire, 2, f"Profile field {field}")
        if field == 1:
            raw_types.append(_scalars(value, {1: "type", 2: "unit"}, "ValueType"))
        elif field == 2:
            sample, labels = Sample(), []
            for sub, sub_wire, sub_value in _fields(value):
                if sub == 1:
                    sample.location_ids += _numbers(sub_wire, sub_value, "Sample.location_id")
                elif sub == 2:
                    sample.values += [_signed(n) for n in _numbers(sub_wire, sub_value, "Sample.value")]
                elif sub == 3:
                    labels.append(_scalars(sub_value, {1: "key", 2: "str", 3: "num", 4: "num_unit"}, "Label"))
                else:
                    raise Malformed(f"unknown field {sub} in Sample")
            raw_labels.append(labels)
            profile.samples.append(sample)
        elif field == 3:
            mapping = Mapping()
            names = {1: "id", 2: "start", 3: "limit", 4: "offset", 5: "file", 6: "build_id", 7: "has_functions",
                     8: "has_filenames", 9: "has_line_numbers", 10: "has_inline_frames"}
            for name, number in _scalars(value, names, "Mapping").items():
                setattr(mapping, name, bool(number) if name.startswith("has_") else number)
            mapping.file, mapping.build_id = mapping.file or 0, mapping.build_id or 0
            profile.mappings.append(mapping)
        elif field == 4:
            location = Location()
            for sub, sub_wire, sub_value in _fields(value):
                if sub == 4:
                    _want(sub_wire, 2, "Location.line")
                    location.lines.append(_scalars(sub_value, {1: "function_id", 2: "line", 3: "column"}, "Line"))
                elif sub in (1, 2, 3, 5):
                    _want(sub_wire, 0, f"Location field {sub}")
                    setattr(location, {1: "id", 2: "mapping_id", 3: "address", 5: "is_folded"}[sub], sub_value)
                else:
                    raise Malformed(f"unknown field {sub} in Location")
            profile.locations.append(location)
        elif field == 5:
            function = Function()
            names = {1: "id", 2: "name", 3: "system_name", 4: "filename", 5: "start_line"}
            found = _scalars(value, names, "Function")
            for name in names.values():
                setattr(function, name, found.get(name, 0))
            profile.functions.append(function)
        elif field == 6:
            try:
                profile.strings.append(value.decode("utf-8"))
            except UnicodeDecodeError:
                raise Malformed(f"string {len(profile.strings)} is not UTF-8: {value!r}") from None
        elif field == 11:
            period_type = {**(period_type or {}), **_scalars(value, {1: "type", 2: "unit"}, "ValueType")}
        elif field == 13:
            raw_comments += _numbers(wire, value, "Profile.comment")
        elif field in (7, 8, 9, 10, 12, 14):
            _want(wire, 0, f"Profile field {field}")
            if field == 7:
                drop = value
            elif field == 8:
                keep = value
            elif field == 9:
                profile.time_nanos = _signed(value)
            elif field == 10:
                profile.duration_nanos = _signed(value)
            elif field == 12:
                profile.period = _signed(value)
            else:
                default_type = value
        else:
            raise Malformed(f"unknown field {field} in Profile")

    def text(index, what):
        if not 0 <= index < len(profile.strings):
            raise Malformed(f"{what}: string {index} of {len(profile.strings)}")
        return profile.strings[index]

    def value_type(raw):
        return ValueType(text(raw.get("type", 0), "type"), text(raw.get("unit", 0), "unit"))

    profile.sample_types = [value_type(raw) for raw in raw_types]
    profile.period_type = value_type(period_type) if period_type is not None else None
    profile.comments = [text(index, "comment") for index in raw_comments]
    profile.default_sample_type = text(default_type, "default_sample_type")
    profile.drop_frames, profile.keep_frames = text(drop, "drop_frames"), text(keep, "keep_frames")
    for mapping in profile.mappings:
        mapping.file = text(mapping.file, "Mapping.filename")
        mapping.build_id = text(mapping.build_id, "Mapping.build_id")
    for function in profile.functions:
        function.name = text(function.name, "Function.name")
        function.system_name = text(function.system_name, "Function.system_name")
        function.filename = text(function.filename, "Function.filename")
    functions = {function.id: function for function in profile.functions}
    mappings = {mapping.id: mapping for mapping in profile.mappings}
    for location in profile.locations:
        if location.mapping_id:
            if location.mapping_id not in mappings:
                raise Malformed(f"location {location.id}: no mapping {location.mapping_id}")
            location.mapping = mappings[location.mapping_id]
        lines = []
        for raw in location.lines:
            if raw.get("function_id", 0) not in functions:
                raise Malformed(f"location {location.id}: no function {raw.get('function_id', 0)}")
            lines.append(Line(functions[raw["function_id"]], _signed(raw.get("line", 0))))
        location.lines = lines
    locations = {location.id: location for location in profile.locations}
    for sample, labels in zip(profile.samples, raw_labels):
        for i in sample.location_ids:
            if i not in locations:
                raise Malformed(f"a sample names location {i}, which is not there")
        sample.locations = [locations[i] for i in sample.location_ids]
        sample.labels = [Label(text(raw.get("key", 0), "label key"),
                               text(raw["str"], "label text") if "str" in raw else None,
                               _signed(raw["num"]) if "num" in raw else None,
                               text(raw.get("num_unit", 0), "label unit")) for raw in labels]
    return profile


def load(path):
    with open(path, "rb") as file:
        data = file.read()
    try:
        profile = decode(data)
    except Malformed as error:
        raise Malformed(f"{path}: {error}") from None
    profile.path = str(path)
    return profile


# --- rules -----------------------------------------------------------------------------------------------------------

def check_go_valid(profile):
    """The rules of CheckValid in Go's github.com/google/pprof/profile."""
    def rule(holds, text):
        if not holds:
            raise AssertionError(f"{profile.path or 'profile'}: {text}")

    rule(profile.sample_types or not profile.samples, "samples without sample types")
    for sample in profile.samples:
        rule(len(sample.values) == len(profile.sample_types),
             f"a sample has {len(sample.values)} values for {len(profile.sample_types)} types")
    for what, table in (("mapping", profile.mappings), ("function", profile.functions),
                        ("location", profile.locations)):
        ids = [entry.id for entry in table]
        rule(0 not in ids, f"a {what} has the reserved id 0")
        rule(len(set(ids)) == len(ids), f"two {what}s have the same id")
    # That every reference exists was checked by decode().


def check_valid(profile, symbols=True):
    """Every encoding rule of the design. symbols=False: raw addresses without names were asked for."""
    def rule(holds, text):
        if not holds:
            raise AssertionError(f"{profile.path or 'profile'}: {text}")

    check_go_valid(profile)
    rule(profile.gzip_level_hint == 4, f"not gzip level 1 (XFL {profile.gzip_level_hint})")
    rule(profile.strings and profile.strings[0] == "", "string_table[0] is not empty")
    rule(all("\0" not in text for text in profile.strings), "a string contains NUL")
    for what, table in (("mapping", profile.mappings), ("function", profile.functions),
                        ("location", profile.locations)):
        rule([entry.id for entry in table] == list(range(1, len(table) + 1)), f"ids of {what}s are not 1..N in order")

    rule(profile.sample_types, "no sample types")
    names = [kind.type for kind in profile.sample_types]
    rule(len(set(names)) == len(names), f"a sample type twice: {names}")
    for kind in profile.sample_types + [profile.period_type]:
        rule(kind is not None and kind.type and kind.unit, f"a type without name or unit: {kind}")
        rule("-" not in kind.type, f"a dash in type {kind.type}")
    rule(profile.period >= 0, f"period {profile.period}")
    if profile.default_sample_type:
        rule(profile.default_sample_type in names, f"default type {profile.default_sample_type} is none of {names}")
    for field, what in ((9, "time_nanos"), (11, "period_type")):
        rule(profile.field_counts.get(field, 0) == 1, f"{what} is there {profile.field_counts.get(field, 0)} times")
    for field, what in ((10, "duration_nanos"), (12, "period"), (14, "default_sample_type")):
        rule(profile.field_counts.get(field, 0) <= 1, f"{what} is there {profile.field_counts.get(field, 0)} times")
    rule(1577836800 * 10**9 < profile.time_nanos < 7258118400 * 10**9, f"time_nanos {profile.time_nanos}")
    rule(profile.duration_nanos >= 0, f"duration_nanos {profile.duration_nanos}")

    rule(profile.mappings, "no mappings")
    for mapping in profile.mappings:
        rule(mapping.start < mapping.limit, f"empty {mapping}")
        rule(mapping.start % 4096 == 0 and mapping.limit % 4096 == 0, f"not page aligned: {mapping}")
        rule(mapping.file, f"no file name: {mapping}")
        rule("(deleted)" not in mapping.file, f"(deleted) is not cut: {mapping}")
        rule(re.fullmatch(r"([0-9a-f]{2})*", mapping.build_id), f"build id is not hex: {mapping}")
    rule(profile.mappings[0].file.startswith("/"), f"mapping 1 is not the main executable: {profile.mappings[0]}")

    for function in profile.functions:
        rule(function.name, f"function {function.id} has no name")
        rule(function.name == function.system_name, f"{function.name} != {function.system_name}")

    seen = set()
    for location in profile.locations:
        key = (location.mapping_id, location.address, tuple((line.function.id, line.line) for line in location.lines))
        rule(key not in seen, f"location twice: {location}")
        seen.add(key)
        names = location.names()
        if location.mapping is None:
            rule(len(names) == 1 and names[0] in PSEUDO_FRAMES, f"no mapping, but no pseudo frame: {location}")
            rule(location.address == 0, f"a pseudo frame with an address: {location}")
            continue
        rule(location.mapping.start <= location.address < location.mapping.limit,
             f"{location} lies outside {location.mapping}")
        rule(not set(names) & PSEUDO_FRAMES, f"a pseudo frame in a mapping: {location}")
        if symbols:
            rule(names, f"no line: {location}")
            rule(location.mapping.has_functions, f"has_functions is not set: {location.mapping}")
        else:
            rule(not names and not location.mapping.has_functions, f"names without being asked: {location}")

    seen = set()
    for sample in profile.samples:
        rule(all(value >= 0 for value in sample.values), f"a negative value: {sample}")
        rule(any(sample.values), f"all values are zero: {sample}")
        rule(sample.location_ids, f"a sample without stack: {sample}")
        for label in sample.labels:
            rule(label.key, f"a label without key: {sample}")
            rule((label.text is None) != (label.number is None), f"a label that is not text or number: {label}")
        key = (tuple(sample.location_ids), tuple(sorted(map(str, sample.labels))))
        rule(key not in seen, f"two samples with equal stack and labels: {sample}")
        seen.add(key)
        names = sample.functions()
        rule("[truncated]" not in names[:-1], f"[truncated] is not the outermost frame: {names}")
        for location in sample.locations:
            rule(location.mapping is None or "libcprof" not in location.mapping.file,
                 f"a frame of the agent: {sample}")


EXPECTED_TYPES = {
    "heap": ([("alloc_objects", "count"), ("alloc_space", "bytes"), ("inuse_objects", "count"),
              ("inuse_space", "bytes")], ("space", "bytes"), ""),
    "allocs": ([("alloc_objects", "count"), ("alloc_space", "bytes"), ("inuse_objects", "count"),
                ("inuse_space", "bytes")], ("space", "bytes"), "alloc_space"),
    "heap_peak": ([("inuse_objects", "count"), ("inuse_space", "bytes")], ("space", "bytes"), ""),
    "mutex": ([("contentions", "count"), ("delay", "nanoseconds")], ("contentions", "count"), ""),
    "block": ([("contentions", "count"), ("delay", "nanoseconds")], ("contentions", "count"), ""),
    "threadcreate": ([("threadcreate", "count")], ("threadcreate", "count"), ""),
}
