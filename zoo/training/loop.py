"""The training loop: one optimiser step after another, through the moments that `policies.base` names."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from cortexzoo.specs.experiment import ExperimentSpec
from cortexzoo.zoo.checkpoints import Storage
from cortexzoo.zoo.data.task_data import TaskData
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.errors import TrainingError, TrainingStopped
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState
from cortexzoo.zoo.streams import Stream
from cortexzoo.zoo.training.evaluation import autocast, read_out
from cortexzoo.zoo.training.objectives.build import build_objective
from cortexzoo.zoo.training.optimizer import build_optimizer, set_rate
from cortexzoo.zoo.training.parallel import spread_over
from cortexzoo.zoo.training.policies.base import Policy, Step, StepUndone
from cortexzoo.zoo.training.policies.build import build_policies
from cortexzoo.zoo.training.policies.measuring.telemetry import peak_memory_bytes
from cortexzoo.zoo.training.ranks import Ranks, accelerate_here
from cortexzoo.zoo.training.recorder import Recorder, SilentRecorder
from cortexzoo.zoo.training.result import StopReason, TrainingResult
from cortexzoo.zoo.training.schedule import rate_factor
from cortexzoo.zoo.training.signals import stop_on_signals
from cortexzoo.zoo.training.state import snapshot

Moment = Literal["batch_ready", "gradients_ready", "step_taken", "step_refused", "phase_ended"]
"""The moments at which no policy can refuse."""


class TrainingLoop:
    """Trains `model` by `spec.recipe`, on however many processes and devices accelerate finds.

    Seeds torch's generators from `spec.seed` when `run` starts and puts them back afterwards; the order of the data
    follows from the seed and needs no generator. The same seed, device, versions and thread count give the same bits.
    Raises `DataError` when the data does not suit recipe or model, `SetupError` when the batch cannot be shared out
    evenly.

    `policies` act after the guards that refuse and before clipping. Checkpoints go below `checkpoints`, refused batches
    into `refused_batches`, or nowhere. `accelerator` is what the processes of the run talk through.
    """

    def __init__(
        self,
        model: MemoryLanguageModel[Any],
        spec: ExperimentSpec,
        data: TextData | TaskData,
        *,
        recorder: Recorder | None = None,
        checkpoints: Path | None = None,
        progress: bool = False,
        policies: Sequence[Policy] = (),
        refused_batches: Path | None = None,
        accelerator: Accelerator | None = None,
    ) -> None:
        recipe = spec.recipe
        self.spec, self.recipe, self.model = spec, recipe, model
        self.recorder: Recorder = recorder or SilentRecorder()
        self.accelerator = accelerator or accelerate_here()
        self.device: torch.device = self.accelerator.device
        self.precision: Literal["fp32", "bf16"] = recipe.precision
        self.ranks = Ranks(self.accelerator, recipe.batch_size)
        model.to(self.device)
        self.objective = build_objective(data, spec, model, self.ranks)
        self.memory: MemoryState = model.initial_state(self.ranks.rows)
        self.parallel = spread_over(model, self.objective, recipe, self.ranks)
        self.network, self.optimized = self.parallel.network, self.parallel.optimized
        self.optimizer: torch.optim.Optimizer = build_optimizer(self.optimized, recipe.optimizer)
        self.position = 0
        """Steps attempted so far: the place in the data."""
        self.taken = 0
        """Steps that the weights have behind them: the place in the schedule. A rollback takes some back."""
        self.refused = 0
        """Steps refused so far."""
        self.storage = Storage()
        self.policies = build_policies(
            recipe,
            spec.seed,
            self.objective,
            checkpoints=checkpoints,
            refused_batches=refused_batches,
            progress=progress and self.ranks.is_main,
            further=policies,
        )
        names = [policy.name for policy in self.policies]
        assert len(names) == len(set(names)), f"policy names must differ: {names}"
        self._now = 0
        self._random_state: Mapping[str, Tensor] | None = None
        """Where the generators are while nothing runs, and others may draw from them; None: at the seed."""
        self._running = False
        self._failure: TrainingError | None = None
        self._stop: StopReason | None = None

    @property
    def trainable(self) -> list[torch.nn.Parameter]:
        """As `Trainer.trainable`."""
        return self.parallel.trainable

    def run(self) -> TrainingResult:
        """Attempt every step that is left. Raises `TrainingStopped`, `CheckpointError`, `ProcessLost`."""
        began = time.perf_counter()
        self._failure = self._stop = None
        step = Step(self.position)
        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng([self.device] if self.device.type == "cuda" else []))
            stack.enter_context(self.ranks.together())
            stack.enter_context(stop_on_signals(self.stop))
            for policy in self.policies:
                stack.callback(policy.close)
            self._start_generators()
            stack.callback(self._stand_still)
            self.model.train()
            for policy in self.policies:
                policy.phase_began(self)
            while self.position < self.recipe.steps and not self.is_over():
                try:
                    step = self._attempt(self.position + 1)
                except StepUndone:
                    break
            self._notify("phase_ended", step)
            self._random_state = self.random_state()
        if self._failure is not None:
            raise self._failure
        concluded = {} if self._stop else self.objective.conclusions(self)
        return self._result(time.perf_counter() - began, concluded)

    def stop(self, reason: StopReason) -> None:
        """Request an end after the current step; `run` then saves and returns with `stopped` set."""
        self._stop = self._stop or reason

    def fail(self, error: TrainingError) -> None:
        """End training after the current step: `run` saves the state and raises `error`. Every process must call it."""
        self._failure = self._failure or error

    def is_over(self) -> bool:
        """Whether a stop was requested or a policy ended training, on any process. Every process must call it."""
        interrupted, terminated, failed = self.ranks.any_rank(
            [self._stop == "interrupted", self._stop == "terminated", self._failure is not None]
        )
        if interrupted or terminated:
            self._stop = "interrupted" if interrupted else "terminated"
        if failed:
            self.fail(TrainingStopped(self.position, "another process ended training"))
        return failed or self._stop is not None

    def event(self, kind: str, detail: Mapping[str, object]) -> None:
        """Record, once for all processes, something that happened in the current step."""
        if self.ranks.is_main:
            self.recorder.event(self._now, kind, detail)

    def save(self, folder: Path, keep: Path | None = None) -> None:
        """Write a checkpoint from which a fresh trainer resumes exactly. Raises `CheckpointError`.

        The checkpoint that it replaces stays under the name `keep`, if one is given.
        """
        snapshot.save(self, folder, keep)

    def load(self, folder: Path, changed: bool = False) -> None:
        """Resume from a checkpoint of the same experiment, or with `changed` of another that the weights fit.

        Raises `CheckpointError`.
        """
        snapshot.load(self, folder, changed)

    def random_state(self) -> dict[str, Tensor]:
        """The states of the generators that the next step will draw from."""
        if self._running or self._random_state is None:
            return snapshot.random_state(self.device)
        return dict(self._random_state)

    def resume_from(self, position: int, taken: int, refused: int, random_state: Mapping[str, Tensor]) -> None:
        """Set where the next step starts: its place in the data, in the schedule, and in the random numbers."""
        self.position = self._now = position
        self.taken, self.refused, self._random_state = taken, refused, random_state

    def _attempt(self, number: int) -> Step:
        """One optimiser step, taken or refused."""
        self._now = number
        examples = self.objective.examples(number)
        scored = None if examples.scored is None else examples.scored.to(self.device)
        step = Step(number, tokens=examples.tokens.to(self.device), scored=scored, places=examples.places)
        self._notify("batch_ready", step)
        self._agree(step)
        if step.refused is None:
            self.parallel.spread()
            self._forward_backward(step)
        if step.refused is None:
            self._notify("gradients_ready", step)
            step.gradient_norm = self._gradient_norm()
            step.metrics["train/gradient_norm"] = step.gradient_norm
            self._ask("gradients_known", step)
        self.position = number
        if step.refused is None:
            self._update(step)
        else:
            self.refused += 1
        self.optimizer.zero_grad(set_to_none=True)
        self.parallel.gather()
        self._notify("step_refused" if step.refused else "step_taken", step)
        return step

    def _forward_backward(self, step: Step) -> None:
        """Accumulate gradients; the loss is known, and may be refused, before the last backward pass."""
        assert step.tokens is not None
        count = len(step.tokens)
        state = self.memory
        measured: list[dict[str, float]] = []
        first = (step.number - 1) * count
        for index, tokens in enumerate(step.tokens):
            last = index == count - 1
            scored = None if step.scored is None else step.scored[index]
            with self.parallel.accumulating(last):
                with torch.no_grad():
                    state = self.model.between_batches(state, len(tokens))
                with autocast(self.device, self.precision):
                    loss, output = self.network(tokens, scored, state, first + index)
                state = output.state.detached()
                measured.append({"loss": loss.item(), **read_out(output.readings)})
                if last:
                    self._know_loss(step, measured)
                    if step.refused is not None:
                        return
                torch.autograd.backward(loss / count)
        step.state = state

    def _know_loss(self, step: Step, measured: list[dict[str, float]]) -> None:
        """Mean loss and readings over micro-batches and processes, then the policies' word on them."""
        names = measured[-1]
        means = self.ranks.mean({name: float(np.mean([m[name] for m in measured if name in m])) for name in names})
        step.loss = means.pop("loss")
        step.readings = means
        step.learning_rate = self.recipe.optimizer.learning_rate * rate_factor(
            self.recipe.schedule, self.taken, self.recipe.steps
        )
        step.metrics |= {"train/loss": step.loss, "train/learning_rate": step.learning_rate}
        self._ask("loss_known", step)

    def _gradient_norm(self) -> float:
        return self.parallel.gradient_norm()

    def _update(self, step: Step) -> None:
        assert step.state is not None
        set_rate(self.optimizer, step.learning_rate)
        self.optimizer.step()
        self.memory = step.state
        self.taken += 1

    def _ask(self, moment: Literal["loss_known", "gradients_known"], step: Step) -> None:
        """Call policies until one refuses."""
        for policy in self.policies:
            getattr(policy, moment)(self, step)
            if step.refused is not None:
                break
        self._agree(step)

    def _agree(self, step: Step) -> None:
        """A refusal on any process is one on all."""
        if self.ranks.any_rank([step.refused is not None])[0]:
            step.refuse("refused by another process")

    def _notify(self, moment: Moment, step: Step) -> None:
        for policy in self.policies:
            getattr(policy, moment)(self, step)

    def _stand_still(self) -> None:
        self._running = False

    def _start_generators(self) -> None:
        self._running = True
        if self._random_state is None:
            seeds = Stream.DROPOUT.seeds(self.spec.seed, self.ranks.rank)
            torch.manual_seed(int(seeds.generate_state(1)[0]))
        else:
            snapshot.set_random_state(self.device, self._random_state)

    def _result(self, seconds: float, concluded: Mapping[str, Any]) -> TrainingResult:
        parts = {name: value for policy in self.policies for name, value in policy.results().items()}
        return TrainingResult(
            steps_taken=self.taken,
            steps_refused=self.refused,
            steps_undone=self.position - self.taken - self.refused,
            peak_memory_bytes=peak_memory_bytes(self.device),
            seconds=seconds,
            stopped=self._stop,
            **parts,
            **self.objective.references(),
            **concluded,
        )
