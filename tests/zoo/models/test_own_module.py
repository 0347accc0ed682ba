"""A module of the user's own file as a variant: its permission, its arguments, and a text in pieces."""

from pathlib import Path
from typing import Any

import pytest
import torch

from cortexzoo.specs import allowed_code
from cortexzoo.specs.own_variant import HuggingFaceSpec, ModuleSpec
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.costs import batch_costs, parameter_count
from cortexzoo.zoo.errors import BackboneError, OwnModuleError
from cortexzoo.zoo.models.interface import MemoryLanguageModel

MODELS = Path(__file__).parent / "own_models.py"


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(allowed_code.VARIABLE, "1")


def spec(factory: str, **values: Any) -> ModuleSpec:
    return ModuleSpec(name="mine", source=f"{MODELS}:{factory}", **values)


def mistake(factory: str, **values: Any) -> str:
    with pytest.raises(OwnModuleError) as caught:
        build_model(spec(factory, **values), seed=0)
    (line,) = str(caught.value).splitlines()
    return line


@pytest.mark.parametrize(
    "variant",
    [
        spec("windowed"),
        spec("windowed", arguments={"positions": 5}, max_length=5),
        spec("carried"),
        spec("of_the_zoo"),
        HuggingFaceSpec(
            name="llama",
            model_type="llama",
            config={"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16},
        ),
    ],
    ids=lambda variant: f"{variant.family} {getattr(variant, 'factory', '')} {variant.max_length}",
)
def test_a_text_in_pieces_gives_the_logits_of_the_whole(variant: Any) -> None:
    model: MemoryLanguageModel[Any] = build_model(variant, seed=0).eval()
    tokens = torch.randint(256, (2, 17))
    whole = model(tokens).logits
    state, pieces = None, []
    for piece in tokens.split([3, 2, 1, 11], dim=1):
        output = model(piece, state)
        state = type(output.state).from_tensors(output.state.tensors())
        pieces.append(output.logits)
    assert torch.allclose(torch.cat(pieces, dim=1), whole, atol=1e-5)
    assert not any(tensor.requires_grad for tensor in state.tensors().values())
    assert parameter_count(variant) == sum(parameter.numel() for parameter in model.parameters())
    assert batch_costs(variant, 2, 4).trained_parameters == parameter_count(variant)


@pytest.mark.parametrize("factory", ["windowed", "carried"])
def test_a_module_has_no_memory_to_switch_off(factory: str) -> None:
    model = build_model(spec(factory), seed=0).eval()
    with pytest.raises(ValueError, match="window is no memory of this model, it has none that can be switched off"):
        model(torch.zeros(1, 3, dtype=torch.long), disabled=("window",))


def test_pieces_of_max_length_begin_without_those_before() -> None:
    model = build_model(spec("windowed", arguments={"positions": 4}, max_length=4), seed=0).eval()
    tokens = torch.randint(256, (1, 10))
    assert torch.equal(model(tokens).logits[:, 4:8], model(tokens[:, 4:8]).logits)


def test_a_seed_decides_the_weights() -> None:
    first, again, other = (build_model(spec("carried"), seed) for seed in (1, 1, 2))
    assert torch.equal(first.module.out.weight, again.module.out.weight)
    assert not torch.equal(first.module.out.weight, other.module.out.weight)


def test_code_runs_only_when_it_is_allowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(allowed_code.VARIABLE)
    monkeypatch.setenv("CORTEXZOO_CONFIG", str(tmp_path / "config"))
    assert "runs with --allow-code only" in mistake("windowed")
    allowed_code.remember([tmp_path])
    assert "runs with --allow-code only" in mistake("windowed")
    allowed_code.remember([tmp_path, MODELS.parent.parent])
    build_model(spec("windowed"), seed=0)


def test_a_file_that_has_changed_is_refused() -> None:
    line = mistake("windowed", sha256="0" * 64)
    assert f"{MODELS} has changed since this spec was loaded" in line


@pytest.mark.parametrize(
    ("factory", "values", "words"),
    [
        ("window", {}, "has nothing named window: did you mean windowed?"),
        ("WORDS", {}, "must be a function, got str"),
        ("no_module", {}, "must return a torch.nn.Module, got int"),
        ("raises", {}, "raised ValueError: no such size (" + str(MODELS)),
        ("needs", {}, "variant.arguments.width is missing"),
        ("windowed", {"arguments": {"widht": 3}}, "variant.arguments.widht is no argument of"),
        ("windowed", {"arguments": {"width": 0.5}}, "variant.arguments.width must be of type int, got 0.5"),
        ("windowed", {"arguments": {"width": True}}, "variant.arguments.width must be of type int, got True"),
        ("windowed", {"arguments": {"scale": "x"}}, "variant.arguments.scale must be of type float, got 'x'"),
        ("without_parameters", {}, "nothing to train"),
        ("broken", {}, f"it raised RuntimeError: the third line is wrong ({MODELS}"),
        ("too_few_logits", {}, "must return logits [1, 2, 256] [batch, time, vocab_size], got [1, 2, 100]"),
        ("no_logits", {}, "got str"),
        ("no_state", {}, "its state must consist of tensors and numbers"),
        ("windowed", {"vocab_size": 300}, "must return logits [1, 2, 300]"),
        ("of_the_zoo", {"vocab_size": 300}, "variant.vocab_size must be 256"),
        ("carried", {"max_length": 3}, "variant.max_length must be null"),
    ],
)
def test_a_mistake_is_one_line(factory: str, values: dict[str, Any], words: str) -> None:
    assert words in mistake(factory, **values)


def test_an_int_is_a_float() -> None:
    usual, scaled = (
        torch.cat([each.flatten() for each in build_model(spec("windowed", arguments=given), seed=0).parameters()])
        for given in ({}, {"scale": 2})
    )
    assert torch.equal(scaled, 2 * usual)


def test_a_file_that_cannot_be_imported_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import nothing_of_this_name\n")
    bad = ModuleSpec(name="bad", source=f"{tmp_path}/bad.py:make")
    with pytest.raises(OwnModuleError, match=r"bad\.py raised ModuleNotFoundError.*bad\.py:1"):
        build_model(bad)
    with pytest.raises(OwnModuleError, match=r"none\.py cannot be read"):
        build_model(ModuleSpec(name="none", source=f"{tmp_path}/none.py:make"))


@pytest.mark.parametrize(
    ("model_type", "config", "words"),
    [
        ("llamma", {}, "llamma"),
        ("llama", {"hiden_size": 16}, "variant.config.hiden_size is no value .* did you mean"),
        ("llama", {"hidden_size": 16, "num_attention_heads": 3}, "variant.config is no llama"),
        ("vit", {}, "variant.config is no vit"),
    ],
)
def test_a_configuration_that_cannot_be_is_one_line(model_type: str, config: dict[str, Any], words: str) -> None:
    with pytest.raises(BackboneError, match=words) as caught:
        build_model(HuggingFaceSpec(name="wrong", model_type=model_type, config=config), seed=0)
    assert "\n" not in str(caught.value)


def test_special_tokens_beyond_a_small_vocabulary_are_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    shape = {**sizes, "num_key_value_heads": 2}
    model = build_model(HuggingFaceSpec(name="small", model_type="phi3", config=shape), seed=0)
    config: Any = model.base_network or next(m for m in model.modules() if hasattr(m, "config"))
    assert config.config.pad_token_id is None and config.config.eos_token_id is None
    assert config.config.bos_token_id == 1
    assert "token_id" not in capfd.readouterr().err
