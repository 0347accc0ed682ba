"""Following a file that is written meanwhile gives every line once."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cortexzoo.harness.tracking.tail import Tail


def test_every_line_comes_once_however_the_writer_cuts_it(tmp_path: Path) -> None:
    @given(cuts=st.lists(st.integers(0, 200), max_size=8))
    def check(cuts: list[int]) -> None:
        content = b"".join(b'{"step": %d, "loss": "NaN"}\n' % step for step in range(1, 8))
        path = tmp_path / "metrics.jsonl"
        path.write_bytes(b"")
        tail, seen, written = Tail(path), [], 0
        for cut in [*sorted(min(cut, len(content)) for cut in cuts), len(content)]:
            with path.open("ab") as file:
                file.write(content[written:cut])
            written = cut
            seen += [line["step"] for line in tail.lines()]
            assert tail.at_the_end and not tail.restarted
        assert seen == list(range(1, 8))

    check()


def test_a_file_that_is_not_there_yet_has_no_lines(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "later.jsonl")
    assert tail.lines() == [] and tail.at_the_end
    tail.path.write_text('{"step": 1}\n')
    assert tail.lines() == [{"step": 1}]


def test_a_file_that_was_cut_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n')
    tail = Tail(path)
    assert len(tail.lines()) == 2
    path.write_text('{"step": 1}\n')
    assert tail.lines() == [{"step": 1}] and tail.restarted
    assert tail.lines() == [] and not tail.restarted


def test_what_is_no_object_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('3\nnonsense\n{"step": 1}\n')
    assert Tail(path).lines() == [{"step": 1}]
