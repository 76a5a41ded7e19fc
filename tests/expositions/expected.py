"""Writes `expected.json`: what an independent reader, Python's `prometheus_client`, finds in the captures of this folder.

    python3 -m venv venv && venv/bin/pip install prometheus_client==0.26.0
    venv/bin/python tests/expositions/expected.py

Each sample becomes one line of text: its name, its labels sorted by name, the bits of its value, and its timestamp in
milliseconds. Of all lines, sorted, the 64-bit FNV-1a hash is kept, and how many samples each name has. Timestamps of
OpenMetrics are rounded to milliseconds. Lines are counted without the reader.
"""
import json
import math
import pathlib
import struct

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import _parse_sample

FOLDER = pathlib.Path(__file__).parent


def fnv1a(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def canonical(sample):
    labels = "".join(f"\x01{name}\x02{value}" for name, value in sorted(sample.labels.items()))
    # There are many numbers that are none.
    bits = "NaN" if math.isnan(sample.value) else struct.pack(">d", sample.value).hex()
    at = "" if sample.timestamp is None else str(round(float(sample.timestamp) * 1000))
    return f"{sample.name}{labels}\x03{bits}\x03{at}\n"


def read(text, is_openmetrics):
    if is_openmetrics:
        for family in openmetrics.text_string_to_metric_families(text):
            yield from family.samples
        return
    # The reader of whole texts renames counters, so that they are counters of OpenMetrics; that of a line does not.
    for line in text.split("\n"):
        if line and not line.startswith("#"):
            yield _parse_sample(line)


def expected(path, content_type):
    text = path.read_text(encoding="utf-8")
    samples = list(read(text, content_type.startswith("application/openmetrics-text")))
    names = {}
    for sample in samples:
        names[sample.name] = names.get(sample.name, 0) + 1
    lines = text.split("\n")[:-1]
    return {
        "contentType": content_type,
        "lines": len(lines),
        "comments": sum(line.startswith("#") for line in lines),
        "samples": len(samples),
        "hash": fnv1a("".join(sorted(map(canonical, samples))).encode()),
        "names": dict(sorted(names.items())),
    }


def main():
    types = json.loads((FOLDER / "content-types.json").read_text())
    found = {name: expected(FOLDER / name, content_type) for name, content_type in types.items()}
    (FOLDER / "expected.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


main()
