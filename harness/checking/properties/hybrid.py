"""Sidecars on a frozen base: the base stays what it was, and the memory stays within its bound."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cortexzoo.harness.checking.properties.base import Case, DoesNotApply, Finding, Property, number, text
from cortexzoo.harness.checking.properties.trainer import STEPS, Log, short, trainer_of
from cortexzoo.harness.checking.subject import Subject, Tokens
from cortexzoo.specs.objective import Recall
from cortexzoo.zoo.models.base import Base
from cortexzoo.zoo.models.hybrid.delta_memory import DeltaMemory, Gates
from cortexzoo.zoo.models.hybrid.model import Hybrid

ROWS = 2
LONGER = 10
"""Noise is so many times as long as the longest training document."""
MOST_NOISE = 65_536
"""Tokens: more would take minutes."""
PIECE = 4096
OPEN = 10.0
"""The bias of a gate that is as good as open."""


def hybrid_of(subject: Subject) -> Hybrid:
    """A copy of the trained hybrid. Raises `DoesNotApply` for other models."""
    model = subject.copy()
    if not isinstance(model, Hybrid):
        raise DoesNotApply("the model has no frozen base")
    return model


def base_cases(subject: Subject) -> Iterable[Case]:
    """Less than a chunk, whole chunks and a rest; fresh and trained sidecars; and some training steps.

    A base from scratch is trained along with its sidecars, so that only the outputs are compared.
    """
    for chunks, rest in ((0, 1), (1, 0), (3, 5)):
        for sidecars in ("fresh", "switched off"):
            yield {"sidecars": sidecars, "chunks": chunks, "rest": rest}
    if subject.model.has_frozen_base:
        yield {"sidecars": "training", "steps": STEPS}


def base_is_frozen(subject: Subject, case: Case) -> Finding:
    """Logits against those of the base alone, and the base's weights before and after training: bit for bit."""
    model = hybrid_of(subject)
    if text(case, "sidecars") == "training":
        changed = _changed_by_training(subject)
        reason = f"{len(changed)} tensors of the base changed in {case['steps']} steps of training"
        more = {"first": changed[0]} if changed else {}
        return Finding(len(changed), reason, {**case, **more})
    chunk, chunks, rest = model.spec.chunk_size, number(case, "chunks"), number(case, "rest")
    tokens = subject.random_tokens(ROWS, chunks * chunk + min(rest, chunk - 1))
    fresh = text(case, "sidecars") == "fresh"
    with torch.no_grad():
        if fresh:
            model = _as_hybrid(subject.rebuilt(subject.experiment.seed)).eval()
        logits = model(tokens, None, () if fresh else model.switches).logits
        moved = int((logits != base_logits(model.base, tokens, chunk)).sum())
    what = "a fresh model" if fresh else "the model with its memories switched off"
    reason = f"{moved} of {logits.numel()} logits of {what} are not those of the base"
    return Finding(moved, reason, case)


def base_logits(base: Base, tokens: Tokens, chunk_size: int) -> Float[Tensor, "batch time vocab"]:
    """The logits of the base alone for each chunk, without hooks or cache."""
    whole = tokens.shape[1] // chunk_size * chunk_size
    parts = [tokens[:, :whole].reshape(-1, chunk_size), tokens[:, whole:]]
    scored = [base.network(input_ids=part, use_cache=False).logits for part in parts if part.numel()]
    return torch.cat([logits.reshape(len(tokens), -1, logits.shape[-1]) for logits in scored], dim=1)


def _changed_by_training(subject: Subject) -> list[str]:
    trainer = trainer_of(short(subject.experiment), Log())
    network = _as_hybrid(trainer.model).base.network
    before = {name: tensor.clone() for name, tensor in _tensors(network)}
    trainer.run()
    return [name for name, tensor in _tensors(network) if not torch.equal(tensor, before[name])]


def _tensors(network: nn.Module) -> list[tuple[str, Tensor]]:
    return [*network.named_parameters(), *network.named_buffers()]


def _as_hybrid(model: nn.Module) -> Hybrid:
    assert isinstance(model, Hybrid)
    return model


