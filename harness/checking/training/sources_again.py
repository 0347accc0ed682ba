"""Texts by their sources, and almanacs by their lines: read again, from what the spec names."""

import json
import re
import sysconfig
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from cortexzoo.specs.data import Almanac, JsonLines, PydocTopics, PythonLibrary, TextFiles
from cortexzoo.zoo.data.almanac import VALUES, facts_in, questions_in, text_of
from cortexzoo.zoo.data.sources import read_source

FIRST, LAST = "q", "s"
"""Letters of modules, both of which some module begins with."""
ALMANAC = Almanac(volumes=3, people=5, others=110, seed=1)
A_PAGE, DEVIATIONS = 8, 7.0
LINE = re.compile(r"^(\w+ \w+), (\w+): (\w+)$", re.MULTILINE)
Line = tuple[str, str, str]
"""Who, what of them, and its value."""


def of_sources(folder: Path) -> list[str]:
    """What of several files, records, modules and topics is read otherwise than it stands there."""
    return [*_files(folder / "sources"), *_of_this_python(), *_almanac()]


def _files(folder: Path) -> Iterator[str]:
    (folder / "a").mkdir(parents=True)
    texts = {"b.txt": "last\n", "a/two.txt": "日本語", "a/one.txt": "\nfirst "}
    for name, content in texts.items():
        (folder / name).write_text(content, encoding="utf-8")
    wanted = "\n".join(texts[name] for name in sorted(texts)).encode()
    for paths in (("b.txt", "a/*.txt", "a/one.txt"), ("**/*.txt",), (str(folder / "b.txt"), "a/*", "b.txt")):
        if read_source(TextFiles(paths=paths), folder) != wanted:
            yield f"the files {', '.join(paths)} are not read once each, in order, a line break between them"
    records = {"1.jsonl": ["one", "", "two\nlines"], "2.jsonl": ["日本語"]}
    for name, found in records.items():
        lines = [json.dumps({"text": "another", "body": text}) for text in found]
        (folder / name).write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    joined = "\n".join(text for found in records.values() for text in found).encode()
    if read_source(JsonLines(paths=("*.jsonl",), field="body"), folder) != joined:
        yield "records are not their texts, a line break between them"


def _of_this_python() -> Iterator[str]:
    """Where it comes with its library, as most do, and with its topics."""
    folder = Path(sysconfig.get_path("stdlib"))
    names = sorted(path.name for path in folder.glob("*.py") if path.name[:1].lower() in (FIRST, "r", LAST))
    whole = b"\n".join((folder / name).read_bytes() for name in names)
    if names and read_source(PythonLibrary(first=FIRST, last=LAST)) != whole:
        yield f"modules from {FIRST} to {LAST} are not {len(names)} files, one after the other"
    try:
        from pydoc_data.topics import topics
    except ImportError:
        return
    if read_source(PydocTopics()) != "\n\n".join(text for _, text in sorted(topics.items())).encode():
        yield "topics are not read in order, an empty line between them"


def _almanac() -> Iterator[str]:
    """Each volume states its facts, then others, then the first ones in another order; nobody is in two of them."""
    spec, content = ALMANAC, text_of(ALMANAC)
    whole = content.decode()
    if text_of(spec) != content or text_of(spec.model_copy(update={"seed": 2})) == content:
        yield "an almanac does not follow from its seed"
    if len(whole) % spec.volumes:
        yield f"{spec.volumes} volumes of one length have {len(whole)} bytes"
        return
    size, people = len(whole) // spec.volumes, Counter[str]()
    said: list[Line] = []
    for number in range(spec.volumes):
        volume = whole[number * size : (number + 1) * size]
        lines: list[Line] = [found.groups() for found in LINE.finditer(volume)]  # type: ignore[misc]
        asked, others = len(VALUES) * spec.people, len(VALUES) * spec.others
        stated, never, again = lines[:asked], lines[asked:-asked], lines[-asked:]
        named = {who for who, _, _ in lines}
        people.update(named)
        said += [*stated, *never]
        if len(never) != others or len(named) != spec.people + spec.others or len({*stated, *never}) != asked + others:
            yield f"volume {number + 1} has {len(named)} people and {len(lines)} lines"
        if sorted(stated) != sorted(again) or stated == again:
            yield f"volume {number + 1} does not ask for what it stated first, in another order"
        if any(LINE.fullmatch(line) is None for line in _without_pages(volume)):
            yield f"volume {number + 1} has pages of other lines"
    if max(people.values()) > 1:
        yield "somebody is in two volumes"
    yield from _even(said)
    yield from _found_again(content, whole)


def _without_pages(volume: str) -> Iterator[str]:
    """The lines, but for the heads of pages that come where they should."""
    for number, page in enumerate(re.split(r"Page \d+\n", volume)[1:], start=1):
        lines = page.strip("\n").split("\n")
        if len(lines) > A_PAGE or f"Page {number}\n" not in volume:
            yield f"page {number}"
        yield from lines


def _even(said: list[Line]) -> Iterator[str]:
    """Each value of an attribute is as likely as the others, whoever it is."""
    for attribute, values in VALUES.items():
        drawn = [value for _, what, value in said if what == attribute]
        share = len(drawn) / len(values)
        most = max(Counter(drawn).values())
        if set(drawn) != set(values) or most - share > DEVIATIONS * share**0.5:
            yield f"of {len(drawn)} values of {attribute} {most} are one of {len(values)}"
        same = sum(one == other for one, other in pairwise(drawn))
        if same - share > DEVIATIONS * share**0.5:
            yield f"{same} values of {attribute} are those of the line before"


def _found_again(content: bytes, whole: str) -> Iterator[str]:
    """Questions and facts that are found in it are its lines."""
    first, asked = dict[tuple[str, str], int](), []
    for line in LINE.finditer(whole):
        key = (line[1], line[2])
        if key in first:
            asked.append((first[key], line.start(3), len(line[3])))
        first.setdefault(key, line.start(3))
    if [(one.stated, one.asked, one.length) for one in questions_in(content)] != asked:
        yield "the questions that are found in an almanac are not its repeated lines"
    facts = list(dict.fromkeys((line[0][: -len(line[3])], line[3]) for line in LINE.finditer(whole)))
    if [(fact.prompt.decode(), fact.value.decode()) for fact in facts_in(content)] != facts:
        yield "the facts that are found in an almanac are not its lines, once each"
    twice = content + content  # every question is then asked three times
    if {one.stated for one in questions_in(twice)} != set(first.values()):
        yield "a question that comes again is not of the first statement"
