"""What tools do when they are executed, in the daemon's process or in a host's."""

import asyncio
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from agentd.agent.hosting import (
    Failed,
    Invocation,
    InvocationKind,
    NotExecuted,
    Outcome,
    OutcomeUnknown,
    Succeeded,
)
from agentd.agent.tool import EffectClass
from agentd.runtime.ports import LocalTool
from tests.fakes.local import FunctionTool
from tests.simulation.world import LOCAL, World


def effect_of(invocation: Invocation) -> EffectClass:
    """Return the effect class of a tool, which is named after it."""
    return EffectClass[invocation.tool.partition("/")[2].upper()]


def truth(key: str) -> Succeeded | Failed:
    """Return how every execution of a call ends, so that it can be told later too."""
    if sum(key.encode()) % 7 == 0:
        return Failed("the tool failed")
    return Succeeded(f'{{"done": "{key}"}}')


async def execute(world: World, invocation: Invocation, random: Random) -> Outcome:
    """Have a tool's effect at some moment of its work; being killed may come before or after. Asked
    for no more than what it would do, it has none."""
    if invocation.kind is InvocationKind.SIMULATE:
        await asyncio.sleep(random.choice((0.0, 0.01, 4.0)))
        return Succeeded('{"would": "do it"}')
    execution = world.ledger.start(
        invocation.idempotency_key, invocation.attempt, effect_of(invocation)
    )
    work_s = random.choice((0.0, 0.01, 0.5, 4.0))
    if world.goes_wrong(random, 0.1):
        work_s = random.choice((12.0, 120.0))
    try:
        await asyncio.sleep(work_s * random.random())
        execution.applied = True
        await asyncio.sleep(work_s * random.random())
    finally:
        execution.running = False
    return truth(invocation.idempotency_key)


def probe(world: World, invocation: Invocation) -> Outcome:
    """Say what became of a call, truly."""
    made = world.ledger.of(invocation.idempotency_key)
    if any(execution.applied for execution in made):
        return truth(invocation.idempotency_key)
    if any(execution.running for execution in made):
        return OutcomeUnknown("it is still running")
    return NotExecuted()


def local_tools(world: World) -> dict[str, LocalTool]:
    """Return the tools of the daemon's own process."""
    count = 0

    async def run(invocation: Invocation) -> Outcome:
        nonlocal count
        count += 1
        random = world.chance(f"local/{invocation.idempotency_key}/{count}")
        if invocation.kind is InvocationKind.RECONCILE:
            await asyncio.sleep(random.choice((0.0, 1.0)))
            return probe(world, invocation)
        return await execute(world, invocation, random)

    def needs(arguments: Mapping[str, Any], _workspace: str) -> Sequence[str]:
        return ["net.connect:example.com:443"] if arguments["n"] % 8 == 0 else []

    return {tool.path: FunctionTool(tool, run, needs) for tool in LOCAL}
