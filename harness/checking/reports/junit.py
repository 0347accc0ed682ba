"""A certificate as JUnit XML, which continuous integration reads: a test for each property."""

from xml.etree import ElementTree

from cortexzoo.harness.checking.reports.places import has_file, place_of, subject_of
from cortexzoo.harness.checking.verdict import Certificate, Judgement


def junit_xml(certificate: Certificate) -> str:
    """One suite. What is not as expected is a failure, a crash an error; an expected exception is skipped."""
    judgements = certificate.judgements
    unexpected = certificate.unexpected
    suite = ElementTree.Element(
        "testsuite",
        name=f"cortexzoo {subject_of(certificate)}",
        tests=str(len(judgements)),
        failures=str(sum(j.verdict != "error" for j in unexpected)),
        errors=str(sum(j.verdict == "error" for j in unexpected)),
        skipped=str(sum(not j.unexpected and j.verdict != "pass" for j in judgements)),
        time=f"{sum(j.seconds for j in judgements):.3f}",
    )
    for judgement in judgements:
        _add(suite, certificate, judgement)
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + _allowed(ElementTree.tostring(root, encoding="unicode")) + "\n"


def _add(suite: ElementTree.Element, certificate: Certificate, judgement: Judgement) -> None:
    attributes = {"classname": subject_of(certificate), "name": judgement.name, "time": f"{judgement.seconds:.3f}"}
    if has_file(certificate, judgement):
        file, line = place_of(certificate, judgement)
        attributes |= {"file": file, "line": str(line)}
    case = ElementTree.SubElement(suite, "testcase", attributes)
    if judgement.unexpected:
        kind = "error" if judgement.verdict == "error" else "failure"
        message = f"{judgement.verdict} instead of {judgement.expected}: {judgement.reason}"
        ElementTree.SubElement(case, kind, message=message).text = in_full(judgement)
    elif judgement.verdict != "pass":
        ElementTree.SubElement(case, "skipped", message=judgement.expected_reason or judgement.reason)


def in_full(judgement: Judgement) -> str:
    """Claim, reason, numbers and case, a line each."""
    observed = "nothing" if judgement.observed is None else f"{judgement.observed:.4g} {judgement.unit}"
    lines = [judgement.clause, judgement.reason, f"observed {observed}, bound {judgement.bound:.4g}"]
    if judgement.case:
        lines.append("case: " + ", ".join(f"{key} {value}" for key, value in judgement.case.items()))
    return "\n".join(lines)


def _allowed(text: str) -> str:
    """Without the control characters that XML 1.0 cannot contain."""
    return "".join(c for c in text if c in "\n\t" or ord(c) >= 32)
