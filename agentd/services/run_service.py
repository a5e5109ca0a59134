"""Serve RunService: start, steer and end runs, and read their tasks and calls."""
# ruff: noqa: N802  (methods bear the contract's names)

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from agentd.agent.call import Call
from agentd.agent.hosting import Abandon, Reconciled, ReconciledFailure, Resolution, Retry
from agentd.agent.ids import RunId, RunKey
from agentd.agent.run import Run
from agentd.agent.tool import CallState
from agentd.errors import invalid_field
from agentd.runtime.engine import Engine
from agentd.runtime.kept import Kept
from agentd.runtime.reading import ENDED_RUNS, Reading
from agentd.runtime.tasking import Tasks
from agentd.services import checks, convert, parse, parse_lifecycle
from agentd.services.caller import Caller
from agentd.services.convert_lifecycle import task
from agentd.services.pages import cut, parse_page
from agentd.v1 import run_service_pb2 as pb

DEFAULT_WAIT_MS = 60_000
MAX_WAIT_MS = 600_000
DEFAULT_CANCEL_MS = 10_000
MAX_CANCEL_MS = 300_000
MAX_ERROR_BYTES = 16 * checks.KIB
ANY_RUN = "runs/-"
"""The parent of the calls of every unfinished run."""


@dataclass(frozen=True, slots=True, order=True)
class _Place:
    """Where a call stands in a list of calls."""

    run: str
    number: int
    """Among the calls of its run, counted from 1."""


