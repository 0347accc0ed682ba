"""One run as a column of the dashboard."""

import math

from rich.console import Group
from rich.text import Text

from cortexzoo.harness.monitor.charts import curves, meter, stacked
from cortexzoo.harness.monitor.run_view import Event, RunView
from cortexzoo.specs.properties import RATIO_BOUND

COLOURS = {"current": "#6f9bd8", "short_term": "#e0915a", "long_term": "#6cbf84"}
OTHERS = ("#b58ad6", "#8c8c8c", "#d0c36a")
LOSS, PROBE, HELD_OUT, GRADIENT = "#7f9fc4", "#e8c468", "#e06c64", "#b58ad6"
GOOD, CARE, BAD = "green", "yellow", "bold red"
SLEEP = "cyan"
STATUS = {"finished": GOOD, "running": "cyan", "starting": "cyan", "failed": BAD}
LOUD = frozenset({"alert", "rollback", "step_refused", "new_level", "post_mortem_failed"})
LOSS_HEIGHT, NORM_HEIGHT, GATE_HEIGHT = 9, 4, 5
"""At least; what is left of the column's height makes them taller."""
WORDS = 11
"""Lines of a column that are neither chart nor memory nor event: words and empty lines."""
LEAST_EVENTS = 4
LOG_SHARE = 3
"""Of the lines that are left, one in so many is for further events, if there are any."""
METER = 16


def panel(view: RunView, width: int, height: int) -> Group:
    """Everything about one run, at most `width` characters wide; charts and event log share the lines that are left."""
    memory = _memory(view)
    gates = GATE_HEIGHT + 2 if view.gates else 0
    least = WORDS + LOSS_HEIGHT + NORM_HEIGHT + gates + len(memory) + LEAST_EVENTS
    left = max(height - least, 0)
    further = min(max(len(view.events) - LEAST_EVENTS, 0), left // LOG_SHARE)
    left -= further
    quarter = left // 4
    taller = left - quarter - (quarter if view.gates else 0)
    return Group(
        *_head(view, width),
        *_losses(view, width, LOSS_HEIGHT + taller),
        *_gradients(view, width, NORM_HEIGHT + quarter),
        *_gates(view, width, GATE_HEIGHT + quarter),
        *memory,
        *_log(view, width, LEAST_EVENTS + further),
    )


def _head(view: RunView, width: int) -> list[Text]:
    title = Text(f"{view.experiment.name} · seed {view.experiment.seed} · ", "bold")
    title.append(view.status, STATUS.get(view.status, CARE))
    pace = f" step {view.step:,} of {view.steps:,}"
    speed = view.last.get("train/tokens_per_second")
    facts = [f"{speed:,.0f} tokens a second"] if speed is not None else []
    if (left := view.seconds_left) is not None:
        facts.append(f"{_clock(left)} left")
    return [
        _fitted(title, width),
        Text(view.path.name, "dim"),
        meter(view.step / view.steps, max(width - len(pace) - 1, 4), "cyan") + Text(pace),
        Text(" · ".join(facts), "dim"),
    ]


def _losses(view: RunView, width: int, height: int) -> list[Text]:
    line = Text()
    for name, word, style in (("train/loss", "loss", LOSS), ("probe/loss", "probe", PROBE),
                              ("validation/loss", "held out", HELD_OUT)):  # fmt: skip
        if name in view.last:
            line.append(f"{word} {_number(view.last[name])}  ", style)
    second = Text()
    ratio = view.last.get("stability/loss_ratio")
    if ratio is not None:
        second.append(f"loss ratio {_number(ratio)}", GOOD if ratio < RATIO_BOUND else BAD)
        second.append(f" (bound {RATIO_BOUND:g})", "dim")
    lines = [(view.curves[name].points, style) for name, style in
             (("train/loss", LOSS), ("probe/loss", PROBE), ("validation/loss", HELD_OUT))]  # fmt: skip
    return [Text(), _fitted(line, width), second, curves(lines, width, height, view.steps)]


def _gradients(view: RunView, width: int, height: int) -> list[Text]:
    line = Text()
    if (norm := view.last.get("train/gradient_norm")) is not None:
        line.append(f"gradient {_number(norm)}  ", GRADIENT)
    if (percentile := view.last.get("stability/gradient_percentile_90")) is not None:
        line.append(f"p90 {_number(percentile)}  ", GRADIENT)
    line.append(f"clip {view.clip}", "dim")
    return [
        Text(),
        _fitted(line, width),
        curves([(view.curves["train/gradient_norm"].points, GRADIENT)], width, height, view.steps),
    ]


def _gates(view: RunView, width: int, height: int) -> list[Text]:
    if not view.gates:
        return []
    shares = view.gate_shares
    others = [source for source in shares if source not in COLOURS]
    colours = {source: colour for source, colour in COLOURS.items() if source in shares}
    colours |= {source: OTHERS[index % len(OTHERS)] for index, source in enumerate(others)}
    line = Text()
    for source, colour in colours.items():
        line.append(f"{source.replace('_', ' ')} {shares[source]:.2f} ", colour)
    return [Text(), _fitted(line, width), stacked(list(view.gates), colours, width, height)]


def _memory(view: RunView) -> list[Text]:
    lines = [Text()]
    for memory in ("stm", "ltm"):
        size = view.last.get(f"train/{memory}_size")
        if size is None:
            continue
        capacity = view.capacity(memory)
        line = Text(f"{memory.upper()} ")
        if capacity:
            line.append_text(meter(size / capacity, METER, "cyan"))
            line.append(f" {size:,.0f} of {capacity:,}")
        else:
            line.append(f"{size:,.0f}, no bound")
        lines.append(line)
    return lines if len(lines) > 1 else []


def _log(view: RunView, width: int, lines: int) -> list[Text]:
    counted = (("loss_spikes", "spikes"), ("nonfinite_steps", "not finite"), ("spike_recoveries", "rollbacks"))
    counts = Text()
    for name, word in counted:
        if (value := view.last.get(f"stability/{name}")) is not None:
            counts.append(f"{word} {value:.0f}  ", BAD if value else GOOD)
    return [Text(), counts, *(_event(event, width) for event in list(view.events)[-lines:])]


def _event(event: Event, width: int) -> Text:
    times = f" × {event.count}" if event.count > 1 else ""
    style = BAD if event.kind in LOUD else SLEEP if event.kind.startswith("sleep") else "dim"
    text = Text(f"{event.step:>6} {event.kind.replace('_', ' ')}{times}", style)
    text.append(f"  {event.detail}" if event.detail else "", "dim")
    return _fitted(text, width)


def _fitted(text: Text, width: int) -> Text:
    text.truncate(width, overflow="ellipsis")
    return text


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) and abs(value) < 1000 else f"{value:.3g}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
