"""Read runs and their calls as they stand, in memory or in the journal."""

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace

from agentd.agent.call import Call, fold_calls
from agentd.agent.events import RunState
from agentd.agent.ids import CallId, Namespace, RunId, RunIdentity, RunKey
from agentd.agent.run import Run
from agentd.agent.tool import CallState
from agentd.errors import NotFound, Reason
from agentd.runtime.driver import Driver
from agentd.runtime.kept import Kept
from agentd.runtime.leases import Leases
from agentd.runtime.ports import Journal, RunQuery, StoredRun
from agentd.runtime.scheduler import Scheduler

ENDED_RUNS = 1_024
"""Runs that are kept at hand after their end."""


class Reading:
    """The runs of a daemon, to be looked at."""

    def __init__(self, journal: Journal, scheduler: Scheduler, leases: Leases) -> None:
        self._journal = journal
        self._scheduler = scheduler
        self._leases = leases
        self._ended: Kept[tuple[Namespace, RunId], Run] = Kept(ENDED_RUNS)
        self._waiters: dict[RunKey, list[asyncio.Future[None]]] = {}

    async def get_run(self, namespace: Namespace, run: RunId) -> Run:
        """Return a run as it stands. Raises NotFound (RUN_NOT_FOUND)."""
        driver = self._scheduler.live(namespace, run)
        if driver:
            return driver.run
        ended = self._ended.get((namespace, run))
        if ended:
            return ended
        stored = await self._journal.get_run(namespace, run)
        if stored is None:
            name = f"runs/{run}"
            raise NotFound(Reason.RUN_NOT_FOUND, f"there is no {name}", metadata={"run": name})
        return self._present(stored)

    async def find(self, namespace: Namespace, run: RunId) -> RunIdentity | None:
        """Return a run's identity, or None."""
        try:
            return (await self.get_run(namespace, run)).identity
        except NotFound:
            return None

    async def list_runs(
        self, query: RunQuery, *, before: RunKey | None, limit: int
    ) -> Sequence[Run]:
        """Return runs with keys below `before`, newest first."""
        wide = query
        if any(not state.ended for state in query.states):
            # The index may lag behind a run in memory: look at every unfinished one.
            unfinished = {state for state in RunState if not state.ended}
            wide = replace(query, states=query.states | unfinished)
        runs: list[Run] = []
        while len(runs) < limit:
            page = await self._journal.list_runs(wide, before=before, limit=limit)
            present = [self._present(stored) for stored in page]
            runs += [run for run in present if not query.states or run.view.state in query.states]
            if len(page) < limit:
                break
            before = page[-1].run.identity.key
        return runs[:limit]

    async def wait_run(self, namespace: Namespace, run: RunId, timeout_s: float) -> Run:
        """Return a run once it has ended, or as it is when the timeout has passed."""
        present = await self.get_run(namespace, run)
        if present.view.state.ended:
            return present
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(present.identity.key, [])
        waiters.append(ended)
        try:
            async with asyncio.timeout(timeout_s):
                await ended
        except TimeoutError:
            pass
        finally:
            if not ended.done() or ended.cancelled():
                waiters.remove(ended)
                if not waiters:
                    self._waiters.pop(present.identity.key, None)
        return await self.get_run(namespace, run)

    def run_ended(self, driver: Driver) -> None:
        """Tell everybody who waits for a run that it has ended, and keep it at hand: it is read
        more often now than later, and changes only when it is brought back."""
        identity = driver.identity
        self._ended.keep((identity.namespace, identity.id), driver.run)
        for waiter in self._waiters.pop(identity.key, ()):
            if not waiter.done():
                waiter.set_result(None)

    async def list_calls(self, namespace: Namespace, run: RunId | None) -> Sequence[Call]:
        """Return the calls of a run, or of every unfinished run of the namespace."""
        if run is not None:
            return await self._calls((await self.get_run(namespace, run)).identity)
        calls: list[Call] = []
        for identity in self._scheduler.unfinished():
            if identity.namespace == namespace:
                calls.extend(await self._calls(identity))
        return calls

    async def get_call(self, namespace: Namespace, run: RunId, call: CallId) -> Call:
        """Return a call. Raises NotFound (RUN_NOT_FOUND, CALL_NOT_FOUND)."""
        for candidate in await self.list_calls(namespace, run):
            if candidate.id == call:
                return candidate
        name = f"runs/{run}/calls/{call}"
        raise NotFound(Reason.CALL_NOT_FOUND, f"there is no {name}", metadata={"call": name})

    async def has_call(self, run: RunIdentity, call: CallId) -> bool:
        """Whether the run's model ever asked for the call."""
        return any(candidate.id == call for candidate in await self._calls(run))

    def _present(self, stored: StoredRun) -> Run:
        identity = stored.run.identity
        driver = self._scheduler.live(identity.namespace, identity.id)
        if driver:
            return driver.run
        view = replace(stored.run.view, last_sequence=stored.last_sequence)
        return Run(identity, stored.run.spec, view)

    async def _calls(self, run: RunIdentity) -> Sequence[Call]:
        calls = fold_calls(await self._journal.read_run(run))
        for call in calls.values():
            if call.state is CallState.LEASED:
                expire_ms = self._leases.expire_time_ms(run, call.id)
                calls[call.id] = replace(call, lease_expire_time_ms=expire_ms)
        return list(calls.values())
