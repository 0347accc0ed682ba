"""A base that is trained here: once for each spec and text, then kept in the user's cache folder."""

import math
import string
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import Int
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from cortexzoo.specs.backbone import BaseTrainingSpec, TrainedBackbone
from cortexzoo.zoo import checkpoints
from cortexzoo.zoo.cache import cache_folder
from cortexzoo.zoo.data.order import cut_windows
from cortexzoo.zoo.data.sources import read_source
from cortexzoo.zoo.data.text import TextData

VALIDATION_FRACTION = 0.1
VALIDATION_WINDOWS = 64
LINES = 10
PRINTABLE = np.frombuffer(f"{string.printable[:95]}\n".encode(), dtype=np.uint8).astype(np.int64)


def trained_weights(spec: TrainedBackbone, new_network: Callable[[], nn.Module]) -> dict[str, Tensor]:
    """The weights of the base that `spec` describes, from the cache or, the first time, by training.

    Several processes that need the same base train it once. Progress goes to standard error. Raises `DataError` when
    the text cannot be used and `CheckpointError` when the cache is damaged or cannot be written.
    """
    data = TextData.from_bytes(read_source(spec.training.source), VALIDATION_FRACTION)
    data.require(spec.training.sequence_length, spec.architecture.vocab_size)
    folder = cache_folder() / "bases" / f"{spec.hash()}-{data.sha256[:16]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            _train_into(folder, spec, new_network, data)
    return checkpoints.CheckpointReader(folder).tensors("model")


def _train_into(folder: Path, spec: TrainedBackbone, new_network: Callable[[], nn.Module], data: TextData) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(spec.training.seed)
        network = new_network()
        held_out = train_base(network, spec.training, data)
    sys.stderr.write(f"base {spec.hash()}: held-out loss {held_out:.3f} nats a byte, kept in {folder}\n")
    checkpoints.begin(folder)
    texts = {"base": {"spec": spec.model_dump(mode="json"), "data": data.sha256, "validation_loss": held_out}}
    checkpoints.write_files(folder, {"model": network.state_dict()}, texts)
    checkpoints.publish(folder)


def train_base(network: nn.Module, spec: BaseTrainingSpec, data: TextData) -> float:
    """Train `network` on the next byte; returns its held-out loss in nats a byte."""
    order = data.training_order(spec.sequence_length, spec.seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=spec.learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, spec))
    network.train()
    for step in _reported(spec.steps):
        starts = order.starts(step * spec.batch_size, spec.batch_size)
        tokens = cut_windows(data.train, starts, spec.sequence_length)
        spelled = round(spec.spelling * spec.batch_size)
        tokens[:spelled] = spelling(spelled, spec.sequence_length + 1, np.random.default_rng([spec.seed, step]))
        loss = _loss(network, tokens)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), 1.0, error_if_nonfinite=True)
        optimizer.step()
        schedule.step()
    network.eval()
    with torch.no_grad():
        starts = data.validation_starts(spec.sequence_length, VALIDATION_WINDOWS)
        return _loss(network, cut_windows(data.validation, starts, spec.sequence_length)).item()


def spelling(rows: int, length: int, generator: np.random.Generator) -> Int[Tensor, "rows length"]:
    """Random printable characters, each two to four times in a row, so that what comes next is in part known."""
    times = int(generator.integers(2, 5))
    drawn = generator.choice(PRINTABLE, size=(rows, -(-length // times)))
    return torch.from_numpy(drawn.repeat(times, axis=1)[:, :length])


def _loss(network: nn.Module, tokens: Tensor) -> Tensor:
    logits = network(input_ids=tokens[:, :-1], use_cache=False, return_dict=True).logits
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def _rate(step: int, spec: BaseTrainingSpec) -> float:
    warmup = min(1.0, (step + 1) / spec.warmup_steps)
    return warmup * (0.1 + 0.9 * (1 + math.cos(math.pi * step / spec.steps)) / 2)


def _reported(steps: int) -> Iterator[int]:
    """The step numbers, with a bar on a terminal and a line every tenth of them elsewhere."""
    if sys.stderr.isatty():
        yield from track(range(steps), "training the base", console=Console(stderr=True))
        return
    for step in range(steps):
        yield step
        if (step + 1) % max(1, steps // LINES) == 0:
            sys.stderr.write(f"training the base: step {step + 1}/{steps}\n")
