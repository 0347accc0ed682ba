"""Every new name in the table exists, and no old one does."""

import pytest

from cortexzoo.specs.kinds import spec_type
from cortexzoo.specs.loading.slots import Slot, field_slots
from cortexzoo.specs.renamed import RENAMED, new_name


def paths(slot: Slot, path: tuple[str, ...] = ()) -> set[str]:
    found = {".".join(path)}
    for spec_class in slot.classes().values():
        for key, inner in field_slots(spec_class).items():
            found |= paths(inner, (*path, key))
    return found


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_only_the_new_name_is_a_field(old: str, new: str) -> None:
    known = paths(Slot.of_type(spec_type("experiment")))
    assert any(path == new or path.endswith(f".{new}") for path in known)
    assert not any(path == old or path.endswith(f".{old}") for path in known)


def test_a_path_keeps_what_stands_before_the_old_name() -> None:
    assert new_name("variant.mixer.persistence") == "variant.mixer.decay"
    assert new_name("mixer.persistence") == "mixer.decay"
    assert new_name("remixer.persistence") is None
