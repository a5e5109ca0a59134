"""LangGraph's prebuilt agent doing the benchmark's work; run in the peers' environment only.

A step is a model turn of a scripted model that asks for one tool call, and that call. With the
SQLite saver and durability `sync` each half is written before the next begins.
"""

# mypy: disable-error-code="import-not-found, misc, untyped-decorator, no-any-unimported"

import argparse
import asyncio
import gc
import json
import resource
import signal
import sys
import time
import warnings
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pysqlite3

sys.modules["sqlite3"] = pysqlite3  # the one SQLite that both peers can use
LIFETIME_S = 150
INTERRUPT_BATCH = 10

from langchain_core.language_models import BaseChatModel  # noqa: E402
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage  # noqa: E402
from langchain_core.outputs import ChatGeneration, ChatResult  # noqa: E402
from langchain_core.tools import tool  # noqa: E402
from langgraph.checkpoint.memory import InMemorySaver  # noqa: E402
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver  # noqa: E402

warnings.simplefilter("ignore")

from langgraph.prebuilt import create_react_agent  # noqa: E402


class Scripted(BaseChatModel):
    """Asks for the tool as often as it is told to, then answers. Takes no time."""

    steps: int

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, _tools: object, **_: object) -> "Scripted":
        """Take note of no tools: the script knows them."""
        return self

    def _generate(self, messages: list[BaseMessage], *_: object, **__: object) -> Any:
        turn = sum(isinstance(message, ToolMessage) for message in messages)
        if turn >= self.steps:
            reply = AIMessage(content="done")
        else:
            call = {"name": "add", "args": {"a": turn, "b": 1}, "id": f"call-{turn}"}
            reply = AIMessage(content="", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=reply)])

    async def _agenerate(self, messages: list[BaseMessage], *_: object, **__: object) -> Any:
        return self._generate(messages)


@tool
async def add(a: int, b: int) -> int:
    """Add two integers."""
    return a + b


def config(thread: int, steps: int) -> dict[str, Any]:
    """Return the settings of a run that has a thread of its own."""
    return {"configurable": {"thread_id": f"thread-{thread}"}, "recursion_limit": 2 * steps + 8}


async def run_all(graph: Any, runs: int, steps: int, *, first: int = 0) -> None:
    """Pursue that many runs at once, each in its own thread, to their end or interruption."""
    goal = {"messages": [("user", "Add numbers.")]}
    async with asyncio.TaskGroup() as group:
        for thread in range(first, first + runs):
            group.create_task(graph.ainvoke(goal, config(thread, steps), durability="sync"))


async def rate(saver: Any, runs: int, steps: int, repeats: int) -> dict[str, float]:
    """Return steps a second, and CPU and bytes a step."""
    graph = create_react_agent(Scripted(steps=steps), [add], checkpointer=saver)
    await run_all(graph, 1, 2)
    began, cpu = time.monotonic(), time.process_time()
    for repeat in range(repeats):
        await run_all(graph, runs, steps, first=1 + repeat * runs)
    done = runs * steps * repeats
    return {
        "steps_per_s": done / (time.monotonic() - began),
        "cpu_us_per_step": (time.process_time() - cpu) / done * 1e6,
        "steps": done,
    }


async def interrupt(saver: Any, runs: int, steps: int) -> dict[str, float]:
    """Leave runs waiting before a tool; return the resident bytes that each takes."""
    graph = create_react_agent(
        Scripted(steps=steps), [add], checkpointer=saver, interrupt_before=["tools"]
    )
    for first in range(0, runs, INTERRUPT_BATCH):  # few at once, so that a peak is not counted
        await run_all(graph, INTERRUPT_BATCH, steps, first=runs + first)
    gc.collect()
    before = resident_bytes()
    for first in range(0, runs, INTERRUPT_BATCH):
        await run_all(graph, min(INTERRUPT_BATCH, runs - first), steps, first=first)
    gc.collect()
    return {"bytes_per_run": (resident_bytes() - before) / runs}


async def resume(saver: Any, runs: int, steps: int) -> dict[str, float]:
    """Take runs that another process left waiting one step further; return the seconds."""
    graph = create_react_agent(
        Scripted(steps=steps), [add], checkpointer=saver, interrupt_before=["tools"]
    )
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for thread in range(runs):
            group.create_task(graph.ainvoke(None, config(thread, steps), durability="sync"))
    return {"seconds": time.monotonic() - began}


def resident_bytes() -> int:
    """Return our resident memory (the second field of proc(5) statm, in pages)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def ready() -> None:
    """Say that the first step is done."""
    sys.stdout.write("READY\n")
    sys.stdout.flush()


async def main(arguments: argparse.Namespace) -> dict[str, float]:
    """Do what was asked for and return its figures."""
    database = arguments.directory / "langgraph.db"
    async with AsyncExitStack() as stack:
        if arguments.memory:
            saver: Any = InMemorySaver()
        else:
            saver = await stack.enter_async_context(
                AsyncSqliteSaver.from_conn_string(str(database))
            )
        runs, steps = arguments.runs, arguments.steps
        match arguments.what:
            case "rate":
                figures = await rate(saver, runs, steps, arguments.repeats)
            case "start":
                await run_all(
                    create_react_agent(Scripted(steps=1), [add], checkpointer=saver), 1, 1
                )
                ready()
                figures = {}
            case "interrupt":
                figures = await interrupt(saver, runs, steps)
            case _:
                figures = await resume(saver, runs, steps)
    if figures.get("steps") and not arguments.memory:
        figures["disk_bytes_per_step"] = database.stat().st_size / figures["steps"]
    return figures


if __name__ == "__main__":
    signal.alarm(LIFETIME_S)
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("rate", "start", "interrupt", "resume"))
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--memory", action="store_true")
    sys.stdout.write(json.dumps(asyncio.run(main(parser.parse_args()))) + "\n")
