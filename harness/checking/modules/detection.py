"""Finding out by trying: what a module takes, which outputs it gives for each token, and how long a text may be."""

import time
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import nn

from cortexzoo.harness.checking.judge import where
from cortexzoo.harness.checking.modules.errors import ModuleError, UnfitOutput
from cortexzoo.harness.checking.modules.inputs import candidates
from cortexzoo.harness.checking.modules.loading import Factory
from cortexzoo.harness.checking.modules.subject import BareSubject, materialise

LADDER = (16, 64, 128, 256, 512, 1024, 2048)
SLOWEST_SHARE = 1 / 60
"""Of the budget: the CPU time of one call, from which on no longer texts are tried."""
SMALL = ((3, 5), (4, 8), (64, 128))
"""Lengths of the first calls: the later ones for a module that raises unless a number of patches divides them."""
TRIES = 3
"""Calls of a length that seems slow, of which the fastest counts: a first one may wait for what it loads."""
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64}
"""Tried besides the module's own where it takes them."""
HALF = (torch.float16, torch.bfloat16)


def detect(
    factory: Factory,
    module: nn.Module,
    name: str,
    vocab_size: int | None,
    width: int | None,
    longest: int,
    seconds: float = float("inf"),
) -> BareSubject:
    """The module as a subject, within what it takes and what `seconds` allow.

    Raises `ModuleError` when nothing fits.
    """
    subject = _settled(_taking(factory, module, name, vocab_size, width))
    declared = getattr(module, "max_length", None)
    wanted = min(longest, declared) if isinstance(declared, int) and declared > 0 else longest
    return replace(subject, longest=find_longest(subject, wanted, seconds * SLOWEST_SHARE))


def _taking(factory: Factory, module: nn.Module, name: str, vocab_size: int | None, width: int | None) -> BareSubject:
    problems: list[Exception] = []
    for lengths in SMALL:
        for inputs in candidates(module, vocab_size, width):
            try:
                return _tried(BareSubject(factory, module, inputs), lengths)
            except Exception as problem:
                problems.append(problem)
    if unfit := [problem for problem in problems if isinstance(problem, UnfitOutput)]:
        raise ModuleError(f"{name}: {unfit[0]}")
    tried = "token ids" if vocab_size else "vectors" if width else "token ids and vectors"
    hint = "" if vocab_size or width else "; name what it takes with --vocab-size N or --width D"
    cause = f": {where(problems[0])}" if problems else ""
    raise ModuleError(f"{name}: took no {tried} of shape [2, 3]{cause}{hint}")


def _tried(subject: BareSubject, lengths: tuple[int, int]) -> BareSubject:
    """Two small calls, the largest token id included; a lazy module is made whole by one more."""
    before = _shapes(subject.original)
    shapes = [_called(subject, length) for length in lengths]
    if before != _shapes(_after_call(subject, lengths[0])):
        materialise(subject.original, subject, 0)
    slots = [
        slot
        for slot, (one, other) in enumerate(zip(*shapes, strict=False))
        if one[:2] == (2, lengths[0]) and other[:2] == (2, lengths[1]) and one[2:] == other[2:]
    ]
    if 0 not in slots:
        raise UnfitOutput(f"must give one output for each token, [2, {lengths[0]}, …], got {list(shapes[0][0])}")
    return replace(subject, slots=tuple(slots))


def _shapes(module: nn.Module) -> dict[str, Any]:
    return {n: None if nn.parameter.is_lazy(p) else p.shape for n, p in module.named_parameters()}


def _after_call(subject: BareSubject, length: int) -> nn.Module:
    model = subject.copy()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        subject.call(model, subject.draw(2, length), subject.begin(model, 2))
    return model


def _called(subject: BareSubject, length: int) -> list[tuple[int, ...]]:
    inputs = subject.draw(2, length)
    if subject.inputs.kind == "tokens":
        inputs[0, 0] = subject.inputs.size - 1
    model = subject.copy()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        found, _ = subject.call(model, inputs, subject.begin(model, 2))
    return [tuple(tensor.shape) for tensor in found]


def _settled(subject: BareSubject) -> BareSubject:
    """In float32 where the weights are of half precision and the module takes that: then bounds can be close."""
    if not any(p.dtype in HALF for p in subject.original.parameters()):
        return subject
    single = replace(subject, dtype=torch.float32)
    try:
        _called(single, 3)
    except Exception:
        return subject
    return single


def find_longest(subject: BareSubject, wanted: int, seconds: float = float("inf")) -> int:
    """The greatest length up to `wanted` that the module takes and one call of which ends within CPU `seconds`.

    A module that raises at one length and not beyond it has no limit but a defect: `wanted` is kept.
    """
    good = 3
    for length in sorted({n for n in LADDER if n < wanted} | {wanted}):
        if length <= good:
            continue
        spent: list[float] = []
        while not spent or (len(spent) < TRIES and min(spent) > seconds):
            began = time.process_time()
            if not _takes(subject, length):
                return _limit(subject, good, length, wanted)
            spent.append(time.process_time() - began)
        good = length
        if min(spent) > seconds:
            break
    return good


def _limit(subject: BareSubject, good: int, bad: int, wanted: int) -> int:
    """By bisection; beyond a limit everything raises."""
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if _takes(subject, middle) else (good, middle)
    if any(_takes(subject, n) for n in {bad + 1, bad + 2, bad + 7, 2 * bad, 2 * bad + 1}):
        return wanted
    return good


def _takes(subject: BareSubject, length: int) -> bool:
    model = subject.copy()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            output = subject.output(model, subject.draw(1, length))
    except Exception:
        return False
    return output.shape[:2] == (1, length)


@cache
def dtypes_offered(subject: BareSubject) -> tuple[str, ...]:
    """Those in which a small call gives an output."""
    offered = []
    for name, dtype in DTYPES.items():
        cast = replace(subject, dtype=dtype)
        try:
            model = cast.copy()
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                cast.output(model, cast.draw(1, 2))
            offered.append(name)
        except Exception:
            continue
    return tuple(offered)
