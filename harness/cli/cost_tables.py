"""What `cortexzoo show` prints of costs."""

from typing import TYPE_CHECKING, Any

from cortexzoo.harness.cli.output import console, print_table
from cortexzoo.harness.runs.costs import Costs, duration, in_short
from cortexzoo.zoo.costs import LATER

if TYPE_CHECKING:
    from cortexzoo.specs import ExperimentSpec


def print_costs(costs: Costs) -> None:
    """Four small tables: parameters, memories, operations, bytes of training."""
    out = console()
    batch = f"{costs.batch_size} × {costs.length} tokens"
    held = f"{costs.batch_size} row{'s' * (costs.batch_size > 1)}"
    tables = (
        (("parameters", "count"), costs.parameter_rows()),
        ((f"memory of {held}", f"after {costs.length} tokens", f"after {LATER * costs.length}"), costs.state_rows()),
        (("operations per token", "FLOP"), costs.flops_rows()),
        ((f"training on {batch} at a time", "takes"), costs.memory_rows()),
    )
    for columns, rows in tables:
        out.print()
        print_table(columns, rows)
    most = "at most " if costs.is_bound else ""
    out.print(
        f"\nthe whole training: {most}{costs.steps} steps of {costs.sequences_a_step} × {costs.length} tokens, "
        f"{in_short(costs.training_flops)}FLOP without validation",
        markup=False,
    )


def print_measured(experiment: "ExperimentSpec") -> dict[str, Any]:
    """Train a few steps and print how long all of them would take."""
    from rich.status import Status

    from cortexzoo.harness.cli.output import standard_error, without_foreign_warnings
    from cortexzoo.harness.runs.calibration import calibrate

    without_foreign_warnings()
    with Status("timing a few steps", console=standard_error()):
        found = calibrate(experiment)
    most = "at most " if found.is_bound else ""
    further = "sleeps, recall at the end, " if found.is_bound else ""
    threads = f"{found.threads} thread{'s' * (found.threads > 1)}"
    console().print(
        f"expected duration: {most}{duration(found.total)} on {found.device} with {threads} "
        f"({found.steps} steps of {found.step:.3g} s, {found.validations} validations of {found.validation:.3g} s, "
        f"{found.timed} steps timed); {further}checkpoints and the property check are not included",
        markup=False,
    )
    return found.as_json()
