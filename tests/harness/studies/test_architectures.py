"""Tiny models of transformers as `cortexzoo study architectures` checks them."""

import pytest

from cortexzoo.harness.cli import main
from cortexzoo.harness.studies.architectures import ARCHITECTURES, checked, factory, table
from tests.harness.checking.modules.releases import mamba_takes_pieces


def test_there_are_thirty_and_more() -> None:
    assert len(set(ARCHITECTURES)) == len(ARCHITECTURES) >= 30


@mamba_takes_pieces
def test_a_row_names_what_deviates() -> None:
    found = checked("mamba", 0.2)
    assert not isinstance(found, str)
    header, mamba, none = table({"mamba": found, "none": "no such thing"})
    assert header[0] == "architecture"
    assert "chunk_invariance: fail" in mamba[3]
    assert none[3] == "not made: no such thing"


def test_a_config_leaves_out_what_it_cannot_take() -> None:
    assert factory("falcon")().vocab_size == 50


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "architectures", "lama"]) == 2
    assert "lama: no such architecture" in capsys.readouterr().err
