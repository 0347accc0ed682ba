"""Unexpected verdicts as workflow commands of GitHub Actions, which are shown beside the changed lines."""

from cortexzoo.harness.checking.reports.places import has_file, place_of
from cortexzoo.harness.checking.verdict import Certificate


def annotations(certificate: Certificate) -> list[str]:
    """A line for each unexpected verdict, as in `::error file=model.py,line=12,title=causality::reason`."""
    lines = []
    for judgement in certificate.unexpected:
        values = {"title": f"cortexzoo: {judgement.name} is {judgement.verdict}"}
        if has_file(certificate, judgement):
            file, line = place_of(certificate, judgement)
            values = {"file": file, "line": str(line), **values}
        place = ",".join(f"{key}={_value(value)}" for key, value in values.items())
        lines.append(f"::error {place}::{_message(judgement.reason)}")
    return lines


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _value(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
