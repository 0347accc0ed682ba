"""Verdicts on a terminal."""

from typing import TYPE_CHECKING

from cortexzoo.harness.cli.output import console, print_text

if TYPE_CHECKING:
    from cortexzoo.harness.checking.verdict import Certificate

REASONS_BESIDE = 130
"""Output at least this wide has the reasons as a column of the table; else they follow it."""


def print_verdicts(certificate: "Certificate") -> None:
    """Print the table, the reasons, and the outcome in words."""
    from cortexzoo.harness.checking.table import reasons, verdict_table

    out = console()
    beside = out.width >= REASONS_BESIDE
    out.print(verdict_table(certificate, with_reasons=beside))
    if not beside:
        out.print()
        out.print(reasons(certificate))
    out.print()
    print_text(certificate.in_words())
