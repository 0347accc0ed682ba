"""Links into Aim's explorer: everything that a page shows is written in its address, so nothing has to be stored."""

import base64
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from cortexzoo.specs.metrics import GATE_SHARE

KEPT = "-_.!~*'();/?:@&=+$,#"
"""What JavaScript's `encodeURI` leaves as it is, besides letters and digits."""
VARIANT = ("variant",)
METRICS = (
    "validation/loss",
    "train/loss",
    "stability/loss_ratio",
    "train/gradient_norm",
    GATE_SHARE.removesuffix("/"),
)


def metrics_link(address: str, run_hashes: Sequence[str], metrics: Sequence[str] = METRICS, by: Sequence[str] = VARIANT
                 ) -> str:  # fmt: skip
    """The metrics explorer of the server at `address`: these runs, one chart a metric, one colour a group.

    Runs are grouped by the run parameters `by`: a mean line and a band of one standard deviation. Outliers are shown,
    since a spike is one. Metrics by memory source are distinguished by their stroke.
    """
    parts = {"grouping": _grouping(by), "chart": _chart(), "select": _select(run_hashes, metrics)}
    return f"{address}/metrics?{'&'.join(f'{name}={encoded(value)}' for name, value in parts.items())}"


def encoded(value: Any) -> str:
    """An object as Aim's pages write it into an address."""
    text = quote(json.dumps(value, separators=(",", ":"), ensure_ascii=False), safe=KEPT)
    return "O-" + base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _select(run_hashes: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    options = [
        {
            "label": name,
            "group": name.partition("/")[0],
            "type": "metrics",
            "color": "#3E72E7",
            "value": {"option_name": name, "context": None},
        }
        for name in metrics
    ]
    query = f"run.hash in [{', '.join(json.dumps(run_hash) for run_hash in run_hashes)}]"
    return {"options": options, "query": query, "advancedMode": False, "advancedQuery": ""}


def _grouping(by: Sequence[str]) -> dict[str, Any]:
    groups = {"color": [f"run.params.{name}" for name in by], "stroke": ["context.source"], "chart": ["name"]}
    return {
        **groups,
        "reverseMode": dict.fromkeys(groups, False),
        "isApplied": dict.fromkeys(groups, True),
        "persistence": {"color": False, "stroke": False},
        "seed": {"color": 10, "stroke": 10},
        "paletteIndex": 0,
    }


def _chart() -> dict[str, Any]:
    return {
        "ignoreOutliers": False,
        "highlightMode": 0,
        "axesScaleType": {"xAxis": "linear", "yAxis": "linear"},
        "axesScaleRange": {"yAxis": {}, "xAxis": {}},
        "alignmentConfig": {"metric": "", "type": "step"},
        "densityType": 500,
        "smoothing": {"algorithm": "EMA", "factor": 0, "curveInterpolation": "curveLinear", "isApplied": False},
        "aggregationConfig": {"methods": {"area": 2, "line": 0}, "isApplied": True, "isEnabled": True},
        "tooltip": {"appearance": "auto", "selectedFields": [], "selectedProps": []},
        "zoom": {"active": False, "mode": 0, "history": []},
        "legends": {"display": True, "mode": "pinned"},
        "focusedState": {"key": None, "active": False, "xValue": None, "yValue": None, "chartIndex": None},
    }
