"""The slow store of a hybrid against its formulas, written out in float64 from the documentation."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from cortexzoo.harness.checking.properties.base import (
    Case,
    Finding,
    Property,
    largest_difference,
    number,
    scale_of,
    text,
)
from cortexzoo.harness.checking.properties.day_again import of_a_day
from cortexzoo.harness.checking.properties.hybrid import hybrid_of
from cortexzoo.harness.checking.properties.nights import NIGHTS, Night
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.specs.mixer import MixerSpec
from cortexzoo.specs.slow_store import ProductStore
from cortexzoo.zoo.models.hybrid.block import Sidecar
from cortexzoo.zoo.models.hybrid.block_token_loop import sidecar_token_loop
from cortexzoo.zoo.models.hybrid.slow_store import Pairs, SlowStore

RIDGE, SAME_KEY = 3e-3, 0.9
FEATURES, OUTPUTS = 80, 6
HIDDEN, TOKENS = 8, 9
MOST_LEFT_OUT = 64
ESTIMATE = 0.5
"""Of the mean novelty: 64 probes estimate that of one key with a relative error of 0.18."""


def store_cases(_: Subject) -> Iterable[Case]:
    """Products of two to four channels; one night, several, with keys bound anew and keys that come twice; in training.

    Once earlier nights are kept by the weights alone.

    In training the sleep stays, is undone since it may not stay, is stopped, or has no solution. Last, a day's texts.
    """
    for order, nights, channels in ((2, 1, 24), (2, 3, 9), (3, 2, 16), (4, 2, 12)):
        yield {"order": order, "nights": nights, "channels": channels, "seed": 0}
    yield {"order": 2, "nights": 3, "channels": 9, "seed": 1, "keeps": "weights"}
    for fate in NIGHTS:
        yield {"sleep": fate}
    yield {"of": "a day", "seed": 0}


def slow_store_follows_its_formulas(subject: Subject, case: Case) -> Finding:
    """After each night: curvature, targets, weights, and which keys are known with which answer.

    The store has the subject's settings and few features. Which products are drawn is its own choice. Of a day's
    texts: what a sleep moves, against every token worked out again.
    """
    if "of" in case:
        found, reason = of_a_day(hybrid_of(subject), number(case, "seed"))
        return Finding(found, reason, case)
    own = hybrid_of(subject).spec.slow_store
    if "sleep" in case:
        mistakes = Night.of(subject, fate := text(case, "sleep")).mistakes()
        reason = mistakes[0] if mistakes else f"a sleep in training that {fate} leaves what it should"
        return Finding(float("inf") if mistakes else 0.0, reason, case)
    order, nights, channels, seed = (number(case, name) for name in ("order", "nights", "channels", "seed"))
    settings = own if isinstance(own, ProductStore) else ProductStore()
    spec = settings.model_copy(update={"order": order})
    spec = spec.model_copy(update={"features": min(FEATURES, spec.distinct_products(channels))})
    store = SlowStore(spec, channels, OUTPUTS).double()
    wrong = _products(store, spec, channels)
    formulas = _Formulas(spec, store.channels, keeps_curvature=case.get("keeps") != "weights")
    random = torch.Generator().manual_seed(seed)
    apart: dict[str, float] = {}
    keys, values = _day(random, 70, channels)
    for night in range(1, nights + 1):
        reported = store.absorb(Pairs(keys, values), RIDGE, SAME_KEY, formulas.keeps_curvature)
        if reported != (wanted := formulas.sleep(keys, values)):
            wrong.append(f"night {night} reports {reported} new keys, there are {wanted}")
        others = _day(random, 40, channels)[0]
        apart |= {f"{what} after night {night}": d for what, d in _differences(store, formulas, keys).items()}
        wrong += _known(store, formulas, torch.cat([keys, others]))
        new = _day(random, 9, channels)[0]
        keys = torch.cat([new[:1], new, keys[:5], new[:2]])  # at once again, later again, and bound anew
        values = torch.randn(len(keys), OUTPUTS, generator=random, dtype=torch.float64)
    apart |= _in_a_sidecar(hybrid_of(subject).spec.mixer, spec, seed)
    worst = max(apart, key=lambda what: apart[what])
    if wrong:
        return Finding(float("inf"), wrong[0], {**case, "first": wrong[0]})
    return Finding(apart[worst], f"{worst} is {apart[worst]:.2g} from what the formulas give", {**case, "first": worst})


def _in_a_sidecar(mixer: MixerSpec, spec: ProductStore, seed: int) -> dict[str, float]:
    """A sidecar whose store answers every key, against one that takes a token at a time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        channels = mixer.num_heads * mixer.head_dim * max(1, mixer.key_products)
        few = spec.model_copy(update={"features": max(1, min(OUTPUTS, spec.distinct_products(channels)))})
        sidecar = Sidecar(mixer, HIDDEN, few).double()
        store = sidecar.slow_store
        assert store is not None
        for tensor in (sidecar.output.weight, store.weights):
            nn.init.normal_(tensor)
        store.pairs.fill_(1)
        store.usual.fill_(math.inf)
        x = torch.randn(2, TOKENS, HIDDEN, dtype=torch.float64)
        state = sidecar.initial_state(2)
        with torch.no_grad():
            out, after, _ = sidecar(x, state)
            other, wanted, _ = sidecar_token_loop(sidecar, x, state)
    pairs = {"outputs": (out, other), "fast weights": (after.fast_weights, wanted.fast_weights)}
    assert after.expected is not None and wanted.expected is not None
    pairs["expectation"] = (after.expected, wanted.expected)
    return {
        f"a sidecar's {what} with a store": largest_difference(one, written) / scale_of(written)
        for what, (one, written) in pairs.items()
    }


