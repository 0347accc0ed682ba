"""Sampling from a model that carries its memory along: the prompt is read once, then one token at a time."""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from cortexzoo.zoo.errors import NonFiniteLogits
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState
from cortexzoo.zoo.models.modes import evaluating


@torch.no_grad()
def generate(
    model: MemoryLanguageModel[Any],
    prompt: Int[Tensor, "batch prompt"],
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int = 0,
    state: MemoryState | None = None,
    vocab_size: int | None = None,
) -> Int[Tensor, "batch generated"]:
    """New tokens [B, max_new_tokens] after `prompt`, for any batch; the mode of every module of the model is restored.

    `temperature` 0 takes the likeliest token. `state` is a memory to start from, such as a trained long-term memory.
    With `vocab_size` only the first so many tokens are chosen from, where the model has logits that stand for nothing.
    Raises `ValueError` for an empty prompt, a negative temperature, or a top_k below 1, and `NonFiniteLogits`.
    """
    if prompt.shape[1] == 0:
        raise ValueError("the prompt must have at least one token, got none")
    if temperature < 0:
        raise ValueError(f"temperature must be >= 0, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be >= 1, got {top_k}")
    generator = torch.Generator(device=prompt.device).manual_seed(seed)
    tokens = prompt
    generated = []
    with evaluating(model), model.fixed_weights():
        for _ in range(max_new_tokens):
            output = model.read(tokens, state)
            state = output.state
            tokens = _sample(output.logits[:, -1, :vocab_size].float(), temperature, top_k, generator)
            generated.append(tokens)
    return torch.cat(generated, dim=1) if generated else prompt[:, :0]


@torch.no_grad()
def read_all_but_the_last(
    model: MemoryLanguageModel[Any], pieces: Iterable[Int[Tensor, "batch _"]], state: MemoryState | None = None
) -> tuple[Int[Tensor, "batch last"], MemoryState | None]:
    """Read a text that comes in pieces: the last one, which `generate` can continue from, and the memory before it.

    Where the memory does not grow, neither does what this needs, however long the text. The model must be in evaluation
    mode. Raises `ValueError` when there is no piece.
    """
    last: Tensor | None = None
    for piece in pieces:
        if last is not None:
            state = model.read(last, state).state
        last = piece
    if last is None:
        raise ValueError("the text must have at least one piece, got none")
    return last, state


def _sample(logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator) -> Tensor:
    # The largest is NaN or infinite where one of them is, and -inf where no token may be chosen.
    largest, likeliest = logits.max(dim=-1, keepdim=True)
    if not bool(largest.isfinite().all()):
        raise NonFiniteLogits("no token can be chosen: the model's logits are not finite")
    if temperature == 0:
        return likeliest
    if top_k is not None and top_k < logits.shape[-1]:
        least = logits.topk(top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    return torch.multinomial((logits / temperature).softmax(dim=-1), 1, generator=generator)
