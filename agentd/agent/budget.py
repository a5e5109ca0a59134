"""What a run may spend, what it has spent, and what the next request may reserve. Pure."""

from enum import Enum

import msgspec
from msgspec.structs import replace

MIN_OUTPUT_TOKENS = 16
"""A request that could not answer even this many tokens is not sent."""


class Limit(Enum):
    """A limit of a budget; the values are the field names of `agentd.v1.Budget`."""

    TURNS = "max_turns"
    TOKENS = "max_tokens"
    COST = "max_cost_nanos"
    TOOL_CALLS = "max_tool_calls"
    WALL_TIME = "max_wall_time"


class Budget(msgspec.Struct, frozen=True):
    """Limits of one run; 0 means that the layer above decides, and at the top: no limit."""

    max_turns: int = 0
    max_tokens: int = 0
    max_cost_nanos: int = 0
    """Billionths of a US dollar."""
    max_tool_calls: int = 0
    max_wall_time_ms: int = 0

    def over(self, fallback: "Budget") -> "Budget":
        """Return this budget with each unset limit taken from the layer above."""
        return Budget(
            self.max_turns or fallback.max_turns,
            self.max_tokens or fallback.max_tokens,
            self.max_cost_nanos or fallback.max_cost_nanos,
            self.max_tool_calls or fallback.max_tool_calls,
            self.max_wall_time_ms or fallback.max_wall_time_ms,
        )


class Prices(msgspec.Struct, frozen=True):
    """The price of one token in billionths of a US dollar: $3 per million tokens is 3,000."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0


FREE = Prices()


class ModelUsage(msgspec.Struct, frozen=True):
    """What one model request has spent, as its provider says."""

    input_tokens: int = 0
    """All input tokens, those read from and written to the provider's cache included."""
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_nanos: int = 0

    @property
    def tokens(self) -> int:
        """Input and output together: what counts against `max_tokens`."""
        return self.input_tokens + self.output_tokens

    def priced(self, prices: Prices) -> "ModelUsage":
        """Return the same usage with its cost by a price table."""
        if prices == FREE:
            return self
        plain = self.input_tokens - self.cache_read_tokens - self.cache_write_tokens
        cost = (
            max(plain, 0) * prices.input
            + self.cache_read_tokens * prices.cache_read
            + self.cache_write_tokens * prices.cache_write
            + self.output_tokens * prices.output
        )
        return replace(self, cost_nanos=cost)


NO_USAGE = ModelUsage()


class Reservation(msgspec.Struct, frozen=True):
    """What a model request holds back from the budget until its outcome is known."""

    tokens: int = 0
    cost_nanos: int = 0
    max_output_tokens: int = 0

    def __add__(self, other: "Reservation") -> "Reservation":
        return Reservation(
            self.tokens + other.tokens,
            self.cost_nanos + other.cost_nanos,
            self.max_output_tokens + other.max_output_tokens,
        )


NO_RESERVATION = Reservation()


class Usage(msgspec.Struct, frozen=True):
    """What a run has spent. Spent, reserved and unknown together never exceed the budget by more
    than what providers return beyond a reservation."""

    turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_nanos: int = 0
    tool_calls: int = 0
    unknown_tokens: int = 0
    unknown_cost_nanos: int = 0

    @property
    def tokens(self) -> int:
        """The tokens that count against the budget, unknown ones included."""
        return self.input_tokens + self.output_tokens + self.unknown_tokens

    @property
    def cost(self) -> int:
        """The cost that counts against the budget, unknown included, in billionths of a dollar."""
        return self.cost_nanos + self.unknown_cost_nanos

    def charge(self, spent: ModelUsage, *, turns: int) -> "Usage":
        """Return the usage after a model request whose spending is known."""
        return Usage(
            self.turns + turns,
            self.input_tokens + spent.input_tokens,
            self.output_tokens + spent.output_tokens,
            self.cache_read_tokens + spent.cache_read_tokens,
            self.cache_write_tokens + spent.cache_write_tokens,
            self.cost_nanos + spent.cost_nanos,
            self.tool_calls,
            self.unknown_tokens,
            self.unknown_cost_nanos,
        )

    def call(self) -> "Usage":
        """Return the usage after a tool call was started."""
        return replace(self, tool_calls=self.tool_calls + 1)

    def lose(self, reservation: Reservation) -> "Usage":
        """Return the usage after a model request whose outcome is unknown."""
        return replace(
            self,
            unknown_tokens=self.unknown_tokens + reservation.tokens,
            unknown_cost_nanos=self.unknown_cost_nanos + reservation.cost_nanos,
        )


def reserve(
    budget: Budget, usage: Usage, *, context_tokens: int, max_output_tokens: int, prices: Prices
) -> Reservation | Limit:
    """Return what the next model request reserves, or the limit that refuses it.

    The output is cut to what the budget still holds; a request whose input alone does not fit, or
    which could answer fewer than MIN_OUTPUT_TOKENS, is refused.
    """
    if budget.max_turns and usage.turns >= budget.max_turns:
        return Limit.TURNS
    output = max_output_tokens
    if budget.max_tokens:
        output = min(output, budget.max_tokens - usage.tokens - context_tokens)
        if output < MIN_OUTPUT_TOKENS:
            return Limit.TOKENS
    input_cost = context_tokens * max(prices.input, prices.cache_write)
    if budget.max_cost_nanos:
        left = budget.max_cost_nanos - usage.cost - input_cost
        if prices.output:
            output = min(output, left // prices.output)
        if left <= 0 or output < MIN_OUTPUT_TOKENS:
            return Limit.COST
    return Reservation(context_tokens + output, input_cost + output * prices.output, output)
