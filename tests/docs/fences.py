"""The fenced blocks of a Markdown page, and which of them run.

A comment on the line above a block, invisible to readers, says what is done with it:

    python                                   runs, in one namespace with the page's other Python blocks
    <!-- norun --> above python              is only shown: for what takes minutes
    console                                  is only shown
    <!-- run --> above console               each line `$ cortexzoo …` runs and must exit with 0
    <!-- run: exit 2 --> above console       … with 2
    any, with title="my.yaml"                is first written to that file

Lines below a command are what it prints, in this order; a line `…` stands for any lines, `…` within a line for any
text. All blocks of a page share one temporary folder.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<language>\w*)(?P<options>[^`\n]*)$")
_TITLE = re.compile(r'\btitle="([^"]+)"')
_DIRECTIVE = re.compile(r"<!-- (norun|run|run: exit (\d+)) -->")


@dataclass(frozen=True)
class Fence:
    """One block. `line` is the line number of its first line of content, from 1."""

    language: str
    text: str
    line: int
    title: str | None
    exit_code: int | None
    """What its commands, or its Python, must end with; None: it is not run."""


@dataclass(frozen=True)
class Command:
    """One `$` line of a console block and the lines that it shows as printed."""

    arguments: str
    shown: list[str]
    line: int


def fences(page: Path) -> Iterator[Fence]:
    """The blocks of `page` in order. Raises `ValueError` for one that is never closed and for a directive in vain."""
    above = ""
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        opening = _FENCE.match(line)
        directive = _DIRECTIVE.fullmatch(above)
        above = line.strip()
        if opening is None:
            if directive is not None:
                raise ValueError(f"{page.name}:{number}: a block must follow {directive.group()}")
            continue
        content: list[str] = []
        for _, inner in lines:
            if inner.strip() == opening["ticks"]:
                break
            content.append(inner.removeprefix(opening["indent"]))
        else:
            raise ValueError(f"{page.name}:{number}: this block is never closed")
        title = _TITLE.search(opening["options"])
        yield Fence(
            language=opening["language"],
            text="".join(f"{inner}\n" for inner in content),
            line=number + 1,
            title=title and title.group(1),
            exit_code=_exit_code(opening["language"], directive),
        )


def _exit_code(language: str, directive: re.Match[str] | None) -> int | None:
    if directive is None:
        return 0 if language == "python" else None
    return None if directive.group(1) == "norun" else int(directive.group(2) or 0)


def commands(fence: Fence) -> list[Command]:
    """The commands of a console block. Raises `ValueError` for output that no command precedes."""
    found: list[Command] = []
    for number, line in enumerate(fence.text.splitlines(), start=fence.line):
        if line.startswith("$ "):
            found.append(Command(line.removeprefix("$ "), [], number))
        elif line.strip():
            if not found:
                raise ValueError(f"line {number}: printed by no command: {line}")
            found[-1].shown.append(line)
    return found


def shows(printed: str, shown: list[str]) -> bool:
    """Whether `shown` describes `printed`: equal lines in this order, blank lines and outer white space apart."""
    if not shown:
        return True
    lines = [r"(?s:.*)" if line.strip() == "…" else _line_pattern(line) for line in shown]
    text = "".join(line.strip() + "\n" for line in printed.splitlines() if line.strip())
    return re.fullmatch("".join(lines), text) is not None


def _line_pattern(line: str) -> str:
    return ".*".join(re.escape(part) for part in line.strip().split("…")) + r"\n"
