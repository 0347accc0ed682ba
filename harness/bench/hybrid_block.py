"""`hybrid-block`: a sidecar, forward and backward, beside a transformer layer with as many parameters."""

from collections.abc import Callable, Sequence

import torch

from cortexzoo.harness.bench.benchmark import Case, timed
from cortexzoo.harness.bench.held_bytes import counted_flops, peak_bytes
from cortexzoo.specs.mixer import MixerSpec
from cortexzoo.specs.variant import TransformerSpec
from cortexzoo.zoo.costs import trained_parameters
from cortexzoo.zoo.models.hybrid.block import Sidecar
from cortexzoo.zoo.models.transformer import Transformer

HIDDEN_SIZE = 256
MIXER = MixerSpec(num_heads=4, head_dim=64, window_size=128)


class HybridBlock:
    """4 heads of 64 in a hidden size of 256, window 128, batch 1, float32."""

    headline = ""

    def cases(self, quick: bool) -> Sequence[Case]:
        torch.manual_seed(0)
        sidecar = Sidecar(MIXER, HIDDEN_SIZE)
        torch.nn.init.normal_(sidecar.output.weight)  # at zero, hardly any gradient would have a way back
        peer = layer_of(trained_parameters(sidecar))
        lengths = (512, 2048) if quick else (512, 2048, 8192)
        return [
            Case(
                f"T{time}",
                timed(ours := through_sidecar(sidecar, time)),
                timed(through_layer(peer, time)),
                size=time,
                flops=counted_flops(ours),
                peak_bytes=lambda ours=ours: peak_bytes(ours),  # type: ignore[misc]
            )
            for time in lengths
        ]


def layer_of(parameters: int) -> Transformer:
    """A transformer of one layer, which has so many parameters."""
    fixed = 4 * HIDDEN_SIZE**2 + 5 * HIDDEN_SIZE
    inner = max(1, round((parameters - fixed) / (2 * HIDDEN_SIZE + 1)))
    spec = TransformerSpec(
        name="one-layer", vocab_size=2, hidden_size=HIDDEN_SIZE, num_layers=1, intermediate_size=inner
    )
    return Transformer(spec).train()


def through_sidecar(sidecar: Sidecar, time: int) -> Callable[[], object]:
    x = torch.randn(1, time, HIDDEN_SIZE, generator=torch.Generator().manual_seed(time), requires_grad=True)
    state = sidecar.initial_state(1)

    def call() -> None:
        sidecar.zero_grad()
        sidecar(x, state)[0].sum().backward()

    return call


def through_layer(model: Transformer, time: int) -> Callable[[], object]:
    tokens = torch.zeros(1, time, dtype=torch.long)

    def call() -> None:
        model.zero_grad()
        model(tokens).logits.sum().backward()

    return call
