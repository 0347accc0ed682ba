"""Mutants made by machine: one small change to the source of one function of `zoo`, and what can be changed."""

import ast
import copy
import importlib
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from cortexzoo import zoo
from cortexzoo.harness.checking.mutants.base import Patch, compiled, in_place_of

ROOMS = ("training", "memory", "models", "ops", "data", "streams.py", "generation.py", "checkpoints.py")
"""Parts of `zoo` that are changed."""
LEFT_OUT = {
    "training/policies/measuring/progress.py": "what a terminal shows",
    "training/policies/measuring/telemetry.py": "wall-clock time and memory in use",
    "training/policies/guards/post_mortem.py": "files for people to look at",
    "training/signals.py": "signals of the operating system",
    "training/sharded.py": "several processes that share weights, which no property starts",
    "training/faults": "the injection of faults",
    "models/backbones.py": "models of Hugging Face",
    "models/new_base.py": "models of Hugging Face",
    "models/base_tokenizer.py": "models of Hugging Face",
    "models/architecture.py": "models of Hugging Face",
    "models/adapters.py": "low-rank adapters inside models of Hugging Face",
    "models/tuned.py": "low-rank adapters inside models of Hugging Face",
    "models/own_source.py": "finding a module of the user's own",
    "models/trained_base.py": "the training of a base, which is cached",
    "models/meta_device.py": "counting without weights",
    "models/cortexgpt_token_loop.py": "a slow twin for tests",
    "models/hybrid/block_token_loop.py": "a slow twin for tests",
    "models/hybrid/slow_store_one_by_one.py": "a slow twin for tests",
    "ops/compiled.py": "the compiled kernel, which is switched off here",
    "memory/contexts/naive.py": "a slow twin for tests",
    "data/almanac.py": "the content of documents, whatever it is",
    "data/sources.py": "reading files",
    "data/ngrams.py": "counting for comparison",
    "data/reference.py": "counting for comparison",
}
"""And what of them is not, with the reason."""

FLIPPED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
TERMS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.FloorDiv, ast.Mod, ast.MatMult)
DIMENSIONS = {"dim", "dims", "axis"}
UNSWAPPED_CALLS = {
    "isinstance", "issubclass", "hasattr", "getattr", "cast", "zip", "min", "max", "minimum", "maximum", "transpose",
    "swapaxes", "equal", "isclose", "allclose",
}  # fmt: skip
"""Calls whose arguments are not swapped: the change would crash, or change nothing."""


@dataclass(frozen=True)
class Site:
    """One possible change: where it is, what it is, and its number among those of the function."""

    module: str
    function: str
    """`name` or `Class.name`."""
    line: int
    operator: str
    change: str
    number: int
    before: int
    """Changes of the function in the same words that come before it."""

    @property
    def name(self) -> str:
        """The same in every process, for a file of results; no other site has it."""
        return self._named(f":{self.line}")

    @property
    def lasting_name(self) -> str:
        """As `name`, but the same when lines elsewhere change."""
        return self._named("")

    def _named(self, line: str) -> str:
        again = f" ({self.before + 1})" if self.before else ""
        module = self.module.removeprefix("cortexzoo.")
        return f"{module}{line} {self.function}: {self.operator}, {self.change}{again}"

    @property
    def seeded(self) -> Patch:
        """Puts the change in place for a while."""
        module = importlib.import_module(self.module)
        owner_name, _, name = self.function.rpartition(".")
        owner: Any = getattr(module, owner_name) if owner_name else module
        changed = _changed(_functions(module)[self.function], self.number)
        return in_place_of(owner, name, compiled(ast.unparse(changed), name, owner))


def sample(count: int, seed: int) -> list[Site]:
    """So many sites, the same for the same seed and source; a larger sample begins with a smaller one."""
    sites = [site for module in _modules() for site in sites_of(module)]
    random.Random(seed).shuffle(sites)
    return sites[:count]


def site_named(name: str) -> Site:
    """The site of that name. Raises `KeyError`."""
    module = importlib.import_module(f"cortexzoo.{name.partition(':')[0]}")
    return {site.name: site for site in sites_of(module)}[name]


def sites_of(module: ModuleType) -> Iterator[Site]:
    """Everything that can be changed in a module, in the order of its source."""
    for function, node in _functions(module).items():
        seen = Counter[tuple[str, str]]()
        for number, (operator, line, change) in enumerate(_changes(node)):
            yield Site(module.__name__, function, line, operator, change, number, seen[operator, change])
            seen[operator, change] += 1


def _modules() -> Iterator[ModuleType]:
    root = Path(zoo.__file__).parent
    for path in sorted(root.rglob("*.py")):
        place = path.relative_to(root).as_posix()
        if place.split("/")[0] in ROOMS and not any(place == out or place.startswith(f"{out}/") for out in LEFT_OUT):
            parts = [part for part in place.removesuffix(".py").split("/") if part != "__init__"]
            yield importlib.import_module(".".join(("cortexzoo.zoo", *parts)))


