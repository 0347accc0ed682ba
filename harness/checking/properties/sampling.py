"""How a text is sampled: the likeliest token, temperature, the k likeliest, seeds, and a memory to start from."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from cortexzoo.harness.checking.properties.base import Case, Finding, Property, largest_difference, number, text
from cortexzoo.harness.checking.subject import Model, Subject
from cortexzoo.zoo.generation import generate, read_all_but_the_last
from cortexzoo.zoo.models.interface import MemoryState

ROWS, PROMPT, NEW = 3, 7, 12
EVEN_ROWS = 8
"""Rows of a text whose tokens are all equally likely."""
BEYOND_CHANCE = 7.0
"""Standard deviations."""
PIECES = (3, 1, 5, 2)
"""Tokens of a text that is read in pieces before it is continued."""
SHORT_PROMPT = 2
"""Tokens before the first one that is counted in many rows."""
TOLERANCE = 1e-4
"""Of the largest logit: what a token's logit may lie below the least that may be drawn, by rounding."""
DRAWS, FEWER_DRAWS, MANY_PARAMETERS = 768, 128, 2e7
"""Rows whose first token is counted; fewer of models with many parameters."""
SURE = 30.0
"""So many draws that are expected to differ from others: that none does has a chance of 1e-13."""
FEWEST = 20.0
"""Expected draws of a token that is counted by itself; all rarer ones are counted together."""
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "plain": {},
    "cold": {"temperature": 0.2},
    "hot": {"temperature": 1.6},
    "top 1": {"top_k": 1},
    "top 3": {"top_k": 3, "temperature": 1.3},
    "top of all": {"top_k": 10**6},
    "next to even": {"temperature": 1e6},
    "half of the tokens": {},
    "all but one": {"temperature": 1e6},
    "without the likeliest": {"top_k": 2},
}
"""The last three leave the second half of the vocabulary out, one token more, or all from the likeliest token on."""


def sampling_cases(_: Subject) -> Iterable[Case]:
    """Every way to sample, from the trained memory."""
    for name in SETTINGS:
        yield {"settings": name, "seed": 5}


def sampling_follows_its_settings(subject: Subject, case: Case) -> Finding:
    """Tokens of `generate` against the model's own logits for the text that it made, read as it was made.

    No token may be out of what the settings allow. Of 768 rows with one prompt, the first tokens must come as
    often as the settings say, and tell as much: the result is the largest distance in standard deviations.
    """
    name = text(case, "settings")
    model, seed = subject.copy(), number(case, "seed")
    asked = {"seed": seed, **SETTINGS[name]}
    if name in ("half of the tokens", "all but one"):
        asked["vocab_size"] = math.ceil(model.vocab_size / 2)
    if name == "without the likeliest":
        prompt = subject.sequences(1, SHORT_PROMPT)
        (logits,) = _next_logits(model, prompt, subject.start(model, 1), prompt[:, :0])
        asked["vocab_size"] = max(1, int(logits[0].argmax()))
    count = DRAWS if sum(each.numel() for each in model.parameters()) <= MANY_PARAMETERS else FEWER_DRAWS
    if name == "all but one":
        return _all_but_one(subject, model, {**asked, "top_k": max(1, asked["vocab_size"] - 1)}, count, case)
    each, drawn = _shares(subject, model, asked, count), _draws(subject, model, asked, count)
    others = _draws(subject, model, {**asked, "seed": seed + 1}, count)
    wrong = _out_of_bounds(subject, model, asked) + (_read_in_pieces(subject, model) if name == "greedy" else [])
    if name == "next to even":
        wrong += _alike(subject, model, asked)
    unlike = float((1 - each.square().sum(dim=1)).sum())
    if unlike > SURE and torch.equal(drawn, others):
        wrong.append("another seed gives the same tokens")
    if unlike == 0 and not torch.equal(drawn, others):
        wrong.append("another seed gives other tokens, where only one may be drawn")
    if wrong:
        return Finding(math.inf, "; ".join(wrong[:3]), {**case, "first": wrong[0]})
    reason, apart = _farthest(each.mean(dim=0), drawn)
    return Finding(apart, f"of {count} draws after one text {reason}: {apart:.1f} standard deviations", case)


