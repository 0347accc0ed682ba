"""Names of packages that are imported when they are first used."""

from types import ModuleType

import pytest

from cortexzoo import specs, zoo


@pytest.mark.parametrize("package", [specs, zoo])
def test_each_public_name_is_found_and_no_other(package: ModuleType) -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert dir(package) == sorted(package.__all__)
    with pytest.raises(AttributeError, match=rf"module '{package.__name__}' has no attribute 'nothing'"):
        package.nothing  # noqa: B018
