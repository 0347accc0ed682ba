"""The guards of a recipe around a loop of one's own: each step is taken, refused or undone as they are documented."""

import copy
import math
import warnings
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from cortexzoo.harness.checking.properties.base import Case, Finding, Property, text
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.training.plain_loop import RATE, Loop, PlainLoop, Told, apart, script
from cortexzoo.harness.checking.training.reference_clipping import REFERENCED
from cortexzoo.harness.checking.training.reference_updates import Undone
from cortexzoo.specs import RecipeSpec, guards
from cortexzoo.zoo.errors import TrainingStopped
from cortexzoo.zoo.training.own_loop import LoopGuard

ROUNDING = 1e-4
"""Of weights and moments, relative to the largest. Clipping to a norm within 1e-6 of a gradient's own adds up."""
NEVER = 1e9
"""A factor that no update reaches."""
EVERY, WINDOW, HISTORY = 7, 24, 6
SPIKE, STEEP = Told(64.0, 1.0), Told(2.0, 1e4)
NAN, NO_GRADIENT = Told(math.nan, 1.0), Told(2.0, math.inf)
TROUBLES = {
    12: NAN,
    13: NO_GRADIENT,
    31: SPIKE,
    32: SPIKE,
    40: STEEP,
    58: Told(math.inf, 1.0),
    **dict.fromkeys(range(90, 96), SPIKE),
}
"""Of a script of `COUNT` steps; the last are a new level, and so many in a row that a rule which refuses gives in."""
BROKEN = dict.fromkeys((*range(64, 73), *range(120, 129)), NAN)
"""So many in a row that there is a rollback, or the end."""
STORM = dict.fromkeys(range(100, 140, 3), SPIKE)
"""The fourth rollback within 16 steps is at 109: the one at 90 lies 16 before 106."""
COUNT, HALF = 150, 101


def own_loop_cases(subject: Subject) -> Iterable[Case]:
    """Every way of reacting, in a loop that calls the guard; then installed, and saved half-way; sizes of updates."""
    for reacts in ("skip", "rollback", "bare"):
        yield {"reacts": reacts, "way": "called"}
    yield {"reacts": "rollback", "way": "installed"}
    yield {"reacts": "rollback", "way": "saved"}
    if isinstance(subject.experiment.recipe.clipping, REFERENCED):
        yield {"reacts": "recipe", "way": "called"}
    yield {"reacts": "updates", "way": "called"}
    yield {"reacts": "damage", "way": "called"}


def own_loop_follows_its_guards(subject: Subject, case: Case) -> Finding:
    """Steps of a script that become something else than is documented, or that leave other weights or figures."""
    if case["reacts"] == "updates":
        return _of_updates(case)
    if case["reacts"] == "damage":
        return _of_damage(case)
    spec, troubles = _recipe(subject.experiment.recipe, text(case, "reacts"))
    told = script(COUNT, troubles)
    ours, wanted = _Guarded(spec), PlainLoop(spec.spikes, spec.recovery, spec.clipping)
    course = wanted.guards.course
    for number, one in enumerate(told, start=1):
        wanted.step(number, one)
        happened = ours.step(number, one, installed=case["way"] == "installed")
        if (flaw := _flaw(number, one.loss, happened, ours, wanted)) is not None:
            return Finding(1, f"step {number} of {COUNT} (loss {one.loss:g}, norm {one.norm:g}): {flaw}", case)
        if course.stopped_at is not None:
            break
        if number == HALF and case["way"] == "saved":
            ours = ours.again()
            wanted.begun_anew(number)
    counts = f"{len(course.refused)} refused, {len(course.rollbacks)} rollbacks"
    return Finding(0, f"{number} steps, {counts}: each as documented", {**case, "steps": number})


def _recipe(own: RecipeSpec, reacts: str) -> tuple[RecipeSpec, Mapping[int, Told]]:
    """The guards of a case, and what is to befall them."""
    clipping: guards.ClippingSpec = guards.AdaptiveClipping(
        window=WINDOW, min_history=HISTORY, max_norm=9.0, percentile=50
    )
    recovery: guards.RecoverySpec = guards.RecoveryCheckpoints(every=EVERY, storm_limit=4, storm_window=16)
    rule: guards.SpikeSpec = guards.RobustDeviation(
        window=WINDOW, min_history=HISTORY, rebaseline_after=4, update_factor=NEVER, action="skip"
    )
    troubles = TROUBLES
    if reacts == "rollback":
        rule = rule.model_copy(update={"action": "rollback"})
        clipping = guards.ZClip(warmup=HISTORY, z_threshold=0.5)
        troubles = {**TROUBLES, **STORM}
    elif reacts == "bare":
        recovery, rule = guards.NoRecovery(), guards.AverageRatio(window=WINDOW, min_history=HISTORY)
        troubles = {**TROUBLES, **BROKEN}
    elif reacts == "recipe":
        clipping, recovery, rule = own.clipping, own.recovery, own.spikes
        if isinstance(rule, guards.RobustDeviation):
            rule = rule.model_copy(update={"update_factor": NEVER})
    else:
        troubles = {**TROUBLES, **BROKEN}
    return own.model_copy(update={"clipping": clipping, "spikes": rule, "recovery": recovery}), troubles


