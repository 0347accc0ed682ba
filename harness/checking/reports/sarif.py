"""A certificate as SARIF 2.1.0, which code scanning shows beside the source."""

import importlib.metadata
import json
from typing import Any

from cortexzoo.harness.checking.reports.places import has_file, place_of
from cortexzoo.harness.checking.verdict import Certificate, Judgement

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif_text(certificate: Certificate) -> str:
    """One run; a rule for each property, a result for each unexpected verdict."""
    rules = [{"id": j.name, "shortDescription": {"text": j.clause}} for j in certificate.judgements]
    driver = {"name": "cortexzoo", "version": importlib.metadata.version("cortexzoo"), "rules": rules}
    results = [_result(certificate, judgement) for judgement in certificate.unexpected]
    content = {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _result(certificate: Certificate, judgement: Judgement) -> dict[str, Any]:
    message = f"{judgement.name} is {judgement.verdict} instead of {judgement.expected}: {judgement.reason}"
    result: dict[str, Any] = {"ruleId": judgement.name, "level": "error", "message": {"text": message}}
    if has_file(certificate, judgement):
        file, line = place_of(certificate, judgement)
        place = {"artifactLocation": {"uri": file}, "region": {"startLine": line}}
        result["locations"] = [{"physicalLocation": place}]
    return result