def _out_of_bounds(subject: Subject, model: Model, asked: Mapping[str, Any]) -> list[str]:
    """What is wrong with a short text, its seed, the model's mode, or the memory that it began with."""
    prompt = subject.sequences(ROWS, PROMPT)
    begun = subject.start(model, ROWS)
    kept = {name: tensor.clone() for name, tensor in begun.tensors().items()}
    apart = next(module for module in model.train().modules() if not list(module.children())).eval()
    modes = [module.training for module in model.modules()]
    made = generate(model, prompt, NEW, state=begun, **asked)
    wrong = []
    if modes != [module.training for module in model.modules()]:
        wrong.append(f"a model in training mode, but for its {type(apart).__name__}, is left in another mode")
    model.eval()
    if not torch.equal(made, generate(model, prompt, NEW, state=begun, **asked)):
        wrong.append("the same seed gives other tokens")
    if any(module.training for module in model.modules()):
        wrong.append("a model in evaluation mode is left in training mode")
        model.eval()
    wrong += [f"{n} of the given memory was changed" for n, t in begun.tensors().items() if not torch.equal(t, kept[n])]
    if (none := generate(model, prompt, 0, state=begun, **asked)).shape != (ROWS, 0):
        wrong.append(f"no token was asked for, and the result is {tuple(none.shape)}")
    if made.shape != (ROWS, NEW):
        return [*wrong, f"{NEW} tokens for {ROWS} rows were asked for, and the result is {tuple(made.shape)}"]
    for place, logits in enumerate(_next_logits(model, prompt, begun, made[:, :-1])):
        least, allowed = _limits(logits, asked)
        for row in range(ROWS):
            token = int(made[row, place])
            if token >= allowed:
                wrong.append(f"token {place + 1} of row {row} is {token}, with a vocabulary of {allowed}")
            elif logits[row, token] < least[row] - TOLERANCE * float(logits[row].abs().max()):
                below = float(least[row] - logits[row, token])
                wrong.append(f"token {place + 1} of row {row} is {below:.3g} below the least logit to be drawn")
    return wrong


def _alike(subject: Subject, model: Model, asked: Mapping[str, Any]) -> list[str]:
    """Whether tokens that are all equally likely are the same as their neighbours more often than by chance."""
    prompt, start = subject.sequences(EVEN_ROWS, PROMPT), subject.start(model, EVEN_ROWS)
    made = generate(model, prompt, NEW, state=start, **asked)
    found = []
    neighbours = {"one after the other": made[:, 1:] == made[:, :-1], "in two rows": made[1:] == made[:-1]}
    for where, same in neighbours.items():
        chance = same.numel() / model.vocab_size
        if (count := int(same.sum())) > chance + BEYOND_CHANCE * math.sqrt(max(1.0, chance)):
            found.append(f"of {same.numel()} pairs of tokens {where} {count} are the same, by chance {chance:.1f} are")
    return found


@torch.no_grad()
def _read_in_pieces(subject: Subject, model: Model) -> list[str]:
    """What is left of texts in pieces to be continued: the last one, and the memory of all others in their order."""
    found = []
    for count in range(1, len(PIECES) + 1):
        pieces = subject.sequences(ROWS, sum(PIECES[:count])).split(PIECES[:count], dim=1)
        last, state = read_all_but_the_last(model, iter(pieces), subject.start(model, ROWS))
        wanted = subject.start(model, ROWS)
        for piece in pieces[:-1]:
            wanted = model(piece, wanted).state
        if not torch.equal(last, pieces[-1]):
            found.append(f"of a text in {count} pieces not the last is left to continue from")
            continue
        logits, read = (model(last, memory).logits[:, -1].double() for memory in (wanted, state))
        if largest_difference(logits, read) > TOLERANCE * float(logits.abs().max()):
            found.append(f"after a text in {count} pieces the memory is not that of all but the last of them")
    return found


