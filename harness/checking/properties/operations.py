"""Operations in any order: any sequence of them leaves a model in training in a sound state."""

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from hypothesis import strategies as st
from torch import Tensor

from cortexzoo.harness.checking.properties.base import Case, Finding, Property, largest_difference, text
from cortexzoo.harness.checking.properties.memory import declared_bytes, held_bytes
from cortexzoo.harness.checking.properties.trainer import BrokenGradient, Log, everything, short, trainer_of
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.errors import in_one_line
from cortexzoo.specs.memory import CompressedStore
from cortexzoo.specs.variant import CortexGPTSpec
from cortexzoo.zoo.models.cortexgpt import CortexGPT
from cortexzoo.zoo.training.evaluation import lm_loss
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer

MOST_OPERATIONS = 10
LENGTH = 17
NEVER = -1


class OneStep(Policy):
    """Ends training after each step, taken or refused."""

    name = "harness_one_step"

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        trainer.stop("interrupted")

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        trainer.stop("interrupted")


class Session:
    """A model in training, on which operations are done one by one; each reports what is wrong with its effects."""

    def __init__(self, subject: Subject, folder: Path, most_steps: int = MOST_OPERATIONS) -> None:
        self._subject, self._folder = subject, folder
        experiment = short(subject.experiment)
        self._experiment = experiment.model_copy(
            update={"recipe": experiment.recipe.model_copy(update={"steps": most_steps + 1})}
        )
        self._saved: dict[str, Tensor] | None = None
        self.trainer = self._begin()
        self.operations: dict[str, Callable[[], list[str]]] = {
            "train": self.train,
            "fault": self.fault,
            "evaluate": self.evaluate,
            "consolidate": self.consolidate,
            "reset": self.reset,
            "save": self.save,
            "load": self.load,
        }

    def train(self) -> list[str]:
        """One step, which is taken."""
        taken = self.trainer.taken
        self._step(NEVER)
        return [] if self.trainer.taken == taken + 1 else ["a step was not taken"]

    def fault(self) -> list[str]:
        """One step with a NaN in its gradient: refused, and nothing moves."""
        refused = self.trainer.refused
        moved = self._step(self.trainer.position + 1)
        return moved + ([] if self.trainer.refused == refused + 1 else ["a step with a NaN gradient was not refused"])

    def evaluate(self) -> list[str]:
        """The loss of held-out text is finite, and measuring it leaves every bit alone."""
        trainer = self.trainer
        model = trainer.model.eval()
        tokens = self._subject.sequences(self._rows, LENGTH).to(trainer.device)
        before = everything(trainer) | _generator()
        with torch.no_grad():
            loss = float(lm_loss(model, tokens, model.between_batches(trainer.memory, self._rows))[0])
        model.train()
        wrong = [f"evaluating changed {name}" for name in _apart(before, everything(trainer) | _generator())]
        return wrong + ([] if torch.tensor(loss).isfinite() else [f"the held-out loss is {loss}"])

    @torch.no_grad()
    def consolidate(self) -> list[str]:
        """Move the contents of short-term memory into long-term memory."""
        self.trainer.memory = self.trainer.model.consolidate(self.trainer.memory)
        return []

    def reset(self) -> list[str]:
        """Memory begins anew."""
        self.trainer.memory = self.trainer.model.initial_state(self._rows)
        return []

    def save(self) -> list[str]:
        """A checkpoint, which leaves every bit alone."""
        before = everything(self.trainer)
        self.trainer.save(self._folder / "checkpoint")
        self._saved = before
        return [f"saving changed {name}" for name in _apart(before, everything(self.trainer))]

    def load(self) -> list[str]:
        """A fresh trainer takes over the last checkpoint, if there is one, bit by bit."""
        if self._saved is None:
            return []
        self.trainer = self._begin()
        self.trainer.load(self._folder / "checkpoint")
        return [f"loading gave another {name}" for name in _apart(self._saved, everything(self.trainer))]

    def broken(self) -> list[str]:
        """What must hold after every operation and does not."""
        trainer, variant = self.trainer, self._subject.experiment.variant
        wrong = [f"{n} is not finite" for n, value in everything(trainer).items() if not bool(value.isfinite().all())]
        if trainer.position != trainer.taken + trainer.refused:
            counted = f"{trainer.taken} taken and {trainer.refused} refused"
            wrong.append(f"{trainer.position} steps were attempted, {counted}")
        if isinstance(variant, CortexGPTSpec) and isinstance(trainer.model, CortexGPT) and _has_cap(variant):
            held, cap = held_bytes(trainer.memory), declared_bytes(variant, trainer.model, self._rows)
            wrong += [f"memory takes {held:,} bytes, its cap is {cap:,.0f}"] if held > cap else []
        return wrong

    @property
    def _rows(self) -> int:
        return self._experiment.recipe.batch_size

    def _begin(self) -> TrainingLoop:
        self._broken = BrokenGradient(NEVER)
        trainer = trainer_of(self._experiment, Log(), self._broken)
        # Asked before the others act, a stop would end a sleep of the same step, which takes the step back.
        trainer.policies.append(OneStep())
        return trainer

    def _step(self, broken_at: int) -> list[str]:
        """Attempt one step; gives what a refused one moved."""
        self._broken.at, self._broken.moved = broken_at, []
        self.trainer.run()
        return [f"a refused step moved {name}" for name in self._broken.moved]


def any_order_cases(_: Subject) -> Iterable[Case]:
    """Each operation alone or with what it needs, then some that lean on each other."""
    for operations in (
        "train evaluate",
        "fault train",
        "save load train",
        "reset train",
        "train consolidate consolidate evaluate",
        "train save fault load fault train",
        "consolidate evaluate train reset evaluate save load evaluate",
    ):
        yield {"operations": operations}


def any_order_strategy(_: Subject) -> st.SearchStrategy[Case]:
    """Any operations, one after the other."""
    names = st.sampled_from(("train", "evaluate", "fault", "consolidate", "reset", "save", "load"))
    return st.fixed_dictionaries(
        {"operations": st.lists(names, min_size=1, max_size=MOST_OPERATIONS).map(lambda drawn: " ".join(drawn))}
    )


def any_order_works(subject: Subject, case: Case) -> Finding:
    """Do each operation; it must do what it is for, and leave what is finite, counted and within its cap."""
    names = text(case, "operations").split()
    with tempfile.TemporaryDirectory() as folder:
        session = Session(subject, Path(folder), len(names))
        for number, name in enumerate(names, start=1):
            try:
                wrong = session.operations[name]() + session.broken()
            except Exception as crash:
                wrong = [f"it raised {in_one_line(crash)}"]
            if wrong:
                reason = f"operation {number}, {name}: {', '.join(wrong[:3])}"
                return Finding(len(wrong), reason, {**case, "number": number})
    return Finding(0, "after every operation all was finite, counted and within its cap", case)


def _apart(before: dict[str, Tensor], after: dict[str, Tensor]) -> list[str]:
    names = dict.fromkeys([*before, *after])
    return [n for n in names if n not in before or n not in after or largest_difference(before[n], after[n])]


def _generator() -> dict[str, Tensor]:
    return {"torch's random state": torch.get_rng_state()}


def _has_cap(variant: CortexGPTSpec) -> bool:
    store = variant.memory.long_term
    return not (isinstance(store, CompressedStore) and store.capacity is None)


OPERATIONS = (Property("any_order_works", any_order_works, any_order_cases, any_order_strategy, cost=4),)
