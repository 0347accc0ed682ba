"""The meta device, on which models have shapes and no weights, kept safe from what transformers replaces in torch."""

import torch


def note_what_creates_tensors() -> None:
    """Let torch note its functions that create tensors; to be called before transformers loads weights.

    torch notes them once, when the meta device is first used. Were that while transformers has replaced
    `torch.linspace`, every later model built on the meta device would hold real tensors.
    """
    with torch.device("meta"):
        torch.empty(0)
