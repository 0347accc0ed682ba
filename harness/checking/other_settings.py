"""Small models of a subject's family with settings that are not the subject's, nor any shipped one's."""

from collections.abc import Mapping

import torch

from cortexzoo.harness.checking.subject import Model
from cortexzoo.specs.backbone import GPT2Architecture, ScratchBackbone
from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.specs.memory import (
    CompressedStore,
    Contexts,
    MemorySpec,
    ProjectedReadOut,
    RawReadOut,
    RawRing,
    ShortTermRing,
    SigmoidGate,
    SoftmaxGate,
)
from cortexzoo.specs.mixer import DecaySpec, MixerSpec, ShortConvSpec
from cortexzoo.specs.variant import ColumnsSpec, CortexGPTSpec, DecayedSinusoid, Replace, Residual, SoftThreshold
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.models.cortexgpt import CortexGPT
from cortexzoo.zoo.models.hybrid.model import Hybrid

CHUNK = 8
"""Of a hybrid's base."""
STD = 0.3
"""Of what is added to weights that begin at zero or all alike."""
COLUMNS = ColumnsSpec(num_columns=3, sparsity=SoftThreshold(temperature=1.5, threshold=0.4, sharpness=3.0))
MEMORIES: Mapping[str, CortexGPTSpec] = {
    "outputs with their history": CortexGPTSpec(
        name="outputs", hidden_size=16, columns=COLUMNS, position=DecayedSinusoid(decay=0.02), order="columns_first",
        join=Residual(memory_weight=0.5),
        memory=MemorySpec(
            short_term=ShortTermRing(
                capacity=6, num_heads=2, stores="output", stop_gradient="none", read_out=RawReadOut()
            ),
            long_term=CompressedStore(code_size=8, top_k=2, min_reads=2, capacity=9),
            gate=SigmoidGate(temperature=0.7, floor=0.1),
        ),
    ),
    "one ring for all rows": CortexGPTSpec(
        name="shared", hidden_size=16, columns=COLUMNS, join=Replace(),
        memory=MemorySpec(
            short_term=ShortTermRing(
                capacity=7, num_heads=4, scope="shared", stop_gradient="retrieval",
                read_out=ProjectedReadOut(dropout=0.3),
            ),
            long_term=RawRing(code_size=8, top_k=3, capacity=11, writes=4),
            gate=SoftmaxGate(),
        ),
    ),
    "inputs with their history": CortexGPTSpec(
        name="inputs", hidden_size=16, columns=COLUMNS, order="columns_first",
        memory=MemorySpec(
            short_term=ShortTermRing(capacity=9, num_heads=1, stop_gradient="none", recency="none"),
            long_term=Contexts(
                capacity=50, context=5, top_k=3, list_tokens=1, lists=3, code_size=16, decay=0.6, own_span=4,
                share_width=6,
            ),
            gate=SigmoidGate(temperature=2.0, floor=0.2),
        ),
    ),
    "long contexts": CortexGPTSpec(
        name="contexts", hidden_size=16, columns=COLUMNS,
        memory=MemorySpec(
            short_term=ShortTermRing(capacity=5, num_heads=2),
            long_term=Contexts(capacity=90, context=29, top_k=2, list_tokens=2, lists=4, code_size=16, decay=0.9),
        ),
    ),
}  # fmt: skip
ONE_LAYER = "a learned base of one layer"
MIXERS: Mapping[str, MixerSpec] = {
    "strong and selective writes": MixerSpec(
        num_heads=3, head_dim=4, window_size=5,
        conv=ShortConvSpec(kernel_size=3, key_lags=(0, 2), lags_over="channels", noise=0.2), key_products=2,
        decay=DecaySpec(fastest_bias=1.0, slowest_bias=3.0), write_bias=0.5, write_threshold=0.4, write_width=3,
        negative_eigenvalues=True, gate_bias=0.5,
    ),
    "one head and no filter": MixerSpec(
        num_heads=1, head_dim=6, window_size=1, conv=ShortConvSpec(kernel_size=1, key_lags=(0,), noise=0.2),
        decay=DecaySpec(fastest_bias=2.0, slowest_bias=2.0), write_bias=0.0,
    ),
    ONE_LAYER: MixerSpec(num_heads=2, head_dim=4, window_size=7, conv=ShortConvSpec(key_lags=(1, 2))),
}  # fmt: skip


def settings_for(model: Model) -> Mapping[str, object]:
    """The settings that there are for a model, by name."""
    return MEMORIES if isinstance(model, CortexGPT) else MIXERS if isinstance(model, Hybrid) else {}


def with_settings(model: Model, name: str) -> Model:
    """As `fresh_with`, and none of its weights alike or zero; `model` for no name."""
    if not name:
        return model
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        small = fresh_with(model, name, 0)
        torch.manual_seed(0)
        for parameter in small.parameters():
            if parameter.requires_grad and _begins_alike(parameter):
                parameter.add_(torch.randn_like(parameter), alpha=STD)
    return small


def fresh_with(model: Model, name: str, seed: int) -> Model:
    """A fresh, small model with these settings, of the subject's vocabulary or on its base."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        small = _hybrid(model, name, seed) if isinstance(model, Hybrid) else _cortexgpt(model, MEMORIES[name])
    return small.train(model.training)


def _cortexgpt(model: Model, spec: CortexGPTSpec) -> Model:
    return CortexGPT(spec.model_copy(update={"vocab_size": model.vocab_size}))


def _hybrid(model: Hybrid, name: str, seed: int) -> Model:
    """With short chunks, on the first two layers of the subject's base; or on a fresh base, which learns with it."""
    mixer, vocab_size = MIXERS[name], model.vocab_size
    if name == ONE_LAYER:
        architecture = GPT2Architecture(
            vocab_size=vocab_size, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=24
        )
        backbone = ScratchBackbone(architecture=architecture, init_std=STD)
        return build_model(HybridSpec(name="other", chunk_size=CHUNK, mixer=mixer, backbone=backbone), seed)
    layers = tuple(range(min(2, model.spec.backbone.architecture.num_layers)))
    spec = HybridSpec(name="other", chunk_size=CHUNK, layers=layers, mixer=mixer, backbone=model.spec.backbone)
    return Hybrid(spec, model.base)


def _begins_alike(parameter: torch.Tensor) -> bool:
    return bool((parameter == parameter.flatten()[0]).all())
