"""Every Hypothesis strategy of the tests, and the tensors they stand for."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin

import annotated_types as bounds
import torch
from hypothesis import reject
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError
from torch import Tensor
from torch.nn.functional import logsigmoid, normalize

from cortexzoo.specs.alert import Condition
from cortexzoo.specs.backbone import AnyArchitecture, BaseTrainingSpec, GPT2Architecture, RotaryArchitecture
from cortexzoo.specs.base import NAME_PATTERN, FilePath, FilePaths, NamedSpec, Spec, SpecReferences
from cortexzoo.specs.data import Almanac, MixtureSpec, TextSpec
from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.specs.kinds import Kind, adapter, spec_type
from cortexzoo.specs.loading.slots import Slot, field_slots, scalar_types
from cortexzoo.specs.mixer import DecaySpec, ShortConvSpec
from cortexzoo.specs.own_variant import ModuleSpec
from cortexzoo.specs.provenance import SourceKind
from cortexzoo.specs.task import MemoryTask
from cortexzoo.specs.tuned import TunedSpec

seeds = st.integers(0, 2**31 - 1)


@dataclass(frozen=True)
class GatedDeltaCase:
    """Inputs of a gated delta rule, with the gradients that come from above. `repr` is all that is needed to redraw."""

    batch: int
    time: int
    heads: int
    key_dim: int
    value_dim: int
    chunk_size: int
    decay: str
    seed: int
    max_beta: float = 1.0

    def inputs(self, dtype: torch.dtype = torch.float64) -> list[Tensor]:
        """q, k (unit rows), v, g, beta, initial_state: rounded to dtype."""
        rng = torch.Generator().manual_seed(self.seed)
        tokens = (self.batch, self.time, self.heads)
        q, k = (normalize(_normal(rng, *tokens, self.key_dim), dim=-1) for _ in range(2))
        v = _normal(rng, *tokens, self.value_dim)
        g = DECAYS[self.decay](rng, tokens)
        beta = torch.rand(tokens, generator=rng, dtype=torch.float64) * self.max_beta
        state = _normal(rng, self.batch, self.heads, self.key_dim, self.value_dim)
        return [tensor.to(dtype) for tensor in (q, k, v, g, beta, state)]

    def upstream(self, dtype: torch.dtype = torch.float64) -> list[Tensor]:
        """Gradients of the output and of the final state."""
        rng = torch.Generator().manual_seed(self.seed + 1)
        d_out = _normal(rng, self.batch, self.time, self.heads, self.value_dim)
        d_state = _normal(rng, self.batch, self.heads, self.key_dim, self.value_dim)
        return [d_out.to(dtype), d_state.to(dtype)]


@dataclass(frozen=True)
class WindowCase:
    """Inputs of sliding window attention, with `carried` tokens of state."""

    batch: int
    time: int
    heads: int
    key_dim: int
    value_dim: int
    window_size: int
    block_size: int
    carried: int
    seed: int

    def inputs(self, dtype: torch.dtype = torch.float64) -> list[Tensor]:
        """q, k, v, carried keys, carried values."""
        rng = torch.Generator().manual_seed(self.seed)
        tokens, before = (self.batch, self.time, self.heads), (self.batch, self.carried, self.heads)
        shapes = [
            (*tokens, self.key_dim),
            (*tokens, self.key_dim),
            (*tokens, self.value_dim),
            (*before, self.key_dim),
            (*before, self.value_dim),
        ]
        return [_normal(rng, *shape).to(dtype) for shape in shapes]

    def upstream(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """Gradient of the output."""
        rng = torch.Generator().manual_seed(self.seed + 1)
        return _normal(rng, self.batch, self.time, self.heads, self.value_dim).to(dtype)


DECAYS: dict[str, Callable[[torch.Generator, tuple[int, ...]], Tensor]] = {
    "none": lambda rng, shape: torch.zeros(shape, dtype=torch.float64),
    "slow": lambda rng, shape: -0.01 * torch.rand(shape, generator=rng, dtype=torch.float64),
    "gate": lambda rng, shape: logsigmoid(2 + _normal(rng, *shape)),
    "fast": lambda rng, shape: -3 * torch.rand(shape, generator=rng, dtype=torch.float64),
    # From 1e-3 to 100 over all magnitudes: some tokens forget nothing, others reach the clamp at -40.
    "mixed": lambda rng, shape: -(10 ** (5 * torch.rand(shape, generator=rng, dtype=torch.float64) - 3)),
    "cut": lambda rng, shape: torch.where(
        torch.rand(shape, generator=rng, dtype=torch.float64) < 0.05,
        -1e4,
        -0.1 * torch.ones(shape, dtype=torch.float64),
    ),
    "reset": lambda rng, shape: torch.where(
        torch.rand(shape, generator=rng, dtype=torch.float64) < 0.1, -torch.inf, torch.zeros(shape, dtype=torch.float64)
    ),
    # Three quarters of each chunk of 32 past the clamp, then slow: running sums near -1000, small differences.
    "wall": lambda rng, shape: torch.where(torch.arange(shape[1])[None, :, None] % 32 < 24, -50.0, -0.05).expand(shape),
}
"""Log decays by name, from no forgetting to a state that is thrown away."""


def gated_delta_cases(max_time: int = 90, decays: tuple[str, ...] = tuple(DECAYS)) -> st.SearchStrategy[GatedDeltaCase]:
    """Small shapes of every kind: one token, odd chunks, more chunks than tokens, key_dim unlike value_dim."""
    return st.builds(
        GatedDeltaCase,
        batch=st.integers(1, 2),
        time=st.integers(1, max_time),
        heads=st.integers(1, 3),
        key_dim=st.integers(1, 9),
        value_dim=st.integers(1, 9),
        chunk_size=st.sampled_from((1, 2, 3, 7, 16, 20, 32, 64)),
        decay=st.sampled_from(decays),
        seed=seeds,
    )


@st.composite
def window_cases(draw: st.DrawFn, max_time: int = 90) -> WindowCase:
    """Windows from one token to more than the sequence, carrying nothing, something or all they can."""
    window_size = draw(st.integers(1, max_time + 10))
    return WindowCase(
        batch=draw(st.integers(1, 2)),
        time=draw(st.integers(1, max_time)),
        heads=draw(st.integers(1, 2)),
        key_dim=draw(st.integers(1, 6)),
        value_dim=draw(st.integers(1, 6)),
        window_size=window_size,
        block_size=draw(st.sampled_from((1, 3, 8, 16, 64))),
        carried=draw(st.one_of(st.just(0), st.just(window_size - 1), st.integers(0, window_size - 1))),
        seed=draw(seeds),
    )


def splits(total: int, max_pieces: int = 6) -> st.SearchStrategy[list[slice]]:
    """Ways to cut `total` tokens into pieces, empty ones included."""
    cuts = st.lists(st.integers(0, total), max_size=max_pieces - 1).map(sorted)
    return cuts.map(lambda inner: [slice(a, b) for a, b in zip([0, *inner], [*inner, total], strict=True)])


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
"""Any text that has an encoding, line breaks and control characters included."""


@st.composite
def specs_of(draw: st.DrawFn, kind: Kind) -> NamedSpec:
    """Any valid spec of a kind, some of its fields vouched for; data paths are absolute, as in loaded specs."""
    content = draw(_content_of(kind))
    if kind == "experiment":
        _give_fitting_tokens(content)
    origin = st.fixed_dictionaries({"kind": st.sampled_from(get_args(SourceKind)), "where": texts})
    known = [key for key in content if key not in ("provenance", "name")]
    content["provenance"] = draw(st.dictionaries(st.sampled_from(known), origin, max_size=3) if known else st.just({}))
    try:
        spec: NamedSpec = adapter(kind).validate_json(json.dumps(content))
    except ValidationError:
        # A rule over several fields is broken.
        reject()
    return spec


ON_A_BASE = ("hybrid", "tuned")
PRETRAINED_KINDS = ("hub", "folder", "gguf", "package")


def _give_fitting_tokens(experiment: dict[str, Any]) -> None:
    """Most vocabularies do not suit most bases: one that does, in place of what was drawn."""
    data, variant = experiment["data"], experiment["variant"]
    backbone = variant.get("backbone", {}).get("kind") if variant["family"] in ON_A_BASE else "none"
    pretrained = backbone in PRETRAINED_KINDS
    if data["family"] == "task" and pretrained and data.get("vocabulary", "bytes") == "bytes":
        data["vocabulary"] = "tokenizer"
    if data["family"] not in ("text", "mixture"):
        return
    kind = data.get("vocabulary", {}).get("kind", "bytes")
    fitting = ("base", "file") if pretrained else ("bytes",) if backbone in ("trained", None) else ("bytes", "file")
    if kind not in fitting and not (kind == "bpe" and backbone in ("none", "scratch") and _fits(data, variant)):
        data["vocabulary"] = {"kind": fitting[0]}


def _fits(data: dict[str, Any], variant: dict[str, Any]) -> bool:
    logits = variant.get("vocab_size", 256) if variant["family"] not in ON_A_BASE else 256
    return bool(data["vocabulary"].get("size", 1024) <= logits)


TASK_SIZES: dict[str, st.SearchStrategy[int]] = {
    "num_pairs": st.integers(6, 8),
    "num_queries": st.integers(1, 6),
    "num_rebound": st.integers(1, 6),
    "num_letters": st.integers(8, 99),
    "num_keys": st.integers(8, 80),
    "num_values": st.integers(2, 80),
    "num_noise": st.integers(1, 80),
    "sequence_length": st.integers(32, 5000),
    "vocab_size": st.integers(9, 128).map(lambda half: 2 * half),
    "num_copied": st.integers(1, 32),
}
"""Sizes of memory tasks that fit one another, those that are left at their defaults included."""


ARCHITECTURE_SIZES: dict[str, st.SearchStrategy[Any]] = {
    "vocab_size": st.integers(256, 200_000),
    "num_layers": st.integers(2, 99),
    "num_kv_heads": st.just(1),
    "head_dim": st.none() | st.integers(1, 64).map(lambda half: 2 * half),
    "max_positions": st.integers(1024, 99_999),
}
HYBRID_SIZES: dict[type[Spec], dict[str, st.SearchStrategy[Any]]] = {
    HybridSpec: {"chunk_size": st.integers(1, 1024), "layers": st.sampled_from((None, [0], [1], [0, 1]))},
    TunedSpec: {"chunk_size": st.integers(1, 1024)},
    BaseTrainingSpec: {"sequence_length": st.integers(1, 1024)},
    RotaryArchitecture: ARCHITECTURE_SIZES,
    GPT2Architecture: ARCHITECTURE_SIZES,
    AnyArchitecture: ARCHITECTURE_SIZES,
    ShortConvSpec: {"kernel_size": st.integers(4, 9), "key_lags": st.lists(st.integers(0, 3), min_size=1, max_size=3)},
    DecaySpec: {"fastest_bias": st.floats(-20, 6), "slowest_bias": st.floats(6, 20)},
}
"""Sizes of bases and sidecars that fit one another, as for tasks."""
FRACTIONS = {name: st.sampled_from((0.1, 0.2, 0.4)) for name in ("validation_fraction", "test_fraction")}
TEXT_SIZES: dict[type[Spec], dict[str, st.SearchStrategy[Any]]] = {
    **dict.fromkeys((TextSpec, MixtureSpec), FRACTIONS),
    Almanac: {"volumes": st.sampled_from((10, 20, 100))},
}
"""Parts that end with a volume, as for tasks."""

WRITTEN: dict[type[Spec], dict[str, st.SearchStrategy[Any]]] = {
    ModuleSpec: {"source": st.just("/mine.py:make"), "sha256": st.just("0123456789abcdef" * 4)},
    Condition: {"when": st.sampled_from(("loss > 3", "gate_share/long_term <= -0.5", "loss_spikes>=1e3"))},
}
"""Texts of a form."""

references = st.from_regex(NAME_PATTERN, fullmatch=True).flatmap(lambda name: st.sampled_from((name, f"/{name}.yaml")))
"""Names of specs, and absolute paths of spec files."""

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@cache
def _content_of(kind: Kind) -> st.SearchStrategy[Any]:
    return _spec_content(Slot.of_type(spec_type(kind)))


def _spec_content(slot: Slot) -> st.SearchStrategy[Any]:
    """JSON values that fit a slot, rules over several fields apart."""
    if classes := slot.classes():
        return st.one_of([_fields(spec_class, slot) for spec_class in classes.values()])
    if get_origin(slot.annotation) is dict:
        keys, values = (_spec_content(Slot.of_type(part)) for part in get_args(slot.annotation))
        return st.dictionaries(keys, values, min_size=1)
    if any(isinstance(mark, SpecReferences) for mark in slot.metadata):
        return st.lists(references, min_size=1, max_size=3, unique=True) if slot.item() else references
    if item := slot.item():
        absolute = any(isinstance(mark, FilePaths) for mark in slot.metadata)
        items = _spec_content(item)
        names = get_origin(item.annotation) is Literal  # each once, as no spec takes one twice
        items = items.map(lambda path: f"/{path}") if absolute else items
        fewest = next((mark.min_length for mark in slot.metadata if isinstance(mark, bounds.MinLen)), 1)
        return st.lists(items, min_size=fewest, max_size=3, unique=names)
    if any(isinstance(mark, FilePath) for mark in slot.metadata):
        return texts.map(lambda path: f"/{path}")
    return st.one_of([_scalars(kind, slot.metadata) for kind in scalar_types(slot.annotation)])


def _fields(spec_class: type[Spec], slot: Slot) -> st.SearchStrategy[dict[str, Any]]:
    slots = {name: inner for name, inner in field_slots(spec_class).items() if name != "provenance"}
    fields = {name: _spec_content(inner) for name, inner in slots.items()}
    if "hidden_size" in fields:
        # Heads and columns divide it.
        fields["hidden_size"] = st.integers(1, 64).map(lambda units: 48 * units)
        fields |= {name: st.sampled_from((1, 2, 4, 8, 12)) for name in ("num_heads",) if name in fields}
    if spec_class in get_args(get_args(MemoryTask)[0]):
        fields |= {name: strategy for name, strategy in TASK_SIZES.items() if name in fields}
    for owner, sizes in (HYBRID_SIZES | TEXT_SIZES).items():
        if issubclass(spec_class, owner):
            fields |= {name: strategy for name, strategy in sizes.items() if name in fields}
    for owner, values in WRITTEN.items():
        if issubclass(spec_class, owner):
            fields |= values
    # pydantic asks for the tag; everything else that has a default may be left out.
    always = {slot.tag_key, "sha256"}  # without the sum the file would be read
    needed = {name for name, inner in slots.items() if name in always or inner.is_required()}
    return st.fixed_dictionaries(
        {name: fields[name] for name in needed},
        optional={name: strategy for name, strategy in fields.items() if name not in needed},
    )


def _scalars(kind: Any, marks: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    least = next((mark.gt for mark in marks if isinstance(mark, bounds.Gt)), None)
    most = next((mark.lt for mark in marks if isinstance(mark, bounds.Lt)), None)
    low = next((mark.ge for mark in marks if isinstance(mark, bounds.Ge)), least)
    high = next((mark.le for mark in marks if isinstance(mark, bounds.Le)), most)
    if kind is bool:
        return st.booleans()
    if kind is int:
        return st.integers(low if least is None else least + 1, high if most is None else most - 1)
    if kind is float:
        return st.floats(
            low,
            high,
            exclude_min=least is not None,
            exclude_max=most is not None,
            allow_nan=False,
            allow_infinity=False,
        )
    if kind is type(None):
        return st.none()
    if get_origin(kind) is tuple:
        return _spec_content(Slot.of_type(kind))
    if kind is JsonValue:
        return json_values
    assert kind is str, kind
    shortest = next((mark.min_length for mark in marks if isinstance(mark, bounds.MinLen)), 0)
    pattern = next((mark.pattern for mark in marks if getattr(mark, "pattern", None)), None)
    return (
        st.from_regex(pattern, fullmatch=True).filter(lambda text: len(text) <= 80)
        if pattern
        else texts.filter(lambda text: len(text) >= shortest)
    )


def _normal(rng: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=rng, dtype=torch.float64)
