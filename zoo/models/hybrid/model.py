"""The hybrid: a frozen base that sees one chunk at a time, and sidecars whose memory crosses the chunks."""

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from math import ceil
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.specs.metrics import GATE_SHARE
from cortexzoo.zoo.models.base import Base
from cortexzoo.zoo.models.hybrid.block import FAST_WEIGHTS, SLOW_STORE, WINDOW, Sidecar
from cortexzoo.zoo.models.hybrid.slow_store import SlowStore
from cortexzoo.zoo.models.hybrid.state import HybridState, SidecarState
from cortexzoo.zoo.models.interface import TOKENS_AT_ONCE, MemoryLanguageModel, ModelOutput

LogitsOf = Literal["all", "last"]


class Piece(NamedTuple):
    """Tokens that the base takes in one call: `chunks` rows of `length` tokens for each row of the batch."""

    start: int
    chunks: int
    length: int
    ends_chunk: bool

    @property
    def tokens(self) -> int:
        return self.chunks * self.length

    @property
    def places(self) -> slice:
        return slice(self.start, self.start + self.tokens)


class Hybrid(MemoryLanguageModel[HybridState]):
    """Sidecars parallel to decoder layers: each reads its layer's normed input and adds to its layer's output.

    Attention of the base never crosses a chunk boundary, so whole chunks go through it side by side, as rows of one
    batch; the sidecars see them one after the other. A frozen base is no part of this module: its weights are not among
    the parameters or the saved state, which contains the base's sum instead, and another base's sum is refused. A base
    that learns is part of it.
    """

    switches: tuple[str, ...] = (FAST_WEIGHTS, WINDOW)
    state_carries_gradient = True

    def __init__(self, spec: HybridSpec, base: Base) -> None:
        super().__init__()
        self.spec = spec
        self.base = base
        self.vocab_size = spec.vocab_size
        self.recompute_activations: bool | None = False
        """Keep no activations for the backward pass but those at the borders of a call's pieces; make them again."""
        hidden_size = spec.backbone.architecture.hidden_size
        self.sidecars = nn.ModuleDict(
            {str(layer): Sidecar(spec.mixer, hidden_size, spec.slow_store_of(layer)) for layer in spec.sidecar_layers}
        )
        if self.slow_store is not None:
            self.switches = (*self.switches, SLOW_STORE)
        self.has_frozen_base = not base.learns
        self.learning_base = base.network if base.learns else None

    def initial_state(self, batch_size: int) -> HybridState:
        """Empty memories at the start of a document."""
        sidecars = {int(layer): self.sidecar(layer).initial_state(batch_size) for layer in self.sidecars}
        return HybridState(sidecars, (), 0)

    @contextmanager
    def fixed_weights(self) -> Iterator[None]:
        """The sidecars lay their weights together once, and torch notes nothing for gradients.

        What is made inside can take part in no backward pass, outside either, unless someone may keep it.
        """
        with ExitStack() as fixed:
            fixed.enter_context(self.base.inference(self.modules()))
            fixed.enter_context(self.base.hooked(self.spec.sidecar_layers))
            for layer in self.sidecars:
                fixed.enter_context(self.sidecar(layer).fixed())
            yield

    def receptive_field(self, disabled: Collection[str] = ()) -> int | None:
        """Each sidecar looks back by its window and convolution, into a chunk that the base has seen from its start."""
        if FAST_WEIGHTS not in disabled:
            return None
        if WINDOW in disabled:
            return 0
        size, mixer = self.spec.chunk_size, self.spec.mixer
        back = mixer.window_size - 1 + mixer.conv.kernel_size - 1
        return len(self.sidecars) * ceil(back / size) * size

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """`memory_gates`: what decides how strongly a token is written and how long the memory lasts."""
        gates = [p for layer in self.sidecars for p in self.sidecar(layer).memory.gates.parameters()]
        known = {id(parameter) for parameter in gates}
        others = [p for p in self.parameters() if p.requires_grad and id(p) not in known]
        return {"base": others, "memory_gates": gates}

    def sidecar(self, layer: int | str) -> Sidecar:
        """The sidecar of a decoder layer."""
        sidecar = self.sidecars[str(layer)]
        assert isinstance(sidecar, Sidecar)
        return sidecar

    @property
    def base_network(self) -> nn.Module:
        """The base, which is part of this module only where it learns."""
        return self.base.network

    @property
    def slow_store(self) -> SlowStore | None:
        """That of the one sidecar which has one."""
        return next((self.sidecar(n).slow_store for n in self.sidecars if self.sidecar(n).slow_store), None)

    def forward(
        self, tokens: Int[Tensor, "batch time"], state: HybridState | None = None, disabled: Collection[str] = ()
    ) -> ModelOutput[HybridState]:
        """Logits [B, T, V] and the state, which keeps its history: gradients flow through it until it is detached."""
        return self.advance(tokens, state, disabled)

    def advance(
        self,
        tokens: Int[Tensor, "batch time"],
        state: HybridState | None = None,
        disabled: Collection[str] = (),
        score: LogitsOf = "all",
    ) -> ModelOutput[HybridState]:
        """As `forward`; with `score="last"` logits [B, 1, V] of the last token alone, for texts of any length."""
        state = self.initial_state(tokens.shape[0]) if state is None else state
        self._check(tokens, state, disabled)
        batch, time = tokens.shape
        logits: list[Tensor] = []
        readings = _Readings()
        for piece in self._pieces(tokens, state.position):
            scored, state, measured = self._through(tokens[:, piece.places], piece, state, disabled, score)
            logits = [*logits, scored] if score == "all" else [scored[:, -1:]]
            readings.add(measured, piece.tokens)
        if not logits:
            logits = [self._like.new_zeros(batch, 0 if score == "last" else time, self.vocab_size)]
        whole = logits[0] if len(logits) == 1 else torch.cat(logits, dim=1)
        return ModelOutput(whole, state, readings.means())

    def logits_at(
        self,
        tokens: Int[Tensor, "batch time"],
        scored: Bool[Tensor, "batch time"],
        state: HybridState | None = None,
        disabled: Collection[str] = (),
    ) -> ModelOutput[HybridState]:
        state = self.initial_state(tokens.shape[0]) if state is None else state
        self._check(tokens, state, disabled)
        batch, time = tokens.shape
        logits, order = [self._like.new_zeros(0, self.vocab_size)], [tokens.new_zeros(0)]
        places = torch.arange(batch * time, device=tokens.device).reshape(batch, time)
        readings = _Readings()
        for piece in self._pieces(tokens, state.position):
            chosen = scored[:, piece.places]
            part, state, measured = self._through(tokens[:, piece.places], piece, state, disabled, chosen)
            readings.add(measured, piece.tokens)
            logits.append(part)
            order.append(places[:, piece.places][chosen])
        in_order = torch.cat(logits)[torch.cat(order).argsort()]
        return ModelOutput(in_order, state, readings.means())

    def read(self, tokens: Int[Tensor, "batch time"], state: HybridState | None = None) -> ModelOutput[HybridState]:
        """As `advance` with `score="last"`."""
        return self.advance(tokens, state, score="last")

    def _through(
        self, tokens: Tensor, piece: Piece, state: HybridState, disabled: Collection[str], score: LogitsOf | Tensor
    ) -> tuple[Tensor, HybridState, dict[str, Tensor]]:
        def run() -> tuple[Tensor, HybridState, dict[str, Tensor]]:
            return self._run_piece(tokens, piece, state, disabled, score)

        if not (self.recompute_activations and torch.is_grad_enabled()):
            return run()
        # The base has no dropout and sidecars draw nothing, so there is no random state to keep.
        result: tuple[Tensor, HybridState, dict[str, Tensor]] = checkpoint(
            run, use_reentrant=False, preserve_rng_state=False
        )
        return result

    def _run_piece(
        self, tokens: Tensor, piece: Piece, state: HybridState, disabled: Collection[str], score: LogitsOf | Tensor
    ) -> tuple[Tensor, HybridState, dict[str, Tensor]]:
        batch = tokens.shape[0]
        rows = (batch * piece.chunks, piece.length)
        after: dict[int, SidecarState] = {}
        readings: dict[str, Tensor] = {}

        def edit(layer: int, normed: Tensor, hidden: Tensor) -> Tensor:
            """The sidecar reads the chunks of a row in sequence; the base has them as rows of its own."""
            in_sequence = normed.reshape(batch, piece.tokens, -1)
            out, after[layer], measured = self.sidecar(layer)(in_sequence, state.sidecars[layer], disabled)
            added: Tensor = hidden + out.reshape(hidden.shape).to(hidden.dtype)
            if measured:
                measured["memory/output_share"] = _share(out, added)
                readings.update({f"{name}/layer_{layer}": value for name, value in measured.items()})
            return added

        logits, cache = self.base.run(
            tokens.reshape(rows),
            state.cache,
            edit,
            tuple(state.sidecars),
            keep_cache=not piece.ends_chunk,
            last_logits_only=isinstance(score, str) and score == "last",
            scored=score.reshape(rows) if isinstance(score, Tensor) else None,
        )
        scored = logits if isinstance(score, Tensor) else logits.reshape(batch, -1, logits.shape[-1])
        return scored, HybridState(after, cache, state.position + piece.tokens), readings

    def _pieces(self, tokens: Tensor, position: int) -> Iterator[Piece]:
        """First what finishes the chunk begun before, then whole chunks, then what begins the next."""
        batch, time = tokens.shape
        size = self.spec.chunk_size
        start, begun = 0, position % size
        at_once = max(1, TOKENS_AT_ONCE // max(1, batch * size))
        while start < time:
            rest = time - start
            if begun or rest < size:
                piece = Piece(start, 1, min(size - begun, rest), begun + rest >= size)
            else:
                piece = Piece(start, min(rest // size, at_once), size, True)
            yield piece
            start, begun = start + piece.tokens, 0

    def _check(self, tokens: Tensor, state: HybridState, disabled: Collection[str]) -> None:
        if state.batch_size != tokens.shape[0]:
            raise ValueError(
                f"the memory state belongs to a batch of {state.batch_size}, but this batch has {tokens.shape[0]} "
                "rows: start from initial_state(batch_size) or keep the batch size"
            )
        self.check_switches(disabled)
        if tuple(state.sidecars) != self.spec.sidecar_layers:
            raise ValueError(
                f"the memory state has sidecars on layers {list(state.sidecars)}, this model on "
                f"{list(self.spec.sidecar_layers)}"
            )

    @property
    def _like(self) -> Tensor:
        return next(self.parameters())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Hybrid":
        """Moving or casting takes the base along."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if not self.base.learns:
            self.base.network._apply(fn)
        return self

    def get_extra_state(self) -> Tensor:
        """The base's sum, 32 bytes: part of `state_dict`, so that every checkpoint names its base. 0: contains it."""
        return self.base.sum_bytes()

    def set_extra_state(self, state: Tensor) -> None:
        """Raises `CheckpointError` when the weights being loaded were trained on another base."""
        self.base.require_sum(state, "the sidecars")


class _Readings:
    """Means over the tokens of a call's pieces that have them; of a norm, the last."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.tokens: dict[str, int] = {}

    def add(self, measured: dict[str, Tensor], tokens: int) -> None:
        for name, value in measured.items():
            if name.startswith("memory/state_norm"):
                self.sums[name], self.tokens[name] = value, 1
            else:
                weighed = value if tokens == 1 else value * tokens
                self.sums[name] = self.sums[name] + weighed if name in self.sums else weighed
                self.tokens[name] = self.tokens.get(name, 0) + tokens

    def means(self) -> dict[str, Tensor]:
        means = {n: s if self.tokens[n] == 1 else s / self.tokens[n] for n, s in self.sums.items()}
        gates = [value for name, value in means.items() if name.startswith("memory/gate_mean")]
        if gates:
            window = torch.stack(gates).mean()
            means |= {f"{GATE_SHARE}{WINDOW}": window, f"{GATE_SHARE}{FAST_WEIGHTS}": 1 - window}
        return means


def _share(out: Tensor, added: Tensor) -> Tensor:
    """The norm of what a sidecar adds, as a share of the norm of the layer's output with it."""
    whole = added.detach().float().norm()
    share: Tensor = out.detach().float().norm() / whole.clamp_min(torch.finfo(whole.dtype).tiny)
    return share