def noise_cases(subject: Subject) -> Iterable[Case]:
    """Gates as they were trained, and open, when everything is written with full strength and next to nothing fades."""
    for gates in ("open", "trained"):
        yield {"gates": gates, "tokens": min(LONGER * longest_document(subject), MOST_NOISE)}


def longest_document(subject: Subject) -> int:
    """Tokens of the longest sequence that the recipe trains on."""
    recipe = subject.experiment.recipe
    if subject.task is None or not isinstance(recipe.objective, Recall):
        return recipe.sequence_length
    return max(subject.task.length(gap) for stage in recipe.objective.stages for gap in stage.gaps)


@torch.no_grad()
def state_norm_is_bounded(subject: Subject, case: Case) -> Finding:
    """The Frobenius norm of each head's fast weights after every piece of noise, as a share of the analytic bound.

    With unit keys and write strengths up to 1:  |S_t|^2 <= exp(2 g_t) |S_(t-1)|^2 + beta_t |v_t|^2, and with strengths
    up to 2:  |S_t| <= exp(g_t) |S_(t-1)| + beta_t |v_t|. Strengths beyond the declared ones count as these.
    """
    model = hybrid_of(subject)
    memories = {f"layer {layer}": model.sidecar(layer).memory for layer in model.sidecars}
    if case["gates"] == "open":
        for memory in memories.values():
            open_gates(memory.gates)
    state, start = model.initial_state(1), 0
    largest, where = 0.0, ""
    with bounded_norms(memories) as bounds:
        while start < number(case, "tokens"):
            length = min(PIECE, number(case, "tokens") - start)
            state = model.advance(subject.random_tokens(1, length, seed=start), state, score="last").state
            start += length
            for layer, sidecar in state.sidecars.items():
                norm = sidecar.fast_weights.double().flatten(2).norm(dim=-1)
                # Without a write both are zero.
                share = torch.where(norm == 0, norm, norm / bounds[f"layer {layer}"]).nan_to_num(nan=torch.inf)
                head = int(share.argmax())
                if float(share.max()) > largest:
                    largest, where = float(share.max()), f"head {head} of layer {layer} after {start} tokens"
    reason = f"fast weights reach {largest:.3g} of the bound, in {where}, gates {case['gates']}"
    return Finding(largest, reason, {**case, "where": where})


@torch.no_grad()
def open_gates(gates: Gates) -> None:
    """Every token leaves next to all of the memory and writes with next to full strength."""
    gates.decay.bias.fill_(OPEN)
    gates.write.bias.fill_(OPEN)
    if gates.write_from_hidden is not None:
        gates.write_from_hidden.weight.zero_()


@contextmanager
def bounded_norms(memories: dict[str, DeltaMemory]) -> Iterator[dict[str, Float[Tensor, "batch heads"]]]:
    """The bound on each memory's norm, grown by every call: from an empty memory on, and from what the calls were."""
    bounds: dict[str, Tensor] = {}

    def grow(name: str, memory: DeltaMemory, values: Tensor, x: Tensor) -> None:
        strongest = min(memory.gates.strongest_write, 2.0)
        log_decay, beta = (part.double() for part in memory.gates(x))
        beta, size = beta.clamp(max=strongest), values.double().norm(dim=-1)
        power = 2 if strongest <= 1 else 1
        kept = log_decay.flip(1).cumsum(1).flip(1) * power
        since = torch.cat([kept[:, 1:], torch.zeros_like(kept[:, :1])], dim=1)  # how each write fades up to the end
        before = bounds.get(name, torch.zeros_like(kept[:, 0]))
        squared = kept[:, 0].exp() * before**power + (since.exp() * beta * size**power).sum(1)
        bounds[name] = squared ** (1 / power)

    hooks = [
        memory.register_forward_pre_hook(lambda module, given, name=name: grow(name, module, given[2], given[3]))
        for name, memory in memories.items()
    ]
    try:
        yield bounds
    finally:
        for hook in hooks:
            hook.remove()


HYBRID = (
    Property("base_is_frozen", base_is_frozen, base_cases),
    Property("state_norm_is_bounded", state_norm_is_bounded, noise_cases),
)