class _Guarded(Loop):
    """A loop with a guard, and what it tells its recorder."""

    def __init__(self, spec: RecipeSpec, *, adam: bool = True) -> None:
        super().__init__(adam=adam)
        self.spec = spec
        self.rows: list[tuple[int, Mapping[str, float]]] = []
        self.events: list[tuple[int, str, Mapping[str, object]]] = []
        self.guard = LoopGuard(self.model, self.optimizer, spec, others=[self.schedule, self.follower], recorder=self)
        self._installed = False

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.rows.append((step, dict(values)))

    def event(self, step: int, kind: str, detail: Mapping[str, object]) -> None:
        self.events.append((step, kind, dict(detail)))

    def step(self, number: int, told: Told, *, installed: bool = False) -> str:
        """What became of it: taken, refused, returned or stopped."""
        self.model.tell(number, told.norm)
        loss = torch.tensor(told.loss)
        try:
            if installed:
                self._through_the_optimizer(number, loss)
            else:
                self.guard.step(loss if number % 2 else told.loss)
        except TrainingStopped as stopped:
            return "stopped" if stopped.step == number else f"stopped at {stopped.step}"
        result = self.guard.last
        assert result is not None
        if result:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*optimizer.step.*overridden")  # that is what installing is
                self.over()
        if any(tensor.grad is not None for tensor in self.model.tensors):
            return "taken with gradients that stay"
        return "returned" if result.rolled_back else "taken" if result else "refused"

    def again(self) -> "_Guarded":
        """Another process that goes on with what a user saves."""
        fresh = _Guarded(self.spec)
        fresh.set_state(self.state())
        fresh.guard.load_state_dict(copy.deepcopy(self.guard.state_dict()))
        return fresh

    def _through_the_optimizer(self, number: int, loss: Tensor) -> None:
        """As other trainers do: by a closure, or with two micro-batches whose mean is the loss."""
        if not self._installed:
            self.guard.install()
            self._installed = True
        if number % 2:
            self.optimizer.step(lambda: float(loss))
            return
        self.guard.observe(loss - 0.5)
        self.guard.observe(float(loss) + 0.5)
        self.optimizer.step()


def _flaw(number: int, loss: float, happened: str, ours: _Guarded, wanted: PlainLoop) -> str | None:
    """What is not as it should be after a step."""
    course = wanted.guards.course
    returned = course.rollbacks[-1:] if course.rollbacks and course.rollbacks[-1][0] == number else []
    if course.stopped_at == number:
        return None if happened == "stopped" else f"{happened}, should be the end"
    due = "returned" if returned else "taken" if course.taken[-1:] == [number] else "refused"
    if happened != due:
        return f"{happened}, should be {due}"
    guard = ours.guard
    counts = (guard.number, guard.taken, guard.refused, guard.rollbacks)
    if counts != (due_counts := (number, wanted.guards.taken, len(course.refused), len(course.rollbacks))):
        return f"steps, taken, refused and rollbacks are {counts}, should be {due_counts}"
    if (off := apart(list(ours.tensors()), list(wanted.tensors()))) > ROUNDING:
        return f"weights, moments or rate lie {off:.2g} apart"
    undone = [detail["undone"] for step, kind, detail in ours.events if (step, kind) == (number, "rollback")]
    if undone != [count for _, _, count in returned]:
        return f"{undone} steps are told to be undone, should be {[count for _, _, count in returned]}"
    return _flaw_of_figures(number, due, loss, ours, wanted)


def _flaw_of_figures(number: int, due: str, loss: float, ours: _Guarded, wanted: PlainLoop) -> str | None:
    told = [values for step, values in ours.rows if step == number]
    if len(told) != 1:
        return f"its metrics are told {len(told)} times"
    course, (figures,) = wanted.guards.course, told
    if not math.isclose(figures["train/loss"], loss) and not (math.isnan(loss) and math.isnan(figures["train/loss"])):
        return f"its loss is told as {figures['train/loss']}"
    due_figures = {
        "stability/spike_recoveries": float(len(course.rollbacks)),
        "stability/loss_spikes": float(course.loss_spikes),
        "stability/nonfinite_steps": float(course.not_finite),
    }
    if due == "taken":
        due_figures["train/gradient_norm"] = wanted.norm
    for name, value in due_figures.items():
        if not math.isclose(figures.get(name, math.nan), value, rel_tol=ROUNDING):
            return f"{name} is {figures.get(name)}, should be {value}"
    refusals = sum((step, kind) == (number, "step_refused") for step, kind, _ in ours.events)
    if refusals != (due != "taken"):
        return f"{refusals} refusals are told"
    return None


