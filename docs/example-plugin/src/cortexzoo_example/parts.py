"""What the specs describe: imported when it is needed."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from cortexzoo.harness.checking.properties.base import Case, Finding, Property, number
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.specs.task import TaskSpec
from cortexzoo.zoo.data.tasks.chance import Chance, of_uniform_symbols
from cortexzoo.zoo.data.tasks.document import PassageWriter
from cortexzoo.zoo.data.tasks.letters import Script, draw_letters
from cortexzoo.zoo.data.tasks.task import Composition, Task
from cortexzoo.zoo.data.tasks.vocabulary import Vocabulary
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState, ModelOutput
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer
from cortexzoo_example.specs import Echo, MeanSpec, SignClipping


@dataclass(frozen=True)
class MeanState(MemoryState):
    """Sum and number of the vectors seen so far."""

    total: Tensor  # [batch, hidden]
    count: int = 0

    def tensors(self) -> dict[str, Tensor]:
        return {"total": self.total, "count": torch.tensor(self.count)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "MeanState":
        return cls(tensors["total"], int(tensors["count"]))

    def sizes(self) -> dict[str, int]:
        return {"stm": min(self.count, 1)}


class MeanModel(MemoryLanguageModel[MeanState]):
    """logits = V (x_t + mean of x_1 … x_t)."""

    def __init__(self, spec: MeanSpec) -> None:
        super().__init__()
        self.vocab_size = spec.vocab_size
        self.embedding = nn.Embedding(spec.vocab_size, spec.hidden_size)
        self.vocabulary = nn.Linear(spec.hidden_size, spec.vocab_size)

    def initial_state(self, batch_size: int) -> MeanState:
        return MeanState(self.vocabulary.weight.new_zeros(batch_size, self.vocabulary.in_features))

    def forward(
        self, tokens: Tensor, state: MeanState | None = None, disabled: Collection[str] = ()
    ) -> ModelOutput[MeanState]:
        state = self.initial_state(len(tokens)) if state is None else state
        x = self.embedding(tokens)
        total = state.total[:, None] + x.cumsum(dim=1)
        seen = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)[:, None] + state.count
        after = MeanState(total[:, -1].detach(), state.count + tokens.shape[1])
        return ModelOutput(self.vocabulary(x + total / seen), after)


def build_model(spec: MeanSpec) -> MeanModel:
    return MeanModel(spec)


class EchoTask(Task):
    """…AB[k]CD…XY=k…"""

    def __init__(self, spec: TaskSpec, kind: Echo, vocabulary: Vocabulary, seed: int) -> None:
        self._script = Script(vocabulary, "[]=", letters="abcdefghijklmnopqrstuvwxyz")
        self.noise = self._script.noise
        facts, questions = self._script.length(letters=1, marks="[]"), self._script.length(letters=1, marks="=")
        super().__init__(spec, vocabulary, seed, facts, questions)

    def compose(self, rng: np.random.Generator) -> Composition:
        letters, marks = self._script.letters, self._script.marks
        letter = draw_letters(rng, 1)
        facts, questions = PassageWriter(), PassageWriter()
        facts.write(marks["["])
        end = facts.write(letters.write(letter))
        facts.write(marks["]"])
        questions.write(marks["="])
        questions.answer(letters.write(letter))
        return Composition(facts.passage(), questions.passage(), evidence=[end])

    def chance(self) -> Chance:
        return of_uniform_symbols(self._script.letters.spellings, 1)


def build_task(spec: TaskSpec, kind: Echo, vocabulary: Vocabulary, seed: int) -> EchoTask:
    return EchoTask(spec, kind, vocabulary, seed)


class LimitElements(Policy):
    """g ← clamp(g, −most, most)."""

    name = "clipping"

    def __init__(self, most: float) -> None:
        self.most = most

    def gradients_known(self, trainer: Trainer, step: Step) -> None:
        torch.nn.utils.clip_grad_value_(trainer.trainable, self.most)


def build_clipping(spec: SignClipping) -> LimitElements:
    return LimitElements(spec.most)


@torch.no_grad()
def logits_are_centred(subject: Subject, case: Case) -> Finding:
    length = number(case, "length")
    model = subject.copy()
    logits = model(subject.sequences(2, length), subject.start(model, 2)).logits
    mean = float(logits.mean(-1).abs().max())
    return Finding(mean, f"the mean logit is up to {mean:.3f} from 0 at length {length}", case)


def lengths(_: Subject) -> Iterable[Case]:
    return ({"length": length} for length in (1, 16))


LOGITS_ARE_CENTRED = Property("logits_are_centred", logits_are_centred, lengths)  # type: ignore[arg-type]
