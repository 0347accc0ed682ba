"""The fast form of CortexGPT equals the token loop: logits, every gradient, and the memory after it, in float64."""

from collections.abc import Callable

import pytest
import torch

from cortexzoo.specs.memory import (
    CompressedStore,
    Contexts,
    MemorySpec,
    NoLongTerm,
    NoShortTerm,
    ProjectedReadOut,
    RawReadOut,
    RawRing,
    ShortTermRing,
    SigmoidGate,
    SoftmaxGate,
)
from cortexzoo.specs.variant import (
    ColumnsSpec,
    CortexGPTSpec,
    DecayedSinusoid,
    HardTopK,
    NoPosition,
    Replace,
    Residual,
    SoftThreshold,
)
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.models.cortexgpt import CortexGPT, CortexGPTState
from cortexzoo.zoo.models.cortexgpt_token_loop import token_loop
from tests.quick import in_slow
from tests.tolerances import EXACT_FORM

VOCAB, WIDTH = 23, 16


def original(scope: str = "shared", *, long_term: bool = True, capacity: int = 7) -> CortexGPTSpec:
    return CortexGPTSpec(
        name="original",
        vocab_size=VOCAB,
        hidden_size=WIDTH,
        position=DecayedSinusoid(),
        order="columns_first",
        join=Replace(),
        columns=ColumnsSpec(num_columns=3, sparsity=HardTopK(fraction=0.2)),
        memory=MemorySpec(
            short_term=ShortTermRing(
                capacity=capacity,
                num_heads=1,
                scope=scope,
                carry_over=True,
                stores="output",
                recency="none",
                read_out=RawReadOut(),
            ),
            long_term=CompressedStore(code_size=8, min_reads=2) if long_term else NoLongTerm(),
            gate=SoftmaxGate(),
        ),
    )


def stable(
    scope: str = "per_sequence", *, long_term: bool = True, capacity: int = 7, **short_term: str | int
) -> CortexGPTSpec:
    return CortexGPTSpec(
        name="stable",
        vocab_size=VOCAB,
        hidden_size=WIDTH,
        position=NoPosition(),
        join=Residual(memory_weight=0.7),
        columns=ColumnsSpec(num_columns=3, sparsity=SoftThreshold()),
        memory=MemorySpec(
            short_term=ShortTermRing(
                capacity=capacity,
                scope=scope,
                read_out=ProjectedReadOut(dropout=0.0),
                **{"stores": "output", **short_term},
            ),
            long_term=RawRing(code_size=8, capacity=20, writes=6) if long_term else NoLongTerm(),
            gate=SigmoidGate(temperature=0.8),
        ),
    )


def built(spec: CortexGPTSpec, seed: int = 0) -> CortexGPT:
    torch.manual_seed(seed)
    model = build_model(spec).double()
    assert isinstance(model, CortexGPT)
    if model.contexts is not None:  # contexts that weigh the same make ties, where a maximum has no one gradient
        torch.nn.init.normal_(model.contexts.read_out.lag)
    return model


