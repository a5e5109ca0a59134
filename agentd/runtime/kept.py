"""Values that are kept at hand: as many as there is room for, the newest ones."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(OrderedDict[K, V]):
    """A mapping that forgets its oldest value when it is full."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def keep(self, key: K, value: V) -> V:
        """Keep a value and return it."""
        self[key] = value
        if len(self) > self._limit:
            self.popitem(last=False)
        return value
