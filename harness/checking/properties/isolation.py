"""What a logit may depend on: earlier tokens of its own row, and nothing else."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from cortexzoo.harness.checking.properties.base import (
    Case,
    Finding,
    Property,
    difference,
    largest_difference,
    number,
)
from cortexzoo.harness.checking.properties.causes.explanations import seen_later_tokens, seen_other_rows
from cortexzoo.harness.checking.subject import Subject, Tokens
from cortexzoo.zoo.models.hybrid.model import Hybrid

LENGTHS = (2, 3, 17, 64, 129)
LONGEST, MOST_ROWS = 200, 6
PERMUTATION_ROUNDING = 1e-5
"""Moving a row to another place of a matrix product may change its rounding; only more than this counts."""


def causality_cases(subject: Subject) -> Iterable[Case]:
    """Every length with edits that start early, in the middle and at the last token."""
    for length in sorted({*LENGTHS, subject.experiment.recipe.sequence_length}):
        for edited in sorted({1, length // 4, length // 2, length - 1} - {0, length}):
            yield {"length": length, "edited": edited}


def causality_strategy(_: object) -> st.SearchStrategy[Case]:
    """Any length and place."""
    lengths = st.integers(2, LONGEST)
    places = lengths.flatmap(lambda length: st.tuples(st.just(length), st.integers(1, length - 1)))
    return places.map(lambda drawn: {"length": drawn[0], "edited": drawn[1]})


@torch.no_grad()
def causality(subject: Subject, case: Case) -> Finding:
    """Replace every token from `edited` on: logits before it must not move by a bit."""
    length, edited = number(case, "length"), number(case, "edited")
    model = subject.copy()
    tokens, changed = _later_edited(subject, case)
    start = subject.start(model, len(tokens))
    moved = difference(model(tokens, start).logits, model(changed, start).logits)[:, :edited].amax(dim=(0, 2))
    delta = float(moved.max())
    if delta == 0:
        return Finding(0.0, f"editing from token {edited} of {length} moved no earlier logit", case)
    position = int(moved.nonzero()[0])
    reason = f"editing from token {edited} of {length} moved the logits at position {position} already"
    return Finding(delta, reason, {**case, "position": position, "delta": delta})


def _later_edited(subject: Subject, case: Case) -> tuple[Tokens, Tokens]:
    tokens, edited = subject.sequences(2, number(case, "length")), number(case, "edited")
    return tokens, torch.cat([tokens[:, :edited], subject.other_tokens(tokens[:, edited:])], dim=1)


def _why_later_tokens(subject: Subject, case: Case) -> Case | None:
    return seen_later_tokens(subject, *_later_edited(subject, case), number(case, "position"), "eval")


def batch_isolation_cases(subject: Subject) -> Iterable[Case]:
    """Small and larger batches, at lengths from one token to the recipe's."""
    for length in sorted({1, 2, 17, subject.experiment.recipe.sequence_length}):
        for rows in (2, 5):
            for edited_row in (0, rows - 1):
                yield {"length": length, "rows": rows, "edited_row": edited_row}


def batch_isolation_strategy(_: object) -> st.SearchStrategy[Case]:
    """Any batch."""
    drawn = st.tuples(st.integers(1, LONGEST), st.integers(2, MOST_ROWS), st.integers(0, MOST_ROWS - 1))
    return drawn.map(lambda d: {"length": d[0], "rows": d[1], "edited_row": d[2] % d[1]})


def batch_isolation(subject: Subject, case: Case) -> Finding:
    """Edit one row, differentiate by one row, exchange rows: no other row may notice."""
    tokens, _ = _row_edited(subject, case)
    edited_row = number(case, "edited_row")
    size = f"{len(tokens)} rows of {tokens.shape[1]}"
    observations = [
        (_edit(subject, tokens, edited_row), f"editing row {edited_row} moved the logits of another row ({size})"),
        (_gradient(subject, tokens, edited_row), f"another row's loss has a gradient at row {edited_row} ({size})"),
        (_permutation(subject, tokens), f"exchanging the rows changed more than their order ({size})"),
    ]
    delta, reason = max(observations, key=lambda observation: observation[0])
    if delta == 0:
        return Finding(0.0, f"no other row changed after an edit of row {edited_row} ({size})", case)
    return Finding(delta, reason, {**case, "delta": delta})


def _row_edited(subject: Subject, case: Case) -> tuple[Tokens, Tokens]:
    tokens, row = subject.sequences(number(case, "rows"), number(case, "length")), number(case, "edited_row")
    changed = tokens.clone()
    changed[row] = subject.other_tokens(tokens[row])
    return tokens, changed


def _why_other_rows(subject: Subject, case: Case) -> Case | None:
    row = number(case, "edited_row")
    found = seen_other_rows(subject, *_row_edited(subject, case), row, "eval")
    return found or seen_other_rows(subject, *_row_edited(subject, case), row, "train")


@torch.no_grad()
def _edit(subject: Subject, tokens: Tokens, edited_row: int) -> float:
    model = subject.copy()
    _, changed = _row_edited(subject, {"rows": len(tokens), "length": tokens.shape[1], "edited_row": edited_row})
    start = subject.start(model, len(tokens))
    others = torch.arange(len(tokens)) != edited_row
    return largest_difference(model(tokens, start).logits[others], model(changed, start).logits[others])


def _gradient(subject: Subject, tokens: Tokens, edited_row: int) -> float:
    """In training mode, where gradients are used."""
    model = subject.copy().train()
    row = (edited_row + 1) % len(tokens)
    with torch.random.fork_rng(devices=[]), embedded_vectors(model) as embedded:
        torch.manual_seed(0)
        logits = model(tokens, subject.start(model, len(tokens))).logits
        F.cross_entropy(logits[row], subject.other_tokens(tokens[row])).backward()
    gradients = [vectors.grad for vectors in embedded if vectors.grad is not None]
    assert gradients, "the model looked up no token in an nn.Embedding: there is nothing to differentiate by"
    of_rows = [g.unflatten(0, (len(tokens), -1))[edited_row] for g in gradients if g.shape[0] % len(tokens) == 0]
    return max(largest_difference(g, torch.zeros_like(g)) for g in of_rows)


@torch.no_grad()
def _permutation(subject: Subject, tokens: Tokens) -> float:
    model = subject.copy()
    start = subject.start(model, len(tokens))
    there = torch.arange(len(tokens)).roll(1)
    delta = largest_difference(model(tokens, start).logits[there], model(tokens[there], start).logits)
    return delta if delta > PERMUTATION_ROUNDING else 0.0


@contextmanager
def embedded_vectors(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collects what the model's embeddings give, one [B, T, D] a call, with its gradient kept.

    A hybrid's base has the chunks of a row as rows of its own, so there are B · chunks of them.
    """
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        if not output.requires_grad:
            output.requires_grad_()  # the embedding is frozen, what it gives need not be
        output.retain_grad()
        outputs.append(output)

    # The base of a hybrid is none of its modules, but it is what looks tokens up.
    modules = [*model.modules(), *(model.base.network.modules() if isinstance(model, Hybrid) else ())]
    hooks = [m.register_forward_hook(keep) for m in modules if isinstance(m, nn.Embedding)]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


ISOLATION = (
    Property("causality", causality, causality_cases, causality_strategy, explain=_why_later_tokens),
    Property(
        "batch_isolation", batch_isolation, batch_isolation_cases, batch_isolation_strategy, explain=_why_other_rows
    ),
)
