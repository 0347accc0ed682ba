"""What a sidecar is made of: short convolution, window attention, gated delta memory, and the gate over both."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cortexzoo.specs.base import PositiveInt, Spec
from cortexzoo.specs.provenance import OURS, RECALL, USER_RUN

GateBias = Annotated[float, Field(ge=-20, le=20)]


class ShortConvSpec(Spec):
    """A causal depthwise convolution with SiLU over queries, keys and values.

    At the start a value is that of its own token, a key with lag n that of the n-th token before it, and a query one
    token nearer: so a token is stored under what came before it, and as soon as that has come again it is found.
    """

    kernel_size: Annotated[int, Field(gt=0, le=1024), OURS] = 4
    key_lags: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1), RECALL] = Field(
        (1,), description="How many tokens back keys look at the start; heads, or channels, take turns."
    )
    lags_over: Annotated[Literal["heads", "channels"], OURS] = Field(
        "heads", description="channels: each head mixes all lags, so that its keys are of several tokens."
    )
    noise: Annotated[float, Field(ge=0), RECALL] = Field(0.02, description="Standard deviation added to every tap.")

    @model_validator(mode="after")
    def _lags_fit(self) -> Self:
        if max(self.key_lags) >= self.kernel_size:
            raise ValueError(
                f"key_lags must be below kernel_size = {self.kernel_size}, got {max(self.key_lags)}: "
                "the convolution does not reach further back"
            )
        return self


class DecaySpec(Spec):
    """How much of the memory each token leaves: sigmoid(W x + bias), with biases spread evenly over the heads.

    Bias 2 keeps .88 a token, 6 .9975, 12 .999994: after 35,000 tokens .81 of what was written is there only with 12.
    """

    fastest_bias: Annotated[GateBias, RECALL] = 6.0
    slowest_bias: Annotated[GateBias, RECALL] = 12.0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.fastest_bias > self.slowest_bias:
            raise ValueError(
                f"fastest_bias must be at most slowest_bias = {self.slowest_bias}, got {self.fastest_bias}"
            )
        return self

    def biases(self, num_heads: int) -> list[float]:
        """One bias a head, from the slowest to the fastest."""
        step = (self.slowest_bias - self.fastest_bias) / max(1, num_heads - 1)
        return [self.slowest_bias - head * step for head in range(num_heads)]


class MixerSpec(Spec):
    """One sidecar: `gate · window attention + (1 − gate) · memory`, then a projection that starts at zero."""

    num_heads: Annotated[int, Field(gt=0, le=4096), OURS] = 2
    head_dim: Annotated[PositiveInt, OURS] = Field(32, description="Of keys and values; the user's `--fast_rank`.")
    window_size: Annotated[PositiveInt, USER_RUN] = Field(128, description="Tokens, the own one included.")
    conv: Annotated[ShortConvSpec, RECALL] = ShortConvSpec.defaults()
    key_products: Annotated[int, Field(ge=0, le=1024), OURS] = Field(
        0,
        description="The number of neighbours by which each channel of the memory's queries and keys is multiplied, so "
        "that a match must agree in several channels; 0: none.",
    )
    decay: Annotated[DecaySpec, RECALL] = DecaySpec.defaults()
    write_bias: Annotated[GateBias, RECALL] = Field(-1.0, description="Write strength at the start: sigmoid of this.")
    write_threshold: Annotated[float, Field(ge=0, lt=1), OURS] = Field(
        0.0, description="A write weaker than this share of the strongest is dropped."
    )
    write_width: Annotated[int, Field(ge=0, le=65536), OURS] = Field(
        0,
        description="Hidden units of the write gate beside its linear part. 0: linear alone, which can tell at most "
        "about twice as many tokens apart as the base has dimensions.",
    )
    negative_eigenvalues: Annotated[bool, OURS] = Field(
        False, description="Write strengths up to 2, so that a write can reverse a direction of the memory."
    )
    gate_bias: Annotated[GateBias, RECALL] = Field(0.0, description="0: attention and memory start with equal shares.")

    @property
    def memory_key_dim(self) -> int:
        """Dimensions of a key of the memory, and so the most values that it can keep apart."""
        return self.head_dim * max(1, self.key_products)

    @model_validator(mode="after")
    def _products_differ(self) -> Self:
        if self.key_products > self.head_dim // 2:
            raise ValueError(
                f"key_products must be at most head_dim / 2 = {self.head_dim // 2}, got {self.key_products}: "
                "more neighbours repeat the same products"
            )
        return self
