"""A causal language model of Hugging Face is checked as any module is, from its files alone."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from cortexzoo.harness.checking.modules import causal_lm
from cortexzoo.harness.checking.modules.causal_lm import CausalLM, as_module
from cortexzoo.harness.checking.modules.errors import ModuleError
from cortexzoo.harness.checking.modules.hugging_face import Pretrained, load_pretrained
from cortexzoo.harness.checking.modules.inputs import Inputs
from cortexzoo.harness.checking.modules.registry import BARE
from cortexzoo.harness.checking.modules.subject import BareSubject
from cortexzoo.harness.cli import main
from cortexzoo.harness.studies.architectures import factory
from cortexzoo.specs.properties import PROPERTIES, PropertyName
from tests.harness.checking.modules.releases import mamba_takes_pieces

LAYER = {"n_embd": 16, "n_head": 2, "n_layer": 1, "vocab_size": 50}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny-gpt2"
    folder.mkdir()
    config = {"model_type": "gpt2", "n_positions": 300, "bos_token_id": 0, "eos_token_id": 0, **LAYER}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.slow
def test_it_is_checked_certified_and_replayed(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("repeatability", "padding_changes_nothing", "linear_time", "chunk_invariance")
    suite = tmp_path / "small.yaml"
    suite.write_text("kind: suite\nname: small\nproperties:\n" + "".join(f"  {name}: {{}}\n" for name in names))
    command = ["check", "--hf", str(folder), "--suite", str(suite), "--profile", "dev", "--budget", "120s"]
    assert main([*command, "--runs", str(tmp_path / "runs")]) == 0, capsys.readouterr().out
    path = tmp_path / "runs" / "modules" / "tiny-gpt2" / "verdict.json"
    content = json.loads(path.read_text())
    assert content["takes"] == "token ids below 50" and content["profile"] == "dev"
    assert {n: j["verdict"] for n, j in content["properties"].items()} == {
        "repeatability": "pass",
        "padding_changes_nothing": "pass",
        "linear_time": "skipped",
        "chunk_invariance": "pass",
    }
    assert "it claims no linear growth" in content["properties"]["linear_time"]["reason"]
    assert main(["replay", str(path), "--property", "padding_changes_nothing"]) == 0
    (folder / "config.json").write_text((folder / "config.json").read_text().replace("50", "51"))
    assert main(["replay", str(path), "--property", "padding_changes_nothing"]) == 2
    assert "another sha256" in capsys.readouterr().err


def test_saved_weights_are_the_ones_that_are_checked(folder: Path) -> None:
    reference = Pretrained.parse(str(folder))
    _, drawn = load_pretrained(reference)
    with torch.no_grad():
        drawn.network.lm_head.weight.fill_(0.5)
    drawn.network.save_pretrained(folder)
    fresh, read = load_pretrained(Pretrained.parse(str(folder)))
    assert torch.equal(read.network.lm_head.weight, torch.full((50, 16), 0.5))
    assert not torch.equal(fresh().network.lm_head.weight, read.network.lm_head.weight)


def test_what_is_no_model_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModuleError, match=r"the folder has no config\.json, which save_pretrained writes"):
        Pretrained.parse(str(tmp_path))
    with pytest.raises(ModuleError, match=r"nobody/nothing: .* download it first \(hf download nobody/nothing\)"):
        Pretrained.parse("nobody/nothing")
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(ModuleError, match="no causal language model: ValueError"):
        load_pretrained(Pretrained.parse(str(tmp_path)))


def saved(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]] = dict) -> Pretrained:
    """The folder with weights, in which `change` was made."""
    _, drawn = load_pretrained(Pretrained.parse(str(folder)))
    drawn.network.save_pretrained(folder)
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})
    return Pretrained.parse(str(folder))


def test_tied_weights_are_complete(folder: Path) -> None:
    reference = saved(folder)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    _, read = load_pretrained(reference)
    assert read.network.lm_head.weight is read.network.transformer.wte.weight


LAYER_NAME = "transformer.h.0.mlp.c_fc.weight"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda w: {k: v for k, v in w.items() if k != LAYER_NAME}, f"the weights {LAYER_NAME} are missing$"),
        (lambda w: {f"_orig_mod.{k}": v for k, v in w.items()}, "begin with _orig_mod., save the inner model"),
        (lambda w: {k.replace("c_fc", "up"): v for k, v in w.items()}, r"are missing: the file has .*up\.bias"),
        (lambda w: {**w, LAYER_NAME: w[LAYER_NAME][:, :3].clone()}, "no causal language model: |of another shape"),
        (
            lambda w: {**w, "transformer.h.0.extra": torch.zeros(2)},
            "no place for the weights transformer.h.0.extra",
        ),
    ],
)
def test_weights_that_are_not_those_of_the_model_are_refused(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], expected: str
) -> None:
    reference = saved(folder, change)
    with pytest.raises(ModuleError, match=expected) as refusal:
        load_pretrained(reference)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("pytorch_model.bin", "x", "only safetensors are read, since other formats may run code"),
        ("model.gguf", "x", "only safetensors are read"),
        ("model.safetensors.index.json", '{"weight_map": {"a": "model-00001-of-00002.safetensors"}}', "is not there"),
        ("model.safetensors.index.json", "[]", "is no index of weights"),
        ("checkpoint-10/model.safetensors", "x", "has no weights, but checkpoint-10/ has: name that folder"),
    ],
)
def test_weights_that_cannot_be_read_are_no_fresh_model(folder: Path, name: str, content: str, expected: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(content)
    with pytest.raises(ModuleError, match=expected):
        load_pretrained(Pretrained.parse(str(folder)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--hf", "x", "--module", "y.py:make"], "cannot be combined"),
        (["--hf", "x", "--width", "4"], "cannot be combined with --width: the input is token ids"),
        (["--hf", "x", "--recipe", "robust"], "--hf x cannot be combined with --recipe"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def subject_of(kind: str) -> BareSubject:
    config = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "pad_token_id": 0}
    made = CONFIG_MAPPING[kind](**config, intermediate_size=24, max_position_embeddings=60, initializer_range=0.2)

    def fresh() -> CausalLM:
        return as_module(AutoModelForCausalLM.from_config(made, dtype=torch.float32))

    torch.manual_seed(0)
    return BareSubject(fresh, fresh(), Inputs("tokens", 50), 60)


@pytest.fixture(scope="module")
def llama() -> BareSubject:
    return subject_of("llama")


def failing(subject: BareSubject, name: PropertyName) -> list[str]:
    """The reasons of all listed cases that fail."""
    found = [BARE[name].check(subject, case) for case in BARE[name].cases(subject)]
    return [finding.reason for finding in found if finding.observed > PROPERTIES[name].bound]


def test_its_cache_generate_and_each_attention_give_what_a_call_gives(llama: BareSubject) -> None:
    assert llama.carries_state and set(llama.ways) >= {"generate", "eager"}
    assert failing(llama, "chunk_invariance") == []


def test_a_cache_that_is_given_stays_as_it_is(llama: BareSubject) -> None:
    model = llama.copy()
    _, state = llama.call(model, llama.draw(1, 4), llama.begin(model, 1))
    kept = [tensor.clone() for tensor in llama.memory(state).values()]
    llama.call(model, llama.draw(1, 3), state)
    assert all(torch.equal(one, other) for one, other in zip(kept, llama.memory(state).values(), strict=True))


def test_pads_on_both_sides_change_nothing(llama: BareSubject) -> None:
    sides = {case["side"] for case in BARE["padding_changes_nothing"].cases(llama)}
    assert sides == {"left", "right"}
    assert failing(llama, "padding_changes_nothing") == []


def test_an_attention_that_differs_is_found(llama: BareSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    def scaled(self: CausalLM, way: str, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return inputs, 1.01 * self.whole(inputs)

    monkeypatch.setattr(CausalLM, "in_another_way", scaled)
    assert any(reason.startswith("eager differs by") for reason in failing(llama, "chunk_invariance"))


@mamba_takes_pieces
def test_several_tokens_on_the_cache_of_a_mamba_are_wrong() -> None:
    """Known of transformers: the convolution of a second piece begins without the tokens before it."""
    mamba = subject_of("mamba")
    reasons = failing(mamba, "chunk_invariance")
    assert any("1+2+1 tokens in pieces" in reason for reason in reasons)
    assert not any("1+1+1 tokens" in reason for reason in reasons)


@mamba_takes_pieces
def test_a_model_that_overwrites_its_cache_is_trained_without_it() -> None:
    torch.manual_seed(0)
    fresh = factory("granitemoehybrid")
    hybrid = BareSubject(fresh, fresh(), Inputs("tokens", 50), 60)
    assert not hybrid.original.passes_gradients
    case = {"pieces": "3+1+2", "rows": 2, "mode": "train", "seed": 0}
    assert BARE["chunk_invariance"].check(hybrid, case).observed <= 1e-5
    model = hybrid.copy().train()
    (output, *_), state = hybrid.call(model, hybrid.draw(2, 3), hybrid.begin(model, 2))
    assert output.requires_grad
    assert not hybrid.call(model, hybrid.draw(2, 1), state)[0][0].requires_grad


def test_weights_that_come_back_untied_are_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, drawn = load_pretrained(Pretrained.parse(str(folder)))
    assert torch.equal(drawn.saved_and_loaded().network.lm_head.weight, drawn.network.lm_head.weight)
    monkeypatch.setattr(causal_lm, "_tied", lambda network: set() if network is not drawn.network else {("a", "b")})
    with pytest.raises(ModuleError, match="a and b are tied, but not after save_pretrained"):
        drawn.saved_and_loaded()
