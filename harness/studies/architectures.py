"""Architectures of transformers as tiny random models, each checked as `cortexzoo check --hf` checks a folder."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch

from cortexzoo.harness.checking.effort import Effort
from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.modules.causal_lm import CausalLM, as_module
from cortexzoo.harness.checking.modules.detection import detect
from cortexzoo.harness.checking.modules.registry import BARE
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.harness.errors import in_one_line
from cortexzoo.specs import SuiteSpec, load
from cortexzoo.specs.properties import PropertyName

ARCHITECTURES = (
    "afmoe", "apertus", "arcee", "bamba", "biogpt", "bitnet", "bloom", "codegen", "cohere", "cohere2", "ctrl",
    "cwm", "deepseek_v2", "deepseek_v3", "diffllama", "doge", "dots1", "ernie4_5", "ernie4_5_moe", "exaone4",
    "falcon", "falcon_h1", "falcon_mamba", "flex_olmo", "gemma", "gemma2", "gemma3_text", "glm", "glm4", "glm4_moe",
    "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "gpt_oss", "gptj", "granite", "granitemoe", "granitemoehybrid",
    "granitemoeshared", "helium", "hunyuan_v1_dense", "hunyuan_v1_moe", "jamba", "jetmoe", "lfm2", "lfm2_moe",
    "llama", "mamba", "mamba2", "minimax", "minimax_m2", "ministral", "mistral", "mixtral", "mpt", "nanochat",
    "nemotron", "nemotron_h", "olmo", "olmo2", "olmo3", "olmo_hybrid", "olmoe", "opt", "persimmon", "phi", "phi3",
    "phimoe", "qwen2", "qwen2_moe", "qwen3", "qwen3_5_text", "qwen3_moe", "qwen3_next", "recurrent_gemma", "rwkv",
    "seed_oss", "smollm3", "stablelm", "starcoder2", "vaultgemma", "xglm", "zamba2",
)  # fmt: skip
SMALL: dict[str, int | float] = {
    "vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 200, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "initializer_range": 0.1, "num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
}  # fmt: skip
"""In the words of most configs; a config has its own for some, which its `attribute_map` translates."""
NARROW = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]}
GROUPLESS = {"n_routed_experts": 4, "n_group": 1, "topk_group": 1, "n_shared_experts": 1, "first_k_dense_replace": 1}
DELTA = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"],
}  # fmt: skip
MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_d_state": 8, "mamba_chunk_size": 16}
LATENT = {
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
    "num_key_value_heads": 4,
}  # fmt: skip
SPECIAL: dict[str, dict[str, Any]] = {
    "bamba": {**MAMBA, "attn_layer_indices": [1]},
    "codegen": {"rotary_dim": 4, "n_inner": 48},
    "ctrl": {"n_positions": 200, "n_embd": 32, "dff": 48, "n_layer": 2, "n_head": 4},
    "cwm": NARROW,
    "deepseek_v2": {**LATENT, **GROUPLESS},
    "deepseek_v3": {**LATENT, **GROUPLESS},
    "dots1": GROUPLESS,
    "ernie4_5_moe": {"moe_num_experts": 4, "moe_k": 2, "moe_num_shared_experts": 1, "moe_layer_start_index": 1},
    "exaone4": NARROW,
    "falcon": {"head_dim": None, "num_key_value_heads": None},
    "falcon_h1": {**MAMBA, "mamba_d_ssm": 64},
    "glm4_moe": GROUPLESS,
    "gpt_neo": {"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": 32},
    "gpt_oss": NARROW,
    "gptj": {"rotary_dim": 4},
    "granitemoehybrid": {
        **MAMBA, "layer_types": ["mamba", "attention"], "mamba_expand": 2, "shared_intermediate_size": 48,
    },
    "granitemoeshared": {"shared_intermediate_size": 24},
    "hunyuan_v1_moe": {"moe_topk": 2},
    "jamba": {
        "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "mamba_d_state": 8,
        "use_mamba_kernels": False,
    },
    "jetmoe": {"kv_channels": 8, "num_attention_heads": None},
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_ff_dim": 48, "head_dim": None},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1, "head_dim": None},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1, "state_size": 8, "chunk_size": 16},
    "minimax": {"block_size": 16, "layer_types": ["linear_attention", "full_attention"]},
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 200},
    "nemotron_h": {
        "ssm_state_size": 8, "mamba_num_heads": 8, "mamba_head_dim": 8, "n_groups": 1, "chunk_size": 16,
        "layers_block_type": ["mamba", "attention"],
    },
    "olmo3": NARROW,
    "olmo_hybrid": {**DELTA, "linear_num_value_heads": 2},
    "persimmon": {"num_key_value_heads": 4},
    "qwen2_moe": {"shared_expert_intermediate_size": 24},
    "qwen3_5_text": DELTA,
    "qwen3_next": {**DELTA, "shared_expert_intermediate_size": 24},
    "recurrent_gemma": {"lru_width": 32, "attention_window_size": 32, "block_types": ["recurrent", "attention"]},
    "rwkv": {"attention_hidden_size": 32, "context_length": 200},
    "vaultgemma": NARROW,
    "xglm": {"d_model": 32, "ffn_dim": 48, "num_layers": 2, "attention_heads": 4, "num_key_value_heads": 4},
    "zamba2": {
        "mamba_d_state": 8, "mamba_headdim": 8, "n_mamba_heads": 8, "mamba_ngroups": 1, "chunk_size": 16,
        "attention_head_dim": 16, "hybrid_layer_ids": [1], "layers_block_type": ["mamba", "hybrid"],
        "num_mem_blocks": 1, "use_mem_rope": False,
    },
}  # fmt: skip
EXAMPLES, LONGEST = 2, 200
EXCUSED = ("linear_time", "linear_memory", "gate_balance")
"""Of no language model of transformers."""


def factory(kind: str) -> Callable[[], CausalLM]:
    """Fresh tiny models of an architecture."""
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    wanted = {key: value for key, value in {**SMALL, **SPECIAL.get(kind, {})}.items() if value is not None}
    config = CONFIG_MAPPING[kind](**wanted)

    def fresh() -> CausalLM:
        return as_module(AutoModelForCausalLM.from_config(config, dtype=torch.float32))

    return fresh


def checked(kind: str, seconds: float, seed: int = 0) -> dict[PropertyName, Judgement] | str:
    """The judgements within CPU `seconds` a property; the reason in a line where none can be made."""
    suite = load("bare-module", "suite")
    assert isinstance(suite, SuiteSpec)
    warnings.simplefilter("ignore")
    try:
        fresh = factory(kind)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = fresh()
        longest = min(LONGEST, module.max_length or LONGEST)
        subject = detect(fresh, module, kind, None, None, longest, seconds=60 * seconds)
    except Exception as problem:
        return in_one_line(problem)
    effort = Effort(EXAMPLES, seconds, seed, cpu=True)
    names = [name for name in suite.properties if name not in EXCUSED]
    return {name: judge(BARE[name], suite.properties[name], subject, effort) for name in names}


def table(found: dict[str, dict[PropertyName, Judgement] | str]) -> list[Sequence[str]]:
    """A row for each architecture: how many properties pass, are skipped, and what does not pass."""
    rows: list[Sequence[str]] = [("architecture", "pass", "skipped", "deviations")]
    for kind, judgements in found.items():
        if isinstance(judgements, str):
            rows.append((kind, "–", "–", f"not made: {judgements}"))
            continue
        verdicts = [judgement.verdict for judgement in judgements.values()]
        others = [f"{j.name}: {j.verdict}" for j in judgements.values() if j.verdict not in ("pass", "skipped")]
        rows.append((kind, str(verdicts.count("pass")), str(verdicts.count("skipped")), "; ".join(others) or "none"))
    return rows
