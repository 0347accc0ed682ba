"""A causal language model of Hugging Face as a bare module: a folder, or a name that is in the local cache."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cortexzoo.harness.checking.modules.causal_lm import CausalLM, as_module
from cortexzoo.harness.checking.modules.errors import ModuleError
from cortexzoo.harness.checking.modules.weights import has_weights, refuse_incomplete
from cortexzoo.harness.errors import in_one_line
from cortexzoo.zoo.models.meta_device import note_what_creates_tensors

CONFIG = "config.json"


@dataclass(frozen=True)
class Pretrained:
    """The folder of a model's files, and how the user named it."""

    path: Path
    name: str

    def __str__(self) -> str:
        return f"hf:{self.path}"

    @property
    def label(self) -> str:
        """The name of the folder that its certificate goes into."""
        return self.name

    @classmethod
    def parse(cls, text: str) -> "Pretrained":
        """Raises `ModuleError` unless `text` is a folder with a config, or a name that was downloaded before."""
        if (Path(text) / CONFIG).is_file():
            return cls(Path(text).resolve(), Path(text).resolve().name)
        if Path(text).is_dir():
            raise ModuleError(f"--hf {text}: the folder has no {CONFIG}, which save_pretrained writes")
        from transformers.utils.hub import cached_file

        try:
            config = cached_file(text, CONFIG, local_files_only=True)
        except (OSError, ValueError):
            config = None
        if config is None:
            raise ModuleError(
                f"--hf {text}: is neither a folder nor in the local cache: download it first (hf download {text})"
            )
        return cls(Path(config).parent, text.replace("/", "--"))


def load_pretrained(reference: Pretrained) -> tuple[Callable[[], CausalLM], CausalLM]:
    """A factory of fresh models of its architecture, and the model with its weights, if there are any, in float32.

    Raises `ModuleError` when transformers cannot make a causal language model of the folder, or its weights are not
    exactly those of the model.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    note_what_creates_tensors()

    def fresh() -> CausalLM:
        config = AutoConfig.from_pretrained(reference.path, local_files_only=True)
        return as_module(AutoModelForCausalLM.from_config(config, dtype=torch.float32))

    read = has_weights(reference.path)
    try:
        if not read:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                return fresh, fresh()
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            reference.path, dtype=torch.float32, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except Exception as problem:
        raise ModuleError(f"{reference.path}: no causal language model: {in_one_line(problem)}") from problem
    network, report = loaded
    refuse_incomplete(reference.path, report)
    return fresh, as_module(network)
