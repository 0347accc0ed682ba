"""Mistakes in networks that are to be a base: where their layers are, what these read, and whose weights they have."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from cortexzoo.harness.checking.mistakes.attempt import Attempt, fits, mistaken
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.zoo.models.base import Base
from cortexzoo.zoo.models.probing import Places, prove

VOCAB, LAYERS, WIDTH = 11, 3, 4


class _Sums(nn.Module):
    """Layers that add up what was read; `run` may do something else than a call of the network.

    unlike: what sidecars change although they add nothing. deaf: a layer to which nothing can be added. forgets: how
    much of what was read is lost between two pieces. refuses: whether it refuses them. mute: its logits are zero until
    something is added. loud: how large they are.
    """

    def __init__(
        self,
        unlike: float = 0.0,
        deaf: int | None = None,
        forgets: float = 0.0,
        loud: float = 1.0,
        *,
        refuses: bool = False,
        mute: bool = False,
    ) -> None:
        super().__init__()
        self.unlike, self.deaf, self.forgets, self.refuses = unlike, deaf, forgets, refuses
        random = torch.Generator().manual_seed(0)
        self.table = nn.Parameter(torch.randn(VOCAB, WIDTH, generator=random) * (not mute))
        self.outputs = nn.Parameter(torch.randn(WIDTH, VOCAB, generator=random) * loud)

    def forward(self, input_ids: Tensor, **_: Any) -> Any:
        return SimpleNamespace(logits=self._logits(input_ids, None, lambda _, __, hidden: hidden, ())[0])

    def run(self, tokens: Tensor, past: Any, edit: Callable[..., Tensor], layers: Any, *, keep_cache: bool) -> Any:
        """Logits, and what was read."""
        if self.refuses and len(past):
            raise TypeError("keeps nothing")
        logits, read = self._logits(tokens, past[0] if len(past) else None, edit, layers)
        return logits + self.unlike, (read * (1 - self.forgets),) if keep_cache else ()

    def _logits(self, tokens: Tensor, past: Tensor | None, edit: Callable[..., Tensor], layers: Any) -> Any:
        hidden = self.table[tokens]
        read = hidden.cumsum(1) + (0 if past is None else past)
        for layer in range(LAYERS):
            if layer in layers and layer != self.deaf:
                read = edit(layer, read, read)
        return read @ self.outputs, read[:, -1:]


class _Cache:
    """Keys and values of each layer, as networks keep them."""

    def __init__(self) -> None:
        self.layers: list[SimpleNamespace] = []

    def update(self, keys: Tensor, values: Tensor, layer: int) -> None:
        """In the place of those of that layer, or behind all others."""
        self.layers[layer : layer + 1] = [SimpleNamespace(keys=keys, values=values)]


class _Layer(nn.Module):
    """hidden + mix(the sum of all that its norm gave); the first norm by name reads something else."""

    def __init__(self, *, reads_as_it_is: bool, gives_a_tuple: bool) -> None:
        super().__init__()
        self.after_norm, self.norm = nn.LayerNorm(WIDTH), nn.Identity() if reads_as_it_is else nn.LayerNorm(WIDTH)
        self.mix = nn.Linear(WIDTH, WIDTH)
        self.gives_a_tuple = gives_a_tuple

    def added(self, hidden: Tensor, past: Tensor | float) -> tuple[Tensor, Tensor]:
        """The layer's output, and what it has read in all after each token."""
        read = self.norm(hidden).cumsum(1) + past
        return hidden + self.after_norm(self.mix(read)), read

    def forward(self, hidden_states: Tensor, past: Any = None, place: int = 0) -> Any:
        hidden = hidden_states
        kept = past is not None and len(past.layers) > place
        out, read = self.added(hidden, past.layers[place].keys[:, 0] if kept else 0.0)
        if past is not None:
            past.update(read[:, None, -1:], 2 * read[:, None, -1:], place)
        return (out, None) if self.gives_a_tuple else out


