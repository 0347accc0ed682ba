"""In which order texts of any size are read: each window once an epoch, by documents, by a mixture's weights."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

from cortexzoo.harness.checking.properties.base import Case, Finding, Property, number, text
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.zoo.data.mixed_order import MixedOrder
from cortexzoo.zoo.data.order import DocumentOrder, TrainingOrder, validation_starts
from cortexzoo.zoo.streams import Stream

LONG = (1 << 22) + 3
"""Windows of a text whose order is not kept as a list."""
THOUSAND = 1000
"""Windows in which every text of a mixture has its share."""
MOST = 40_000
"""Windows of an epoch that are looked at: of a long one, so many in a row; a wrong order repeats one in a hundred."""
MOST_AT_ONCE = 7


def order_cases(_: Subject) -> Iterable[Case]:
    """Texts of one window, of a few and of millions; documents that are shorter and longer than a window; mixtures.

    And where epochs begin, texts of next to no weight, and random numbers of each use.
    """
    for size in (1, 2, 9, 33, 200):
        yield {"order": "text", "windows": size, "length": 8, "more": size % 8, "seed": 0}
    for size in (2, 9, 60):
        yield {"order": "documents", "windows": size, "length": 8, "more": 3, "seed": 1}
    yield {"order": "documents", "windows": 40, "length": 1, "more": 2, "seed": 1}
    for size in (5, 40):
        yield {"order": "mixture", "windows": size, "length": 4, "more": 2, "seed": 2}
    yield {"order": "text", "windows": LONG, "length": 2, "more": 1, "seed": 3}
    yield {"order": "shifts", "windows": LONG, "length": 9, "more": 1, "seed": 3}
    for order in ("rare texts", "shifts", "streams", "held out"):
        for size in (3, 40):
            yield {"order": order, "windows": size, "length": 8, "more": 3, "seed": 4}


def _of_rare_texts(windows: int, length: int, more: int, seed: int) -> list[str]:
    """Texts of next to no weight come in every thousand windows; texts of one length have orders of their own."""
    size = windows * length + length
    order = MixedOrder((size,) * 4, (1e6, 1e-3, more + 1.0, 1e-3), length, seed)
    texts = order.starts(0, THOUSAND) // size
    wrong = [f"text {text + 1} never comes" for text in range(4) if text not in texts]
    alike = MixedOrder((size, size), (1.0, 1.0), length, seed)
    own = [starts[starts // size == text] % size for starts in [alike.starts(0, THOUSAND)] for text in range(2)]
    count = min(*map(len, own), windows)
    if count >= MOST_AT_ONCE and np.array_equal(*(some[:count] - some[:count].min() for some in own)):
        wrong.append("two texts of one length are read in one order")
    return wrong


def _of_shifts(windows: int, length: int, more: int, seed: int) -> list[str]:
    """The windows of every epoch begin elsewhere, at any place that leaves room for all of them."""
    size = windows * length + length + more % length
    order, room = TrainingOrder(size, length, seed), size - 1 - windows * length
    epochs = 8 if windows > MOST else 200
    firsts = [int(order.starts(epoch * windows, min(windows, MOST)).min()) for epoch in range(epochs)]
    if windows > MOST:
        shifts = {first % length for first in firsts}
        return ["every epoch begins at the same places"] if len(shifts) == 1 and length > 1 else []
    wrong = [f"an epoch begins at {max(firsts)} of {room}"] if max(firsts) > room or min(firsts) < 0 else []
    if room > 1 and (max(firsts) <= room * 0.8 or min(firsts) > room * 0.2):
        wrong.append(f"epochs begin at {min(firsts)} to {max(firsts)} of {room}")
    return wrong


def _of_held_out(windows: int, length: int, more: int, seed: int) -> list[str]:
    """As many windows as there are with a target for each input, or some of them, evenly spread; no two overlap."""
    wrong = []
    for size in (windows * length + 1, windows * length + length, windows * length + 1 + more % length):
        for most in (None, 1, 2, windows, windows + 1):
            starts = validation_starts(size, length, most)
            count = windows if most is None else min(most, windows)
            what = f"of {size} tokens {most or 'all'} windows"
            wrong += _grid(what, starts, length, size) if len(starts) else []
            if len(starts) != count:
                wrong.append(f"{what} are {len(starts)}, not {count}")
                continue
            gaps = np.diff(starts) // length
            before, behind = starts[0] // length, windows - 1 - starts[-1] // length
            if abs(before - behind) > 1 or (len(gaps) and (gaps.min() < 1 or gaps.max() - gaps.min() > 1)):
                wrong.append(f"{what} stand at {starts.tolist()[:5]}")
    return wrong


def _of_streams(windows: int, length: int, more: int, seed: int) -> list[str]:
    """Random numbers of one use are none of another's, of another place's or seed's, and the same each time.

    An experiment trains on a text or on documents: only these two may share theirs.
    """
    places = ((), (0,), (1,), (2,), (0, 1), (1, 0), (windows,), (windows, length), (length, more))
    wrong, seen = [], dict[bytes, str]()
    for stream in Stream:
        if stream is Stream.DOCUMENTS:
            continue
        for own in (seed, seed + 1):
            # An order of a text is at (epoch) or, of longer texts and mixtures, at a pair.
            own_places = [(5,), (6,), (5, 1), (6, 1), (1, 2), (5, 2), (5, 3)] if stream is Stream.TEXT else places
            for place in dict.fromkeys(own_places):
                name = f"{stream.name} of seed {own} at {place}"
                drawn, again = (stream.generator(own, *place).bytes(16) for _ in range(2))
                if drawn != again:
                    wrong.append(f"{name} gives other numbers each time")
                if drawn in seen:
                    wrong.append(f"{name} gives the numbers of {seen[drawn]}")
                seen[drawn] = name
    return wrong


def order_strategy(_: Subject) -> st.SearchStrategy[Case]:
    """Any text, documents or mixture of moderate size."""
    return st.fixed_dictionaries(
        {
            "order": st.sampled_from(sorted(JUDGED)),
            "windows": st.integers(1, 300),
            "length": st.integers(1, 40),
            "more": st.integers(0, 40),
            "seed": st.integers(0, 99),
        }
    )


def orders_visit_each_window_once(_: Subject, case: Case) -> Finding:
    """The windows of two epochs, or of two thousand of a mixture."""
    wrong = JUDGED[text(case, "order")](*(number(case, name) for name in ("windows", "length", "more", "seed")))
    if not wrong:
        return Finding(0, "every window came once an epoch, in an order of its own", case)
    return Finding(len(wrong), "; ".join(wrong[:3]), {**case, "first": wrong[0]})


def _of_a_text(windows: int, length: int, more: int, seed: int) -> list[str]:
    size = windows * length + length + more % length
    order = TrainingOrder(size, length, seed)
    some = min(windows, MOST)
    first, second = order.starts(0, some), order.starts(windows, some)
    wrong = [] if order.windows_per_epoch == windows else [f"an epoch has {order.windows_per_epoch} windows"]
    for name, starts in (("first", first), ("second", second)):
        wrong += _grid(f"the {name} epoch", starts, length, size)
    return wrong + _apart(first, second, TrainingOrder(size, length, seed + 1).starts(0, some)) + _in_pieces(order)


def _grid(what: str, starts: Any, length: int, size: int) -> list[str]:
    """Windows that do not overlap, and lie within the text with their last target."""
    wrong = []
    if len(np.unique(starts)) < len(starts):
        wrong.append(f"{what} has {len(np.unique(starts))} of {len(starts)} windows")
    if len(np.unique(starts % length)) > 1:
        wrong.append(f"windows of {what} overlap")
    if starts.min() < 0 or starts.max() + length >= size:
        wrong.append(f"a window of {what} reaches beyond the text")
    return wrong


def _apart(first: Any, second: Any, other: Any) -> list[str]:
    """Whether epochs and seeds have orders of their own; few windows may come in one order by chance."""
    if len(first) < 2 * MOST_AT_ONCE:
        return []
    ranks = [np.argsort(np.argsort(starts)) for starts in (first, second, other)]
    wrong = ["two epochs have one order"] if np.array_equal(ranks[0], ranks[1]) else []
    if np.array_equal(ranks[0], ranks[2]):
        wrong.append("two seeds give one order")
    steps = np.diff(ranks[0])
    rising, few = float(np.mean(steps > 0)), math.sqrt(len(steps))
    if abs(rising - 0.5) > 3 / few or len(np.unique(steps)) < few:
        wrong.append("the order of an epoch is no random one")
    return wrong


def _in_pieces(order: Any) -> list[str]:
    """Any stretch of the stream, across an epoch's end too, is that of single places."""
    first = max(0, order.windows_per_epoch - 3)
    together = order.starts(first, MOST_AT_ONCE)
    single = [int(order.starts(first + at, 1)[0]) for at in range(MOST_AT_ONCE)]
    return [] if together.tolist() == single else ["several windows at once are not those of one after the other"]


