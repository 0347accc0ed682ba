"""Trains and sleeps with however many processes run this; each writes the weights that it ends with."""

import sys
from pathlib import Path

from safetensors.torch import save_file

from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.ranks import leave_group
from tests.zoo.training.sleep.asleep import GENERATED, NOISE, REPLAY, notes, sleep_of, sleeper
from tests.zoo.training.tiny import tiny_model


def trained(kind: str) -> TrainingLoop:
    """Sleeps three times in twelve steps; without dropout, which draws other numbers on another process."""
    spec = {"noise": NOISE, "replay": REPLAY, "generated": GENERATED}[kind]
    trainer = sleeper(spec, model=tiny_model(dropout=0.0))
    trainer.run()
    return trainer


def main(out: Path) -> None:
    for kind in ("noise", "replay", "generated"):
        trainer = trained(kind)
        tensors = {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}
        tensors |= {f"reservoir/{name}": tensor for name, tensor in sleep_of(trainer).reservoir.tensors().items()}
        save_file(tensors, out / f"{kind}.rank-{trainer.ranks.rank}.safetensors")
        if trainer.ranks.is_main:
            assert notes(trainer).count("sleep") == [4, 8, 12]
        # A stop that one process alone is asked for in mid-sleep takes the step back on both.
        spec = {"noise": NOISE, "replay": REPLAY, "generated": GENERATED}[kind]
        stopped = sleeper(spec, model=tiny_model(dropout=0.0))
        last = stopped.ranks.rank == stopped.ranks.count - 1
        sleep_of(stopped).progress = lambda done, _, s=stopped, here=last: (
            s.stop("terminated") if here and done else None
        )
        stopped.run()
        assert stopped.position == 3


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    leave_group()
