"""When a failed request is repeated, and after how long."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from agentd.errors import AgentdError, Unavailable


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon. Times are in seconds."""

    attempts: int = 4
    """The most attempts of one request, the first included."""
    first_delay_s: float = 0.1
    max_delay_s: float = 2.0
    """The longest pause; a daemon that asks for a longer one is not asked again."""

    def pauses(self) -> Iterator[float]:
        """Yield pauses that grow to `max_delay_s`, each with full jitter: 0 to its whole length."""
        delay = self.first_delay_s
        while True:
            yield random.uniform(0, delay)  # noqa: S311 - spreads load, guards nothing
            delay = min(delay * 2, self.max_delay_s)

    def pause_after(self, error: AgentdError, pause: float) -> float | None:
        """Return how long to wait before a repeat that may help, or None when none may."""
        if error.retry_after_s is not None:
            return error.retry_after_s + pause if error.retry_after_s <= self.max_delay_s else None
        return pause if isinstance(error, Unavailable) else None
