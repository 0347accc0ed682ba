"""A pytest plugin, `-p tests.deprecations`: what is deprecated fails nothing, a table at the end lists who uses it."""

import sysconfig
import warnings
from collections import Counter
from pathlib import Path

import pytest

CATEGORIES = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)
INSTALLED = [Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")]
ROOT = Path(__file__).parents[1]

seen: Counter[tuple[str, str, str]] = Counter()
"""How often a package has met a kind of warning, with its first line."""


def pytest_configure(config: pytest.Config) -> None:
    for category in CATEGORIES:
        config.addinivalue_line("filterwarnings", f"always::{category.__name__}")


def pytest_warning_recorded(warning_message: warnings.WarningMessage) -> None:
    if issubclass(warning_message.category, CATEGORIES):
        text = " ".join(str(warning_message.message).split())
        seen[package_of(Path(warning_message.filename)), warning_message.category.__name__, text] += 1


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:
    terminalreporter.section("deprecated, and who uses it")
    for (package, category, text), count in seen.most_common():
        terminalreporter.write_line(f"{count:6}  {package:16}  {category:26}  {text[:160]}")
    terminalreporter.write_line(f"{seen.total()} warnings, {len(seen)} different")


def package_of(file: Path) -> str:
    """The installed package, the folder of this repository, or the module of Python that a file belongs to."""
    for folder in (*INSTALLED, ROOT):
        if file.is_relative_to(folder):
            return file.relative_to(folder).parts[0].removesuffix(".py")
    return file.stem
