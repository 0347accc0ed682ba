"""The numbers of a base as its own configuration gives them, and whether they are those of a spec."""

import difflib
import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from cortexzoo.specs.backbone import PretrainedArchitecture, RotaryArchitecture
from cortexzoo.specs.own_variant import HuggingFaceSpec
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


def require_whole(found: dict[str, Any], name: str) -> None:
    """Raise `BackboneError` for weights that are missing or of another shape: they would be random."""
    missing = sorted(found["missing_keys"])
    mismatched = sorted(str(each[0] if isinstance(each, tuple) else each) for each in found["mismatched_keys"])
    for what, weights in (("lacks", missing), ("has of another shape", mismatched)):
        if weights:
            more = f" and {len(weights) - 1} more" if len(weights) > 1 else ""
            raise BackboneError(
                f"{name}: {what} the weight {weights[0]}{more}, which its config.json requires: download it again"
            )


def require_known(spec: HuggingFaceSpec, known: Collection[str]) -> None:
    """Raise `BackboneError` for a value that the configuration of this type does not have."""
    for key in spec.config:
        if key not in known:
            hint = "".join(f": did you mean {near}?" for near in difflib.get_close_matches(key, known, n=1))
            raise BackboneError(f"variant.config.{key} is no value of the configuration of {spec.model_type}{hint}")


@contextmanager
def named_values(model_type: str) -> Iterator[None]:
    """Turn what transformers raises for a configuration into one line with the model type."""
    try:
        yield
    except BackboneError:
        raise
    except ImportError as problem:
        raise BackboneError(f"variant.model_type {model_type} needs a package: {in_a_line(problem)}") from problem
    except Exception as problem:
        raise BackboneError(f"variant.config is no {model_type}: {in_a_line(problem)}") from problem


def in_a_line(problem: Exception) -> str:
    """Type and first line of an exception, of at most 200 characters."""
    return f"{type(problem).__name__}: {' '.join(str(problem).split())[:200]}"
