"""What an output may depend on: earlier tokens of its own row, and nothing else. Of any model, trained or bare.

How differences count is the subject's matter (`Runnable.exact`): those of a trained model bit by bit, those of a bare
module relative to its output and beyond rounding, since its operations are its own.
"""

from collections.abc import Iterable, Iterator, Sequence
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
    scale_of,
    text,
    within_rounding,
)
from cortexzoo.harness.checking.properties.causes.explanations import seen_later_tokens, seen_other_rows
from cortexzoo.harness.checking.subject import Runnable, Subject, Tokens
from cortexzoo.zoo.models.interface import MemoryLanguageModel

LENGTHS = (2, 3, 17, 64, 129)
LONGEST, MOST_ROWS = 200, 6
CAUSALITY_BOUND, ISOLATION_BOUND = 1e-6, 1e-5
"""What rounding may move an output by, relative to its size, in a module that is not compared bit by bit."""
PERMUTATION_ROUNDING = 1e-5
"""Another place in a matrix product, or another number of rows, may round differently: only more than this counts."""

NOTHING = "nothing"
"""As what later inputs are replaced by: the text ends before them."""

EDIT = "editing row {} moved the output of another row"
GRADIENT = "another row's loss has a gradient at row {}"
EXCHANGED = "exchanging the rows changed more than their order"


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
def causality(subject: Runnable, case: Case) -> Finding:
    """Replace every input from `edited` on, or leave them out: outputs before it must stay.

    `mode` (default `eval`), `before` (tokens that the memory has seen, default 0), `to` and `seed` may stand in a case.
    """
    length, edited, mode = number(case, "length"), number(case, "edited"), mode_of(case)
    inputs, changed = _later_edited(subject, case)
    calls = zip(_copies(subject), (inputs, changed), strict=True)
    before, after = (_outputs(subject, model, given, mode, before=number(case, "before", 0)) for model, given in calls)
    apart = difference(before[:, :edited], after[:, :edited])
    moved = apart.transpose(0, 1).flatten(1).amax(dim=1) / _scale(subject, before)
    counted = [_counted(subject, delta, length, CAUSALITY_BOUND) for delta in moved.tolist()]
    delta, bound = max(counted), 0.0 if subject.exact else CAUSALITY_BOUND
    if delta > bound and draws(subject, inputs, mode):
        return Finding(0.0, "it draws at random in training: measured in evaluation only", case)
    what = "leaving out the inputs" if inputs.shape != changed.shape else "editing"
    if delta == 0:
        return Finding(0.0, f"{what} from some place on moved no earlier output", case)
    position = next((place for place, far in enumerate(counted) if far > bound), counted.index(delta))
    by = f"{float(moved[position]):.2g}" + (" in training" if mode == "train" else "")
    reason = f"{what} from place {edited} of {length} moved the output at place {position} by {by}"
    return Finding(delta, reason, {**case, "position": position})


def _counted(subject: Runnable, delta: float, length: int, bound: float) -> float:
    """All of the difference, or of a module that rounds as it likes what is beyond rounding, in terms of `bound`.

    Of a trained model with experts, whose bound is 0, rounding counts as nothing.
    """
    if subject.exact:
        return delta
    counted = within_rounding(delta, subject.eps, length, bound)
    return 0.0 if isinstance(subject, Subject) and counted <= bound else counted


def mode_of(case: Case) -> str:
    """`eval`, unless the case names another."""
    return text(case, "mode") if "mode" in case else "eval"


def _later_edited(subject: Runnable, case: Case) -> tuple[Tensor, Tensor]:
    edited = number(case, "edited")
    inputs = subject.examples(2, number(case, "length"), number(case, "seed", 0))
    if case.get("to") == NOTHING:
        return inputs, inputs[:, :edited]
    return inputs, torch.cat([inputs[:, :edited], _edited(subject, inputs[:, edited:], case)], dim=1)


def _edited(subject: Runnable, inputs: Tensor, case: Case) -> Tensor:
    """Other inputs; `to: id N` in the case makes all of them the token N."""
    to = str(case.get("to", "others"))
    return torch.full_like(inputs, int(to.removeprefix("id "))) if to.startswith("id ") else subject.other(inputs)


def why_later_tokens(subject: Runnable, case: Case) -> Case | None:
    """Where in the model an output begins to see later tokens."""
    inputs, changed = _later_edited(subject, case)
    if inputs.shape != changed.shape:
        return None  # no operation can be compared between texts of two lengths
    before = number(case, "before", 0)
    prefix = [subject.draw(len(inputs), before, 7)] if before else []
    return seen_later_tokens(subject, inputs, changed, number(case, "position"), mode_of(case), prefix)


def _scale(subject: Runnable, output: Tensor) -> float:
    """What differences are relative to: 1, or the largest finite number of the output where that is more."""
    if subject.exact:
        return 1.0
    return scale_of(output)


def _copies(subject: Runnable) -> tuple[nn.Module, nn.Module]:
    """For two calls. Of a trained model one copy, as its memory is a value and its base may be large."""
    first = subject.copy()
    return first, first if subject.exact else subject.copy()


