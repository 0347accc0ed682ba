"""What each memory of a shipped experiment is worth, as measured: committed, and made by `cortexzoo study worth`."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev

from cortexzoo.specs import ExperimentSpec

RECORDS = Path(__file__).parents[1] / "records"


class RecordError(Exception):
    """No record that can be used. The message is one line."""


@dataclass(frozen=True)
class Trials:
    """Losses on the test part in nats a byte, one a seed, in one order."""

    disabled: tuple[float, ...]
    """Of the experiment's own models, with this memory switched off."""
    without: tuple[float, ...]
    """Of equal models that were trained without it."""


@dataclass(frozen=True)
class WorthRecord:
    """Losses on the test part of an experiment, and of the same without each of its memories."""

    training: str
    """Of what training depends on but the seed: see `training_sum`."""
    data_sha256: str
    seeds: tuple[int, ...]
    whole: tuple[float, ...]
    memories: Mapping[str, Trials]

    @classmethod
    def read(cls, name: str, folder: Path | None = None) -> "WorthRecord":
        """From `folder`, or what is committed. Raises `RecordError` when there is none, or none that can be read."""
        path = (folder or RECORDS) / f"{name}.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            memories = {
                memory: Trials(tuple(found["disabled"]), tuple(found["without"]))
                for memory, found in content["memories"].items()
            }
            seeds, whole = tuple(content["seeds"]), tuple(content["whole"])
            return cls(content["training"], content["data_sha256"], seeds, whole, memories)
        except FileNotFoundError:
            raise RecordError(f"{name} has no committed record of what its memories are worth") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
            again = f"`cortexzoo study worth {name}` measures it anew"
            raise RecordError(f"{path}: is no such record ({type(problem).__name__}): {again}") from problem

    def write(self, name: str, folder: Path) -> None:
        """Raises `OSError`."""
        folder.mkdir(exist_ok=True)
        text = json.dumps(asdict(self), indent=2, sort_keys=True)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8", newline="\n")

    def worth(self, memory: str) -> list[float]:
        """Nats a byte that the equal model without this memory loses, seed by seed."""
        return [without - whole for without, whole in zip(self.memories[memory].without, self.whole, strict=True)]

    def off(self, memory: str) -> list[float]:
        """Nats a byte by which the model with this memory switched off lies above the one that never had it."""
        trials = self.memories[memory]
        return [disabled - without for disabled, without in zip(trials.disabled, trials.without, strict=True)]


def training_sum(experiment: ExperimentSpec) -> str:
    """Hex digest of all that training depends on but the seed: variant, recipe and data."""
    parts = (experiment.variant, experiment.recipe, experiment.data)
    return hashlib.sha256("".join(part.hash() for part in parts).encode()).hexdigest()[:16]


def deviations(values: Sequence[float]) -> float:
    """The mean in standard deviations over the seeds; infinite where there is no spread. At least two values."""
    spread = stdev(values)
    return fmean(values) / spread if spread else float("inf") if fmean(values) > 0 else float("-inf")
