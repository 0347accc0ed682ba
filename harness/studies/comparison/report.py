"""The report of a comparison: one HTML file that needs nothing else, the same as JSON, and the pictures."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure

from cortexzoo.harness.checking.table import DIRECTION
from cortexzoo.harness.errors import RunStopped
from cortexzoo.harness.studies.comparison.differences import Absent
from cortexzoo.harness.studies.comparison.drawing import as_svg, colours, figures, save_all
from cortexzoo.harness.studies.comparison.result import Comparison
from cortexzoo.harness.tracking.jsonl import to_json_value
from cortexzoo.specs.plain_text import plain
from cortexzoo.specs.properties import PROPERTIES

TEMPLATE = "report.html"
HTML, JSON = "report.html", "report.json"
PICTURES = {
    "losses": "Held-out and training loss: the mean over seeds, and one standard deviation.",
    "stability": "How far the loss of a fixed probe batch ever rose, and how large gradients were.",
    "gates": "How the gate shares the output among the sources, over the steps.",
}


def write_report(comparison: Comparison, folder: Path) -> Path:
    """Write `report.html`, `report.json` and the pictures as PNG; gives the HTML file. Raises `RunStopped`."""
    drawn = figures(comparison)
    content = to_json_value(comparison.as_json())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / JSON).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (folder / HTML).write_text(as_html(comparison, drawn), encoding="utf-8")
    except OSError as problem:
        raise RunStopped(f"{folder}: no report can be written here: {problem.strerror or problem}") from problem
    save_all(drawn, folder)
    return folder / HTML


def as_html(comparison: Comparison, drawn: Mapping[str, Figure]) -> str:
    """The whole report: pictures are inside it, and it loads nothing from the network."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: plain(value) if type(value) is str else value,  # no marks that turn the direction
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pictures = [
        {"name": name, "caption": PICTURES[name], "source": _data_address(as_svg(figure))}
        for name, figure in drawn.items()
    ]
    return environment.get_template(TEMPLATE).render(
        labels=[result.label for result in comparison.contenders],
        colours=colours(len(comparison.contenders)),
        contenders=comparison.contenders,
        answer=comparison.in_words(),
        unequal=comparison.unequal,
        rows=[
            {"name": measure.name, "unit": measure.unit, "better": measure.better,
             "cells": [measure.text(measure.spread(result.records)) for result in comparison.contenders]}
            for measure in comparison.measures
        ],
        pictures=pictures,
        matrix=[
            {"name": name, "clause": PROPERTIES[name].clause if name in PROPERTIES else "",
             "cells": [comparison.cell(name, result) for result in comparison.contenders]}
            for name in comparison.properties
        ],
        falsified=[
            {"result": result.label, "seed": record.seed, "judgement": judgement,
             "bound": f"{DIRECTION[judgement.direction]} {judgement.bound:g} {judgement.unit}",
             "case": json.dumps(to_json_value(dict(judgement.case)), ensure_ascii=False)}
            for result, record, judgement in comparison.falsified
        ],
        differences=[
            {"path": row.path, "values": [_shown(value) for value in row.values]} for row in comparison.differences
        ],
        command=" ".join(comparison.command),
        steps=comparison.contenders[0].contender.experiment.recipe.steps,
    )  # fmt: skip


def _shown(value: Any) -> str:
    if isinstance(value, str | Absent):
        return str(value) if isinstance(value, str) else repr(value)
    return json.dumps(value, ensure_ascii=False)


def _data_address(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
