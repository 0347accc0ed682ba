"""The updates of one sleep again, made by torch's AdamW alone on dreams that are drawn again, or sampled again."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from cortexzoo.harness.checking.training.roles import training_starts
from cortexzoo.harness.checking.training.surroundings import left_alone, region
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs import sleep as kinds
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.generation import generate
from cortexzoo.zoo.streams import Stream
from cortexzoo.zoo.training.sleep.reservoir import Example

Dreams = kinds.NoiseSleep | kinds.ReplaySleep | kinds.GeneratedSleep
ROUNDING = 1e-5
"""Of a gradient, relative to the largest."""
Dream = tuple[Tensor, Tensor, Tensor, Sequence[Example]]
"""Tokens, what is scored, what is no padding, and the examples that they are."""


def slept_again(
    model: Any,
    memory: Any,
    spec: Dreams,
    examples: Sequence[Example],
    experiment: ExperimentSpec,
    text: TextData | None,
) -> tuple[dict[str, Tensor], dict[str, Tensor], list[float]]:
    """The weights after the first sleep; of each which numbers only rounding moves; and the losses of its updates.

    `text` is the one that the examples are from, where they are from one: a memory leaves out what it has of their
    places.
    """
    model.train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    then, device = copy.deepcopy(model).eval(), parameters[0].device
    cast = region(device, experiment.recipe.precision)
    anchors = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def begun(rows: int, chosen: Sequence[Example]) -> Any:
        state = model.between_batches(memory, rows)
        if text is None or not chosen:
            return state
        places = training_starts(text, torch.stack([example.tokens for example in chosen]))
        return model.placed(state, torch.tensor(places, device=device))

    fisher: list[Tensor] = []
    if spec.ewc_weight:
        fisher = _fisher(copy.deepcopy(model).eval(), [(one, begun(1, [one])) for one in examples], cast)
    optimizer = torch.optim.AdamW(parameters, lr=spec.learning_rate)
    dreams, dropout = Stream.SLEEP.seeds(experiment.seed, 1).generate_state(2)
    drawn = torch.Generator().manual_seed(int(dreams))
    losses: list[float] = []
    with left_alone(device):
        torch.manual_seed(int(dropout))
        for _ in range(spec.steps):
            if isinstance(spec, kinds.GeneratedSleep):
                with cast:
                    *parts, chosen = _sampled(spec, model, begun(spec.batch_size, ()), drawn)
            else:
                *parts, chosen = _dream(spec, model.vocab_size, examples, drawn)
            tokens, scored, real = (part.to(device) for part in parts)
            state = begun(len(tokens), chosen)
            with cast:
                logits = model(tokens[:, :-1], state).logits.float()
            loss = F.cross_entropy(logits[scored], tokens[:, 1:][scored])
            if spec.kl_weight:
                with torch.no_grad(), cast:
                    old = then(tokens[:, :-1], state).logits.float().log_softmax(-1)
                divergences = (old.exp() * (old - logits.log_softmax(-1))).sum(-1)
                loss = loss + spec.kl_weight * divergences[real].mean()
            for parameter, anchor, weight in zip(parameters, anchors, fisher, strict=bool(fisher)):
                loss = loss + spec.ewc_weight * 0.5 * (weight * (parameter - anchor).square()).sum()
            losses.append(float(loss.detach()))
            loss.backward()
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            factor = min(1.0, spec.clip / float(torch.nn.utils.get_total_norm(gradients)))
            for gradient in gradients:
                gradient.mul_(factor)
            optimizer.step()
            optimizer.zero_grad()
    weights = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    return weights, noisy(model, optimizer), losses


def noisy(model: Any, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Where gradients are nothing but rounding, which AdamW makes as large as any other: in whole parameters or parts.

    Such as the biases of keys, which a softmax does not see. A number without any gradient moves as it should.
    """
    squares = {n: optimizer.state[p]["exp_avg_sq"] for n, p in model.named_parameters() if optimizer.state[p]}
    least = ROUNDING**2 * max((float(square.mean()) for square in squares.values()), default=0.0)
    return {
        name: torch.full_like(square, float(square.mean()) < least).bool() | ((square > 0) & (square < least))
        for name, square in squares.items()
    }


def _dream(
    spec: kinds.NoiseSleep | kinds.ReplaySleep, vocab: int, examples: Sequence[Example], drawn: torch.Generator
) -> Dream:
    if isinstance(spec, kinds.NoiseSleep):
        tokens = torch.randint(vocab, (spec.batch_size, spec.length + 1), generator=drawn)
        every = torch.ones(tokens[:, 1:].shape, dtype=torch.bool)
        return tokens, every, every, ()
    chosen = [examples[i] for i in torch.randint(len(examples), (spec.batch_size,), generator=drawn).tolist()]
    pad = torch.nn.utils.rnn.pad_sequence
    tokens = pad([example.tokens for example in chosen], batch_first=True)
    scored = pad([example.scored for example in chosen], batch_first=True)
    real = pad([torch.ones_like(example.scored) for example in chosen], batch_first=True)
    return tokens, scored, real, chosen


def _sampled(spec: kinds.GeneratedSleep, model: Any, state: Any, drawn: torch.Generator) -> Dream:
    """Every token that was sampled counts, and none of the random ones before it."""
    rows, given = spec.batch_size, spec.prompt_length
    prompt = torch.randint(model.vocab_size, (rows, given), generator=drawn)
    seed, device = int(torch.randint(2**31, (), generator=drawn)), next(model.parameters()).device
    count = spec.length + 1 - given
    made = generate(model, prompt.to(device), count, temperature=spec.temperature, seed=seed, state=state)
    every = torch.ones(rows, spec.length, dtype=torch.bool)
    scored = torch.cat([~every[:, : given - 1], every[:, given - 1 :]], dim=1)
    return torch.cat([prompt.to(device), made], dim=1), scored, every, ()


def _fisher(model: Any, examples: Sequence[tuple[Example, Any]], cast: torch.autocast) -> list[Tensor]:
    """For each parameter the mean over examples of their targets' number times the squared gradient of the loss.

    Each example comes with the memory that it begins with.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    sums = [torch.zeros_like(parameter) for parameter in parameters]
    for example, state in examples:
        tokens, scored = example.tokens.to(sums[0].device), example.scored.to(sums[0].device)
        with cast:
            logits = model(tokens[None, :-1], state).logits[0][scored]
        loss = F.cross_entropy(logits.float(), tokens[1:][scored])
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        for total, gradient in zip(sums, gradients, strict=True):
            if gradient is not None:
                total += int(scored.sum()) * gradient.square() / len(examples)
    return sums
