"""Spec files and overrides that somebody broke: by hand, by an editor, or on purpose."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from cortexzoo.harness.fuzzing.campaign import set_options
from cortexzoo.specs.kinds import FOLDERS
from cortexzoo.specs.loading.shipped import LIBRARY, shipped_names

VALUES = (
    "0", "-1", "1", "1e4", "1e400", "-1e400", ".inf", "-.inf", ".nan", "1_000", "0x7fffffffffffffff", "0o17",
    "9" * 30, "9" * 500, "-" + "9" * 500, "1.5", "1e-320", "true", "null", "~", "", "''", "[]", "{}", "[[]]",
    "[1, 2, 3]", "{a: {b: {c: 1}}}", "[" * 40 + "]" * 40, "[" * 3000, "{a: " * 3000, "{? {a: b} : c}", "*a", "&a 1",
    "!!python/object:os.system x", "!x 1", "<<", "2001-01-01", "12:30", "yes", "x" * 70_000, "x" * 300, "[1," * 300,
    '"\\e[31mred\\e[0m"', '"\\e]0;title\\a"', '"\\u202eevil"', '"a\\0b"', '"\\ud800"', '"\\UFFFFFFFF"', '"\\u2028"',
    "|\n  text\n  \x07", "> \n", "# comment", "'unclosed", '"unclosed', "@", "`", "%", "- a", "a: b: c", "\t1",
    "/dev/zero", "/dev/null", "/etc/passwd", ".", "..", "/", "./" * 3000 + "x.yaml", "a/" * 200 + "x.yaml",
    "x" * 300 + ".yaml", "itself.yaml", "missing.yaml", "fifo.yaml", "folder.yaml", "robust", "cortexgpt-stable",
    "cortex-v2-hybrid", "[" + "1, " * 4000 + "1]", "{" + ", ".join(f"k{i}: 1" for i in range(3000)) + "}",
    "2147483648", "1000000000000", "1000000000001", "0.999999999999", "1.0000000001", "{kind: none}", "{kind: x}",
    "[bold]x[/bold]", "<script>", "${HOME}", "$(id)", "\ufeff", "\u0000", "é", "日本語", "🧠" * 50,
)  # fmt: skip
PATHS = (
    "recipe", "variant", "data", "suite", "recipe.steps", "recipe.batch_size", "recipe.clipping", "recipe.sleep.kind",
    "recipe.objective", "variant.hidden_size", "variant.memory", "variant.memory.long_term.kind", "seed", "name",
    "description", "provenance", "provenance.a.b", "kind", "family", "extends", "suite.properties", "recipe.monitor",
    "suite.properties.causality.bound", "a", "a.b", "", ".", "recipe.", ".steps", "recipe..steps",
    ".".join("a" * 40), ".".join("a" * 5000), "x" * 5000, "\x1b[31m", "recipe.\u202e", "recipe.steps.deeper",
)  # fmt: skip

WARM = (["sweep", "variants-and-recipes", "--dry-run"], ["show", "cortexgpt-stable"], ["show", "cortex-v2-hybrid-qwen"])

Mutation = Callable[[random.Random, str], str]


def cases(seed: int, count: int, folder: Path) -> Iterator[tuple[int, list[str]]]:
    """Command lines, each with its mutated file in `folder`, which later cases write over; equal seeds, equal cases."""
    _traps(folder)
    sources = [(LIBRARY / FOLDERS[kind] / f"{name}.yaml").read_text(encoding="utf-8")
               for kind in FOLDERS for name in shipped_names(kind)]  # fmt: skip
    for number in range(count):
        dice = random.Random(f"{seed}/{number}")
        file = folder / "itself.yaml"
        text = dice.choice(sources)
        for _ in range(dice.choice((1, 1, 1, 1, 2, 3, 8))):
            text = dice.choice(MUTATIONS)(dice, text)
        file.write_bytes(_bytes(dice, text))
        yield number, _command(dice, str(file))


def _command(dice: random.Random, file: str) -> list[str]:
    match dice.randrange(10):
        case 0 | 1:
            sets = [f"{dice.choice(PATHS)}={dice.choice(VALUES)}" for _ in range(dice.randint(1, 3))]
            named = dice.choice((file, "cortexgpt-stable", "cortex-v2-hybrid", "robust", "transformer"))
            return ["show", named, *set_options(sets)]
        case 2:
            return ["show", file]
        case 3:
            return ["sweep", file, "--dry-run"]
        case 4:
            part = dice.choice(("--variant", "--recipe", "--data", "--suite", "--seed"))
            return ["show", "cortexgpt-stable", part, dice.choice((*VALUES, file))]
        case 5:
            return ["show", dice.choice((*VALUES, *PATHS)) or "x", *dice.choice(((), ("--kind", "recipe")))]
        case _:
            return ["validate", file]


def _traps(folder: Path) -> None:
    """What a reference may point at besides files."""
    import os

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "folder.yaml").mkdir(exist_ok=True)
    if not (folder / "fifo.yaml").exists():
        os.mkfifo(folder / "fifo.yaml")


def _bytes(dice: random.Random, text: str) -> bytes:
    content = text.encode("utf-8", errors="surrogatepass")
    match dice.randrange(12):
        case 0:  # bytes that are no UTF-8, or NUL
            at = dice.randrange(len(content) + 1)
            return content[:at] + bytes(dice.randrange(256) for _ in range(dice.randint(1, 8))) + content[at:]
        case 1:
            return content[: dice.randrange(len(content) + 1)]
        case 2:
            return content.replace(b"\n", b"\r\n")
        case _:
            return content


def _some_line(dice: random.Random, text: str) -> tuple[list[str], int]:
    lines = text.split("\n")
    return lines, dice.randrange(len(lines))


def _value(dice: random.Random, text: str) -> str:
    lines, at = _some_line(dice, text)
    key, colon, _ = lines[at].partition(":")
    lines[at] = f"{key}{colon or ':'} {dice.choice(VALUES)}"
    return "\n".join(lines)


def _key(dice: random.Random, text: str) -> str:
    lines, at = _some_line(dice, text)
    key, colon, value = lines[at].partition(":")
    indent = key[: len(key) - len(key.lstrip())]
    lines[at] = f"{indent}{dice.choice((*VALUES, *PATHS))}{colon or ':'}{value}"
    return "\n".join(lines)


def _added(dice: random.Random, text: str) -> str:
    lines, at = _some_line(dice, text)
    lines.insert(at, f"{' ' * dice.choice((0, 0, 2, 4))}{dice.choice((*PATHS, 'x'))}: {dice.choice(VALUES)}")
    return "\n".join(lines)


def _dropped(dice: random.Random, text: str) -> str:
    lines, at = _some_line(dice, text)
    del lines[at : at + dice.randint(1, 3)]
    return "\n".join(lines)


def _twice(dice: random.Random, text: str) -> str:
    lines, at = _some_line(dice, text)
    return "\n".join([*lines[: at + 1], *lines[at:]])


def _indented(dice: random.Random, text: str) -> str:
    lines, at = _some_line(dice, text)
    lines[at] = dice.choice((" " + lines[at], lines[at][1:], "\t" + lines[at], "    " + lines[at]))
    return "\n".join(lines)


def _typed(dice: random.Random, text: str) -> str:
    at = dice.randrange(len(text) + 1)
    typed = "".join(dice.choice("[]{}:,-#&*!|>'\"%@`\\?\x1b\x07\u202e\u200f 0aé") for _ in range(dice.randint(1, 12)))
    return text[:at] + typed + text[at + dice.randint(0, 5) :]


def _swollen(dice: random.Random, text: str) -> str:
    """About 60 kB of the same."""
    unit = dice.choice(("- 1\n", "[1, ", "a: &a 1\n", "x: [*a, *a]\n", "# \n", " \n", "{a: 1, ", "'', ", "\\x41", ": "))
    lines, at = _some_line(dice, text)
    lines.insert(at, "k: " * dice.randint(0, 1) + unit * (60_000 // len(unit)))
    return "\n".join(lines)


def _many_keys(dice: random.Random, text: str) -> str:
    count = dice.choice((30, 300, 4000))
    return text + "\n" + "".join(f"key{number}: {number}\n" for number in range(count))


def _laughs(_: random.Random, text: str) -> str:
    """Aliases of aliases."""
    rows = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 9)]
    return "\n".join([*rows, text])


MUTATIONS: tuple[Mutation, ...] = (
    _value, _value, _value, _value, _key, _added, _added, _dropped, _twice, _indented, _typed, _swollen, _many_keys,
    _laughs,
)  # fmt: skip
