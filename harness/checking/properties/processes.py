"""Several processes train as one: rows are shared out, sums and decisions brought together, checkpoints regrouped."""

import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st

from cortexzoo.harness.checking.properties.base import Case, DoesNotApply, Finding, Property, number
from cortexzoo.harness.checking.properties.recall_training import undropped
from cortexzoo.harness.checking.properties.steps import UNUSUAL
from cortexzoo.harness.checking.properties.trainer import STEPS, short
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.threads import one_thread
from cortexzoo.harness.checking.training.played_processes import Play, PlayedAccelerator, PlayedLoop
from cortexzoo.harness.checking.training.restored import REPLAY
from cortexzoo.harness.checking.training.several_processes import (
    Outcome,
    Trained,
    outcomes_apart,
    recorded_apart,
    state_apart,
    tokens_apart,
    unlike_each_other,
    unlike_events,
)
from cortexzoo.harness.checking.training.witness import Fate, Record, StopAt, Witness, in_float32, measured
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.data import TextSpec
from cortexzoo.specs.guards import RecoveryCheckpoints
from cortexzoo.specs.objective import InChunkSamples, NoInChunkGuard, Recall
from cortexzoo.specs.parallel import DataParallel
from cortexzoo.specs.sleep import NoSleep
from cortexzoo.zoo.build import build_model, load_data
from cortexzoo.zoo.data.task_data import TaskData
from cortexzoo.zoo.errors import TrainingStopped
from cortexzoo.zoo.models.cortexgpt import CortexGPT
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer
from cortexzoo.zoo.training.replicated import Model

HALF, ROWS = STEPS // 2, 4
VALIDATION_WINDOWS = 10
"""Three batches, the last of two rows, of which the first of two processes has one more."""
SLEEP_RATE = 1e-5
"""So low since sleep's optimiser makes as much of the rounding of a gradient as of a gradient."""
TOKENS = 8192
"""At most of a micro-batch of documents, where two of them are not more."""
RECOVERY = RecoveryCheckpoints(every=HALF, storm_limit=9)
BACK: Mapping[int, Fate] = {5: "roll_back"}
"""What the last process alone decides, at which step. In a run that is resumed both begin a point at its middle."""
REFUSED: Mapping[int, Fate] = {2: "refuse", **BACK}


class FailAt(Policy):
    """Ends training with an error at one step, as a storm of rollbacks does."""

    name = "harness_failure"

    def __init__(self, step: int) -> None:
        self.step = step

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        if step.number == self.step:
            trainer.fail(TrainingStopped(step.number, "ended by the harness"))


def process_cases(subject: Subject) -> Iterable[Case]:
    """From start to end, also with two held-out batches for four; resumed by more and by fewer; one that fails."""
    yield from ({"first": first, "then": then} for first, then in ((2, 2), (1, 2), (2, 1)))
    if subject.task is None:
        yield {"first": 4, "then": 4, "windows": 5}
    yield {"failing": 2}


def process_strategy(subject: Subject) -> st.SearchStrategy[Case]:
    """Any numbers of processes that share the rows evenly; of long documents there are two."""
    several = st.sampled_from((1, 2, 4) if isinstance(subject.experiment.data, TextSpec) else (1, 2))
    return st.fixed_dictionaries({"first": several, "then": several})


@one_thread()
def processes_train_as_one(subject: Subject, case: Case) -> Finding:
    """The same steps by one process and by several that are played, or by several after one: the same training.

    What is recorded and where it ends may differ by the order of sums. Weights, and all memory that has no rows,
    must be the same on each, bit by bit.
    """
    experiment = _experiment(subject.experiment)
    if "windows" in case:
        experiment = measured(experiment, validation_sequences=number(case, "windows"))
    model = build_model(experiment.variant, experiment.seed)
    if isinstance(model, CortexGPT) and model.memory.shares_one_ring:
        raise DoesNotApply("all rows share one ring, of which each process has its own")
    if moved := _moved_buffers(model):
        raise DoesNotApply(f"a call moves {moved[0]}, and that of each process follows from its own rows")
    if "failing" in case:
        flaw = _of_a_failure(experiment, number(case, "failing"))
        return Finding(math.inf if flaw else 0.0, flaw or "an error on one process ends all of them", case)
    first, then = number(case, "first"), number(case, "then")
    who = f"{then} processes" if first == then else f"{then} after {first}"
    script = REFUSED if first == then else BACK
    (alone,) = _trained(experiment, 1, script)
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "checkpoint"
        try:
            if first != then:
                _trained(experiment, first, {}, written=kept)
            parts = _trained(experiment, then, script, resumed=kept if first != then else None)
        except Exception as problem:
            return Finding(math.inf, f"{who}: training gave up ({problem})", case)
    begun = 1 if first == then else HALF + 1
    if wrong := [*unlike_each_other(parts), *unlike_events(alone.record, parts[0].record, begun)]:
        return Finding(math.inf, f"{who}: {', '.join(wrong[:3])}", {**case, "apart": wrong[0]})
    apart = recorded_apart(alone.record, parts[0].record, begun)
    apart |= outcomes_apart(alone.outcome, parts[0].outcome) | state_apart(alone.loop, [p.loop for p in parts], model)
    apart |= tokens_apart(alone.loop, parts[0].loop)
    worst = max(apart, key=lambda name: apart[name])
    reason = f"{who}: {worst} is {apart[worst]:.3g} from that of one process"
    return Finding(apart[worst], reason, {**case, "apart": worst} if apart[worst] else case)


