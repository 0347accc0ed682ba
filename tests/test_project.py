"""Laws of the whole repository that no tool of the `lint` session states."""

import ast
import re
import tomllib
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError

from cortexzoo.zoo.models.interface import MemoryState, ModelOutput

ROOT = Path(__file__).parents[1]
PACKAGES = ("specs", "zoo", "harness")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PROSE = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *(ROOT / "specs" / "library").rglob("*.yaml")])
LONGEST_FILE = 300
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "misc", "common", "core"}
PICKLING = re.compile(
    r"(^|\.)(c?pickle|dill|joblib|shelve|marshal)\.|(^|\.)torch\.(save|load)$|accelerator\.(save|load)(_state)?$"
    r"|(read|to)_pickle$"
)


def those(paths: Iterable[Path], wrong: Callable[[str], object]) -> list[str]:
    """The files whose text is wrong. One test looks at all of a kind: a case a file takes longer than the files."""
    return [str(path.relative_to(ROOT)) for path in paths if wrong(path.read_text(encoding="utf-8"))]


def calls_that_pickle(source: str) -> list[str]:
    """The calls in `source` that write or read pickled objects, as they stand there."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    named = [ast.unparse(call.func) for call in calls]
    allowed = [ast.unparse(call) for call in calls if any(word.arg == "allow_pickle" for word in call.keywords)]
    return [name for name in named if PICKLING.search(name)] + allowed


def test_a_file_holds_one_idea() -> None:
    assert len(SOURCES) > 500
    assert those(SOURCES, lambda text: len(text.splitlines()) > LONGEST_FILE) == []
    assert [path for path in SOURCES if path.stem in FORBIDDEN_NAMES] == []


def test_nothing_pickles() -> None:
    assert those(SOURCES, calls_that_pickle) == []


@pytest.mark.parametrize(
    "call",
    ["torch.save(x, f)", "pickle.loads(b)", "self.accelerator.save_state(d)", "np.load(f, allow_pickle=True)"],
)
def test_a_pickling_call_is_recognised(call: str) -> None:
    assert len(calls_that_pickle(call)) == 1


def test_a_file_says_what_it_is_for() -> None:
    assert those(SOURCES, lambda source: source.strip() and not ast.get_docstring(ast.parse(source))) == []


def test_nothing_is_left_open_or_bound_to_one_machine() -> None:
    texts = [*SOURCES, *PROSE]
    assert those(texts, re.compile(r"\b(TODO|FIXME|XXX)\b").search) == []
    assert those(texts, re.compile(r"(?<![\w.])/(home|root|Users|work)/\w").search) == []


def test_every_folder_of_sources_is_a_package() -> None:
    """import-linter and mypy pass over others in silence."""
    assert [path for path in SOURCES if not (path.parent / "__init__.py").is_file()] == []


def test_tests_mirror_the_packages() -> None:
    tests = [test for package in PACKAGES for test in (ROOT / "tests" / package).rglob("test_*.py")]
    mirrored = {test: ROOT / test.relative_to(ROOT / "tests").parent for test in tests}
    assert [test for test, source in mirrored.items() if not source.is_dir()] == []


def test_one_namespace() -> None:
    """A second import path would run every module twice and shadow a user's own packages of these names."""
    for package in PACKAGES:
        assert (ROOT / "src" / "cortexzoo" / package).resolve() == ROOT / package
    bare = re.compile(rf"^\s*(from|import) ({'|'.join(PACKAGES)})\b", re.MULTILINE)
    texts = [*SOURCES, *PROSE, *(ROOT / "tests").rglob("*.py"), *(ROOT / "docs").rglob("*.py")]
    assert [path for path in texts if bare.search(path.read_text(encoding="utf-8"))] == []


def test_the_command_exists() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert set(declared) == {"cortexzoo"}
    module, _, name = declared["cortexzoo"].partition(":")
    assert callable(getattr(import_module(module), name))


def test_shapes_are_checked_while_tests_run() -> None:
    class Empty(MemoryState):
        """Remembers nothing."""

    logits = torch.zeros(2, 3, 4)
    assert ModelOutput(logits, Empty()).logits is logits
    with pytest.raises(TypeCheckError, match="places vocab"):
        ModelOutput(logits.long(), Empty())