def _day(random: torch.Generator, count: int, channels: int) -> tuple[Tensor, Tensor]:
    """Unit keys and their values."""
    keys = torch.randn(count, channels, generator=random, dtype=torch.float64)
    return keys / keys.norm(dim=1, keepdim=True), torch.randn(count, OUTPUTS, generator=random, dtype=torch.float64)


def _products(store: SlowStore, spec: ProductStore, channels: int) -> list[str]:
    drawn = [tuple(sorted(product)) for product in store.channels.T.tolist()]
    if {len(product) for product in drawn} != {spec.order}:
        return [f"a product has not {spec.order} channels"]
    if len(set(drawn)) < spec.features or len(drawn) != spec.features:
        return [f"{len(set(drawn))} different products are drawn, {spec.features} are asked for"]
    return [] if all(0 <= channel < channels for product in drawn for channel in product) else ["no such channel"]


@dataclass
class _Formulas:
    """C = sum phi phi^T, B = sum phi v^T, A = C + ridge I, W = A^-1 B, novelty |ridge A^-1 phi|^2.

    Where curvature is not kept, the weights are those that are nearest to the earlier ones: C is of one night, ridge W
    of before is added to B, and no key is known.
    """

    spec: ProductStore
    channels: Tensor
    keeps_curvature: bool = True
    curvature: Tensor = field(init=False)
    targets: Tensor = field(init=False)
    usual: float = 1.0
    pairs: int = 0

    def __post_init__(self) -> None:
        self.curvature = torch.zeros(self.spec.features, self.spec.features, dtype=torch.float64)
        self.targets = torch.zeros(self.spec.features, OUTPUTS, dtype=torch.float64)

    def features(self, keys: Tensor) -> Tensor:
        phi: Tensor = torch.stack([keys[:, product].prod(dim=1) for product in self.channels.T.tolist()], dim=1)
        unit: Tensor = phi / phi.norm(dim=1, keepdim=True)
        return unit

    @property
    def inverse(self) -> Tensor:
        regular = self.curvature + RIDGE * torch.eye(self.spec.features, dtype=torch.float64)
        inverse: Tensor = torch.linalg.inv(regular)
        return inverse

    @property
    def weights(self) -> Tensor:
        weights: Tensor = self.inverse @ self.targets
        return weights

    def novelty(self, keys: Tensor) -> Tensor:
        outside: Tensor = RIDGE * self.inverse @ self.features(keys).T
        return outside.square().sum(0)

    def sleep(self, keys: Tensor, values: Tensor) -> int:
        """Returns how many keys were new."""
        if not self.keeps_curvature:
            self.targets, self.curvature, self.pairs = RIDGE * self.weights, torch.zeros_like(self.curvature), 0
        phis = self.features(keys)
        inverse, weights, threshold = self.inverse, self.weights, self.spec.unknown_from * self.usual
        moved: list[Tensor] = []
        known = 0
        for place, phi in enumerate(phis):
            if any(float(phi @ later) >= SAME_KEY for later in phis[place + 1 :]):
                continue
            outside = RIDGE * inverse @ phi
            if self.pairs and float(outside @ outside) < threshold:
                known += 1
                within = phi - outside
                missing = values[place] - weights.T @ phi
                self.targets = self.targets + torch.outer(within, missing) / (within @ inverse @ within)
            self.targets = self.targets + torch.outer(phi, values[place])
            self.curvature = self.curvature + torch.outer(phi, phi)
            moved.append(phi)
        self.pairs += len(moved)
        self.usual = self._without_itself(moved)
        return len(moved) - known

    def _without_itself(self, moved: Sequence[Tensor]) -> float:
        """The median of ridge phi^T A^-1 phi over every so many keys of the night, each left out of A."""
        steps = -(-len(moved) // MOST_LEFT_OUT)
        found = []
        for phi in moved[::steps]:
            rest = self.curvature - torch.outer(phi, phi) + RIDGE * torch.eye(self.spec.features, dtype=torch.float64)
            found.append(min(1.0, RIDGE * float(phi @ torch.linalg.solve(rest, phi))))
        return float(torch.tensor(found).median())


def _known(store: SlowStore, formulas: _Formulas, keys: Tensor) -> list[str]:
    """Novelty is an estimate by random probes, but the threshold and what follows from it are not."""
    answer, novelty = store.answer(keys)
    ratio = float((novelty / formulas.novelty(keys)).mean())
    wrong = [] if abs(ratio - 1) < ESTIMATE else [f"estimates of novelty are {ratio:.2f} times what they estimate"]
    known = novelty < formulas.spec.unknown_from * formulas.usual
    if largest_difference(store(keys[None, :, None])[0], torch.where(known[:, None], answer, 0.0)):
        wrong.append("an unknown key is answered, or a known one is not")
    return wrong


def _differences(store: SlowStore, formulas: _Formulas, keys: Tensor) -> dict[str, float]:
    pairs = {
        "the curvature": (store.curvature, formulas.curvature),
        "the targets": (store.targets, formulas.targets),
        "the weights": (store.weights, formulas.weights),
        "the usual novelty": (store.usual / formulas.usual, torch.ones((), dtype=torch.float64)),
        "an answer": (store.answer(keys)[0], formulas.features(keys) @ formulas.weights),
    }
    return {what: largest_difference(one, other) / scale_of(other) for what, (one, other) in pairs.items()}


SLOW_STORE = (Property("slow_store_follows_its_formulas", slow_store_follows_its_formulas, store_cases),)
