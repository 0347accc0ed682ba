"""Commands on certificates that are there already: two compared, one as a badge."""

from pathlib import Path
from typing import Annotated

import typer

from cortexzoo.harness.cli.errors import OK, UNEXPECTED_VERDICT
from cortexzoo.harness.cli.output import print_text
from cortexzoo.harness.cli.reporting import write_text

CertificateArgument = Annotated[Path, typer.Argument(metavar="VERDICT.json|RUN", help="A certificate or its folder.")]
Before = Annotated[Path, typer.Argument(metavar="BEFORE", help="A certificate (verdict.json) or its folder.")]
After = Annotated[Path, typer.Argument(metavar="AFTER", help="The later one.")]


def diff_certificates(
    before: Before,
    after: After,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE.md", help="Write the comment there instead.")
    ] = None,
) -> None:
    """Compare two certificates, as a comment in Markdown for a pull request.

    Compared are verdicts and versions of properties, never numbers or times. Exit code 0: nothing got worse; 1: a
    verdict that was as expected no longer is, or its property is no longer checked, or a new one is not as expected.

    Example: cortexzoo diff-certificates main/verdict.json runs/modules/my_model.make_model/verdict.json
    """
    from cortexzoo.harness.checking.reports.difference import difference
    from cortexzoo.harness.regression.replay import read_certificate

    text, worse = difference(*(read_certificate(_file(each)) for each in (before, after)))
    if output is None:
        print_text(text.rstrip("\n"))
    else:
        write_text("--output", output, text)
    raise typer.Exit(UNEXPECTED_VERDICT if worse else OK)


def badge(
    certificate: CertificateArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE.svg", help="The image.")],
) -> None:
    """Draw the outcome of a certificate as a badge.

    Example: cortexzoo badge runs/modules/my_model.make_model/verdict.json docs/verdict.svg
    """
    from cortexzoo.harness.checking.reports.difference import badge as drawn
    from cortexzoo.harness.regression.replay import read_certificate

    write_text("FILE.svg", file, drawn(read_certificate(_file(certificate))))
    print_text(f"written: {file}")


def _file(path: Path) -> Path:
    from cortexzoo.harness.checking.verdict import VERDICT

    return path / VERDICT if path.is_dir() else path
