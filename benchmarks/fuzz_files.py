"""Damages files of every kind that swatcost reads, and asks for what it makes of them.

`python -m benchmarks.fuzz_files --seconds 30 --seed 0 [--kind NAME]` prints how many damaged files were tried, refused
and accepted, and every failure. A file has to give exit code 0, or 2 with one line on standard error; an accepted one
has to give what the undamaged file gives, unless its change is another valid value.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import re
import sys
import tempfile
import time
import tomllib
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.fuzzed_files import KINDS, Kind

_NUMBERS = (
    "-1", "0", "1", "2", "-0.4", "1.5", "0.999999", "NaN", "nan", "-inf", "Infinity", "1e999", "1e308", "-1e-320",
    "1_0", "9007199254740993", "9" * 30, "9" * 400, "9" * 5000, "true", "false", "null", '"0.5"', "0x10", "010", "１",
    "0,5", "", "[]", "{}", "[" * 2000, "0.5.5", "1e5",
)  # fmt: skip
_BYTES = (
    b"\xff\xfe", b"\xef\xbb\xbf", b"\x00", b"\x1b[31m", "\u202e".encode(), "\u00a0".encode(), b"\xed\xa0\x80", b"\r",
    b"\n", b",", b"{", b"}", b"[", b'"', b"#", b"&a *a", b"<<: ",
)  # fmt: skip
_NUMBER = re.compile(rb"(?<![\w.])-?\d+(\.\d+)?([eE][-+]?\d+)?(?![\w.])")
_SHARES = re.compile(r"sparsity|accuracy|utilisation|weights$|acts$|zeros$")


@dataclass(frozen=True)
class Outcome:
    """What a command did: exit code (None for an exception), standard output, and standard error or the traceback."""

    code: int | None
    out: str
    err: str


def damaged(content: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """Endless damaged versions of a file, each with what was done to it."""
    while True:
        changed, done = content, []
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            name, change = chance.choice(_CHANGES)
            changed = change(changed, chance)
            done.append(name)
        if changed != content:
            yield "+".join(done), changed


def _span(content: bytes, chance: random.Random) -> tuple[int, int]:
    start = chance.randrange(len(content) + 1)
    return start, min(len(content), start + chance.choice((1, 2, 8, 64, 1024)))


def _flip(content: bytes, chance: random.Random) -> bytes:
    if not content:
        return b"\x80"
    place = chance.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def _delete(content: bytes, chance: random.Random) -> bytes:
    start, end = _span(content, chance)
    return content[:start] + content[end:]


def _double(content: bytes, chance: random.Random) -> bytes:
    start, end = _span(content, chance)
    return content[:end] + content[start:]


def _swap(content: bytes, chance: random.Random) -> bytes:
    (a, b), (c, d) = sorted((_span(content, chance), _span(content, chance)))
    return content if c < b else content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


def _insert(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(content) + 1)
    return content[:place] + chance.choice((*_BYTES, chance.randbytes(4))) + content[place:]


def _number(content: bytes, chance: random.Random) -> bytes:
    found = list(_NUMBER.finditer(content))
    if not found:
        return content
    one = chance.choice(found)
    return content[: one.start()] + chance.choice(_NUMBERS).encode() + content[one.end() :]


def _lines(content: bytes, chance: random.Random) -> bytes:
    """A line is left out, doubled or moved; JSON in one line is broken at its commas."""
    mark = b"\n" if content.count(b"\n") > 2 else b","
    lines = content.split(mark)
    place, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    line = lines.pop(place)
    lines[other:other] = chance.choice(([], [line], [line, line]))
    return mark.join(lines)


def _whole(content: bytes, chance: random.Random) -> bytes:
    text = content.decode("utf-8", "replace")
    return chance.choice(
        (b"", b"\xef\xbb\xbf" + content, text.encode("utf-16"), content + content, content[::-1], b"[" * 10**5)
    )


_CHANGES: tuple[tuple[str, Callable[[bytes, random.Random], bytes]], ...] = (
    ("flip", _flip), ("cut", _cut), ("delete", _delete), ("double", _double), ("swap", _swap), ("insert", _insert),
    ("number", _number), ("number", _number), ("lines", _lines), ("whole", _whole),
)  # fmt: skip


def outcome(kind: Kind, folder: Path) -> Outcome:
    """What the command of this kind makes of the files in the folder, in this process."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = kind.ask(folder)
    except BaseException:  # that nothing else comes out is what is tested
        return Outcome(None, out.getvalue(), traceback.format_exc())
    return Outcome(code, out.getvalue(), err.getvalue())


