"""A random order of many numbers that needs no list of them."""

import numpy as np
import numpy.typing as npt

from cortexzoo.zoo.streams import Stream

ROUNDS = 6
MIX = np.uint64(0x9E3779B97F4A7C15)

Numbers = npt.NDArray[np.int64]


def permuted(places: Numbers, count: int, seed: int, epoch: int) -> Numbers:
    """Where `places` of 0 … count − 1 go in a permutation that follows from (seed, epoch).

    A Feistel network on as many bits as `count` needs, walked until the number is below `count`.
    Source: Black and Rogaway 2002, Ciphers with Arbitrary Finite Domains.
    """
    half = max(1, (max(count - 1, 1).bit_length() + 1) // 2)
    keys = Stream.TEXT.generator(seed, epoch, 1).integers(0, 1 << 63, ROUNDS, dtype=np.uint64)
    found = _through(places.astype(np.uint64), half, keys)
    while len(outside := np.flatnonzero(found >= count)):
        found[outside] = _through(found[outside], half, keys)
    return found.astype(np.int64)


def _through(numbers: npt.NDArray[np.uint64], half: int, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    mask, bits = np.uint64((1 << half) - 1), np.uint64(half)
    left, right = numbers >> bits, numbers & mask
    for key in keys:
        mixed = (right + key) * MIX
        mixed ^= mixed >> np.uint64(29)
        mixed *= MIX
        left, right = right, left ^ ((mixed >> np.uint64(32)) & mask)
    return (left << bits) | right
