"""What the records of training show: the loss did not swing, and the model learned more than counting."""

import math
from collections.abc import Iterator

from cortexzoo.harness.checking.properties.base import Case, DoesNotApply, Finding, Property, once
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.zoo.training.policies.measuring.swing import upward_loss_ratio
from cortexzoo.zoo.training.schedule import warmup_steps

PROBE = "probe/loss"


def bounded_loss_ratio(subject: Subject, case: Case) -> Finding:
    """The probe batch's loss over the lowest before it within the recipe's window, after warmup."""
    recipe = subject.experiment.recipe
    start, window = warmup_steps(recipe.schedule, recipe.steps), recipe.monitor.swing_window
    probed = [(int(line["step"]), line[PROBE]) for line in subject.metrics if PROBE in line]
    counted = [(step, loss) for step, loss in probed if step > start]
    if len(counted) < 2:
        raise DoesNotApply(f"the probe batch was measured {len(counted)} times after the {start} steps of warmup")
    ratio, step = max(_swings(counted, window), key=lambda swing: swing[0])
    measured = f"in {len(counted)} measurements after step {start}"
    if ratio == 1:
        return Finding(ratio, f"the probe loss never rose {measured}", case)
    reason = f"the largest upward swing within {window} steps was at step {step}, {measured}"
    return Finding(ratio, reason, {**case, "step": step})


def _swings(probed: list[tuple[int, float]], window: int) -> Iterator[tuple[float, int]]:
    """The upward ratio of each window that ends at a measurement, and that measurement's step."""
    for end, (step, _) in enumerate(probed, start=1):
        steps, losses = zip(*(point for point in probed[:end] if point[0] >= step - window), strict=True)
        yield upward_loss_ratio(steps, losses, window), step


def better_than_counting(subject: Subject, case: Case) -> Finding:
    """Loss on the test part minus that of the best interpolated n-gram model of the training part, same positions."""
    model, counting = subject.summary.get("test_loss"), subject.summary.get("test_ngram_loss")
    if subject.experiment.data.family == "task":
        raise DoesNotApply("the data is a task, not a text, so there is nothing to count")
    if model is None or counting is None:
        raise DoesNotApply("the test part was not measured: training ended before its first validation, or unfinished")
    apart = model - counting
    comparison = "below" if apart < 0 else "above"
    counted = f"counting {subject.summary.get('test_ngram_order')} bytes at a time reaches {counting:.3f}"
    reason = f"{model:.3f} nats a byte on the test part, {counted}: {abs(apart):.3f} {comparison}"
    if not math.isfinite(model):
        reason = f"the loss on the test part is {model}"
    return Finding(apart, reason, case)


TRAINING = (
    Property("bounded_loss_ratio", bounded_loss_ratio, once),
    Property("better_than_counting", better_than_counting, once),
)