def failure(kind: Kind, before: Outcome, after: Outcome, content: bytes, changed: bytes) -> str:
    """What is wrong with the outcome of a damaged file; empty if nothing is."""
    if after.code is None or "Traceback" in after.err:
        return after.err
    if after.code == 2:
        one_line = after.err.count("\n") == 1 and after.err.startswith("swatcost: ") and not after.out
        return "" if one_line and "weights_only" not in after.err else f"not one line: {after.err!r:.300}"
    if after.code != 0:
        return f"exit code {after.code}: {after.err:.300}"
    if after.out == before.out or after.err != before.err:  # the same, or a warning says why not
        return ""
    if kind.sealed:
        return "another result from a damaged file"
    old, new = _leaves(kind, content), _leaves(kind, changed)
    lost = set() if kind.file.endswith(".toml") else old.keys() - new.keys()  # written by hand, with keys left out
    if kind.fixed_keys and (unlike := lost | (new.keys() - old.keys())):
        return f"another result with other keys: {sorted(unlike)[:3]}"
    for path, values in new.items():
        for value in values:
            if isinstance(value, float) and not abs(value) < float("inf"):
                return f"another result with {path} = {value}"
            shares = _SHARES.search(path) and all(isinstance(each, float) for each in old.get(path, [0]))
            if shares and isinstance(value, int | float) and not 0 <= value <= 1:
                return f"another result with {path} = {value}"
    return ""


def _leaves(kind: Kind, content: bytes) -> dict[str, list[Any]]:
    """The values of a JSON, JSON lines or TOML text by the path of keys to them, the places in lists left out."""
    found: dict[str, list[Any]] = {}
    if not kind.file.endswith((".json", ".jsonl", ".toml")):
        return found
    text = content.decode("utf-8-sig")

    def visit(value: Any, path: str) -> None:
        if isinstance(value, dict):
            for key, each in value.items():
                visit(each, f"{path}.{key}")
        elif isinstance(value, list):
            for each in value:
                visit(each, path)
        else:
            found.setdefault(path, []).append(value)

    if kind.file.endswith(".toml"):
        visit(tomllib.loads(text), "")
    elif kind.file.endswith(".json"):
        visit(json.loads(text), "")
    else:
        visit([json.loads(line) for line in text.split("\n")[:-1]], "")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", choices=[each.name for each in KINDS])
    parser.add_argument("--keep", type=Path, help="folder for the files that failed")
    asked = parser.parse_args()
    chance, counts, failures = random.Random(asked.seed), Counter[str](), Counter[str]()
    kinds = [each for each in KINDS if not asked.kind or each.name in asked.kind]
    os.environ["SWATCOST_CONFIG"] = ""
    with tempfile.TemporaryDirectory() as temporary:
        places = {kind.name: Path(temporary) / kind.name for kind in kinds}
        for kind in kinds:
            places[kind.name].mkdir()
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                kind.make(places[kind.name])
        contents = {kind.name: (places[kind.name] / kind.file).read_bytes() for kind in kinds}
        files = {kind.name: damaged(contents[kind.name], chance) for kind in kinds}
        before = {kind.name: outcome(kind, places[kind.name]) for kind in kinds}
        for name, each in before.items():
            assert each.code == 0, (name, each)
        end = time.monotonic() + asked.seconds
        while time.monotonic() < end:
            kind = chance.choices(kinds, [each.weight for each in kinds])[0]
            how, changed = next(files[kind.name])
            (places[kind.name] / kind.file).write_bytes(changed)
            began = time.monotonic()
            after = outcome(kind, places[kind.name])
            wrong = failure(kind, before[kind.name], after, contents[kind.name], changed)
            if (seconds := time.monotonic() - began) > 60:
                wrong = wrong or f"it took {seconds:.0f} s"
            counts["tried"] += 1
            counts["refused" if after.code == 2 else "accepted"] += 1
            if wrong:
                failures[f"{kind.name}: {wrong.strip().splitlines()[-1]}"] += 1
                counts["failures"] += 1
                print(f"{kind.name} ({how}): {wrong}", flush=True)
                if asked.keep:
                    asked.keep.mkdir(parents=True, exist_ok=True)
                    (asked.keep / f"{counts['failures']}-{kind.name}-{kind.file}").write_bytes(changed)
    print(", ".join(f"{counts[name]:,} {name}" for name in ("tried", "refused", "accepted", "failures")))
    for said, times in failures.most_common():
        print(f"{times:6}  {said}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