class RunService:
    """The methods of `agentd.v1.RunService`."""

    def __init__(self, engine: Engine, reading: Reading, tasks: Tasks) -> None:
        self._engine = engine
        self._reading = reading
        self._tasks = tasks
        self._ended: Kept[RunKey, tuple[Run, pb.GetRunResponse]] = Kept(ENDED_RUNS)
        """Answers at hand: a run that has ended stays as it is, and is often asked for."""

    async def CreateRun(self, request: pb.CreateRunRequest, caller: Caller) -> pb.CreateRunResponse:
        """Create a run, and answer as soon as it is durable."""
        checks.required(request, "run", "run")
        run, revision = await self._engine.create_run(
            parse.new_run(request.run, caller.namespace),
            request_id=checks.request_id(request.request_id),
        )
        return pb.CreateRunResponse(run=convert.run(run), revision=revision)

    async def GetRun(self, request: pb.GetRunRequest, caller: Caller) -> pb.GetRunResponse:
        """Return a run."""
        run = await self._reading.get_run(caller.namespace, parse.run_id(request.name))
        kept = self._ended.get(run.identity.key)
        if kept and kept[0] is run:
            return kept[1]
        response = pb.GetRunResponse(run=convert.run(run))
        if run.view.state.ended:
            self._ended.keep(run.identity.key, (run, response))
        return response

    async def ListRuns(self, request: pb.ListRunsRequest, caller: Caller) -> pb.ListRunsResponse:
        """List runs, newest first."""
        query = parse.run_query(request.filter, caller.namespace)
        page = parse_page(request, int, "ListRuns", caller.namespace, str(request.filter))
        before = None if page.position is None else RunKey(page.position)
        found = await self._reading.list_runs(query, before=before, limit=page.size + 1)
        shown, more = cut([convert.run(run) for run in found], page.size)
        token = page.token(found[len(shown) - 1].identity.key) if more else ""
        return pb.ListRunsResponse(runs=shown, next_page_token=token)

    async def WaitRun(self, request: pb.WaitRunRequest, caller: Caller) -> pb.WaitRunResponse:
        """Wait until the run has ended or the timeout has passed."""
        run_id, timeout_ms = parse.run_id(request.name), DEFAULT_WAIT_MS
        if request.HasField("timeout"):
            timeout_ms = checks.duration_ms(request.timeout, "timeout", most_ms=MAX_WAIT_MS)
        run = await self._reading.wait_run(caller.namespace, run_id, timeout_ms / 1000)
        return pb.WaitRunResponse(run=convert.run(run))

    async def SendMessage(
        self, request: pb.SendMessageRequest, caller: Caller
    ) -> pb.SendMessageResponse:
        """Give an unfinished run a message of the user."""
        run_id = parse.run_id(request.name)
        text = checks.long_text(
            request.text, "text", at_most_bytes=checks.MAX_TEXT_BYTES, needed=True
        )
        request_id = checks.request_id(request.request_id)
        revision = await self._engine.send_message(
            caller.namespace, run_id, text, request_id=request_id
        )
        return pb.SendMessageResponse(revision=revision)

    async def PauseRun(self, request: pb.PauseRunRequest, caller: Caller) -> pb.PauseRunResponse:
        """Stop new work of a run."""
        run = await self._engine.pause_run(caller.namespace, parse.run_id(request.name))
        return pb.PauseRunResponse(run=convert.run(run))

    async def ResumeRun(self, request: pb.ResumeRunRequest, caller: Caller) -> pb.ResumeRunResponse:
        """Let a paused run go on."""
        run = await self._engine.resume_run(caller.namespace, parse.run_id(request.name))
        return pb.ResumeRunResponse(run=convert.run(run))

    async def CancelRun(self, request: pb.CancelRunRequest, caller: Caller) -> pb.CancelRunResponse:
        """Cancel a run, and report what became of everything in progress."""
        run_id, timeout_ms = parse.run_id(request.name), DEFAULT_CANCEL_MS
        reason = checks.text(request.reason, "reason", at_most=checks.MAX_REASON)
        if request.HasField("timeout"):
            timeout_ms = checks.duration_ms(request.timeout, "timeout", most_ms=MAX_CANCEL_MS)
        report, run = await self._engine.cancel_run(
            caller.namespace, run_id, reason=reason, timeout_ms=timeout_ms
        )
        return pb.CancelRunResponse(report=convert.cancel_report(report), run=convert.run(run))

    async def ListTasks(self, request: pb.ListTasksRequest, caller: Caller) -> pb.ListTasksResponse:
        """List the tasks of a run's plans: runs of the protocol `direct` have none."""
        run_id = parse.run_id(request.parent, "parent")
        page = parse_page(request, int, "ListTasks", caller.namespace, run_id)
        tasks = await self._tasks.list(caller.namespace, run_id)
        before = page.position or 0
        run = f"runs/{run_id}"
        found = [task(each, run) for each in tasks[before : before + page.size + 1]]
        shown, more = cut(found, page.size)
        token = page.token(before + len(shown)) if more else ""
        return pb.ListTasksResponse(tasks=shown, next_page_token=token)

    async def RetryTask(self, request: pb.RetryTaskRequest, caller: Caller) -> pb.RetryTaskResponse:
        """Make a failed task pending again."""
        run_id, task_id = parse_lifecycle.task_name(request.name)
        reason = checks.text(request.reason, "reason", at_most=checks.MAX_REASON)
        found = await self._tasks.retry(caller.namespace, run_id, task_id, reason)
        return pb.RetryTaskResponse(task=task(found, f"runs/{run_id}"))

    async def AbandonTask(
        self, request: pb.AbandonTaskRequest, caller: Caller
    ) -> pb.AbandonTaskResponse:
        """Give a task up."""
        run_id, task_id = parse_lifecycle.task_name(request.name)
        reason = checks.text(request.reason, "reason", at_most=checks.MAX_REASON)
        found = await self._tasks.abandon(caller.namespace, run_id, task_id, reason)
        return pb.AbandonTaskResponse(task=task(found, f"runs/{run_id}"))

    async def ListCalls(self, request: pb.ListCallsRequest, caller: Caller) -> pb.ListCallsResponse:
        """List the calls of a run in the model's order, or of every unfinished run, by run."""
        run_id = None if request.parent == ANY_RUN else parse.run_id(request.parent, "parent")
        states = frozenset(
            checks.choice(state, CallState, f"states[{index}]")
            for index, state in enumerate(request.states)
        )
        scope = (request.parent, *sorted(state.name for state in states))
        page = parse_page(request, _Place, "ListCalls", caller.namespace, *scope)
        calls = await self._reading.list_calls(caller.namespace, run_id)
        places = _after(_places(calls), page.position)
        chosen = [(place, call) for place, call in places if not states or call.state in states]
        shown, more = cut([convert.call(call) for _, call in chosen[: page.size + 1]], page.size)
        token = page.token(chosen[len(shown) - 1][0]) if more else ""
        return pb.ListCallsResponse(calls=shown, next_page_token=token)

    async def GetCall(self, request: pb.GetCallRequest, caller: Caller) -> pb.GetCallResponse:
        """Return a call."""
        run_id, call_id = parse.call_name(request.name)
        call = await self._reading.get_call(caller.namespace, run_id, call_id)
        return pb.GetCallResponse(call=convert.call(call))

    async def ResolveCall(
        self, request: pb.ResolveCallRequest, caller: Caller
    ) -> pb.ResolveCallResponse:
        """Take down what became of a call whose outcome is unknown."""
        run_id, call_id = parse.call_name(request.name)
        resolution = _resolution(request)
        reason = checks.text(request.reason, "reason", at_most=checks.MAX_REASON)
        call = await self._engine.resolve_call(
            caller.namespace, run_id, call_id, resolution, reason
        )
        return pb.ResolveCallResponse(call=convert.call(call))


def _resolution(request: pb.ResolveCallRequest) -> Resolution:
    match request.WhichOneof("resolution"):
        case "result_json":
            return Reconciled(checks.json_text(request.result_json, "result_json"))
        case "error_message":
            text = checks.long_text(
                request.error_message,
                "error_message",
                at_most_bytes=MAX_ERROR_BYTES,
                needed=True,
            )
            return ReconciledFailure(text)
        case "retry":
            return Retry()
        case "abandon":
            return Abandon()
        case None:
            raise invalid_field("resolution", "is required")
        case other:
            assert_never(other)


def _places(calls: Iterable[Call]) -> list[tuple[_Place, Call]]:
    """Return calls ordered by run, and in the model's order within each, with their places."""
    counts: Counter[RunId] = Counter()
    placed = []
    for call in sorted(calls, key=lambda call: call.run):
        counts[call.run] += 1
        placed.append((_Place(call.run, counts[call.run]), call))
    return placed


def _after(
    placed: Iterable[tuple[_Place, Call]], position: _Place | None
) -> list[tuple[_Place, Call]]:
    """Return the calls beyond a place, which holds even when runs have ended since."""
    return [(place, call) for place, call in placed if position is None or place > position]
