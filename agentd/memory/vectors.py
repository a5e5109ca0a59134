"""Arithmetic on vectors, without any package: there are few of them at a time."""

import math
from collections.abc import Iterable, Sequence
from operator import mul

from agentd.agent.memory import Vector


def unit(values: Iterable[float]) -> Vector:
    """Return a vector of length 1 in the same direction; one of zeros stays as it is."""
    found = tuple(values)
    length = math.sqrt(sum(map(mul, found, found)))
    return tuple(value / length for value in found) if length else found


def dot(left: Sequence[float], right: Sequence[float]) -> float:
    """Return the sum of products: the cosine of vectors of length 1."""
    return float(sum(map(mul, left, right)))


def code_of(vector: Sequence[float]) -> int:
    """Return one bit a coordinate: whether it is above zero. Vectors that are near each other have
    codes that differ in few bits, and comparing two codes takes some 100 ns."""
    return int("".join("1" if value > 0 else "0" for value in vector) or "0", 2)