def _draws(subject: Subject, model: Model, asked: Mapping[str, Any], count: int) -> Tensor:
    """The first token of each of so many rows with one prompt."""
    prompt = subject.sequences(1, SHORT_PROMPT).expand(count, -1)
    return generate(model, prompt, 1, state=subject.start(model, count), **asked)[:, 0]


def _all_but_one(subject: Subject, model: Model, asked: Mapping[str, Any], count: int, case: Case) -> Finding:
    """Of tokens that are next to equally likely the one that is left out, of all in half of the vocabulary."""
    drawn = _draws(subject, model, asked, count)
    prompt = subject.sequences(1, SHORT_PROMPT).expand(count, -1)
    (logits,) = _next_logits(model, prompt, subject.start(model, count), prompt[:, :0])
    least, allowed = _limits(logits, asked)
    below = least - logits.gather(1, drawn[:, None])[:, 0] > TOLERANCE * logits.abs().amax(dim=1)
    if not bool((out := (drawn >= allowed) | below).any()):
        return Finding(0, f"of {count} draws none is the token that is left out", case)
    return Finding(math.inf, f"token {int(drawn[out][0])} is drawn, and is left out", case)


def _shares(subject: Subject, model: Model, asked: Mapping[str, Any], count: int) -> Tensor:
    """[count, V]: how likely the settings make each token in each row. Where rows share a budget, they may differ."""
    prompt = subject.sequences(1, SHORT_PROMPT).expand(count, -1)
    (logits,) = _next_logits(model, prompt, subject.start(model, count), prompt[:, :0])
    least, allowed = _limits(logits, asked)
    if asked.get("temperature") == 0:
        return torch.nn.functional.one_hot(logits[:, :allowed].argmax(dim=1), logits.shape[1]).double()
    is_open = (logits >= least[:, None]) & (torch.arange(logits.shape[1]) < allowed)
    return torch.where(is_open, logits / asked.get("temperature", 1.0), -math.inf).softmax(dim=1)


def _farthest(shares: Tensor, made: Tensor) -> tuple[str, float]:
    """What lies farthest from what is expected of the draws: in words, and in standard deviations."""
    count = len(made)
    drawn, often = torch.bincount(made, minlength=len(shares)).double(), count * shares >= FEWEST
    bins = [(f"token {token}", float(drawn[token]), float(shares[token])) for token in often.nonzero()[:, 0].tolist()]
    bins.append(("all rare tokens together", float(drawn[~often].sum()), float(shares[~often].sum())))
    found = []
    for what, times, share in bins:
        apart = abs(times - count * share) / math.sqrt(max(1.0, count * share * (1 - share)))
        found.append((f"{what} came {times:.0f} times, expected {count * share:.1f}", apart))
    most = math.log(count)  # what is rarer than one in all draws tells no more, so that one draw proves nothing
    surprise = -shares.clamp_min(1 / count).log()
    entropy = float((shares * surprise).sum())
    spread = math.sqrt(float((shares * (surprise - entropy).square()).sum()) / count)
    mean = float(surprise[made].mean())
    apart = abs(mean - entropy) / max(spread, most / count)
    found.append((f"a draw tells {mean:.3g} nats in the mean, expected {entropy:.3g}", apart))
    return max(found, key=lambda entry: entry[1])


@torch.no_grad()
def _next_logits(model: Model, prompt: Tensor, begun: MemoryState, following: Tensor) -> list[Tensor]:
    """After the prompt, and after each following token, read one by one."""
    found, state = [], begun
    for piece in (prompt, *(following[:, [place]] for place in range(following.shape[1]))):
        output = model(piece, state)
        state = output.state
        found.append(output.logits[:, -1].double())
    return found


def _limits(logits: Tensor, asked: Mapping[str, Any]) -> tuple[Tensor, int]:
    """For each row the least logit that may be drawn, and the number of tokens that there are."""
    allowed = min(asked.get("vocab_size", logits.shape[1]), logits.shape[1])
    count = 1 if asked.get("temperature") == 0 else min(asked.get("top_k", allowed), allowed)
    return logits[:, :allowed].sort(dim=1, descending=True).values[:, count - 1], allowed


SAMPLING = (Property("sampling_follows_its_settings", sampling_follows_its_settings, sampling_cases),)
