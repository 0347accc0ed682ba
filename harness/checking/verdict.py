"""Verdicts, and the certificate: all verdicts on one subject."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from cortexzoo.harness.checking.case import Case
from cortexzoo.harness.checking.schema import FORMAT
from cortexzoo.specs.properties import PROPERTIES, PropertyName, Verdict
from cortexzoo.specs.suite import Check

VERDICT = "verdict.json"
"""The file of a certificate."""

Outcome = Literal["as expected", "unexpected"]


class OldCertificate(Exception):
    """A certificate that was written by another version. The message is the end of one line."""


@dataclass(frozen=True)
class Judgement:
    """The verdict on one property. `margin` is how far `observed` lies inside its bound; negative: outside."""

    name: PropertyName
    clause: str
    verdict: Verdict
    expected: Verdict
    bound: float
    direction: Literal["at_most", "at_least", "below"]
    unit: str
    reason: str
    observed: float | None = None
    margin: float | None = None
    case: Case = field(default_factory=dict)
    """The smallest failing case, or the one that came nearest to failing: enough to try exactly that again."""
    cause: Case = field(default_factory=dict)
    """Of a failure whose place was found: module, class, a sentence, and file and line where known."""
    expected_reason: str = ""
    """Why the suite expects another verdict than `pass`."""
    cases_tried: int = 0
    seconds: float = 0.0
    version: int = 1
    """Of the property's meaning: verdicts of different versions are not comparable."""
    seed: int = 0
    """Of the search for cases."""

    @classmethod
    def of(cls, name: PropertyName, check: Check, verdict: Verdict, reason: str, **found: Any) -> "Judgement":
        """A judgement with what stands with the property and with the suite: clause, bound, unit, expectation."""
        info = PROPERTIES[name]
        expected: Verdict = "skipped" if verdict == "skipped" and check.may_skip else check.expect
        return cls(
            name, info.clause, verdict, expected, check.bound_of(name), info.direction, info.unit, reason,
            expected_reason=check.reason, version=info.version, **found,
        )  # fmt: skip

    @property
    def unexpected(self) -> bool:
        """The verdict is not the one that the suite expects."""
        return self.verdict != self.expected


def _checked(judgement: Judgement) -> Judgement:
    """The judgement, whose values came from a file. Raises `TypeError` when one is not of its type."""
    try:
        TypeAdapter(Judgement).validate_python(asdict(judgement), strict=False)
    except ValidationError as error:
        raise TypeError(f"{judgement.name}: {error.errors(include_url=False)[0]['msg']}") from error
    return judgement


@dataclass(frozen=True)
class Certificate:
    """All verdicts on one run, with what is needed to obtain them again: the content of `verdict.json`."""

    judgements: tuple[Judgement, ...]
    circumstances: Mapping[str, Any]
    """Experiment, spec hash, seed, checkpoint, versions, platform."""

    @property
    def unexpected(self) -> list[Judgement]:
        """The judgements with an unexpected verdict."""
        return [judgement for judgement in self.judgements if judgement.unexpected]

    @property
    def outcome(self) -> Outcome:
        """`as expected` when every verdict equals the suite's expectation."""
        return "unexpected" if self.unexpected else "as expected"

    def as_json(self) -> dict[str, Any]:
        """JSON values, judgements by property name."""
        properties = {}
        for judgement in self.judgements:
            entry = asdict(judgement)
            name = entry.pop("name")
            properties[name] = {**entry, "unexpected": judgement.unexpected}
        return {"format": FORMAT, "outcome": self.outcome, **self.circumstances, "properties": properties}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Certificate":
        """The inverse of `as_json`.

        Raises `OldCertificate` for one of another format, `KeyError` or `TypeError` for anything else.
        """
        if isinstance(content, Mapping) and "properties" in content and content.get("format") != FORMAT:
            raise OldCertificate(
                f"is a certificate of format {content.get('format', 1)}, format {FORMAT} is required: check again"
            )
        judgements = []
        for name, entry in content["properties"].items():
            judgement = Judgement(name, **{key: v for key, v in entry.items() if key != "unexpected"})
            judgements.append(_checked(judgement))
        circumstances = {key: v for key, v in content.items() if key not in ("format", "outcome", "properties")}
        return cls(tuple(judgements), circumstances)

    def in_words(self) -> str:
        """The result as one or a few sentences."""
        applied = [judgement for judgement in self.judgements if judgement.verdict != "skipped"]
        skipped = [j.name for j in self.judgements if j.verdict == "skipped" and not j.unexpected]
        exceptions = [f"{j.name} ({j.verdict})" for j in applied if j.verdict != "pass" and not j.unexpected]
        parts = [f"{sum(j.verdict == 'pass' for j in applied)} of {len(applied)} properties hold"]
        if exceptions:
            parts.append(f"expected exceptions: {', '.join(exceptions)}")
        if skipped:
            parts.append(f"not applicable: {', '.join(skipped)}")
        if not self.unexpected:
            return "; ".join(parts) + ". All verdicts as expected."
        surprises = ", ".join(f"{j.name} is {j.verdict} instead of {j.expected}" for j in self.unexpected)
        return "; ".join(parts) + f". Not as expected: {surprises}."