class _Network(nn.Module):
    """A causal language model as transformers has them.

    forgets: it begins anew in every piece. backwards: its last layer comes first. twice: there is a second list of
    as many layers, which the first is followed by. named: its layers get what they read by name. spare: there is
    one that nothing comes to. wide: the hidden size that it claims is one more than it has. noted: a buffer that it
    has besides.
    """

    def __init__(self, layers: int = LAYERS, noted: Sequence[int] = (2,), seed: int = 0, **kind: bool) -> None:
        super().__init__()
        self.kind = kind
        norms = {"reads_as_it_is": kind.get("reads_as_it_is", False), "gives_a_tuple": kind.get("tuples", False)}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.spare = nn.ModuleList(_Layer(**norms) for _ in range(LAYERS)) if "spare" in kind else None
            self.layers = nn.ModuleList(_Layer(**norms) for _ in range(layers))
            self.further = nn.ModuleList(_Layer(**norms) for _ in range(LAYERS)) if "twice" in kind else None
            self.table, self.outputs = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, VOCAB)
        self.register_buffer("noted", torch.zeros(*noted))
        self.config = SimpleNamespace(
            num_hidden_layers=LAYERS, hidden_size=WIDTH + ("wide" in kind), vocab_size=VOCAB
        )  # fmt: skip
        if "unnamed" in kind:
            del self.config.hidden_size

    def forward(self, input_ids: Tensor, past: Any = None, **_: Any) -> Any:
        hidden, past = self.table(input_ids), None if "forgets" in self.kind else past
        every = [*self.layers, *(self.further or ())]
        for place, layer in enumerate(reversed(every) if "backwards" in self.kind else every):
            if "named" in self.kind:
                found = layer(hidden_states=hidden, past=past, place=place)
            else:
                found = layer(hidden, past, place)
            hidden = found[0] if isinstance(found, tuple) else found
        return SimpleNamespace(logits=self.outputs(hidden))

    def get_output_embeddings(self) -> nn.Module:
        return self.outputs


class _Thrifty(_Network):
    """Gives the last logits alone, where it is called so."""

    def forward(self, input_ids: Tensor, past: Any = None, logits_to_keep: int = 0, **_: Any) -> Any:
        return SimpleNamespace(logits=super().forward(input_ids, past).logits[:, -logits_to_keep:])


def of_bases(_: Subject) -> Iterator[Attempt]:
    """Of networks beside whose layers sidecars are to stand."""
    for what, sums, works in (
        ("a base", _Sums(), True),
        ("a base that loses what is within rounding", _Sums(forgets=1e-4), True),
        ("a base of large logits that loses what is within rounding", _Sums(forgets=1e-4, loud=100.0), True),
        ("a base that deafens a layer between the first and the last", _Sums(deaf=1), True),
        ("a base all of whose logits are zero", _Sums(mute=True), True),
        ("a base that sidecars change although they add nothing", _Sums(unlike=1e-6), False),
        ("a base whose first layer hears nothing", _Sums(deaf=0), False),
        ("a base whose last layer hears nothing", _Sums(deaf=LAYERS - 1), False),
        ("a base that forgets between two pieces", _Sums(forgets=1.0), False),
        ("a base that forgets a little between two pieces", _Sums(forgets=0.02), False),
        ("a base of small logits that forgets a little between two pieces", _Sums(forgets=0.02, loud=1e-3), False),
        ("a base that refuses pieces", _Sums(refuses=True), False),
    ):
        places = Places((nn.Identity(),) * LAYERS, (None,) * LAYERS)
        yield Attempt(what, partial(prove, sums.run, sums, places, VOCAB, "a base"), works)
    for what, network in (
        ("a network whose layers have two norms", _Network()),
        ("a network that can leave out logits", _Thrifty()),
        ("a network whose layers read without a norm", _Network(reads_as_it_is=True)),
        ("a network whose layers give tuples", _Network(tuples=True)),
        ("a network whose layers get what they read by name", _Network(named=True)),
        ("a network with spare layers", _Network(spare=True)),
    ):
        yield fits(what, partial(_read, network))
    for what, network in (
        ("a network that forgets between two pieces", _Network(forgets=True)),
        ("a network that runs backwards", _Network(backwards=True)),
        ("a network with two lists of layers", _Network(twice=True)),
        ("a network with a layer more than it claims", _Network(LAYERS + 1)),
        ("a network with a layer less than it claims", _Network(LAYERS - 1)),
        ("a network that is less wide than it claims", _Network(wide=True)),
        ("a network of no stated width", _Network(unnamed=True)),
    ):
        yield mistaken(what, partial(_base_of, network))
    yield from _of_sums()


