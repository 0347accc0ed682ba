"""The numbers of a base as its own configuration gives them, and whether they are those of a spec."""

import math
from typing import Any

from cortexzoo.specs.backbone import PretrainedArchitecture, RotaryArchitecture
from cortexzoo.zoo.errors import BackboneError

LAYOUTS = ("gpt2", "llama", "mistral", "qwen2", "qwen3")


def described(config: Any) -> dict[str, Any]:
    """The architecture numbers of a transformers configuration, under the names of the spec; None: it has no such."""
    if config.model_type not in LAYOUTS:
        return {
            "layout": "any",
            "model_type": config.model_type,
            "vocab_size": config.vocab_size,
            "hidden_size": config.hidden_size,
            "num_layers": config.num_hidden_layers,
            "max_positions": getattr(config, "max_position_embeddings", None),
        }
    heads = config.num_attention_heads
    numbers: dict[str, Any] = {
        "layout": config.model_type,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_layers": config.num_hidden_layers,
        "num_heads": heads,
        "max_positions": config.max_position_embeddings,
    }
    if config.model_type == "gpt2":
        intermediate = config.n_inner or 4 * config.hidden_size
        return {**numbers, "intermediate_size": intermediate, "norm_eps": config.layer_norm_epsilon}
    rope = getattr(config, "rope_parameters", None) or {"rope_theta": getattr(config, "rope_theta", None)}
    return {
        **numbers,
        "num_kv_heads": config.num_key_value_heads,
        "head_dim": getattr(config, "head_dim", None) or config.hidden_size // heads,
        "intermediate_size": config.intermediate_size,
        "rope_base": rope.get("rope_theta"),
        "norm_eps": config.rms_norm_eps,
        "tied_embeddings": config.tie_word_embeddings,
    }


def require_architecture(config: Any, architecture: PretrainedArchitecture, name: str) -> None:
    """Raises `BackboneError` unless the spec's numbers are those of the base itself."""
    found = described(config)
    if found["layout"] != architecture.layout:
        raise BackboneError(
            f"backbone.architecture.layout must be {found['layout']}, that of {name}, got {architecture.layout}: "
            f"cortexzoo new FILE.yaml --base {name} writes its numbers"
        )
    wanted = architecture.model_dump()
    if isinstance(architecture, RotaryArchitecture):
        wanted["head_dim"] = architecture.width_of_head
    wrong = [key for key, value in found.items() if value is not None and not _same(value, wanted[key])]
    if wrong:
        required = ", ".join(f"{key} must be {found[key]}, got {wanted[key]}" for key in wrong)
        raise BackboneError(f"backbone.architecture is not that of {name}: {required}")


def _same(found: Any, wanted: Any) -> bool:
    # A GGUF file contains its numbers in single precision.
    return math.isclose(found, wanted, rel_tol=1e-6) if isinstance(wanted, float) else bool(found == wanted)
