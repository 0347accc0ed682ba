"""The table of deprecations, and the constraints without which it would not be empty."""

import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deprecations import package_of

ROOT = Path(__file__).parents[1]
WARNING = """
import warnings
import pytest
@pytest.mark.parametrize("name", ["a", "b"])
def test_it(name):
    warnings.warn("old_name is deprecated", {category}, stacklevel=1)
"""


def session_with(category: str, folder: Path) -> tuple[int, str]:
    """Exit code and output of pytest with the table, over two tests that warn."""
    file = folder / "test_it.py"
    file.write_text(WARNING.format(category=category))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-c",
        str(ROOT / "pyproject.toml"),
        "-p",
        "tests.deprecations",
        str(file),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    return done.returncode, done.stdout


def test_what_is_deprecated_becomes_a_row_with_its_number_and_fails_nothing(tmp_path: Path) -> None:
    code, output = session_with("FutureWarning", tmp_path)
    assert code == 0, output
    assert "     2  test_it           FutureWarning               old_name is deprecated\n" in output
    assert "2 warnings, 1 different" in output


def test_another_warning_fails_as_ever(tmp_path: Path) -> None:
    code, output = session_with("RuntimeWarning", tmp_path)
    assert code == 1, output
    assert "0 warnings, 0 different" in output


def test_a_file_is_that_of_a_package_a_folder_or_a_module() -> None:
    assert package_of(Path(sysconfig.get_path("purelib")) / "torch" / "nn" / "modules" / "module.py") == "torch"
    assert package_of(Path(sysconfig.get_path("purelib")) / "six.py") == "six"
    assert package_of(ROOT / "zoo" / "build.py") == "zoo"
    assert package_of(Path("/elsewhere/inspect.py")) == "inspect"


PINS = {
    requirement.name: requirement
    for requirement in map(Requirement, (ROOT / "constraints.txt").read_text().splitlines()[1:])
    if requirement.marker is None or requirement.marker.evaluate()
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED = [Requirement(line) for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]]


@pytest.mark.parametrize("declared", DECLARED, ids=lambda requirement: requirement.name)
def test_what_is_declared_is_constrained_to_a_release_that_fits(declared: Requirement) -> None:
    """`nox -s lock` writes the file; torch is left to the platform."""
    pinned = PINS.get(canonicalize_name(declared.name))
    if declared.name == "torch" or (declared.marker is not None and not declared.marker.evaluate()):
        assert pinned is None
    else:
        assert pinned is not None
        [pin] = pinned.specifier
        assert pin.operator == "==" and declared.specifier.contains(pin.version)


def test_every_requirement_of_the_lock_has_hashes_and_the_version_of_the_constraints() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text and "index-url" not in text and "find-links" not in text
    entries = [entry.split() for entry in text.replace("\\\n", " ").splitlines()[1:]]
    locked = {}
    for entry in entries:
        hashes = [part for part in entry if part.startswith("--hash=sha256:")]
        assert hashes and all(len(part) == len("--hash=sha256:") + 64 for part in hashes), entry[0]
        name, _, version = entry[0].partition("==")
        locked[name] = version
    constraints = (Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines()[1:])
    pinned = {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in constraints}
    assert {name: version for name, version in locked.items() if pinned.get(name, version) != version} == {}
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {canonicalize_name(Requirement(each).name) for each in declared} <= set(locked)


def test_constraints_name_neither_a_host_nor_the_libraries_of_a_gpu() -> None:
    text = (ROOT / "constraints.txt").read_text()
    assert "://" not in text and "nvidia" not in text and "+cpu" not in text
