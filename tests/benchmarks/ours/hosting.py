"""Measure the round trip of a call that a host executes, which is this process."""

import statistics
from itertools import pairwise
from time import monotonic

import grpc.aio

from agentd.v1.tool_host_service_pb2 import (
    LEASE_RESULT_OK,
    CompleteCallsRequest,
    CompleteCallsResponse,
    Completion,
    Invocation,
    WatchCallsResponse,
)
from tests.benchmarks.harness import Round
from tests.benchmarks.load import CALL_TIMEOUT_S
from tests.benchmarks.ours.daemon import HOSTS, Daemon, daemon, registration
from tests.benchmarks.ours.parts import asking

CALLS = 1_000
WARM_CALLS = 50


async def round_trip_us(round: Round) -> float:
    """Return the median time between two calls of one run at its host, in µs: the outcome's report,
    its commit, the model's turn, which takes no time, the commit of the next intent, and its
    message."""
    async with daemon(round.directory, asking(0), local=False) as served:
        call = served.stream(f"{HOSTS}/WatchCalls", registration("bench-host"))
        await call.read()  # the welcome
        await served.create_run()
        times = await _serve(served, call, WARM_CALLS + round.count(CALLS))
        call.cancel()
    trips = [later - earlier for earlier, later in pairwise(times)]
    return statistics.median(trips[WARM_CALLS:]) * 1e6


async def _serve(
    served: Daemon, call: grpc.aio.UnaryStreamCall[bytes, bytes], count: int
) -> list[float]:
    """Execute so many calls, and return when each arrived."""
    complete: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = served.channel.unary_unary(
        f"{HOSTS}/CompleteCalls"
    )
    times: list[float] = []
    while len(times) < count:
        message = await call.read()
        times.append(monotonic())
        assert isinstance(message, bytes)
        instruction = WatchCallsResponse.FromString(message).instructions[0]
        answer = await complete(_outcome(instruction.invoke), timeout=CALL_TIMEOUT_S)
        status = CompleteCallsResponse.FromString(answer).statuses[0]
        assert status.result == LEASE_RESULT_OK
    return times


def _outcome(invocation: Invocation) -> bytes:
    completion = Completion(
        call=invocation.call,
        attempt=invocation.attempt,
        lease_token=invocation.lease_token,
        result_json="3",
    )
    return CompleteCallsRequest(completions=[completion]).SerializeToString()
