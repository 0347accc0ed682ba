"""Two certificates side by side, as a comment in Markdown; and a certificate's outcome as a badge."""

from collections.abc import Iterator
from html import escape

from cortexzoo.harness.checking.verdict import Certificate, Judgement

MARKS = {"worse": "🔴", "better": "🟢", "other": "🟡"}
GOOD, BAD = "#2c974b", "#cf222e"
CHARACTER, PADDING = 7, 10
"""Pixels."""


def difference(before: Certificate, after: Certificate) -> tuple[str, int]:
    """The comment, and how many verdicts got worse: what was as expected and no longer is, or is gone."""
    rows = list(_rows(before, after))
    worse = sum(kind == "worse" for kind, _ in rows)
    lines = [f"### cortexzoo: {_headline(len(rows), worse)}", ""]
    if rows:
        lines += ["| | property | before | after | reason |", "|---|---|---|---|---|"]
        lines += [f"| {MARKS[kind]} | {' | '.join(_cell(cell) for cell in cells)} |" for kind, cells in rows]
        lines.append("")
    held = sum(not judgement.unexpected for judgement in after.judgements)
    lines.append(f"{held} of {len(after.judgements)} verdicts as expected.")
    return "\n".join(lines) + "\n", worse


def _headline(changes: int, worse: int) -> str:
    if not changes:
        return "no verdict has changed"
    return f"{changes} verdict{'s have' if changes > 1 else ' has'} changed, {worse} for the worse"


def _rows(before: Certificate, after: Certificate) -> Iterator[tuple[str, tuple[str, str, str, str]]]:
    then, now = ({judgement.name: judgement for judgement in each.judgements} for each in (before, after))
    for name in dict.fromkeys([*then, *now]):
        old, new = then.get(name), now.get(name)
        if old is not None and new is not None and (old.verdict, old.version) == (new.verdict, new.version):
            continue
        row = (name, _word(old), _word(new), "is no longer checked" if new is None else new.reason)
        yield _kind(old, new), row


def _kind(old: Judgement | None, new: Judgement | None) -> str:
    was = old is not None and not old.unexpected
    if new is None or new.unexpected:
        return "worse" if was or old is None else "other"
    return "better" if old is not None and old.unexpected else "other"


def _word(judgement: Judgement | None) -> str:
    return "–" if judgement is None else f"{judgement.verdict} (version {judgement.version})"


def _cell(text: str) -> str:
    """One line that a table of Markdown can contain, without markup of its own."""
    return escape(" ".join(text.split()), quote=False).replace("|", "\\|").replace("`", "'")


def badge(certificate: Certificate) -> str:
    """An SVG: how many verdicts are as expected, green where all are."""
    total = len(certificate.judgements)
    right = f"{total - len(certificate.unexpected)} of {total} as expected"
    left, colour = "cortexzoo", BAD if certificate.unexpected else GOOD
    widths = [CHARACTER * len(text) + PADDING for text in (left, right)]
    middles = (widths[0] // 2, widths[0] + widths[1] // 2)
    texts = "".join(
        f'<text x="{x}" y="14" fill="#fff" text-anchor="middle">{escape(text)}</text>'
        for x, text in zip(middles, (left, right), strict=True)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{sum(widths)}" height="20" role="img" '
        f'aria-label="{left}: {right}"><rect width="{widths[0]}" height="20" fill="#444"/>'
        f'<rect x="{widths[0]}" width="{widths[1]}" height="20" fill="{colour}"/>'
        f'<g font-family="Verdana,sans-serif" font-size="11">{texts}</g></svg>\n'
    )
