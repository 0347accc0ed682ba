"""Transformers with as many parameters as a model, as its control."""

from cortexzoo.specs.variant import TransformerSpec, VariantSpec
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.costs import parameter_count
from cortexzoo.zoo.models.transformer import Transformer

SMALL = 64


def equal_transformer(variant: VariantSpec, hidden_size: int, num_layers: int, vocab_size: int) -> TransformerSpec:
    """A transformer of this width whose feed-forward layers make up what is missing to the variant's parameters.

    Raises `ValueError` when the variant has fewer than its attention and embeddings alone.
    """
    least = TransformerSpec(
        name="equal-transformer",
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_layers=num_layers,
        intermediate_size=1,
    )
    missing = parameter_count(variant) - parameter_count(least)
    if missing < 0:
        raise ValueError(f"no transformer of width {hidden_size} is as small as {variant.name}")
    return least.model_copy(update={"intermediate_size": 1 + round(missing / (num_layers * (2 * hidden_size + 1)))})


def built(spec: TransformerSpec) -> Transformer:
    """The model, with weights from a seed."""
    model = build_model(spec, 0)
    assert isinstance(model, Transformer)
    return model
