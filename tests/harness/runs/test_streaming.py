"""A stream reads any text in pieces; a session saved and restored gives the same bits as one that never stopped."""

import json
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from cortexzoo.harness.cli import main
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.runs.streaming import SessionError, Stream, drawn_tokens, readings
from cortexzoo.zoo.checkpoints import CheckpointReader
from tests.harness.trained import train_small


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_small(tmp_path_factory.mktemp("runs"))


def pieces(count: int, size: int = 40) -> list[torch.Tensor]:
    text = torch.randint(256, (1, count * size), generator=torch.Generator().manual_seed(0))
    return list(text.split(size, dim=1))


def test_the_loss_is_that_of_every_token_after_the_first(run: Run) -> None:
    text = pieces(3)
    stream = Stream.of_run(run)
    state, logits = stream.state, []
    with torch.no_grad():
        for piece in text:
            output = stream.model(piece, state)
            state = output.state
            logits.append(output.logits[0])
    expected = cross_entropy(torch.cat(logits)[:-1], torch.cat(text, 1)[0, 1:])
    (last,) = readings(stream, text, every=10**9)
    assert last.tokens == 120
    assert last.nats == pytest.approx(float(expected), rel=1e-5)
    assert last.state_norm > 0
    assert last.tokens_per_second > 0
    assert last.resident_bytes > 0


def test_one_token_at_a_time_scores_the_same(run: Run) -> None:
    whole, single = Stream.of_run(run), Stream.of_run(run)
    list(readings(whole, pieces(1), every=1))
    list(readings(single, pieces(1)[0].split(1, dim=1), every=10**9))
    assert single.total_nats == pytest.approx(whole.total_nats, rel=1e-4)


def test_a_session_goes_through_a_folder_bit_for_bit(run: Run, tmp_path: Path) -> None:
    text = pieces(4)
    whole, first, second = (Stream.of_run(run) for _ in range(3))
    list(readings(whole, text, every=10**9))
    list(readings(first, text[:2], every=10**9))
    first.save(tmp_path / "day")
    second.restore(tmp_path / "day")
    list(readings(second, text[2:], every=10**9))
    assert second.total_nats == whole.total_nats
    assert second.tokens == whole.tokens == 160
    for name, tensor in whole.state.tensors().items():
        assert torch.equal(tensor, second.state.tensors()[name])
    second.save(tmp_path / "day")
    assert CheckpointReader(tmp_path / "day").json("session")["tokens"] == 160


def test_a_session_of_another_run_is_refused(run: Run, tmp_path: Path) -> None:
    stream = Stream.of_run(run)
    stream.save(tmp_path / "day")
    stream.owner = {**stream.owner, "weights": "0" * 64}
    with pytest.raises(SessionError, match="session of another run: its weights is"):
        stream.restore(tmp_path / "day")


def test_readings_come_as_often_as_asked(run: Run) -> None:
    found = list(readings(Stream.of_run(run), pieces(5), every=80))
    assert [reading.tokens for reading in found] == [80, 160, 200]


def test_random_tokens_are_as_many_as_asked() -> None:
    drawn = list(drawn_tokens(5000, 7, seed=1))
    assert [piece.shape[1] for piece in drawn] == [4096, 904]
    assert int(torch.cat(drawn, 1).max()) == 6


def test_the_command_reads_a_file_in_two_sittings(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (tmp_path / "text").absolute()
    text.write_bytes(b"the quick brown fox " * 20)
    day, out = str(tmp_path / "day"), tmp_path / "out.json"
    for tokens in (400, 800):
        assert main(["stream", str(run.path), str(text), "--session", day, "--json", str(out)]) == 0
        assert json.loads(out.read_text())[-1]["tokens"] == tokens
    assert "nats a token" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "FILE or --tokens N: exactly one of them is required"),
        (("x.txt", "--tokens", "5"), "FILE or --tokens N: exactly one of them is required"),
        (("missing.txt",), "FILE missing.txt: cannot be read: No such file or directory"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], message: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stream", str(run.path), *arguments]) == 2
    assert capsys.readouterr().err.strip().splitlines() == [message]
