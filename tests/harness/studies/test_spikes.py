"""What the losses of a run say of it."""

import math

from cortexzoo.harness.studies.spikes import count_spikes


def test_spikes_are_told_from_the_accepted_losses_before() -> None:
    assert count_spikes([2.0] * 20) == 0
    assert count_spikes([2.0] * 20 + [10.1, 2.0, 10.1]) == 2
    assert count_spikes([2.0] * 20 + [9.9]) == 0
    assert count_spikes([2.0] * 9 + [100.0]) == 0, "too little is known"
    assert count_spikes([2.0, math.nan, math.inf]) == 2
