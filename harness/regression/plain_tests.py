"""Test files in plain torch, a template for each property that needs nothing else."""

import textwrap
from collections.abc import Callable

import torch
from torch import Tensor

from cortexzoo.harness.checking.modules.inputs import Inputs
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs.properties import PropertyName

SHORT = 64
"""Token ids that are written out; of more, and of vectors, the call that draws them is written."""
Template = Callable[[str, str, Inputs, Judgement], str | None]
"""From the module's path (seen from the test), its factory, what it takes and the failure; None: too special."""


def _head(path: str, factory: str) -> str:
    return textwrap.dedent(
        f"""\
        import importlib.util
        import sys
        from pathlib import Path

        import torch

        MODULE = Path(__file__).parent / {path!r}


        def made() -> torch.nn.Module:
            sys.path.insert(0, str(MODULE.parent))
            spec = importlib.util.spec_from_file_location(MODULE.stem, MODULE)
            module = importlib.util.module_from_spec(spec)
            sys.modules[MODULE.stem] = module
            spec.loader.exec_module(module)
            torch.manual_seed(0)
            return module.{factory}()


        def output(model: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
            if hasattr(model, "initial_state"):
                return model(inputs, model.initial_state(len(inputs)))[0]
            result = model(inputs)
            if isinstance(result, dict):
                result = result.get("logits", next(iter(result.values())))
            result = getattr(result, "logits", result)
            return result[0] if isinstance(result, tuple | list) else result
        """
    )


def _causality(path: str, factory: str, inputs: Inputs, then: Judgement) -> str | None:
    case = then.case
    if case["before"]:
        return None
    length, edited = int(case["length"]), int(case["edited"])
    before = inputs.draw(2, length, int(case["seed"]))
    after = torch.cat([before[:, :edited], _other(inputs, before[:, edited:], str(case["to"]))], dim=1)
    return _head(path, factory) + textwrap.dedent(
        f"""

        def test_causality() -> None:
            before = {_written(inputs, before, then)}
            after = {_written(inputs, after, then, before, f"after[:, {edited}:]")}
            results = []
            for inputs in (before, after):
                model = made().train({case["mode"] == "train"})
                torch.manual_seed(0)
                with torch.no_grad():
                    results.append(output(model, inputs)[:, :{edited}])
            apart = float((results[0] - results[1]).abs().max())
            assert apart <= {then.bound!r} * max(1.0, float(results[0].abs().max()))
        """
    )


def _isolation(path: str, factory: str, inputs: Inputs, then: Judgement) -> str | None:
    case = then.case
    if not then.reason.startswith("editing row"):
        return None
    rows, row = int(case["rows"]), int(case["edited_row"]) % int(case["rows"])
    before = inputs.draw(rows, int(case["length"]), int(case["seed"]))
    after = before.clone()
    after[row] = _other(inputs, before[row], str(case["to"]))
    return _head(path, factory) + textwrap.dedent(
        f"""

        def test_batch_isolation() -> None:
            before = {_written(inputs, before, then)}
            after = {_written(inputs, after, then, before, f"after[{row}]")}
            others = [row for row in range({rows}) if row != {row}]
            results = []
            for inputs in (before, after):
                model = made().train({case["mode"] == "train"})
                torch.manual_seed(0)
                with torch.no_grad():
                    results.append(output(model, inputs)[others])
            apart = float((results[0] - results[1]).abs().max())
            assert apart <= {then.bound!r} * max(1.0, float(results[0].abs().max()))
        """
    )


def _repeatability(path: str, factory: str, inputs: Inputs, then: Judgement) -> str | None:
    case = then.case
    if case["changed"] != "the output" or case["between"]:
        return None
    drawn = inputs.draw(int(case["rows"]), int(case["length"]), int(case["seed"]))
    return _head(path, factory) + textwrap.dedent(
        f"""

        def test_repeatability() -> None:
            inputs = {_written(inputs, drawn, then)}
            model = made().eval()
            with torch.no_grad():
                assert torch.equal(output(model, inputs), output(model, inputs))
        """
    )


def _finiteness(path: str, factory: str, inputs: Inputs, then: Judgement) -> str | None:
    case = then.case
    if case["dtype"] != "float32" or case["content"] != "1" or inputs.kind == "vectors":
        return None
    drawn = inputs.draw(int(case["rows"]), int(case["length"]), int(case["seed"]))
    return _head(path, factory) + textwrap.dedent(
        f"""

        def test_finite_gradients() -> None:
            inputs = {_written(inputs, drawn, then)}
            model = made().train()
            torch.manual_seed(0)
            result = output(model, inputs)
            assert result.isfinite().all()
            weights = torch.randn(result.shape, generator=torch.Generator().manual_seed(0))
            (result * weights).sum().div(result.numel() ** 0.5).backward()
            assert [n for n, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()] == []
        """
    )


def _other(inputs: Inputs, part: Tensor, to: str) -> Tensor:
    return torch.full_like(part, int(to.removeprefix("id "))) if to.startswith("id ") else inputs.other(part)


def _written(inputs: Inputs, value: Tensor, then: Judgement, before: Tensor | None = None, part: str = "") -> str:
    """An expression for a tensor: written out, or drawn as the check drew it; an edit is drawn beside it."""
    if inputs.kind == "tokens" and value.numel() <= SHORT:
        return f"torch.tensor({value.tolist()})"
    seed = int(then.case["seed"])
    shape = tuple(value.shape)
    generator = f"generator=torch.Generator().manual_seed({seed})"
    drawn = (
        f"torch.randint({inputs.size}, {shape[:2]}, {generator})"
        if inputs.kind == "tokens"
        else f"torch.randn({', '.join(map(str, shape))}, {generator})"
    )
    if before is None:
        return drawn
    to = str(then.case["to"])
    if to.startswith("id "):
        new = to.removeprefix("id ")
    elif inputs.kind == "tokens":
        new = f"({part} + torch.randint(1, {max(2, inputs.size)}, {part}.shape, generator=other)) % {inputs.size}"
    else:
        new = f"torch.randn({part}.shape, generator=other)"
    return "\n            ".join(["before.clone()", "other = torch.Generator().manual_seed(1000)", f"{part} = {new}"])


PLAIN: dict[PropertyName, Template] = {
    "causality": _causality,
    "batch_isolation": _isolation,
    "repeatability": _repeatability,
    "finite_gradients": _finiteness,
}
