"""The child process that runs a module: `python -m cortexzoo.harness.checking.modules.worker REQUEST REPORT`.

It appends one JSON object a line to the report: `refused` (the module cannot be tested) or `ready`, then for each
property `begun`, `case` before every case, and `judged`. So the parent knows where it was when it hangs or dies.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from hypothesis.configuration import set_hypothesis_home_dir

from cortexzoo.harness.checking.effort import Effort, Shares
from cortexzoo.harness.checking.judge import judge, judge_case
from cortexzoo.harness.checking.modules.detection import detect
from cortexzoo.harness.checking.modules.errors import ModuleError
from cortexzoo.harness.checking.modules.hugging_face import Pretrained, load_pretrained
from cortexzoo.harness.checking.modules.loading import Reference, load_factory, make
from cortexzoo.harness.checking.modules.registry import BARE
from cortexzoo.harness.checking.modules.subject import BareSubject, seeded
from cortexzoo.harness.checking.properties.base import Case
from cortexzoo.harness.tracking.jsonl import from_json_value, to_json_value
from cortexzoo.specs import SuiteSpec


class Report:
    """Lines that outlive this process, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def tell(self, event: str, content: object = None) -> None:
        """Append one line."""
        line = json.dumps({"event": event, "content": to_json_value(content)}, allow_nan=False)
        with self._path.open("ab") as file:
            file.write(line.encode() + b"\n")


def work(request: Mapping[str, Any], report: Report) -> None:
    """Everything that was asked, in order."""
    try:
        subject = _subject(Path(request["path"]), request["name"], request)
    except ModuleError as refusal:
        report.tell("refused", str(refusal))
        return
    parameters = sum(p.numel() for p in subject.original.parameters())
    report.tell("ready", {"inputs": asdict(subject.inputs), "parameters": parameters})
    suite = SuiteSpec.from_json(request["suite"])
    if (case := request.get("case")) is not None:
        (name,) = request["properties"]
        report.tell("begun", name)
        report.tell("judged", asdict(judge_case(BARE[name], suite.properties[name], subject, from_json_value(case))))
        return
    shares = Shares(request["seconds"], len(request["properties"]), cpu=True)
    for name in request["properties"]:
        report.tell("begun", name)
        effort = Effort(request["examples"], shares.next(), request["seed"], cpu=True)
        report.tell("judged", asdict(judge(BARE[name], suite.properties[name], subject, effort, _watch(report))))


def _watch(report: Report) -> Any:
    def watch(case: Case) -> None:
        report.tell("case", dict(case))

    return watch


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


def main() -> None:
    """Read the request, work, report."""
    request_file, report_file = (Path(argument) for argument in sys.argv[1:3])
    torch.set_num_threads(1)
    # The first optimizer of a process imports 800 modules, which must not count as time of the user's module.
    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    with tempfile.TemporaryDirectory() as folder:
        set_hypothesis_home_dir(folder)
        work(json.loads(request_file.read_text(encoding="utf-8")), Report(report_file))


if __name__ == "__main__":
    main()
