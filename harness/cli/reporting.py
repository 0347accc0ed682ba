"""Verdicts for other programs, and where failures begin: the options of `check` that come after the table."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cortexzoo.harness.cli.errors import BadInput
from cortexzoo.harness.cli.output import print_text

if TYPE_CHECKING:
    from cortexzoo.harness.checking.verdict import Certificate

ExplainOption = Annotated[
    bool, typer.Option("--explain", help="Print for each failure the submodule where it begins, and its input.")
]
JUnitOption = Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Also write JUnit XML.")]
SarifOption = Annotated[Path | None, typer.Option("--sarif", metavar="FILE", help="Also write SARIF 2.1.0.")]
AnnotateOption = Annotated[
    bool, typer.Option("--annotate", help="Also print each unexpected verdict as an annotation of GitHub Actions.")
]


@dataclass(frozen=True)
class Reports:
    """What to write and print besides the table."""

    explain: bool = False
    junit: Path | None = None
    sarif: Path | None = None
    annotate: bool = False

    def require_folders(self) -> None:
        """Refuse a missing folder before minutes of work. Raises `BadInput`."""
        for option, file in (("--junit", self.junit), ("--sarif", self.sarif)):
            if file is not None and not file.parent.is_dir():
                raise BadInput(f"{option} {file}: no such folder: {file.parent}")

    def write(self, certificate: "Certificate") -> None:
        """Raises `BadInput` for a file that cannot be written."""
        from cortexzoo.harness.checking.reports.annotations import annotations
        from cortexzoo.harness.checking.reports.junit import junit_xml
        from cortexzoo.harness.checking.reports.sarif import sarif_text

        if self.explain:
            for line in explained(certificate):
                print_text(line)
        if self.annotate:
            for line in annotations(certificate):
                print_text(line)
        if self.junit is not None:
            write_text("--junit", self.junit, junit_xml(certificate))
        if self.sarif is not None:
            write_text("--sarif", self.sarif, sarif_text(certificate))


def explained(certificate: "Certificate") -> list[str]:
    """A paragraph for each failure."""
    lines = []
    for judgement in certificate.judgements:
        if judgement.verdict != "fail":
            continue
        cause = judgement.cause
        lines += ["", f"{judgement.name}: {cause.get('words', 'no submodule shows where it begins')}"]
        if "file" in cause:
            lines.append(f"  code:  {cause['file']}:{cause['line']}")
        if "input" in cause:
            lines.append(f"  input: {cause['input']}")
        lines.append("  case:  " + ", ".join(f"{key} {value}" for key, value in judgement.case.items()))
    return lines


def write_text(option: str, file: Path, content: str) -> None:
    """Raises `BadInput`."""
    try:
        file.write_text(content, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{option} {file}: cannot be written: {error.strerror or error}") from error
