"""README and the pages of docs/: the sessions, files and Python that they show, how they are run, and made anew.

A `console` block is run, and a line that is … stands for lines that are not shown. A command exits with 0 unless
`$ echo $?` follows it, with its exit code. A code block with a caption is a file, which the page's blocks may use. All
`python` blocks of a page are one doctest.

`python -m tests.documents` writes the output of every console block anew.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from swatcost.cli import main

ROOT = Path(__file__).parent.parent
GAP = "…\n"

_BLOCK = re.compile(r"^```(\S+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CAPTION = re.compile(r"\A:caption: (\S+)\n\n?")


@dataclass(frozen=True)
class Document:
    """A page, by its path in the repository."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def console(self) -> list[str]:
        return [body for language, _, body in self._blocks() if language == "console"]

    @property
    def python(self) -> list[str]:
        return [body for language, _, body in self._blocks() if language == "python"]

    @property
    def files(self) -> dict[str, str]:
        """The text of each captioned block by its caption."""
        found = {}
        for language, _, body in self._blocks():
            if language == "{code-block}" and (caption := _CAPTION.match(body)):
                found[caption[1]] = body[caption.end() :]
        return found

    def _blocks(self) -> list[tuple[str, str, str]]:
        return _BLOCK.findall(self.text)

    def write_files(self, folder: Path) -> None:
        for name, text in self.files.items():
            (folder / name).write_text(text, encoding="utf-8")


def documents() -> list[Document]:
    return [Document(ROOT / "README.md"), *map(Document, sorted((ROOT / "docs").rglob("*.md")))]


@dataclass(frozen=True)
class Session:
    """A command as it is written, what is shown of its output, and the exit code that is to follow."""

    command: str
    shown: str
    code: int


def sessions(block: str) -> Iterator[Session]:
    """The commands of a console block."""
    found = [part.partition("\n")[::2] for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    for (command, shown), (after, code) in zip(found, [*found[1:], ("", "")], strict=True):
        if command != "echo $?":
            yield Session(command, shown, int(code) if after == "echo $?" else 0)


def run(command: str) -> tuple[int, str]:
    """The exit code of a swatcost command and what it prints."""
    program, *args = shlex.split(command)
    if program != "swatcost":
        raise ValueError(f"{command}: only swatcost is run")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = main(args)
    return code, printed.getvalue()


def shows(shown: str, printed: str) -> bool:
    """Whether the output is what is shown, with any lines where it has a …"""
    return (
        re.fullmatch("(?:.*\n)*?".join(map(re.escape, re.split(f"^{GAP}", shown, flags=re.MULTILINE))), printed)
        is not None
    )


def anew(shown: str, printed: str) -> str:
    """What is to be shown of an output: of each part between two … as many lines, from where its first line is now.

    A part whose first line is gone stays as it is, for a person to look at.
    """
    lines, place, parts = printed.splitlines(keepends=True), 0, []
    old_parts = re.split(f"^{GAP}", shown, flags=re.MULTILINE)
    if len(old_parts) == 1:
        return printed
    for part in old_parts:
        old = part.splitlines(keepends=True)
        if old and ((place == 0 and not parts) or old[0] in lines[place:]):
            start = lines.index(old[0], place) if parts else 0
            place = start + len(old)
            old = lines[start:place]
        parts.append("".join(old))
    return GAP.join(parts)


def write_anew(document: Document) -> None:
    """Runs every command of a page and puts in what it prints."""

    def session(written: Session) -> str:
        code, printed = run(written.command)
        after = f"$ echo $?\n{code}\n" if code else ""
        return f"$ {written.command}\n{anew(written.shown, printed)}{after}"

    def block(match: re.Match[str]) -> str:
        if match[1] != "console":
            return match[0]
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            document.write_files(Path(folder))
            return f"```console\n{''.join(map(session, sessions(match[3])))}```"

    text = _BLOCK.sub(block, document.text)
    if text != document.text:
        document.path.write_text(text, encoding="utf-8")
        print(f"{document.name}: written anew", file=sys.stderr)


if __name__ == "__main__":
    os.environ["SWATCOST_CACHE_DIR"] = ""
    wanted = sys.argv[1:]
    for each in documents():
        if not wanted or each.name in wanted:
            write_anew(each)