def warmed(model: CortexGPT, batch: int, length: int) -> CortexGPTState:
    """A state with a carried ring and, where there is one, a filled store."""
    tokens = torch.randint(VOCAB, (batch, length), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        state = model(tokens).state
        return model.consolidate(state)


def gradients(model: CortexGPT, logits: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    found = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return {
        name: torch.zeros_like(parameter) if gradient is None else gradient
        for (name, parameter), gradient in zip(model.named_parameters(), found, strict=True)
    }


def with_contexts(**short_term: str | int) -> CortexGPTSpec:
    """Long-term memory of contexts, which enters the prediction."""
    spec = stable(**short_term)
    contexts = Contexts(capacity=60, context=3, top_k=4, list_tokens=1, lists=5, code_size=8, share_width=6)
    return spec.model_copy(update={"memory": spec.memory.model_copy(update={"long_term": contexts})})


SPECS = {
    f"{name}-{scope}-{'ltm' if long_term else 'no_ltm'}": make(scope, long_term=long_term)
    for name, make in (("original", original), ("stable", stable))
    for scope in ("shared", "per_sequence")
    for long_term in (True, False)
} | {
    "stable-stores_input": stable(stores="input"),
    "stable-retrieval_stopped": stable(stop_gradient="retrieval"),
    "stable-nothing_stopped": stable(stop_gradient="none"),
    "stable-nothing_stopped-input": stable(stop_gradient="none", stores="input"),
    "stable-no_recency": stable(recency="none"),
    "stable-one_head": stable(num_heads=1),
    "stable-one_slot": stable(capacity=1),
    "stable-wide_ring": stable(capacity=200),
    "stable-contexts": with_contexts(),
    "stable-contexts-shared": with_contexts(scope="shared", stores="input"),
}


@pytest.mark.parametrize("length", [1, in_slow(2), 9, 67], ids="T{}".format)
@pytest.mark.parametrize("carried", [0, in_slow(3), 30], ids="carried{}".format)
@pytest.mark.parametrize("name", SPECS)
def test_fast_form_equals_token_loop(name: str, carried: int, length: int) -> None:
    model = built(SPECS[name]).eval()
    state = warmed(model, 3, carried) if carried else model.initial_state(3)
    tokens = torch.randint(VOCAB, (3, length + 1), generator=torch.Generator().manual_seed(2))
    fast = model(tokens[:, :-1], state)
    slow = token_loop(model, tokens[:, :-1], state)
    assert (fast.logits - slow.logits).abs().max() <= EXACT_FORM
    expected = gradients(model, slow.logits, tokens[:, 1:])
    for parameter, gradient in gradients(model, fast.logits, tokens[:, 1:]).items():
        assert (gradient - expected[parameter]).abs().max() <= EXACT_FORM, parameter
    assert {name: float(value) for name, value in fast.readings.items()} == pytest.approx(slow.readings, abs=1e-6)
    after = fast.state.short_term
    assert after.filled == len(slow.rings[0])
    for group, ring in enumerate(slow.rings):
        for index, slot in enumerate(ring):
            assert (after.keys[group, index] - slot.key).abs().max() <= EXACT_FORM
            assert (after.values[group, index] - slot.value).abs().max() <= EXACT_FORM
            assert abs(after.reads[group, index] - slot.reads) <= EXACT_FORM


@pytest.mark.parametrize("name", SPECS)
def test_long_term_memory_is_really_read(name: str) -> None:
    model = built(SPECS[name])
    state = warmed(model, 3, 30)
    if state.long_term is None:
        assert "no_ltm" in name
        return
    assert state.sizes()["ltm"] > 0
    tokens = torch.randint(VOCAB, (3, 5), generator=torch.Generator().manual_seed(3))
    empty = CortexGPTState(state.short_term, model.initial_state(3).long_term, state.position)
    assert not torch.equal(model(tokens, state).logits, model(tokens, empty).logits)


@pytest.mark.parametrize("name", SPECS)
def test_a_text_of_no_tokens_leaves_the_memory_as_it_is(name: str) -> None:
    model = built(SPECS[name])
    state = warmed(model, 3, 30)
    output = model(torch.zeros(3, 0, dtype=torch.long), state)
    assert output.logits.shape == (3, 0, VOCAB)
    assert all(torch.equal(tensor, output.state.tensors()[n]) for n, tensor in state.tensors().items())
    with pytest.raises(ValueError, match="is no memory of this model"):
        model(torch.zeros(3, 0, dtype=torch.long), state, {"none"})


@pytest.mark.parametrize("split", [1, 5, 64, 100])
@pytest.mark.parametrize("make", [stable, with_contexts])
def test_a_split_sequence_with_its_state_equals_the_whole(make: Callable[[], CortexGPTSpec], split: int) -> None:
    model = built(make())
    tokens = torch.randint(VOCAB, (2, 130), generator=torch.Generator().manual_seed(4))
    start = warmed(model, 2, 40)
    whole = model(tokens, start)
    first = model(tokens[:, :split], start)
    second = model(tokens[:, split:], first.state)
    assert (torch.cat([first.logits, second.logits], dim=1) - whole.logits).abs().max() <= EXACT_FORM
    for name, tensor in second.state.tensors().items():
        torch.testing.assert_close(tensor, whole.state.tensors()[name], atol=EXACT_FORM, rtol=0, msg=name)


def test_dropout_is_the_same_in_what_is_stored_and_in_what_is_used() -> None:
    ring = ShortTermRing(capacity=7, stores="output", read_out=ProjectedReadOut(dropout=0.5))
    memory = MemorySpec(short_term=ring, long_term=NoLongTerm(), gate=SigmoidGate())
    model = built(stable().model_copy(update={"memory": memory})).train()
    x = torch.randn(2, 20, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    torch.manual_seed(6)
    out, state, _ = model.memory(x, model.initial_state(2).short_term, None)
    assert (out[:, -7:] - state.values).abs().max() <= EXACT_FORM
    evaluated, _, _ = model.eval().memory(x, model.initial_state(2).short_term, None)
    assert not torch.allclose(out, evaluated)


def test_the_floor_holds_for_every_token_and_dead_sources_get_nothing() -> None:
    gate = SigmoidGate(temperature=0.1, floor=0.06)
    model = built(stable().model_copy(update={"memory": MemorySpec(gate=gate)}))
    logits = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(7)) * 100
    live = torch.tensor([True, True, False]).expand(50, 3)
    shares = model.memory.gate.shares(logits, live)
    assert torch.allclose(shares.sum(dim=-1), torch.ones(50, dtype=torch.float64))
    assert shares[:, :2].min() >= 0.06 - 1e-12
    assert shares[:, 2].abs().max() == 0


def test_no_gradient_reaches_another_row_of_the_stable_form() -> None:
    model = built(stable())
    x = torch.randn(3, 12, WIDTH, dtype=torch.float64, requires_grad=True)
    out, _, _ = model.memory(x, model.initial_state(3).short_term, None)
    (gradient,) = torch.autograd.grad(out[1].square().sum(), x)
    assert gradient[[0, 2]].abs().max() == 0
    assert gradient[1].abs().min() > 0


WITHOUT_MEMORY = stable().model_copy(update={"memory": MemorySpec(short_term=NoShortTerm(), long_term=NoLongTerm())})


def test_a_memory_that_is_switched_off_is_neither_read_nor_written() -> None:
    model = built(stable())
    state = warmed(model, 2, 10)
    tokens = torch.randint(VOCAB, (2, 5), generator=torch.Generator().manual_seed(9))
    assert model.switches == ("short_term", "long_term")
    logits = {name: model(tokens, state, disabled={name}) for name in model.switches}
    assert not torch.equal(logits["short_term"].logits, logits["long_term"].logits)
    assert not torch.equal(logits["short_term"].logits, model(tokens, state).logits)
    assert torch.equal(logits["short_term"].state.short_term.keys, state.short_term.keys)
    assert "memory/gate_share/short_term" not in logits["short_term"].readings
    with pytest.raises(ValueError, match="longterm is no memory of this model, it has short_term, long_term"):
        model(tokens, state, disabled={"longterm"})


def test_without_any_memory_a_token_sees_itself_only() -> None:
    model = built(WITHOUT_MEMORY)
    tokens = torch.randint(VOCAB, (1, 8), generator=torch.Generator().manual_seed(9))
    alone = torch.cat([model(tokens[:, t : t + 1]).logits for t in range(8)], dim=1)
    torch.testing.assert_close(model(tokens).logits, alone, atol=EXACT_FORM, rtol=0)
    assert model.switches == ()
    with pytest.raises(ValueError, match="short_term is no memory of this model, it has none that can be switched off"):
        model(torch.zeros(1, 8, dtype=torch.long), disabled=("short_term",))


def test_state_survives_its_tensors() -> None:
    model = built(original())
    state = warmed(model, 3, 20)
    again = CortexGPTState.from_tensors(state.tensors())
    tokens = torch.randint(VOCAB, (3, 5), generator=torch.Generator().manual_seed(8))
    assert torch.equal(model(tokens, state).logits, model(tokens, again).logits)
    with pytest.raises(ValueError, match=r"lacks short_term\.keys"):
        CortexGPTState.from_tensors({k: v for k, v in state.tensors().items() if k != "short_term.keys"})


def test_a_changed_batch_size_is_refused_in_one_line() -> None:
    model = built(stable())
    with pytest.raises(ValueError, match="belongs to a batch of 2, but this batch has 3 rows"):
        model(torch.zeros(3, 4, dtype=torch.long), model.initial_state(2))


def test_bounded_store_drops_the_oldest_and_unbounded_grows() -> None:
    ring, store = built(stable()), built(original())
    state = warmed(ring, 3, 30)
    for _ in range(5):
        before = state.long_term
        state = ring.consolidate(state)
        assert before is not None
        assert state.long_term is not None
        kept = min(before.entries, 20 - 6)
        assert torch.equal(state.long_term.values[:kept], before.values[before.entries - kept :])
    assert state.long_term.entries == 20
    grown = warmed(store, 3, 30)
    assert store.consolidate(grown).long_term.entries == 2 * grown.long_term.entries


def test_the_largest_attention_logit_is_read_in_evaluation() -> None:
    model = built(stable()).eval().requires_grad_(False)
    tokens = torch.randint(VOCAB, (2, 9), generator=torch.Generator().manual_seed(3))
    name = "stability/max_attention_logit"
    readings = model(tokens).readings
    ring = model.memory.short_term
    assert ring is not None
    x = model.memory_norm(model.embedding(tokens))
    queries, keys = (ring.split_heads(layer(x)) for layer in (ring.query, ring.key))
    scores = queries @ keys.transpose(1, 2) * queries.shape[-1] ** -0.5
    if ring.recency is not None:
        age = torch.arange(9)[:, None] - torch.arange(9)
        scores = scores - torch.nn.functional.softplus(ring.recency).repeat(2)[:, None, None] * age
    assert float(readings[name]) == pytest.approx(float(scores[:, torch.ones(9, 9).tril(-1).bool()].max()), rel=1e-5)
    assert name not in model(tokens[:, :1]).readings, "nothing to attend to"
    assert name not in model.train()(tokens).readings, "training is spared the cost"


@pytest.mark.parametrize(
    "name", ["stable-per_sequence-no_ltm", "stable-shared-ltm", "stable-contexts", "stable-contexts-shared"]
)
def test_dropout_is_that_of_the_token_loop(name: str) -> None:
    model = built(SPECS[name]).train()
    assert model.memory.short_term is not None
    model.memory.short_term.dropout = 0.3
    tokens = torch.randint(VOCAB, (3, 10), generator=torch.Generator().manual_seed(2))
    state = warmed(model, 3, 7)
    torch.manual_seed(5)
    fast = model(tokens[:, :-1], state)
    torch.manual_seed(5)
    slow = token_loop(model, tokens[:, :-1], state)
    assert (fast.logits - slow.logits).abs().max() <= EXACT_FORM
    expected = gradients(model, slow.logits, tokens[:, 1:])
    for parameter, gradient in gradients(model, fast.logits, tokens[:, 1:]).items():
        assert (gradient - expected[parameter]).abs().max() <= EXACT_FORM, parameter
    assert not torch.equal(fast.logits, model(tokens[:, :-1], state).logits), "other draws, other outputs"