def _outputs(
    subject: Runnable, model: nn.Module, inputs: Tensor, mode: str, *, before: int = 0, further: int = 0
) -> Tensor:
    """Under one seed: after `before` tokens of memory, and where one is carried for `further` ones."""
    model.train(mode == "train")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = subject.begin(model, len(inputs))
        if before:
            _, state = subject.run(model, subject.draw(len(inputs), before, 7), state)
        output, state = subject.run(model, inputs, state)
        if not further or not subject.carries_state or inputs.shape[1] + further > subject.longest:
            return output
        more = subject.run(model, subject.draw(len(inputs), further, 5), state)[0]
        return torch.cat([output, more], dim=1) if more.dim() == output.dim() else output


def draws(subject: Runnable, inputs: Tensor, mode: str) -> bool:
    """Whether the same call under the same seed gives something else each time, so that nothing can be compared."""
    if mode == "eval":
        return False
    return largest_difference(*(_outputs(subject, subject.copy(), inputs, mode).detach() for _ in range(2))) > 0


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
    """Edit one row, differentiate by what its tokens were embedded as, exchange rows: no other row may matter.

    The gradient is by the embedded row, for a trained model has embeddings; a bare module need not
    (`cortexzoo.harness.checking.modules.isolation`).
    """
    inputs, changed, row = row_edited(subject, case)
    observations = [
        (edit_of_row(subject, inputs, changed, row, "eval"), EDIT.format(row)),
        (_gradient(subject, inputs, row), GRADIENT.format(row)),
        (exchanged(subject, inputs), EXCHANGED),
    ]
    return strongest(subject, case, inputs, observations)


def strongest(subject: Runnable, case: Case, inputs: Tensor, observations: Sequence[tuple[float, str]]) -> Finding:
    """The finding of the observation with the largest difference."""
    rows, length = inputs.shape[:2]
    mode = mode_of(case)
    raw, reason = max(observations, key=lambda observation: observation[0])
    delta = _counted(subject, raw, length, ISOLATION_BOUND)
    if delta > ISOLATION_BOUND and draws(subject, inputs, mode):
        return Finding(0.0, "it draws at random in training: measured in evaluation only", case)
    if delta == 0 or (delta <= ISOLATION_BOUND and not subject.exact):
        return Finding(delta, "no row depends on another", case)
    return Finding(
        delta, f"{reason} by {raw:.2g} ({rows} rows of {length}{' in training' if mode == 'train' else ''})", case
    )


def row_edited(subject: Runnable, case: Case) -> tuple[Tensor, Tensor, int]:
    """Inputs, the same with one row edited, and which."""
    rows = number(case, "rows")
    inputs = subject.examples(rows, number(case, "length"), number(case, "seed", 0))
    row = number(case, "edited_row") % rows
    changed = inputs.clone()
    changed[row] = _edited(subject, inputs[row], case)
    return inputs, changed, row


def why_other_rows(subject: Runnable, case: Case) -> Case | None:
    """Where in the model an output begins to see another row."""
    inputs, changed, row = row_edited(subject, case)
    modes = ("eval", "train") if "mode" not in case else (mode_of(case),)
    found = (seen_other_rows(subject, inputs, changed, row, mode) for mode in modes)
    return next((cause for cause in found if cause is not None), None)


@torch.no_grad()
def edit_of_row(subject: Runnable, inputs: Tensor, changed: Tensor, row: int, mode: str, *, further: int = 0) -> float:
    """How far the edit of a row moves outputs of the others, in `further` tokens of a second call too."""
    others = torch.arange(len(inputs)) != row
    calls = zip(_copies(subject), (inputs, changed), strict=True)
    before, after = (_outputs(subject, model, given, mode, further=further) for model, given in calls)
    return largest_difference(before[others], after[others]) / _scale(subject, before)


@torch.no_grad()
def exchanged(subject: Runnable, inputs: Tensor) -> float:
    """How far the outputs of exchanged rows differ from the exchanged outputs."""
    there = torch.arange(len(inputs)).roll(1)
    calls = zip(_copies(subject), (inputs, inputs[there]), strict=True)
    before, after = (subject.run(model, given, subject.begin(model, len(given)))[0] for model, given in calls)
    return beyond_place(largest_difference(before[there], after) / _scale(subject, before))


def beyond_place(delta: float) -> float:
    """The difference, 0 where another place in a matrix product explains it."""
    return delta if delta > PERMUTATION_ROUNDING else 0.0


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

    # A frozen base is none of the model's modules, but it is what looks tokens up.
    base = model.base_network if isinstance(model, MemoryLanguageModel) else None
    modules = {*model.modules(), *(() if base is None else base.modules())}
    hooks = [m.register_forward_hook(keep) for m in modules if isinstance(m, nn.Embedding)]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


ISOLATION: tuple[Property[Subject], ...] = (
    Property("causality", causality, causality_cases, causality_strategy, explain=why_later_tokens),
    Property(
        "batch_isolation", batch_isolation, batch_isolation_cases, batch_isolation_strategy, explain=why_other_rows
    ),
)
