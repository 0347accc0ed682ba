"""The plugin: one test for each property of what is named, and nothing at all unless something is named."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cortexzoo.harness.checking.pytest_plugin import run_of
from tests.harness.trained import train_small

ROOT = Path(__file__).parents[3]
OWN_TEST = """
import sys


def test_own():
    assert not {'torch', 'cortexzoo.harness.checking.properties'} & sys.modules.keys()
"""
MINE = """
kind: experiment
extends: cortexgpt-stable
name: mine
variant: {extends: cortexgpt-stable, hidden_size: 16, columns: {num_columns: 2}}
recipe:
  {extends: robust, steps: 4, batch_size: 2, sequence_length: 16, monitor: {validation_sequences: 4, validate_every: 4}}
"""
LOST = """
kind: experiment
extends: transformer
name: lost
data: {kind: data, family: text, name: gone, source: {kind: files, paths: [gone.txt]}}
"""


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, as where cortexzoo is installed."""
    options = ["-p", "cortexzoo.harness.checking.pytest_plugin", "-p", "no:cacheprovider", "-rA"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "CORTEXZOO_CACHE": str(folder / "cache"), "COLUMNS": "400"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "test_own.py").write_text(OWN_TEST)
    return tmp_path


def test_without_the_option_nothing_is_collected_and_nothing_heavy_imported(project: Path) -> None:
    done = run_pytest(project)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


@pytest.mark.slow
def test_each_property_of_a_run_is_a_test(project: Path) -> None:
    """Held to a suite that expects of it what it does, but for `causality`, of which it expects a failure."""
    run = train_small(project / "runs", "recipe.steps=4", "suite=cortexgpt-original")
    chosen = "causality or better_than_counting or padding or finite_gradients"
    done = run_pytest(project, "--cortexzoo", str(run.path), "-k", chosen)
    assert done.returncode == 1, done.stdout
    assert "1 failed, 1 passed, 1 skipped" in done.stdout and "1 xfailed" in done.stdout
    every = len(run.spec.suite.properties)
    assert f"collected {every} items / {every - 4} deselected / 4 selected" in done.stdout, "the project's own is not"
    told = [line for line in done.stdout.splitlines() if "::" in line[:90]]
    outcomes = {line.split("::")[1].split()[0]: line.split()[0] for line in told}
    assert outcomes["finite_gradients"] == "PASSED"
    assert outcomes["better_than_counting"] == "XFAIL"
    assert outcomes["causality"] == "FAILED"
    assert "causality is pass instead of fail: editing from some place on moved no earlier output" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.slow
def test_an_experiment_is_trained_into_the_cache_and_goes_with_files(project: Path) -> None:
    (project / "mine.yaml").write_text(MINE)
    done = run_pytest(project, "--cortexzoo", "mine.yaml", "-k", "repeatability or own", "test_own.py")
    assert re.search(r"^mine: 4 steps to train, about \d+\.\d minutes on one core$", done.stdout, re.M), done.stdout
    assert "mine::repeatability" in done.stdout and "test_own.py::test_own" in done.stdout
    assert len(list((project / "cache").glob("trained/*/mine/*/summary.json"))) == 1


@pytest.mark.slow
def test_what_a_user_can_mend_is_told_in_a_line_a_test_and_leaves_other_tests_alone(project: Path) -> None:
    (project / "lost.yaml").write_text(LOST)
    done = run_pytest(
        project, "--cortexzoo", "lost.yaml", "-k", "repeatability or causality or test_own", "test_own.py"
    )
    assert done.returncode == 1, done.stdout
    assert "1 passed" in done.stdout and "2 errors" in done.stdout
    told = [line for line in done.stdout.splitlines() if line.startswith("--cortexzoo lost.yaml: ")]
    assert len(told) == 2 and all("gone.txt" in line for line in told)
    assert "Traceback" not in done.stdout and "DataError" not in done.stdout


def test_what_is_no_experiment_is_told_in_one_line(project: Path) -> None:
    done = run_pytest(project, "--cortexzoo", "cortexgpt-stabel")
    assert done.returncode == 4
    (line,) = [line for line in done.stderr.splitlines() if line.strip()]
    assert line.startswith("ERROR: --cortexzoo ") and line.endswith("did you mean cortexgpt-stable?")


def test_a_folder_that_holds_no_run_is_told(project: Path) -> None:
    with pytest.raises(pytest.UsageError, match=r"--cortexzoo .*: not a run folder: it has no spec\.yaml"):
        run_of(str(project))
