"""Each property finds the defect planted for it, and not in the module without one."""

import pytest

from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.modules.controls import DEFECTIVE, SHORT, WIDTH, Sound
from cortexzoo.harness.checking.modules.inputs import Inputs
from cortexzoo.harness.checking.modules.registry import BARE
from cortexzoo.harness.checking.modules.subject import BareSubject, seeded
from cortexzoo.harness.checking.modules.worker import control
from cortexzoo.specs.properties import PropertyName
from cortexzoo.specs.suite import Check


def test_every_property_of_a_module_has_a_control() -> None:
    assert set(DEFECTIVE) == set(BARE)


@pytest.mark.parametrize("name", DEFECTIVE)
def test_the_defect_is_found_and_is_the_only_reason(name: PropertyName) -> None:
    assert control(name).verdict == "fail"
    sound = BareSubject(Sound, seeded(Sound, 0), Inputs("vectors", WIDTH), longest=SHORT)
    assert judge(BARE[name], Check(), sound).verdict in ("pass", "skipped")