def _of_documents(windows: int, length: int, more: int, seed: int) -> list[str]:
    """Every token but a document's first is a target once an epoch, and no window is without one. Some are empty."""
    random = np.random.default_rng(seed)
    lengths = random.integers(0, 2 * length + more + 2, max(2, windows // 2))
    lengths[0] += 2 * (lengths.max() < 2)  # something must be a target
    begins = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    size = int(lengths.sum())
    order = DocumentOrder(begins, size, length, seed)
    count = order.windows_per_epoch
    wanted = sorted(set(range(size)) - set(begins.tolist()))
    wrong, epochs = [], []
    for epoch in range(2):
        starts = order.starts(epoch * count, count)
        epochs.append(starts)
        scored = order.scored(starts).numpy()
        targets = sorted((starts[:, None] + 1 + np.arange(length))[scored].tolist())
        if wanted and not scored.any(axis=1).all():
            wrong.append(f"epoch {epoch + 1} has windows without a target")
        if wanted and targets != wanted:
            wrong.append(
                f"epoch {epoch + 1} has {len(targets)} targets, {len(set(targets) & set(wanted))} of {len(wanted)}"
            )
    other = DocumentOrder(begins, size, length, seed + 1).starts(0, count)
    return wrong + _apart(epochs[0], epochs[1], other) + _in_pieces(order)


def _of_a_mixture(windows: int, length: int, more: int, seed: int) -> list[str]:
    """Three texts, of which the last is short for its weight."""
    lengths = (windows * length + length + more, 5 * windows * length + length, 2 * length + more)
    weights = (3.0, 1.5, 0.7 + more)
    order = MixedOrder(lengths, weights, length, seed)
    ends = np.cumsum(lengths)
    wrong = []
    kept: list[list[int]] = [[], [], []]
    mixed: list[Any] = []
    for block in range(2):
        starts = order.starts(block * THOUSAND, THOUSAND)
        texts = np.searchsorted(ends, starts, side="right")
        for index, end in enumerate(ends):
            own = starts[texts == index]
            share = weights[index] / sum(weights) * THOUSAND
            if abs(len(own) - share) >= 1:
                wrong.append(f"text {index + 1} has {len(own)} of a thousand windows, its share is {share:.1f}")
            if len(own) and own.max() + length >= end:
                wrong.append(f"a window of text {index + 1} reaches into the next")
            kept[index] += (own - (end - lengths[index])).tolist()
        mixed.append(texts)
        if np.array_equal(texts, np.sort(texts)):
            wrong.append("the texts come one after the other")
    if np.array_equal(*mixed):
        wrong.append("the texts come in one order in each thousand windows")
    for index, found in enumerate(kept):
        epoch = max(1, (lengths[index] - length) // length)
        for first in range(0, len(found) - epoch + 1, epoch):
            wrong += _grid(f"text {index + 1}", np.array(found[first : first + epoch]), length, lengths[index])
    other = MixedOrder(lengths, weights, length, seed + 1).starts(0, THOUSAND)
    if np.array_equal(np.searchsorted(ends, other, side="right"), mixed[0]):
        wrong.append("two seeds give one order")
    again = np.concatenate([order.starts(at, MOST_AT_ONCE) for at in range(990, 1011, MOST_AT_ONCE)])
    return (
        wrong
        if np.array_equal(again, order.starts(990, 3 * MOST_AT_ONCE))
        else [*wrong, "pieces differ from the whole"]
    )


JUDGED: Mapping[str, Callable[[int, int, int, int], list[str]]] = {
    "text": _of_a_text,
    "documents": _of_documents,
    "mixture": _of_a_mixture,
    "rare texts": _of_rare_texts,
    "shifts": _of_shifts,
    "streams": _of_streams,
    "held out": _of_held_out,
}

ORDERS = (
    Property(
        "orders_visit_each_window_once",
        orders_visit_each_window_once,
        order_cases,
        strategy=order_strategy,
        shrinks=True,
    ),
)
