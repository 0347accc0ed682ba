"""Windows of steps gather what is finite, and begin anew."""

import math

from cortexzoo.harness.tracking.windows import LENGTH, Windows


def test_a_window_gives_its_values_at_its_last_step() -> None:
    windows = Windows()
    for step in range(1, 2 * LENGTH + 1):
        norm = math.inf if step == 3 else float(step)
        given = dict(
            windows.add(step, {"train/gradient_norm": norm, "memory/gate_share/current": 0.5, "train/loss": 1.0})
        )
        if step % LENGTH:
            assert given == {}
        else:
            expected = [float(each) for each in range(step - LENGTH + 1, step + 1) if each != 3]
            assert given == {"train/gradient_norm": expected, "memory/gate_share/current": [0.5] * LENGTH}
