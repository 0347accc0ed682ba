"""What runs in a module's process: it makes the module and judges its properties.

It sends `prepared` when all is imported, then `refused` (the module cannot be tested) or `ready`, then for each
property `begun`, `case` before every case, `judged` and, where the module did well, `control`: the verdict on a planted
defect.
"""

import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hypothesis.configuration import set_hypothesis_home_dir

from cortexzoo.harness.checking.effort import Effort, Shares
from cortexzoo.harness.checking.judge import judge, judge_case
from cortexzoo.harness.checking.modules.channel import Send
from cortexzoo.harness.checking.modules.controls import control_subject
from cortexzoo.harness.checking.modules.detection import detect
from cortexzoo.harness.checking.modules.errors import ModuleError
from cortexzoo.harness.checking.modules.hugging_face import Pretrained, load_pretrained
from cortexzoo.harness.checking.modules.loading import Reference, load_factory, make
from cortexzoo.harness.checking.modules.registry import BARE
from cortexzoo.harness.checking.modules.subject import BareSubject, seeded
from cortexzoo.harness.checking.properties.base import Case
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.harness.tracking.jsonl import from_json_value
from cortexzoo.specs import SuiteSpec
from cortexzoo.specs.properties import PropertyName
from cortexzoo.specs.suite import Check

SENT = ("name", "verdict", "observed", "reason", "case", "cause", "cases_tried", "seconds")
"""What of a judgement is found by trying; the check has the rest from the suite."""


def work(request: Mapping[str, Any], send: Send) -> None:
    """Judge the properties of the request in order, or its one case."""
    try:
        found = _subject(Path(request["path"]), request["name"], request)
        subject = replace(found, case_seconds=request["case_limit"])
    except ModuleError as refusal:
        send("refused", str(refusal))
        return
    parameters = sum(p.numel() for p in subject.original.parameters())
    send("ready", {"inputs": asdict(subject.inputs), "parameters": parameters})
    suite = SuiteSpec.from_json(request["suite"])
    shares = Shares(request["seconds"], len(request["properties"]), cpu=True)
    for name in request["properties"]:
        send("begun", name)
        effort = Effort(request["examples"], shares.next(), request["seed"], cpu=True)
        tested, check = BARE[name], suite.properties[name]
        if (case := request.get("case")) is not None:
            send("case", case)
            judgement = judge_case(tested, check, subject, from_json_value(case))
        else:
            judgement = judge(tested, check, subject, effort, lambda case: send("case", dict(case)))
        send("judged", {key: value for key, value in asdict(judgement).items() if key in SENT})
        if judgement.verdict in ("pass", "skipped"):
            send("control", control(name).verdict)


def control(name: PropertyName) -> Judgement:
    """The verdict on the first case of a module with a defect, by the same code in the same process."""
    tested = replace(BARE[name], cases=partial(_first, BARE[name].cases), strategy=None, shrinks=False)
    return judge(tested, Check(), control_subject(name))


def _first(cases: Callable[[BareSubject], Iterable[Case]], subject: BareSubject) -> Iterable[Case]:
    return itertools.islice(cases(subject), 1)


def _subject(path: Path, name: str, request: Mapping[str, Any]) -> BareSubject:
    if path.is_dir():
        fresh, pretrained = load_pretrained(Pretrained(path, name))
        longest = min(request["max_length"], pretrained.max_length or request["max_length"])
        return detect(fresh, pretrained, str(path), request["vocab_size"], None, longest, request["seconds"])
    reference = Reference(path, name)
    factory = load_factory(reference)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        make(factory, reference)
    module = seeded(factory, 0)
    return detect(
        factory, module, str(reference), request["vocab_size"], request["width"], request["max_length"],
        request["seconds"],
    )  # fmt: skip


def run(request: Mapping[str, Any], send: Send) -> None:
    """Prepare torch and Hypothesis, then work."""
    torch.set_num_threads(1)
    # The first optimizer of a process imports 800 modules, which must not count as time of the user's module.
    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    send("prepared", None)
    sys.path.insert(0, os.getcwd())
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        set_hypothesis_home_dir(folder)
        work(request, send)
