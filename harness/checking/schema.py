"""The JSON Schema of `verdict.json`, for programs that read certificates: generated and committed."""

import json
from pathlib import Path
from typing import Any, get_args

from cortexzoo.harness.checking.effort import PROFILE_NAMES
from cortexzoo.specs.properties import PROPERTY_NAMES, Verdict

SCHEMA = Path(__file__).parents[1] / "schema" / "certificate.json"
FORMAT = 2
"""Of `verdict.json`. 2: property versions, search seeds, and cases that can be replayed."""

_TEXT: dict[str, Any] = {"type": "string"}
_NUMBER: dict[str, Any] = {
    "anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}],
    "description": "JSON has no NaN and no infinity: they are written as strings.",
}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}


def schema_text() -> str:
    """The schema as it is committed."""
    return json.dumps(certificate_schema(), indent=2, ensure_ascii=False) + "\n"


def write_schema() -> None:
    """Write the schema into the package. Raises `OSError`."""
    SCHEMA.parent.mkdir(exist_ok=True)
    SCHEMA.write_text(schema_text(), encoding="utf-8", newline="\n")


def certificate_is_fresh() -> bool:
    """Whether the committed schema is what `schema_text` gives."""
    return SCHEMA.is_file() and SCHEMA.read_text(encoding="utf-8") == schema_text()


def certificate_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12)."""
    circumstances = {
        "seed": _COUNT,
        "suite": _TEXT,
        "versions": {"type": "object", "additionalProperties": _TEXT},
        "platform": {"type": "object"},
        "device": _TEXT,
        "threads": _COUNT,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "cortexzoo certificate",
        "type": "object",
        "properties": {
            "format": {"const": FORMAT},
            "outcome": {"enum": ["as expected", "unexpected"]},
            "spec_hash": {**_TEXT, "description": "Of the experiment that was checked."},
            "module": {**_TEXT, "description": "Of a bare module: its file and factory."},
            "module_sha256": _TEXT,
            "profile": {"enum": list(PROFILE_NAMES), "description": "How thoroughly cases were searched for."},
            **circumstances,
            "kernels": {**_TEXT, "description": "`compiled` where CORTEXZOO_KERNELS was 1."},
            "properties": {
                "type": "object",
                "propertyNames": {"enum": list(PROPERTY_NAMES)},
                "additionalProperties": {"$ref": "#/$defs/judgement"},
            },
        },
        "required": ["format", "outcome", *circumstances, "properties"],
        "anyOf": [{"required": ["spec_hash"]}, {"required": ["module", "module_sha256"]}],
        "$defs": {"judgement": _judgement()},
    }


def _judgement() -> dict[str, Any]:
    verdict = {"enum": list(get_args(Verdict))}
    fields: dict[str, Any] = {
        "clause": {**_TEXT, "description": "What the property claims."},
        "verdict": verdict,
        "expected": verdict,
        "unexpected": {"type": "boolean"},
        "bound": _NUMBER,
        "direction": {"enum": ["at_most", "at_least", "below"]},
        "unit": _TEXT,
        "reason": _TEXT,
        "observed": {"anyOf": [_NUMBER, {"type": "null"}]},
        "margin": {"anyOf": [_NUMBER, {"type": "null"}], "description": "Distance inside the bound; below 0: outside."},
        "case": {
            "type": "object",
            "additionalProperties": {"type": ["string", "number"]},
            "description": "The smallest falsifying case, or the one nearest to failing: enough to try it again.",
        },
        "cause": {
            "type": "object",
            "properties": {
                "module": _TEXT,
                "class": _TEXT,
                "words": _TEXT,
                "input": _TEXT,
                "file": _TEXT,
                "line": _COUNT,
            },
            "additionalProperties": False,
            "description": "Where in the model a failure begins; empty where that is not known.",
        },
        "expected_reason": {**_TEXT, "description": "Why another verdict than pass is expected."},
        "cases_tried": _COUNT,
        "seconds": {"type": "number"},
        "version": {**_COUNT, "description": "Of the property: verdicts of different versions are not comparable."},
        "seed": {**_COUNT, "description": "Of the search for cases."},
    }
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
