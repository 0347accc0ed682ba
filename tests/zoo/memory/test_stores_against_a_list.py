"""Long-term memory against a plain list of what was written: whatever is done, both hold and find the same."""

import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cortexzoo.specs.memory import RawRing
from cortexzoo.zoo.memory.long_term import LongTermRing, LongTermState
from cortexzoo.zoo.memory.short_term import ShortTermState

WIDTH, CAPACITY, WRITES = 8, 7, 3


class RingAndList(RuleBasedStateMachine):
    """Pairs carry a number each, which the list remembers: key k, value −k."""

    @initialize()
    def begin(self) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.ring = LongTermRing(RawRing(code_size=4, capacity=CAPACITY, writes=WRITES, top_k=2), WIDTH)
        self.state = self.ring.empty(torch.zeros(()))
        self.written: list[int] = []
        self.next = 1

    @rule(reads=st.lists(st.floats(0, 9, width=16), min_size=1, max_size=6, unique=True))
    def consolidate(self, reads: list[float]) -> None:
        """The most read pairs of a ring are appended in the order in which they stand."""
        numbers = torch.arange(self.next, self.next + len(reads), dtype=torch.float32)
        self.next += len(reads)
        keys = numbers[None, :, None].expand(1, -1, WIDTH)
        given, before = self.state, self.state.keys.clone()
        self.state = self.ring.consolidate(ShortTermState(keys, -keys, torch.tensor([reads])), given)
        assert torch.equal(given.keys, before), "a state is a value: the one before stays as it was"
        ranked = sorted(range(len(reads)), key=lambda place: -reads[place])[:WRITES]
        self.written += [int(numbers[place]) for place in sorted(ranked)]

    @rule()
    def keep_in_files(self) -> None:
        """What is rebuilt from its tensors is the same store, index included."""
        self.state = LongTermState(self.state.keys.clone(), self.state.values.clone(), self.state.codes.clone())

    @rule()
    def empty(self) -> None:
        self.state, self.written = self.ring.empty(torch.zeros(())), []

    @invariant()
    def holds_the_newest_in_order(self) -> None:
        expected = self.written[-CAPACITY:]
        assert [int(key) for key in self.state.keys[:, 0]] == expected
        assert [int(value) for value in self.state.values[:, 0]] == [-number for number in expected]

    @invariant()
    def finds_every_entry_by_its_own_code(self) -> None:
        if not self.state.entries:
            return
        codes = self.ring.compress(self.state.keys)
        found = self.state.index.search(codes, 1)[:, 0]
        assert torch.allclose(codes[found], codes, atol=1e-5)


RingAndList.TestCase.settings = settings(max_examples=20, stateful_step_count=12, deadline=None)
test_the_ring_holds_what_a_list_holds = RingAndList.TestCase
