"""What is installed: one package, complete, that leaves the names `specs`, `zoo` and `harness` to the user.

Wheel and editable form are installed without their dependencies into environments that see those of this one.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("specs", "zoo", "harness")
FILES = ("pyproject.toml", "README.md", "LICENSE", ".gitignore")
THEIRS = 'OWNER = "the user"\n'
OWN_TEST = f"""
import {", ".join(PACKAGES)}
import cortexzoo.harness, cortexzoo.specs, cortexzoo.zoo


def test_own():
    assert harness.OWNER == specs.OWNER == zoo.OWNER == "the user"
    assert cortexzoo.specs.load("robust").name == "robust"
"""
OWN_MODULE = f"""
import torch
from {PACKAGES[2]} import OWNER


def make_model():
    assert OWNER == "the user"
    return torch.nn.Linear(8, 8)
"""
OWN_SUITE = """
kind: suite
name: own
properties:
  repeatability: {expect: pass}
  save_and_load: {expect: pass}
"""


EDITABLE = "import sys; from hatchling.build import build_editable; build_editable(sys.argv[1])"
"""What pip calls for an editable installation, in this environment, so that the new one needs no build backend."""


def run_in(folder: Path, *command: str | Path) -> None:
    done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def install(wheel: Path, python: Path) -> None:
    """Into the environment of `python`, without a network."""
    offline = ("--no-deps", "--no-index", "--disable-pip-version-check")
    run_in(wheel.parent, "-m", "pip", "--python", python, "install", *offline, wheel)


def copy_of_the_repository(folder: Path) -> Path:
    """What a build reads."""
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    for name in (*PACKAGES, "src"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def wheel_of(repository: Path, folder: Path) -> Path:
    run_in(repository, "-m", "hatchling", "build", "-t", "wheel", "-d", folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def names_in(wheel: Path) -> set[str]:
    """The files of the package, without the wheel's own records."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, because a build leaves files behind."""
    repository = copy_of_the_repository(tmp_path_factory.mktemp("repository"))
    return wheel_of(repository, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(params=["wheel", "editable"])
def python(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The interpreter of an environment that has cortexzoo installed."""
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False, symlinks=os.name != "nt")
    made = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if request.param == "wheel":
        install(request.getfixturevalue("wheel"), made)
    else:
        for name in ("repository", "wheel"):
            (tmp_path / name).mkdir()
        run_in(copy_of_the_repository(tmp_path / "repository"), "-c", EDITABLE, tmp_path / "wheel")
        (link,) = (tmp_path / "wheel").glob("*.whl")
        install(link, made)
    packages = environment / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    # The last in the alphabet, so that what is installed here comes first; editable installs over there are not seen.
    (packages / "zzz.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    return made


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A user's repository with packages of the same names."""
    folder = tmp_path / "theirs"
    for name in PACKAGES:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(THEIRS)
    (folder / "test_own.py").write_text(OWN_TEST)
    (folder / "my_model.py").write_text(OWN_MODULE)
    (folder / "own.yaml").write_text(OWN_SUITE)
    return folder


def run(python: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    hidden = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [python, *arguments], cwd=folder, env=hidden, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.slow
def test_a_repository_with_packages_of_these_names_works(python: Path, repository: Path) -> None:
    where = run(python, repository, "-c", "import cortexzoo, specs; print(cortexzoo.__file__, specs.OWNER)")
    assert str(python.parents[2]) in where.stdout and where.stdout.endswith(" the user\n"), where.stderr
    # -P: as the program `pytest`, which does not put the current folder on the path.
    tested = run(python, repository, "-P", "-m", "pytest", "-p", "no:cacheprovider")
    assert "1 passed" in tested.stdout, tested.stdout + tested.stderr
    command = subprocess.run([python.with_name("cortexzoo"), "list"], capture_output=True, text=True, check=False)
    assert (command.returncode, command.stderr) == (0, ""), command.stderr
    checked = run(
        python, repository, "-m", "cortexzoo", "check", "--module", "my_model.py:make_model", "--suite", "own.yaml",
        "--width", "8", "--profile", "dev",
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "2 of 2 properties hold" in checked.stdout


def test_the_wheel_has_one_package_with_every_file(wheel: Path) -> None:
    names = names_in(wheel)
    expected = {
        f"cortexzoo/{path.relative_to(ROOT).as_posix()}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == expected | {"cortexzoo/__init__.py", "cortexzoo/__main__.py"}
    for ending in ("specs/library/recipes/robust.yaml", "specs/schema/recipe.json", "specs/py.typed",
                   "harness/certificates/transformer.json", "harness/schema/certificate.json"):  # fmt: skip
        assert f"cortexzoo/{ending}" in names


def test_the_wheel_of_a_checkout_without_links_is_the_same(wheel: Path, tmp_path: Path) -> None:
    """As Git writes links on Windows without developer mode: text files that hold the target."""
    (tmp_path / "repository").mkdir()
    repository = copy_of_the_repository(tmp_path / "repository")
    for name in PACKAGES:
        link = repository / "src" / "cortexzoo" / name
        target = os.readlink(link)
        link.unlink()
        link.write_text(target)
    assert names_in(wheel_of(repository, tmp_path / "wheel")) == names_in(wheel)


def test_the_source_distribution_has_every_module(tmp_path: Path) -> None:
    """A wheel built from it, as `python -m build` does, is as complete as one from the repository."""
    (tmp_path / "copy").mkdir()
    repository = copy_of_the_repository(tmp_path / "copy")
    run_in(repository, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path / "dist")
    (archive,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as built:
        inside = {name.partition("/")[2] for name in built.getnames()}
    wanted = {str(file.relative_to(ROOT)) for name in PACKAGES for file in (ROOT / name).rglob("*.py")}
    assert len(wanted) > 500
    assert wanted - inside == set()
