"""Call a tool of the daemon as the runtime does, with what it needs or with less."""

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from agentd.agent.hosting import Failed, Invocation, InvocationKind, Outcome, Succeeded
from agentd.agent.ids import CallId, RunId
from agentd.tools.builtin.frame import LocalTool
from agentd.tools.schema import compile_arguments, compile_result


def invocation(
    tool: LocalTool,
    workspace: object,
    arguments: dict[str, Any],
    *,
    granted: Iterable[str] | None = None,
    **more: Any,
) -> Invocation:
    """Return a call that was granted what it needs, unless another grant is given."""
    text = json.dumps(arguments)
    assert compile_arguments(tool.manifest).check(text) is None
    needs = tool.needs(arguments, str(workspace)) if granted is None else granted
    fields: dict[str, Any] = {"kind": InvocationKind.EXECUTE, "attempt": 1, **more}
    return Invocation(
        run=RunId("r1"),
        call=CallId("c1-1"),
        tool=tool.manifest.path,
        arguments_json=text,
        token="t",
        idempotency_key="k",
        deadline_ms=0,
        lease_expire_time_ms=0,
        permissions=tuple(needs),
        workspace=str(workspace),
        **fields,
    )


async def call(
    tool: LocalTool, workspace: object, arguments: dict[str, Any], **more: Any
) -> Outcome:
    """Execute a call; a result must be what the manifest says."""
    made = invocation(tool, workspace, arguments, **more)
    outcome = await tool(made)
    if isinstance(outcome, Succeeded) and made.kind is InvocationKind.EXECUTE:
        assert compile_result(tool.manifest).check(outcome.result_json) is None
    return outcome


async def result(
    tool: LocalTool, workspace: object, arguments: dict[str, Any], **more: Any
) -> dict[str, Any]:
    """Return the result of a call that must succeed."""
    outcome = await call(tool, workspace, arguments, **more)
    assert isinstance(outcome, Succeeded), outcome
    value: dict[str, Any] = json.loads(outcome.result_json)
    return value


async def failure(
    tool: LocalTool, workspace: object, arguments: dict[str, Any], **more: Any
) -> str:
    """Return the sentence of a call that must fail."""
    outcome = await call(tool, workspace, arguments, **more)
    assert isinstance(outcome, Failed), outcome
    return outcome.message


def names(folder: Path) -> list[str]:
    """Return what is in a folder, in order."""
    return sorted(path.name for path in folder.iterdir())


def is_running(mark: str) -> bool:
    """Tell whether a process has this in its arguments."""
    found = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True)
    return mark in found.stdout
