"""Files of sidecars: small, complete, and of no use on another base."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.zoo.errors import CheckpointError
from cortexzoo.zoo.models.backbones import random_backbone
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.hybrid.weights import load_sidecars, save_sidecars
from tests.zoo.models.hybrid.tiny import ARCHITECTURE, CHUNK, some_tokens, tiny_hybrid, tiny_spec


def test_sidecars_load_onto_a_fresh_base_and_the_file_holds_nothing_else(tmp_path: Path) -> None:
    trained, file = tiny_hybrid(), tmp_path / "sidecars.safetensors"
    save_sidecars(trained, file)
    fresh = Hybrid(tiny_spec(), random_backbone(ARCHITECTURE))
    tokens = some_tokens(2, 3 * CHUNK)
    assert not torch.equal(fresh(tokens).logits, trained(tokens).logits)
    load_sidecars(fresh, file)
    assert torch.equal(fresh(tokens).logits, trained(tokens).logits)
    assert file.stat().st_size < 4 * sum(p.numel() for p in trained.parameters()) + 8000
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_another_base_another_variant_and_damage_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "sidecars.safetensors"
    save_sidecars(tiny_hybrid(), file)
    other_base = Hybrid(tiny_spec(), random_backbone(ARCHITECTURE, seed=1))
    with pytest.raises(CheckpointError, match=r"belongs to the base random base of seed 0 .* random base of seed 1"):
        load_sidecars(other_base, file)
    spec = HybridSpec(**{**dict(tiny_spec()), "layers": (0,)})
    with pytest.raises(CheckpointError, match=r"only the checkpoint has sidecars\.1\."):
        load_sidecars(Hybrid(spec, random_backbone(ARCHITECTURE)), file)
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_sidecars(tiny_hybrid(), file)
    save_file({"a": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match="contains no sidecars"):
        load_sidecars(tiny_hybrid(), file)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_sidecars(tiny_hybrid(), tmp_path / "missing")
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_sidecars(tiny_hybrid(), tmp_path / "no" / "such" / "folder")
