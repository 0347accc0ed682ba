"""JSON Schemas of spec files, for editors: generated from the specs, committed, and named by each YAML file.

An editor must accept everything that the loader accepts. So a file that extends another may lack any key, and a mapping
may lack its tag: such checks depend on other files, and the loader makes them.
"""

import json
import re
from pathlib import Path
from typing import Any

from cortexzoo.specs.kinds import FOLDERS, KINDS, PARTS, Kind, adapter
from cortexzoo.specs.loading.shipped import shipped_names

DEFINITIONS = "#/$defs/"
SCHEMAS = Path(__file__).parents[1] / "schema"


def schema_text(kind: Kind) -> str:
    """The schema of a kind, as it is committed."""
    return json.dumps(json_schema(kind), indent=2, ensure_ascii=False) + "\n"


def json_schema(kind: Kind) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a file of this kind."""
    raw = adapter(kind).json_schema()
    required = _required(raw)
    relaxed: dict[str, Any] = _relaxed(raw)
    name_of_class = raw.get("title", "")
    for name, definition in {"": relaxed, **relaxed.get("$defs", {})}.items():
        properties = definition.get("properties", {})
        # Named specs, and only they, have a provenance block and can extend others; their tag gives the kind.
        if "provenance" in properties:
            properties["extends"] = {
                **_reference(properties["kind"]["const"]),
                "description": "A shipped name or a path; values that are not set here come from it.",
            }
            if not name and kind == "experiment":
                for part in PARTS:
                    properties[part] = {"anyOf": [_reference(part), _in_file_of(part, properties[part])]}
    if kind == "experiment":
        relaxed["$defs"] = _used(relaxed)
    elif kind in PARTS and "properties" in relaxed:
        # As a definition, an experiment can refer to it.
        definitions = relaxed.pop("$defs", {})
        relaxed = {
            "$defs": {**definitions, name_of_class: relaxed},
            "allOf": [{"$ref": f"{DEFINITIONS}{name_of_class}"}],
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"cortexzoo {kind}",
        **relaxed,
        "required": ["kind", "name"],
        "if": {"not": {"required": ["extends"]}},
        "then": {"required": required},
    }


def write_schemas() -> None:
    """Write the schemas of all kinds into the package. Raises `OSError`."""
    SCHEMAS.mkdir(exist_ok=True)
    for kind in KINDS:
        _file(kind).write_text(schema_text(kind), encoding="utf-8", newline="\n")


def stale_schemas() -> list[str]:
    """The written schemas that are missing or differ from what the specs give."""
    return [
        f"schema/{_file(kind).name}"
        for kind in KINDS
        if not _file(kind).is_file() or _file(kind).read_text(encoding="utf-8") != schema_text(kind)
    ]


def _file(kind: Kind) -> Path:
    return SCHEMAS / f"{kind}.json"


def _in_file_of(part: Kind, schema: Any) -> Any:
    """`schema` with its references to definitions made to those of the part's own schema, in the same folder."""
    if isinstance(schema, list):
        return [_in_file_of(part, entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: f"{_file(part).name}{value}" if key == "$ref" else _in_file_of(part, value)
        for key, value in schema.items()
    }


def _used(schema: dict[str, Any]) -> dict[str, Any]:
    """The definitions that the rest of a schema needs."""
    definitions = schema["$defs"]
    used: dict[str, Any] = {}
    waiting = [value for key, value in schema.items() if key != "$defs"]
    while waiting:
        names = re.findall(rf'"{re.escape(DEFINITIONS)}([^"]+)"', json.dumps(waiting.pop()))
        for name in names:
            if name not in used:
                used[name] = definitions[name]
                waiting.append(definitions[name])
    return {name: used[name] for name in sorted(used)}


def _required(raw: dict[str, Any]) -> list[str]:
    """The keys that a file of its own must have."""
    if "discriminator" in raw:
        return [raw["discriminator"]["propertyName"]]
    return [key for key in raw["required"] if key != "name"]


def _reference(kind: Kind) -> dict[str, Any]:
    return {
        "anyOf": [{"enum": shipped_names(kind)}, {"type": "string", "pattern": r"\.ya?ml$|/"}],
        "description": f"A spec shipped in library/{FOLDERS[kind]}, or a path relative to this file.",
    }


def _relaxed(schema: Any) -> Any:
    """`schema` for mappings that may be partial, without the titles that pydantic derives from field names."""
    if isinstance(schema, list):
        return [_relaxed(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    relaxed: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            relaxed[key] = {name: _relaxed(entry) for name, entry in value.items()}
        elif key == "oneOf":
            relaxed["anyOf"] = _relaxed(value)
        elif key not in ("title", "required", "discriminator"):
            relaxed[key] = value if key in ("default", "enum", "const") else _relaxed(value)
    return relaxed
