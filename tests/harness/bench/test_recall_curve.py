"""What is taken away of forgetting, and where: the gap's own chunks and nothing else."""

from typing import Any

import pytest
import torch
from torch import Tensor

from cortexzoo.harness.bench.recall_curve import (
    CAUSES,
    as_trained,
    chunks_of,
    in_float64,
    without_fading,
    without_noise,
)
from cortexzoo.harness.errors import UserError
from cortexzoo.specs.task import KeyValue
from cortexzoo.zoo.data.tasks.build import build_task
from cortexzoo.zoo.errors import DataError
from cortexzoo.zoo.models.hybrid.model import Hybrid
from tests.zoo.models.hybrid.tiny import CHUNK, MIXER, some_tokens, tiny_hybrid
from tests.zoo.training.objectives.tiny import tiny_task

GAP = (CHUNK, 3 * CHUNK)


def fast_weights(state: Any) -> Tensor:
    return torch.cat([sidecar.fast_weights.flatten() for sidecar in state.sidecars.values()])


def model() -> Hybrid:
    """One that fades and writes visibly."""
    hybrid = tiny_hybrid(mixer=MIXER.model_copy(update={"write_width": 3}))
    for layer in hybrid.sidecars:
        gates = hybrid.sidecar(layer).memory.gates
        torch.nn.init.constant_(gates.decay.bias, 1.0)
        torch.nn.init.constant_(gates.write.bias, 3.0)
        torch.nn.init.normal_(gates.write_from_hidden.weight, std=30.0)
    return hybrid


@torch.no_grad()
def test_nothing_of_the_gap_is_written_however_it_is_cut() -> None:
    hybrid, tokens = model(), some_tokens(2, 5 * CHUNK)
    other = tokens.clone()
    other[:, GAP[0] : GAP[1]] = some_tokens(2, GAP[1] - GAP[0], seed=9)
    states = []
    for text in (tokens, other):
        for size in (CHUNK, 2 * CHUNK, 5 * CHUNK):
            predict, state, logits = without_noise(hybrid, GAP), None, []
            for piece in text.split(size, dim=1):
                scored, state = predict(piece, state)
                logits.append(scored)
            assert torch.cat(logits, dim=1).shape[1] == 5 * CHUNK
            states.append(state)
    _, beyond = as_trained(hybrid, GAP)(tokens, None)
    torch.testing.assert_close(fast_weights(states[0]), fast_weights(states[1]))
    torch.testing.assert_close(fast_weights(states[0]), fast_weights(states[2]))
    assert not torch.allclose(fast_weights(states[0]), fast_weights(beyond), rtol=1e-2)
    _, kept = without_noise(hybrid, GAP)(tokens[:, : GAP[0]], None)
    _, ended = without_noise(hybrid, GAP)(tokens[:, GAP[0] : GAP[1]], kept)
    assert fast_weights(ended).norm() < fast_weights(kept).norm(), "it fades as it did"


@torch.no_grad()
def test_without_fading_what_is_held_stays() -> None:
    hybrid, tokens = model(), some_tokens(2, 3 * CHUNK)
    trained, lasting = (make(hybrid, GAP)(tokens, None)[1] for make in (as_trained, without_fading))
    assert fast_weights(lasting).norm() > fast_weights(trained).norm()
    assert in_float64(hybrid, GAP)(tokens, None)[0].dtype == torch.float64
    assert next(hybrid.parameters()).dtype == torch.float32, "the model is as it was"
    assert len({cause.name for cause in CAUSES}) == len(CAUSES)


def test_the_gap_lies_before_all_chunks_of_the_questions() -> None:
    pairs = build_task(tiny_task())
    assert pairs.gap_places(2) == (CHUNK, 3 * CHUNK)
    words = build_task(tiny_task(task=KeyValue(num_pairs=2, num_queries=2), gaps=(2,)))
    begin, end = words.gap_places(2)
    assert end - begin == 2 * CHUNK
    for index in range(8):
        document = words.example("validation", index, 2)
        (facts, told), (questions, _) = document.placed
        assert facts + len(told) <= begin < end <= questions
    with pytest.raises(DataError, match="no chunks of its own"):
        pairs.gap_places(0)


@pytest.mark.parametrize("gaps", ["", "1,x", "0,1", "1;2", "-3"])
def test_gaps_that_are_none_are_refused(gaps: str) -> None:
    with pytest.raises(UserError, match="must be chunks, 1 or more"):
        chunks_of(gaps)
    assert chunks_of("1, 16") == [1, 16]
