"""A sleep that consolidates, in training: what it leaves in the slow store, and when it leaves nothing."""

from dataclasses import dataclass, field, replace

from torch import Tensor

from cortexzoo.harness.checking.properties.base import largest_difference
from cortexzoo.harness.checking.properties.hybrid import hybrid_of
from cortexzoo.harness.checking.properties.sleep import IMPOSSIBLE, sleep_of, sleeper
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.specs.sleep import AcceptAlways, ConsolidateSleep
from cortexzoo.specs.slow_store import ProductStore
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.hybrid.weights import with_slow_store
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.sleep.policy import Sleep
from cortexzoo.zoo.training.sleep.transfer import read_again

NIGHTS = ("stays", "is undone", "is stopped", "has no solution")
SPEC = ConsolidateSleep(reservoir=3, least_write=0.0)
FEATURES = 40


@dataclass
class Night:
    """One step of training and a sleep after it: what was there when the sleep began, and when it was over."""

    trainer: TrainingLoop
    sleep: Sleep
    fate: str
    before: dict[str, Tensor] = field(default_factory=dict)
    """Of a sleep that is stopped, before the step that is undone with it."""
    kept: int = 0
    """Examples of the day when the sleep began."""
    wrote: bool = False

    @classmethod
    def of(cls, subject: Subject, fate: str) -> "Night":
        """The subject with a small, empty slow store."""
        model = subject.copy()
        assert isinstance(model, Hybrid)
        spec = hybrid_of(subject).spec
        most = ProductStore().distinct_products(spec.mixer.num_heads * spec.mixer.memory_key_dim)
        grown = with_slow_store(model, ProductStore(features=min(FEATURES, most)))
        experiment = subject.experiment.model_copy(update={"variant": grown.spec})
        asleep = replace(subject, experiment=experiment, model=grown)
        trainer = sleeper(asleep, SPEC, IMPOSSIBLE if fate == "is undone" else AcceptAlways(), steps=1)
        night = cls(trainer, sleep_of(trainer), fate)
        night.sleep.progress, night.before = night.begins, night.state
        return night

    @property
    def state(self) -> dict[str, Tensor]:
        """Weights, and what the slow store contains."""
        return {name: tensor.detach().clone() for name, tensor in self.trainer.model.state_dict().items()}

    def begins(self, done: int, total: int) -> None:
        """Called when the examples are about to be read again."""
        if self.fate == "is stopped":
            self.trainer.stop("interrupted")
            return
        if self.fate == "has no solution":
            model = self.trainer.model
            assert isinstance(model, Hybrid) and model.slow_store is not None
            model.slow_store.curvature.fill_diagonal_(-1e6)
        self.before, self.kept = self.state, len(self.sleep.reservoir.examples)
        self.wrote = self._wrote()

    def _wrote(self) -> bool:
        """Whether the day's examples write anything; a threshold of the variant may leave nothing."""
        model = self.trainer.model
        assert isinstance(model, Hybrid)
        read = [read_again(model, example.tokens[None]) for example in self.sleep.reservoir.examples]
        return any(bool((written.strength[:, 1:] > SPEC.least_write).any()) for written in read)

    def mistakes(self) -> list[str]:
        """What the sleep left, or counts, that it should not."""
        self.trainer.run()
        sleep, after = self.sleep, self.state
        counted = (sleep.sleeps, sleep.accepted, sleep.updates_taken, sleep.updates_refused)
        solved = self.fate != "has no solution" or not self.wrote
        due = {"is undone": (1, 0, 1, 0), "is stopped": (0, 0, 0, 0)}
        wrong = []
        if counted != (wanted := due.get(self.fate, (1, 1, int(solved), int(not solved)))):
            wrong.append(f"sleeps, accepted, solves and refused ones are {counted}, not {wanted}")
        changed = {name for name, tensor in after.items() if largest_difference(tensor, self.before[name]) > 0}
        store = {name for name in after if ".slow_store." in f".{name}"}
        if self.fate == "stays" and self.wrote != bool(changed):
            wrong.append(f"{'nothing' if self.wrote else 'what was not written'} was moved into the slow store")
        if odd := sorted(changed - store if self.fate == "stays" else changed):
            wrong.append(f"a sleep that {self.fate} changed {odd[0]}")
        moved = self.fate == "stays" or (self.fate == "has no solution" and solved)
        left = 0 if moved else self.kept
        if self.fate != "is stopped" and len(sleep.reservoir.examples) != left:
            wrong.append(f"{len(sleep.reservoir.examples)} examples are left to be read again, not {left}")
        if moved and sleep.reservoir.seen:
            wrong.append(f"{sleep.reservoir.seen} examples of a day that is over count as seen")
        return wrong
