"""One case judged by its property, for test files that `cortexzoo replay --pytest` writes."""

from collections.abc import Mapping
from typing import Any

from cortexzoo.harness.checking.judge import judge_case
from cortexzoo.harness.checking.modules.hugging_face import Pretrained
from cortexzoo.harness.checking.modules.loading import Reference
from cortexzoo.harness.checking.modules.request import Request
from cortexzoo.harness.checking.modules.supervision import replay_module
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.properties.base import Case
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.runs.train import subject_of
from cortexzoo.specs import SuiteSpec
from cortexzoo.specs.properties import PropertyName
from cortexzoo.specs.suite import Check


def judge_module(made: Mapping[str, Any], name: PropertyName, case: Case, bound: float) -> Judgement:
    """The verdict on a module in a process of its own, made as its certificate names. Raises `ModuleError`."""
    named = made["module"]
    reference = Pretrained.parse(named.removeprefix("hf:")) if named.startswith("hf:") else Reference.parse(named)
    suite = SuiteSpec(name="one-case", properties={name: Check(expect="pass", bound=bound)})
    sizes = made["vocab_size"], made["width"], made["max_length"]
    return replay_module(Request(reference, suite, *sizes, seconds=240.0, seed=made["seed"]), name, case)


def judge_run(folder: str, checkpoint: str, name: PropertyName, case: Case, bound: float) -> Judgement:
    """The verdict on the model of a run. Raises `RunFolderError`."""
    subject = subject_of(Run.open(folder), checkpoint)
    return judge_case(REGISTRY[name], Check(expect="pass", bound=bound), subject, case)
