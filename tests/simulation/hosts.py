"""Hosts of tools that crash, come back, answer late, twice, for others, or not at all."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from msgspec.structs import replace

from agentd.agent.hosting import (
    Cancellation,
    Completion,
    Instruction,
    Invocation,
    InvocationKind,
    LeaseRef,
    LeaseResult,
    LeaseStatus,
    Outcome,
    OutcomeUnknown,
    Progress,
    Registration,
    Stopped,
    Welcome,
)
from agentd.agent.ids import CallId, HostId, RunId
from agentd.agent.tool import CallState
from agentd.errors import AgentdError
from agentd.runtime.runtime import Runtime
from tests.simulation.daemon import ConnectionLost, Daemon
from tests.simulation.tools import execute, probe
from tests.simulation.world import HOSTED, NAMESPACE, World


@dataclass(slots=True)
class _Job:
    """One invocation that a host has been given."""

    invocation: Invocation
    expire_ms: int
    work: asyncio.Task[None] | None = None
    started: bool = False
    stubborn: bool = False
    stopped: bool = False


class SimHost:
    """One host process after the other, of one toolset."""

    def __init__(self, world: World, daemon: Daemon, toolset: str, number: int) -> None:
        self._world = world
        self._daemon = daemon
        self._toolset = toolset
        self._name = f"{toolset}-{number}"
        self._random = world.chance(f"host/{self._name}")
        self._id = HostId(self._name)
        self._lives = 0
        self._jobs: dict[str, _Job] = {}
        self._group: asyncio.TaskGroup

    async def live(self) -> None:
        """Live, die, and come back under the same id or another, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._span()):
                    await self._process()
            except TimeoutError:
                self._lives += 1
            self._jobs.clear()
            if self._random.random() < 0.3:
                self._id = HostId(f"{self._name}-{self._lives}")
            await asyncio.sleep(self._random.choice((0.1, 3.0, 30.0)))

    def _span(self) -> float | None:
        if self._world.calm or not self._world.faults:
            return None
        return self._random.choice((5.0, 30.0, 120.0)) * self._random.random()

    async def _process(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            while True:
                cut_s = self._random.uniform(0, 20) if self._wrong(0.3) else None
                try:
                    async with asyncio.timeout(cut_s):
                        await self._daemon.ask(self._listen)
                except (ConnectionLost, TimeoutError, AgentdError):
                    pass
                await asyncio.sleep(self._random.choice((0.05, 0.5, 5.0)))

    async def _listen(self, runtime: Runtime) -> None:
        tools = HOSTED[self._toolset]
        capacity = self._random.choice((1, 2, 8))
        registration = Registration(NAMESPACE, self._id, self._toolset, tools, capacity)
        async with aclosing(runtime.hosting.watch_calls(registration)) as stream:
            async for instructions in stream:
                for instruction in instructions:
                    self._receive(instruction)

    def _receive(self, instruction: Instruction) -> None:
        match instruction:
            case Welcome(leases=leases):
                for lease in leases:
                    self._resume(lease)
            case Invocation():
                self._take(instruction)
            case Cancellation(token=token):
                job = self._jobs.get(token)
                if job:
                    self._group.create_task(self._stop(job))
            case _:
                pass

    def _resume(self, invocation: Invocation) -> None:
        """Go on with a lease that the daemon says we still have."""
        job = self._jobs.get(invocation.token)
        if job:
            job.expire_ms = invocation.lease_expire_time_ms
        elif invocation.kind is not InvocationKind.EXECUTE or not self._started(invocation):
            self._take(invocation)
        else:
            # An earlier life of ours began it: only the world knows what became of it.
            self._group.create_task(self._report(invocation, probe(self._world, invocation)))

    def _started(self, invocation: Invocation) -> bool:
        made = self._world.ledger.of(invocation.idempotency_key)
        return any(execution.attempt == invocation.attempt for execution in made)

    def _take(self, invocation: Invocation) -> None:
        if self._wrong(0.02):
            return  # Lost on the way; the lease is told again at the next connection.
        job = _Job(invocation, invocation.lease_expire_time_ms)
        job.stubborn = self._wrong(0.2)
        self._jobs[invocation.token] = job
        job.work = self._group.create_task(self._work(job))

    async def _work(self, job: _Job) -> None:
        invocation = job.invocation
        await asyncio.sleep(self._random.choice((0.0, 0.0, 0.05)))
        if self._wrong(0.05):
            await asyncio.sleep(self._random.uniform(0, 12))
        if invocation.kind is InvocationKind.RECONCILE:
            await self._report(invocation, probe(self._world, invocation))
            return
        now = self._world.clock.now_ms()
        if now >= job.expire_ms or now >= invocation.deadline_ms:
            return
        job.started = True
        async with asyncio.TaskGroup() as group:
            extending = None
            if not self._wrong(0.1):
                extending = group.create_task(self._extend(job))
            random = self._world.chance(f"host/{self._name}/{invocation.token}")
            outcome = await execute(self._world, invocation, random)
            if extending:
                extending.cancel()
        if self._wrong(0.05):
            return
        if self._wrong(0.05):
            await asyncio.sleep(self._random.uniform(0, 30))
        if self._wrong(0.05):
            outcome = OutcomeUnknown("the host lost track")
        await self._report(invocation, outcome)

    async def _stop(self, job: _Job) -> None:
        """Stop a job, unless it has had its effect, or does not listen."""
        await asyncio.sleep(self._random.choice((0.0, 0.2)))
        made = self._world.ledger.of(job.invocation.idempotency_key)
        applied = any(execution.applied for execution in made)
        if job.stubborn or applied or job.work is None or job.work.done():
            return
        job.work.cancel()
        await self._report(job.invocation, Stopped())

    async def _extend(self, job: _Job) -> None:
        ref = _ref(job.invocation)
        note = Progress(ref, "working", 0.5)

        async def extend(runtime: Runtime) -> Sequence[LeaseStatus]:
            if self._random.random() < 0.3:
                return await runtime.hosting.report_progress(NAMESPACE, [note])
            return await runtime.hosting.extend(NAMESPACE, [ref])

        while True:
            await asyncio.sleep(1.0 + self._random.random())
            try:
                (status,) = await self._daemon.ask(extend)
            except (ConnectionLost, AgentdError):
                continue
            if status.result is LeaseResult.OK:
                job.expire_ms = status.lease_expire_time_ms

    async def _report(self, invocation: Invocation, outcome: Outcome) -> None:
        """Report an outcome until somebody hears it, sometimes twice, sometimes nonsense too."""
        completion = Completion(_ref(invocation), outcome)
        batch = [completion]
        if self._wrong(0.05):
            foreign = replace(completion.lease, token=f"nobody/{self._random.random()}")
            batch.append(Completion(foreign, outcome))
        if self._wrong(0.02):
            unknown = LeaseRef(RunId("r-none"), CallId("c1-1"), 1, "x")
            batch.append(Completion(unknown, outcome))
        told = False
        for _ in range(1 + self._wrong(0.1)):
            told = await self._deliver(batch, surely=told) or told

    async def _deliver(self, batch: Sequence[Completion], *, surely: bool) -> bool:
        """Send completions until they are answered. `surely` says that an earlier one may have
        counted already."""
        for _ in range(100):
            if self._wrong(0.03):
                return surely
            try:
                statuses = await self._daemon.ask(
                    lambda runtime: runtime.hosting.complete(NAMESPACE, batch)
                )
            except (ConnectionLost, AgentdError):
                surely = True
                await asyncio.sleep(self._random.choice((0.05, 1.0, 5.0)))
                continue
            if self._wrong(0.03):
                surely = True
                continue
            await self._heard(batch[0], statuses[0], surely=surely)
            return True
        return True

    async def _heard(self, completion: Completion, status: LeaseStatus, *, surely: bool) -> None:
        if status.result is LeaseResult.OK:
            self._world.acknowledged.completions.append(completion)
        elif not surely:
            await self._check_refusal(completion, status)

    async def _check_refusal(self, completion: Completion, status: LeaseStatus) -> None:
        """A completion under a lease that the history still holds must not be refused."""
        ref = completion.lease
        stored = await self._world.journal.get_run(NAMESPACE, ref.run)
        assert stored is not None
        state = self._world.state_of(stored.run.identity)
        call = state.call(ref.call)
        if call and call.token == ref.token and (call.state is CallState.LEASED or call.probing):
            self._world.violation(f"{ref} is leased, and was refused as {status.result.name}")

    def _wrong(self, probability: float) -> bool:
        return self._world.goes_wrong(self._random, probability)


def _ref(invocation: Invocation) -> LeaseRef:
    return LeaseRef(invocation.run, invocation.call, invocation.attempt, invocation.token)
