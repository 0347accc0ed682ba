"""What the records of training show: the loss did not swing, and the model learned more than counting."""

import math
from collections import deque
from collections.abc import Iterator, Sequence

from cortexzoo.harness.checking.properties.base import Case, DoesNotApply, Finding, Property, once
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.training.reference_loop import steps_of_warmup

PROBE = "probe/loss"


def bounded_loss_ratio(subject: Subject, case: Case) -> Finding:
    """The probe batch's loss over the lowest before it within the recipe's window, after warmup."""
    recipe = subject.experiment.recipe
    start, window = steps_of_warmup(recipe.schedule, recipe.steps), recipe.monitor.swing_window
    probed = [(int(line["step"]), line[PROBE]) for line in subject.metrics if PROBE in line]
    counted = [(step, loss) for step, loss in probed if step > start]
    if len(counted) < 2:
        raise DoesNotApply(f"the probe batch was measured {len(counted)} times after the {start} steps of warmup")
    ratio, step = max(rises(counted, window), key=lambda rise: rise[0])
    measured = f"in {len(counted)} measurements after step {start}"
    if ratio == 1:
        return Finding(ratio, f"the probe loss never rose {measured}", case)
    reason = f"the largest upward swing within {window} steps was at step {step}, {measured}"
    return Finding(ratio, reason, {**case, "step": step})


def rises(measured: Sequence[tuple[int, float]], window: int) -> Iterator[tuple[float, int]]:
    """Each loss over the lowest of the `window` steps up to it, and its step; infinite where one is not finite.

    Written out again: training reports a ratio of its own, and a mistake there must not hide from the property.
    """
    lowest: deque[tuple[int, float]] = deque()
    """Those that no later one undercuts, rising: the first is the lowest of the window."""
    for now, loss in measured:
        if not math.isfinite(loss):
            yield math.inf, now
            return
        while lowest and lowest[-1][1] >= loss:
            lowest.pop()
        lowest.append((now, loss))
        while lowest[0][0] < now - window:
            lowest.popleft()
        before = lowest[0][1]
        yield loss / before if before else 1.0 if loss == 0 else math.inf, now


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
