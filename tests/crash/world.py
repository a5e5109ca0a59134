"""The world outside, which no crash takes back: the tools of a scenario, and what they did."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

from agentd.agent.tool import EffectClass
from agentd.client import NotExecuted, ToolContext, ToolFailed, tool
from tests.invariants import Execution

TOOLSET = "world"


class World:
    """The ledger of one scenario, and the gates that its tools wait at."""

    def __init__(self) -> None:
        self.executions: list[Execution] = []
        self._results: dict[str, str] = {}
        self._gates: dict[str, tuple[asyncio.Event, asyncio.Event]] = {}

    def result(self, idempotency_key: str) -> str | None:
        """Return the result of a call that had its effect, UTF-8 JSON; None when it had none."""
        return self._results.get(idempotency_key)

    def gate(self, run: str) -> tuple[asyncio.Event, asyncio.Event]:
        """Return what is set when a call of the run waits at its gate, and what opens the gate."""
        return self._gates.setdefault(run, (asyncio.Event(), asyncio.Event()))

    def tools(self) -> Sequence[Callable[..., Any]]:
        """Return one tool of every kind there is."""

        @tool(effect="read_only")
        def look(item: str, context: ToolContext) -> str:
            return self._do(context, EffectClass.READ_ONLY, f"saw {item}")

        @tool(effect="idempotent")
        async def put(item: str, context: ToolContext) -> str:
            return self._do(context, EffectClass.IDEMPOTENT, f"put {item}")

        def find_charge(item: str, context: ToolContext) -> str:
            del item
            result = self.result(context.idempotency_key)
            if result is None:
                raise NotExecuted
            return str(json.loads(result))

        @tool(effect="non_idempotent", reconcile=find_charge)
        async def charge(item: str, context: ToolContext) -> str:
            return self._do(context, EffectClass.NON_IDEMPOTENT, f"charged {item}")

        @tool(effect="irreversible")
        def mail(item: str, context: ToolContext) -> str:
            return self._do(context, EffectClass.IRREVERSIBLE, f"mailed {item}")

        @tool(effect="non_idempotent")
        async def fail(item: str, context: ToolContext) -> str:
            key = context.idempotency_key
            kind = EffectClass.NON_IDEMPOTENT
            self.executions.append(Execution(key, context.attempt, kind, running=False))
            raise ToolFailed(f"no {item}")

        @tool(effect="idempotent")
        async def hold(item: str, context: ToolContext) -> str:
            entered, opened = self.gate(context.run)
            entered.set()
            await opened.wait()
            return self._do(context, EffectClass.IDEMPOTENT, f"held {item}")

        return look, put, charge, mail, fail, hold

    def _do(self, context: ToolContext, effect: EffectClass, result: str) -> str:
        """Have an effect, once for each idempotency key if the tool promises that."""
        key = context.idempotency_key
        self.executions.append(Execution(key, context.attempt, effect, applied=True, running=False))
        self._results[key] = json.dumps(result)
        return result
