"""Reading a text of any length through a trained model's memory, and sessions that last beyond the process."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import psutil
import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from cortexzoo.harness.errors import UserError
from cortexzoo.harness.runs.prompt import PIECE
from cortexzoo.harness.runs.run_folder import CHECKPOINTS, Run
from cortexzoo.zoo import checkpoints
from cortexzoo.zoo.checkpoints import CheckpointReader
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState
from cortexzoo.zoo.training.evaluation import model_device
from cortexzoo.zoo.training.state.snapshot import load_memory

SESSION = "session"


class SessionError(UserError):
    """A session that cannot be used: damaged, or of another run. The message is one line."""


@dataclass(frozen=True)
class Reading:
    """How far a stream has got and what it cost. Throughput and memory are of this process alone."""

    tokens: int
    """Read since the session began, in this process or before it."""
    nats: float
    """Mean negative log-likelihood of a token, given everything before it; the session's first token is not scored."""
    tokens_per_second: float
    resident_bytes: int
    state_norm: float
    """Euclidean norm of all floating-point numbers of the memory."""

    def as_json(self) -> dict[str, float | int]:
        return asdict(self)


class Stream:
    """A model, its memory, and the place in what it reads: any text, in constant memory where the state is bounded."""

    def __init__(self, model: MemoryLanguageModel[Any], state: MemoryState, owner: dict[str, str]) -> None:
        """`owner` identifies the run and the weights; a session is read back only by the same ones."""
        self.model, self.state, self.owner = model, state, owner
        self.tokens, self.total_nats = 0, 0.0
        self.last: Tensor | None = None
        """Logits after the last token read, [1, vocab]."""
        self._begun, self._tokens_before = time.perf_counter(), 0

    @classmethod
    def of_run(cls, run: Run, checkpoint: str = "best", device: torch.device | str = "cpu") -> "Stream":
        """A new session of a run's model, with its trained long-term memory. Raises as `load_model`."""
        model, state = run.load_model(checkpoint, device)
        sums = CheckpointReader(run.path / CHECKPOINTS / checkpoint).sums
        owner = {"spec": run.spec.hash(), "weights": sums["model.safetensors"]}
        with torch.no_grad():
            return cls(model, model.between_batches(state, 1), owner)

    @torch.no_grad()
    def read(self, piece: Int[Tensor, "1 time"]) -> None:
        """Read one piece. The bits depend on where pieces end, as those of every sum do on its order."""
        piece = piece.to(model_device(self.model))
        output = self.model(piece, self.state)
        logits = output.logits[0].float()
        if self.last is not None:
            logits = torch.cat([self.last, logits])
        targets = piece[0, -(len(logits) - 1) :] if len(logits) > 1 else piece[0, :0]
        self.total_nats += float(cross_entropy(logits[:-1], targets, reduction="sum").double())
        self.state, self.last = output.state.detached(), logits[-1:].clone()
        self.tokens += piece.shape[1]

    def reading(self) -> Reading:
        """The figures so far."""
        seconds = max(time.perf_counter() - self._begun, 1e-9)
        floats = [tensor.double() for tensor in self.state.tensors().values() if tensor.is_floating_point()]
        return Reading(
            tokens=self.tokens,
            nats=self.total_nats / max(self.tokens - 1, 1),
            tokens_per_second=(self.tokens - self._tokens_before) / seconds,
            resident_bytes=psutil.Process().memory_info().rss,
            state_norm=sqrt(sum(float(tensor.square().sum()) for tensor in floats)),
        )

    def save(self, folder: Path) -> None:
        """Write the session, whole or not at all. Raises `CheckpointError` and `OSError`."""
        last = {} if self.last is None else {"last": self.last}
        about = {"owner": self.owner, "tokens": self.tokens, "total_nats": self.total_nats.hex()}
        checkpoints.begin(folder)
        try:
            checkpoints.write_files(folder, {"memory": self.state.tensors(), "logits": last}, {SESSION: about})
            checkpoints.publish(folder)
        except BaseException:
            checkpoints.abandon(folder)
            raise

    def restore(self, folder: Path) -> None:
        """Resume a saved session. Raises `SessionError` for that of another run, `CheckpointError` when damaged."""
        reader = CheckpointReader(folder)
        about = reader.json(SESSION)
        for what, mine in self.owner.items():
            other = about.get("owner", {}).get(what) if isinstance(about.get("owner"), dict) else None
            if other != mine:
                raise SessionError(
                    f"{folder}: session of another run: its {what} is {str(other)[:12]}, this run's is {mine[:12]}"
                )
        self.state = load_memory(self.model, folder)
        last = reader.tensors("logits").get("last")
        self.last = None if last is None else last.to(model_device(self.model))
        try:
            self.tokens, self.total_nats = int(about["tokens"]), float.fromhex(about["total_nats"])
        except (KeyError, TypeError, ValueError):
            raise SessionError(f"{folder}: the session's place is missing or not a number") from None
        self._tokens_before = self.tokens


def drawn_tokens(count: int, vocab_size: int, seed: int) -> Iterator[Int[Tensor, "1 time"]]:
    """Uniform random tokens in pieces: for throughput and memory, not for a loss."""
    generator = torch.Generator().manual_seed(seed)
    for first in range(0, count, PIECE):
        yield torch.randint(vocab_size, (1, min(PIECE, count - first)), generator=generator)


def readings(stream: Stream, pieces: Iterable[Int[Tensor, "1 time"]], every: int) -> Iterator[Reading]:
    """Read all pieces; a reading after every `every` tokens or more, and one at the end."""
    due = stream.tokens + every
    reported = -1
    for piece in pieces:
        stream.read(piece)
        if stream.tokens >= due:
            due, reported = stream.tokens + every, stream.tokens
            yield stream.reading()
    if stream.tokens != reported:
        yield stream.reading()
