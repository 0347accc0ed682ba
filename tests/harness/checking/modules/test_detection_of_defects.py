"""No healthy module is accused of anything, and every defective twin is caught by the property that is about it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from torch import nn

from cortexzoo.harness.checking.effort import Effort
from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.modules.detection import detect
from cortexzoo.harness.checking.modules.registry import BARE
from cortexzoo.harness.checking.modules.subject import seeded
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs import SuiteSpec, load
from tests.harness.subjects.defective import DEFECTIVE
from tests.harness.subjects.fifth_sample import FIFTH, UNHARMED
from tests.harness.subjects.healthy import HEALTHY
from tests.harness.subjects.long_and_padded import SOUND, UNSOUND
from tests.harness.subjects.second_sample import NEAR, SECOND
from tests.harness.subjects.seventh_sample import SEVENTH, SPARED
from tests.harness.subjects.sixth_sample import SIXTH, UNTOUCHED
from tests.harness.subjects.third_sample import THIRD, TWINS
from tests.harness.subjects.unseen import UNSEEN

EFFORT = Effort(examples=3, seconds=0.6, cpu=True)
LONGEST = 1100


def judged(
    factory: Callable[[], nn.Module], names: tuple[str, ...] = (), seed: int = 0, effort: Effort = EFFORT
) -> dict[str, Judgement]:
    suite = load("bare-module", "suite")
    assert isinstance(suite, SuiteSpec)
    subject = detect(factory, seeded(factory, seed), "the module", None, None, LONGEST, seconds=20)
    chosen = {name: check for name, check in suite.properties.items() if not names or name in names}
    return {name: judge(BARE[name], check, subject, effort) for name, check in chosen.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*HEALTHY, *SOUND, *NEAR, *TWINS, *UNHARMED, *UNTOUCHED, *SPARED])
def test_a_healthy_module_is_accused_of_nothing(name: str) -> None:
    found = judged({**HEALTHY, **SOUND, **NEAR, **TWINS, **UNHARMED, **UNTOUCHED, **SPARED}[name])
    accused = {key: (j.verdict, j.reason, j.case) for key, j in found.items() if j.verdict not in ("pass", "skipped")}
    assert accused == {}


@pytest.mark.parametrize("name", [*DEFECTIVE, *UNSOUND])
def test_a_defective_module_fails_the_property_that_is_about_it(name: str) -> None:
    factory, properties = {**DEFECTIVE, **UNSOUND}[name]
    found = judged(factory, properties)
    assert {key: j.verdict for key, j in found.items()} == dict.fromkeys(found, "fail"), [
        j.reason for j in found.values()
    ]


@pytest.mark.filterwarnings("ignore::UserWarning")  # of a deviation of one number, which is the defect
@pytest.mark.parametrize("name", [*UNSEEN, *SECOND, *THIRD, *FIFTH, *SIXTH, *SEVENTH])
def test_a_defect_that_was_written_without_trying_the_properties_is_caught(name: str) -> None:
    factory, about = {**UNSEEN, **SECOND, **THIRD, **FIFTH, **SIXTH, **SEVENTH}[name]
    (found,) = judged(factory, (about,), effort=replace(EFFORT, seconds=4.0)).values()
    assert found.verdict == "fail", found.reason


@pytest.mark.parametrize(("name", "about"), [
    ("quantised", "every_parameter_learns"),
    ("ternary", "every_parameter_learns"),
    ("nearest", "every_parameter_learns"),
    ("segments", "chunk_invariance"),
    ("packed", "finite_gradients"),
    ("keys_with_bias", "every_parameter_learns"),
    ("two_ahead", "causality"),
    ("normalised", "finite_gradients"),
    ("shrunk", "every_parameter_learns"),
    ("reversed", "every_parameter_learns"),
    ("ridden", "batch_isolation"),
])  # fmt: skip
def test_what_was_accused_in_vain_is_accused_no_more(name: str, about: str) -> None:
    (found,) = judged({**NEAR, **UNHARMED, **UNTOUCHED, **SPARED}[name], (about,)).values()
    assert found.verdict == "pass", found.reason
