"""Every numeric tolerance of the tests, with its reason."""

from dataclasses import dataclass

import torch

EXACT_FORM = 1e-10
"""Fast form against the token loop of CortexGPT in float64, absolute: only the order of sums differs."""


@dataclass(frozen=True)
class Tolerance:
    """Largest relative L2 error |a - b| / |b| of what an op gives, and of its gradients."""

    values: float
    gradients: float


GATED_DELTA = {
    # Both forms do the same arithmetic in another order: some thousand roundings of 1e-16 that do not line up.
    torch.float64: Tolerance(1e-12, 1e-12),
    # Against the twin in float64. One rounding is 6e-8; chunks and blocks add some tens of them.
    torch.float32: Tolerance(2e-6, 5e-6),
    # Inputs and outputs are rounded, the inside is float32: one rounding is 2e-3, gradients are rounded on top.
    torch.bfloat16: Tolerance(1e-2, 2e-2),
    # As bfloat16, with three more bits.
    torch.float16: Tolerance(1.25e-3, 2.5e-3),
}

DECAY_GRADIENT = {torch.float64: (1e-12, 1e-13), torch.float32: (1e-6, 1e-7)}
"""What an entry of the log decay's gradient may miss beyond the relative tolerance: a share of its largest entry, and
an absolute part. It is a difference of sums that nearly cancel, and often exactly 0."""

ZERO_GRADIENT = 1e-14
"""What a gradient that is 0 on paper may come out as in float64: a decay of -40 leaves 4e-18, a cancelled sum 1e-15."""

GATED_DELTA_CLAMPED = Tolerance(1e-5, 1e-5)
"""float32 with decays from 0 past the clamp: sums inside a chunk reach -1280, and float32 exponents keep 24 bits."""

STATE_BOUND = 1e-5
"""Relative: the analytic bound on the state is for exact arithmetic, the state is float32."""

WINDOW = {
    # One softmax over the same numbers, summed in another order.
    torch.float64: Tolerance(1e-12, 1e-12),
    torch.float32: Tolerance(1e-6, 2e-6),
    torch.bfloat16: Tolerance(1e-2, 2e-2),
    torch.float16: Tolerance(1.25e-3, 2.5e-3),
}

TRIANGULAR_INVERSE = 1e-12
"""float64 against torch's triangular solve, relative L2, for the well-conditioned matrices of random unit keys."""

PROCESSES = 1e-4
"""Losses and norms of some steps in float32, relative, one process against two: rows are summed in another order."""

SIDECAR_SPLIT = 2e-6
"""A text in pieces against the whole, float32, relative L2: sums over a window or a chunk are made in another order."""

FIFTY_STEPS = 1e-5
"""Losses of fifty steps in float32, relative: rows are summed in another order on two processes, and roundings grow."""
