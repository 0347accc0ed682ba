"""The same again: from the same seed, and from files."""

from collections.abc import Iterable

import torch
from hypothesis import strategies as st
from torch import Tensor

from cortexzoo.harness.checking.properties.base import Case, Finding, Property, largest_difference, number
from cortexzoo.harness.checking.properties.isolation import draws
from cortexzoo.harness.checking.subject import Runnable

LONGEST, MOST_ROWS = 100, 4
UPDATES = 2
LEARNING_RATE = 1e-3


def determinism_cases(subject: Runnable) -> Iterable[Case]:
    """Two seeds."""
    for seed in (0, 1):
        yield {"seed": seed, "rows": 2, "length": min(17, subject.longest)}


def determinism_strategy(subject: Runnable) -> st.SearchStrategy[Case]:
    """Any seed and batch."""
    longest = min(LONGEST, subject.longest)
    return st.fixed_dictionaries(
        {"seed": st.integers(0, 999), "rows": st.integers(1, MOST_ROWS), "length": st.integers(1, longest)}
    )


def determinism(subject: Runnable, case: Case) -> Finding:
    """Build and train for two updates twice from the same seed: everything must be equal, bit by bit."""
    first, second = (_trained(subject, case) for _ in range(2))
    moved = {name: largest_difference(first[name], second[name]) for name in first}
    what = max(moved, key=lambda name: moved[name])
    if moved[what] == 0:
        return Finding(0.0, "twice the same seed gave the same bits", case)
    return Finding(moved[what], f"twice seed {case['seed']} gave another {what}", {**case, "what": what})


def _trained(subject: Runnable, case: Case) -> dict[str, Tensor]:
    rows, length, seed = number(case, "rows"), number(case, "length"), number(case, "seed")
    with torch.random.fork_rng(devices=[]):
        model = subject.rebuilt(seed).train()
        torch.manual_seed(seed)
        trainable = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(trainable, lr=LEARNING_RATE) if trainable else None
        everything: dict[str, Tensor] = {f"weight {n} at the start": p.detach().clone() for n, p in _named(model)}
        for update in range(UPDATES):
            output, _ = subject.run(model, subject.draw(rows, length, seed + update), subject.begin(model, rows))
            everything[f"output {update + 1}"] = output.detach()
            if optimizer is not None and output.requires_grad:
                optimizer.zero_grad()
                output.double().square().mean().backward()
                optimizer.step()
        everything |= {f"weight {name}": parameter.detach() for name, parameter in _named(model)}
    return everything


def _named(model: torch.nn.Module) -> Iterable[tuple[str, Tensor]]:
    return list(model.named_parameters())


def save_and_load_cases(subject: Runnable) -> Iterable[Case]:
    """One batch."""
    yield {"rows": 2, "length": min(17, _longest(subject))}


def save_and_load_strategy(subject: Runnable) -> st.SearchStrategy[Case]:
    """Any batch."""
    longest = min(LONGEST, _longest(subject))
    return st.fixed_dictionaries({"rows": st.integers(1, MOST_ROWS), "length": st.integers(1, longest)})


def _longest(subject: Runnable) -> int:
    """A piece, of which a memory that counts places sees three in a row."""
    return max(1, subject.longest // 3)


@torch.no_grad()
def save_and_load(subject: Runnable, case: Case) -> Finding:
    """Fill the memory, take model and memory through files, and continue twice: as it was, and as it was read.

    Before, it runs in training mode, since what moves there may be missing in the files.
    """
    model = subject.copy()
    rows, length = number(case, "rows"), number(case, "length")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model.train()
        subject.run(model, subject.draw(rows, length, 3), subject.begin(model, rows))
        model.eval()
    state = subject.begin(model, rows)
    for seed in range(2):
        _, state = subject.run(model, subject.draw(rows, length, seed), state)
    state = subject.settle(model, state)
    other_model, other_state = subject.reread(model, state)
    if not subject.carries_state:  # what is kept in the module itself begins anew
        state, other_state = subject.begin(model, rows), subject.begin(other_model, rows)
    before, after = subject.memory(state), subject.memory(other_state)
    moved = {f"memory {name}": largest_difference(value, after[name]) for name, value in before.items()}
    for again in ("the next output", "the output after a change of batch"):
        inputs = subject.draw(rows, length, 7)
        kept, state = subject.run(model, inputs, state)
        read, other_state = subject.run(other_model, inputs, other_state)
        moved[again] = largest_difference(kept, read)
        before, after = (subject.memory(subject.settle(m, s)) for m, s in ((model, state), (other_model, other_state)))
        moved |= {f"memory {n} after {again}": largest_difference(v, after[n]) for n, v in before.items()}
        state, other_state = subject.follow(model, state, rows), subject.follow(other_model, other_state, rows)
    if "train" in subject.modes and not draws(subject, subject.draw(rows, length, 3), "train"):
        moved |= _training_on(subject, model, other_model, rows, length)
    what = max(moved, key=lambda name: moved[name])
    if moved[what] == 0:
        return Finding(0.0, "after loading, training and memory continue bitwise as before saving", case)
    return Finding(moved[what], f"after loading {what} is another", {**case, "what": what})


def _training_on(
    subject: Runnable, model: torch.nn.Module, read: torch.nn.Module, rows: int, length: int
) -> dict[str, float]:
    """How far two calls in training mode move the outputs of one model from those of the other."""
    outputs = []
    for trained in (model, read):
        trained.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for seed in (4, 5):
                subject.run(trained, subject.draw(rows, length, seed), subject.begin(trained, rows))
        trained.eval()
        outputs.append(subject.run(trained, subject.draw(rows, length, 7), subject.begin(trained, rows))[0])
    return {"the output after further training": largest_difference(*outputs)}


REPRODUCTION: tuple[Property[Runnable], ...] = (
    Property("determinism", determinism, determinism_cases, determinism_strategy, cost=4),
    Property("save_and_load", save_and_load, save_and_load_cases, save_and_load_strategy, cost=2),
)
