"""Measure a call through libagentd, and the same call through gRPC from Python."""

import asyncio
from pathlib import Path

import grpc.aio

from tests.benchmarks.harness import Round, UnavailableError
from tests.benchmarks.load import CALL_TIMEOUT_S, median_us
from tests.benchmarks.ours.daemon import SYSTEM, daemon
from tests.benchmarks.ours.parts import silent
from tests.benchmarks.process import clean_environment, run_to_end
from tests.bindings.kit import Kit, lacking

WINDOW_S = 1.2


async def embedded_us(round: Round) -> float:
    """Return the median time of a call into a daemon inside the program, in µs."""
    return await _call_us(round, f"embedded:{round.directory / 'state'}")


async def unix_us(round: Round) -> float:
    """Return the median time of a call to a daemon in another process, in µs."""
    async with daemon(round.directory, silent()) as served:
        return await _call_us(round, served.address)


async def grpc_us(round: Round) -> float:
    """Return the median time of the same call by grpc.aio to a daemon in another process, in µs."""
    async with daemon(round.directory, silent()) as served:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = served.channel.unary_unary(
            f"{SYSTEM}/GetInfo"
        )

        async def once() -> None:
            await call(b"", timeout=CALL_TIMEOUT_S)

        return await median_us(once, round.seconds(WINDOW_S))


async def _call_us(round: Round, address: str) -> float:
    """Build the library and the program that calls; run it and return what it prints."""
    if why := lacking():
        raise UnavailableError(why)
    kit = await asyncio.to_thread(Kit.build, round.directory / "library")
    program = await asyncio.to_thread(kit.compile, Path(__file__).with_suffix(".c"))
    seconds = round.seconds(WINDOW_S)
    code, output, errors = await run_to_end(
        (str(program), address, str(seconds)),
        environment=clean_environment(round.directory),
        timeout_s=seconds + 60,
    )
    if code != 0:
        raise RuntimeError(f"the program ended with {code}: {errors}")
    return float(output)