@cache
def _functions(module: ModuleType) -> dict[str, ast.FunctionDef]:
    """Functions and methods by their names; those without a body of their own are left out."""
    tree = ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8"))
    found: dict[str, ast.FunctionDef] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{part.name}": part for part in node.body if isinstance(part, ast.FunctionDef)}
    return {name: node for name, node in found.items() if not _is_declared_only(node)}


def _is_declared_only(node: ast.FunctionDef) -> bool:
    return all(isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant) for part in node.body)


def _changes(function: ast.FunctionDef) -> Iterator[tuple[str, int, str]]:
    """(operator, line, change in words) of everything that can be changed in a function."""
    for node in _nodes(function):
        for operator, make in _alternatives(node, function):
            words = f"{_shown(node)} → {_shown(make(copy.deepcopy(node)))}"
            yield operator, getattr(node, "lineno", function.lineno), words


def _changed(function: ast.FunctionDef, wanted: int) -> ast.FunctionDef:
    """A copy of the function with the change of that number."""
    copied = copy.deepcopy(function)
    makes = ((node, make) for node in _nodes(copied) for _, make in _alternatives(node, copied))
    target, make = next(islice(makes, wanted, None))
    return _replaced(copied, target, make(target))


def _nodes(function: ast.FunctionDef) -> list[ast.AST]:
    """What may be changed: the body without its documentation, and nothing of errors, assertions and texts."""
    found: list[ast.AST] = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr | ast.arguments | ast.Import | ast.ImportFrom):
            return
        found.append(node)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    visit(child)

    for statement in function.body:
        is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not is_text:
            visit(statement)
    return found


def _alternatives(node: ast.AST, function: ast.FunctionDef) -> Iterator[tuple[str, Any]]:
    match node:
        case ast.Compare(ops=[op]) if type(op) in FLIPPED:
            yield "flip comparison", lambda n: ast.Compare(n.left, [FLIPPED[type(n.ops[0])]()], n.comparators)
        case ast.BinOp(op=op) if isinstance(op, TERMS):
            yield "drop a term", lambda n: n.left
        case ast.BoolOp():
            yield "drop a term", lambda n: ast.BoolOp(n.op, n.values[:-1]) if len(n.values) > 2 else n.values[0]
        case ast.keyword(arg=name, value=ast.Constant(value=int()) | ast.UnaryOp(operand=ast.Constant())) if (
            name in DIMENSIONS
        ):
            yield "wrong dim", _other_dimension
        case ast.Constant(value=int() as value) if not isinstance(value, bool):
            yield "off by one", lambda n: ast.Constant(n.value + 1)
        case ast.Call(func=called, args=[first, second, *_]) if _name_of(called) not in UNSWAPPED_CALLS and (
            not isinstance(first, ast.Starred)
            and not isinstance(second, ast.Starred)
            and ast.dump(first) != ast.dump(second)
        ):
            yield "swap arguments", lambda n: ast.Call(n.func, [n.args[1], n.args[0], *n.args[2:]], n.keywords)
        case ast.If():
            yield "negate a condition", lambda n: ast.If(ast.UnaryOp(ast.Not(), n.test), n.body, n.orelse)
        case ast.Expr(value=ast.Call()) | ast.AugAssign():
            yield "skip a statement", lambda _: ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "skip a statement", lambda _: ast.Pass()
        case ast.Return(value=ast.expr()) if _returns_a_gradient(function):
            yield "detach", lambda n: ast.Return(ast.Call(ast.Attribute(n.value, "detach", ast.Load()), [], []))


def _other_dimension(node: ast.keyword) -> ast.keyword:
    is_first = isinstance(node.value, ast.Constant) and node.value.value == 0
    return ast.keyword(node.arg, ast.UnaryOp(ast.USub(), ast.Constant(1)) if is_first else ast.Constant(0))


def _returns_a_gradient(function: ast.FunctionDef) -> bool:
    returned = ast.unparse(function.returns) if function.returns else ""
    if any("no_grad" in ast.unparse(decorator) for decorator in function.decorator_list):
        return False  # it is detached already
    return returned == "Tensor" or returned.startswith("Float[Tensor")


def _name_of(called: ast.expr) -> str:
    return called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""


def _replaced(function: ast.FunctionDef, target: ast.AST, replacement: ast.AST) -> ast.FunctionDef:
    class Replace(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> Any:
            return replacement if node is target else self.generic_visit(node)

    changed: ast.FunctionDef = Replace().visit(function)
    return ast.fix_missing_locations(changed)


def _shown(node: ast.AST) -> str:
    """In one short line."""
    if isinstance(node, ast.If):
        return f"if {_shown(node.test)}"
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 60 else f"{text[:57]}…"


def file_of(site: Site) -> str:
    """The file of a site, relative to `zoo`."""
    path = Path(importlib.import_module(site.module).__file__ or "").resolve()
    return path.relative_to(Path(zoo.__file__).parent.resolve()).as_posix()