def _base_of(network: _Network, *, learns: bool = False) -> Base:
    return Base.of(network, "a network", _Cache, "past", learns=learns)


@torch.no_grad()
def _read(network: _Network) -> None:
    """Sidecars read what each layer reads behind its norm, and what they add is what the next layer reads."""
    base, seen = _base_of(network), dict[int, Tensor]()
    if any(parameter.requires_grad for parameter in network.parameters()):
        raise ValueError("it would learn")
    tokens = torch.arange(2 * 5).view(2, 5) % VOCAB
    added = torch.linspace(-1, 1, WIDTH)

    def edit(layer: int, normed: Tensor, hidden: Tensor) -> Tensor:
        seen[layer] = normed
        return hidden + (layer + 1) * added + normed / 4

    every, nothing = tuple(range(LAYERS)), network(tokens).logits
    logits = base.run(tokens, (), edit, every, keep_cache=False)[0]
    hidden: Tensor = network.table(tokens)
    for place, layer in enumerate(network.layers):
        assert isinstance(layer, _Layer)
        normed = layer.norm(hidden)
        if not torch.equal(seen[place], normed):
            raise ValueError(f"a sidecar beside layer {place} reads something else than that layer")
        hidden = layer.added(hidden, 0.0)[0] + (place + 1) * added + normed / 4
    some, run = tokens % 2 == 0, partial(base.run, tokens, (), edit, keep_cache=False)
    found = {
        "all": (logits, network.outputs(hidden)),
        "the last": (run(every, last_logits_only=True)[0], logits[:, -1:]),
        "some": (run(every, scored=some)[0], logits[some]),
        "of no sidecar": (run(())[0], nothing),
        "in pieces": (_in_pieces(base, tokens, edit, every), logits),
    }
    with base.hooked(every):
        found["in pieces, hooked"] = (_in_pieces(base, tokens, edit, every), logits)
        found["between two calls"] = (network(tokens).logits, nothing)
        found["of no sidecar, hooked"] = (run(())[0], nothing)
    found["afterwards"] = (run(every)[0], logits)
    found["of the network afterwards"] = (network(tokens).logits, nothing)
    for what, (one, other) in found.items():
        if one.shape != other.shape or not torch.allclose(one, other, atol=1e-5):
            raise ValueError(f"logits {what} are others")


def _in_pieces(base: Base, tokens: Tensor, edit: Any, every: Sequence[int]) -> Tensor:
    """Each from the cache of the piece before, which other tokens were read from first and left as it is."""
    cache: Any = ()
    logits = []
    for begin, end in ((0, 2), (2, 3), (3, 5)):
        base.run(tokens[:, begin:end] * 0, cache, edit, every, keep_cache=True)
        found, cache = base.run(tokens[:, begin:end], cache, edit, every, keep_cache=True)
        logits.append(found)
    return torch.cat(logits, dim=1)


def _of_sums() -> Iterator[Attempt]:
    """Sidecars know the base that they were trained on by its weights; of one that learns there are none to know."""
    other, again = _Network(), _Network(seed=1)
    with torch.no_grad():
        other.outputs.bias[-1] += 1e-6
    for what, attempt, one, asked, learns in (
        ("the base of a training", fits, _Network(), _Network(), (False, False)),
        ("it in more digits", fits, _Network(), _Network().double(), (False, False)),
        ("a base that learnt", fits, _Network(), again, (True, True)),
        ("a base with another number in its weights", mistaken, _Network(), other, (False, False)),
        ("a base with a weight of another shape", mistaken, _Network(), _Network(noted=(1, 2)), (False, False)),
        ("a base that learns in place of one that did not", mistaken, _Network(), _Network(), (False, True)),
        ("a base that does not learn in place of one that did", mistaken, _Network(), _Network(), (True, False)),
    ):
        yield attempt(what, partial(_exchanged, one, asked, learns))


def _exchanged(one: _Network, other: _Network, learns: tuple[bool, bool]) -> None:
    saved = _base_of(one, learns=learns[0]).sum_bytes()
    _base_of(other, learns=learns[1]).require_sum(saved, "sidecars")