def _of_updates(case: Case) -> Finding:
    """Updates of scripted sizes, by plain gradient descent, whose update is the gradient times the rate."""
    rule = guards.RobustDeviation(
        deviations=NEVER, gradient_deviations=NEVER, window=WINDOW, min_history=HISTORY, update_factor=5.0
    )
    recovery = guards.RecoveryCheckpoints(every=EVERY, storm_limit=9)
    spec = RecipeSpec(name="updates", clipping=guards.NoClipping(), spikes=rule, recovery=recovery)
    large = {number: Told(2.0, 30.0) for number in (3, 20, 50, 60, 110)}
    told = dict(enumerate(script(COUNT, large), start=1))
    numbers = sum(tensor.numel() for tensor in Loop().model.tensors)
    undone = Undone.of({number: one.norm / math.sqrt(numbers) for number, one in told.items()}, rule, EVERY)
    ours, wanted = _Guarded(spec, adam=False), Loop(adam=False)
    points = {0: wanted.state()}
    returns = {step: to for step, to, _ in undone.rollbacks}
    for number, one in told.items():
        happened = ours.step(number, one)
        wanted.model.tell(number, one.norm)
        wanted.optimizer.step()
        wanted.over()
        points[number] = wanted.state()
        if number in returns:
            wanted.set_state(points[returns[number]])
        due = "returned" if number in returns else "taken"
        if happened != due:
            return Finding(1, f"step {number}, an update of norm {one.norm:.3g}: {happened}, should be {due}", case)
        if (off := apart(list(ours.tensors()), list(wanted.tensors()))) > ROUNDING:
            return Finding(1, f"step {number}: weights or rate lie {off:.2g} apart", case)
    levels = [step for step, kind, _ in ours.events if kind == "new_level"]
    if levels != undone.new_levels:
        return Finding(1, f"new levels are told at {levels}, should be at {undone.new_levels}", case)
    return Finding(0, f"{COUNT} updates, {len(returns)} undone, {len(levels)} new levels", case)


def _of_damage(case: Case) -> Finding:
    """Numbers that a step leaves in the model: far larger than before, and not finite. Nobody is told of it.

    Before that a step of a model that has one weight.
    """
    with torch.random.fork_rng(devices=[]):
        only = nn.Linear(3, 1, bias=False)
    before, one_step = only.weight.detach().clone(), torch.optim.SGD(only.parameters(), lr=RATE)
    only.weight.grad = torch.ones_like(only.weight)
    spec = RecipeSpec(name="single", clipping=guards.NormClipping(max_norm=9.0), spikes=guards.NoSpikeDetection())
    if not LoopGuard(only, one_step, spec).step(2.0) or not torch.allclose(only.weight, before - RATE):
        return Finding(1, "a model of one weight takes no step of its rate", case)
    spec = RecipeSpec(
        name="damage",
        clipping=guards.NoClipping(),
        spikes=guards.NoSpikeDetection(),
        recovery=guards.RecoveryCheckpoints(every=EVERY),
    )
    loop, copies = Loop(adam=False), {}
    guard = LoopGuard(loop.model, loop.optimizer, spec, others=[loop.schedule, loop.follower])
    # After 7 taken steps there is a copy. Step 9 is undone, so steps 10 to 16 end with the next one, and 17 to 23.
    returns = {9: EVERY, 23: 2 * EVERY + 2}
    for number, told in enumerate(script(24, {}), start=1):
        loop.model.tell(number, told.norm)
        with torch.no_grad():
            if number == 9:
                loop.model.tensors[1][2] = 1e6
            if number == 20:
                loop.model.counted.fill_(math.nan)  # it shows when the next copy is due
        result = guard.step(told.loss)
        if result:
            loop.over()
        copies[number] = loop.state()
        if result.rolled_back != (number in returns):
            return Finding(1, f"damage: step {number} {'returned' if result.rolled_back else 'did not return'}", case)
        if number in returns:
            wanted = Loop(adam=False)
            wanted.set_state(copies[returns[number]])
            if (off := apart(list(loop.tensors()), list(wanted.tensors()))) > 0:
                return Finding(1, f"damage: what is left after step {number} lies {off:.2g} apart", case)
    return Finding(0, f"damage: undone at steps {', '.join(map(str, returns))}", case)


OWN_LOOP = (Property("own_loop_follows_its_guards", own_loop_follows_its_guards, own_loop_cases),)
