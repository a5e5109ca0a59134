"""Tools that the tests of hosts offer."""

import asyncio
from typing import Any


class Gate:
    """A tool that holds its call until the test lets it go."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        self.count = 0

    async def wait(self) -> str:
        self.count += 1
        self.entered.set()
        await self.release.wait()
        return "done"


def named(gate: Gate) -> Any:
    async def wait() -> str:
        return await gate.wait()

    return wait


def add(a: int, b: int = 1) -> int:
    return a + b