@torch.no_grad()
def _moved_buffers(model: Model) -> list[str]:
    """The buffers that a call in training mode changes, such as a running mean."""
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with torch.random.fork_rng(devices=[]):
        model.train()(torch.zeros(ROWS, 2, dtype=torch.long))
    return [name for name, buffer in model.named_buffers() if not torch.equal(buffer, before[name])]


def _experiment(experiment: ExperimentSpec) -> ExperimentSpec:
    """Short, in float32, with a batch that can be shared out, and consolidation, sleep and measuring within it.

    The optimiser's ε is so large that AdamW does not make much of gradients that are nothing but the rounding of sums.
    """
    few = _shared_out(in_float32(short(experiment)))
    changes: dict[str, Any] = {
        "accumulation": 2, "parallel": DataParallel(), "recovery": RECOVERY, "optimizer": UNUSUAL,
    }  # fmt: skip
    if isinstance(few.recipe.sleep, NoSleep):
        changes["sleep"] = REPLAY.model_copy(update={"learning_rate": SLEEP_RATE})
    return few.model_copy(update={"recipe": few.recipe.model_copy(update=changes)})


def _shared_out(experiment: ExperimentSpec) -> ExperimentSpec:
    """With as many rows as two processes can have the same number of, or four where they are not long.

    Where nothing guards what lies within a chunk, documents do, since these are shared out too.
    """
    objective, data = experiment.recipe.objective, load_data(experiment)
    if not (isinstance(objective, Recall) and isinstance(data, TaskData)):
        recipe = experiment.recipe.model_copy(update={"batch_size": ROWS})
        return measured(experiment.model_copy(update={"recipe": recipe}), validation_sequences=VALIDATION_WINDOWS)
    longest = data.task.length(max(objective.stages[0].gaps))
    rows = ROWS if ROWS * longest <= TOKENS else 2
    update = {"tokens_per_step": rows * longest, "samples_per_gap": 2 * ROWS}
    stages = tuple(stage.model_copy(update=update) for stage in objective.stages)
    guard = InChunkSamples() if isinstance(objective.in_chunk, NoInChunkGuard) else objective.in_chunk
    whole = {"batch_size": rows, "objective": objective.model_copy(update={"stages": stages, "in_chunk": guard})}
    return experiment.model_copy(update={"recipe": experiment.recipe.model_copy(update=whole)})


def _trained(
    experiment: ExperimentSpec,
    processes: int,
    script: Mapping[int, Fate],
    *,
    written: Path | None = None,
    resumed: Path | None = None,
    further: Sequence[Policy] = (),
) -> list[Trained]:
    """By process. `written`: the last one stops in the middle, and a checkpoint is written. `further`: of the last."""

    def train(accelerator: PlayedAccelerator) -> Trained:
        is_last = accelerator.process_index == processes - 1
        record, witness = Record(), Witness(script if is_last else {})
        model = build_model(experiment.variant, experiment.seed)
        undropped(model)
        policies: list[Policy] = [witness]
        if is_last:
            policies += [*further, *([StopAt(HALF)] if written else [])]
        loop = PlayedLoop(
            model, experiment, load_data(experiment), recorder=record, policies=policies, accelerator=accelerator
        )
        if resumed is not None:
            loop.load(resumed)
        try:
            outcome: Outcome = loop.run()
        except TrainingStopped as error:
            outcome = error
        if written is not None:
            loop.save(written)
        return Trained(loop, record, witness, outcome)

    return Play([train] * processes).run()


def _of_a_failure(experiment: ExperimentSpec, step: int) -> str | None:
    """What is wrong where the last of two processes ends with an error, which should end both at that step."""
    try:
        ended = [trained.outcome for trained in _trained(experiment, 2, {}, further=[FailAt(step)])]
    except Exception as problem:
        return f"an error on one process: {problem}"
    went_on = [rank for rank, end in enumerate(ended) if not (isinstance(end, TrainingStopped) and end.step == step)]
    return f"an error on one process does not end process {went_on[0]}" if went_on else None


PROCESSES = (Property("processes_train_as_one", processes_train_as_one, process_cases, process_strategy, cost=6),)
