"""Packed and columnar files and data sets, with the real libraries where they are installed: nox -s integrations."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from cortexzoo.zoo.data.preparing import Corpus, prepare
from cortexzoo.zoo.errors import DataError

ROWS = [f"Row {n} of the boats.\nAnd a second line, naïve." for n in range(200)]


def lines() -> str:
    return "".join(json.dumps({"text": row}) + "\n" for row in ROWS)


def sum_of(folder: Path, source: str) -> str:
    files = prepare(Corpus((source,)), folder)["files"]
    return str(files["tokens.bin"]["sha256"])


@pytest.fixture
def plain(tmp_path: Path) -> str:
    (tmp_path / "rows.jsonl").write_text(lines())
    return sum_of(tmp_path / "plain", str(tmp_path / "rows.jsonl"))


@pytest.mark.skipif(find_spec("zstandard") is None, reason="needs zstandard")
def test_zst_gives_the_same_tokens_and_one_that_is_cut_off_is_named(tmp_path: Path, plain: str) -> None:
    import zstandard

    whole = lines().encode()
    packed = zstandard.compress(whole[:5000]) + zstandard.compress(whole[5000:])  # two frames
    (tmp_path / "rows.jsonl.zst").write_bytes(packed)
    assert sum_of(tmp_path / "out", str(tmp_path / "rows.jsonl.zst")) == plain
    for name, content in (("cut", packed[:-20]), ("wrong", b"no zst at all")):
        (tmp_path / f"{name}.jsonl.zst").write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}\.jsonl\.zst: cannot be read to its end: \w+"):
            sum_of(tmp_path / name, str(tmp_path / f"{name}.jsonl.zst"))


@pytest.mark.skipif(find_spec("pyarrow") is None, reason="needs pyarrow")
def test_parquet_gives_the_same_tokens(tmp_path: Path, plain: str) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"id": list(range(len(ROWS))), "text": ROWS}), tmp_path / "rows.parquet")
    assert sum_of(tmp_path / "out", str(tmp_path / "rows.parquet")) == plain
    with pytest.raises(DataError, match="has no column 'words', it has id, text"):
        prepare(Corpus((str(tmp_path / "rows.parquet"),), field="words"), tmp_path / "other")
    parquet.write_table(pyarrow.table({"text": ["a", None]}), tmp_path / "null.parquet")
    with pytest.raises(DataError, match=r"null\.parquet: row 2: field 'text' must be a string, got null"):
        sum_of(tmp_path / "null", str(tmp_path / "null.parquet"))


@pytest.mark.skipif(find_spec("datasets") is None, reason="needs datasets")
def test_a_data_set_is_streamed(tmp_path: Path, plain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.jsonl").write_text(lines())
    assert sum_of(tmp_path / "out", f"hf:{tmp_path / 'set'}") == plain
    with pytest.raises(DataError, match="cannot be read"):
        sum_of(tmp_path / "none", f"hf:{tmp_path / 'nothing'}")
