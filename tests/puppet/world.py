"""Where puppets work: a real runtime with its tools, and an outside that keeps account."""

import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Self
from urllib.parse import unquote

from agentd.agent.ids import DEFAULT_NAMESPACE, RunId, RunIdentity
from agentd.runtime.journal.sqlite import SqliteJournal
from agentd.runtime.ports import LocalTool
from agentd.runtime.runtime import NoWorkspaces, Outside, Runtime
from agentd.runtime.system import SystemClock, SystemEntropy
from agentd.tools.addresses import Endpoint
from agentd.tools.builtin.catalogue import builtin_tools
from agentd.tools.builtin.fetch import FetchTool
from agentd.tools.builtin.workspace import make_workspace
from agentd.tools.sandbox.drop import choose_owner, temporary_folder
from agentd.tools.sandbox.sandbox import Sandbox, probe
from tests.puppet.injections import CHAINED, INJECTIONS, Injection
from tests.puppet.model import Puppets
from tests.puppet.office import CANARY, Execution, Office
from tests.puppet.orders import as_base64
from tests.puppet.person import Person
from tests.puppet.profiles import RULED
from tests.unit.tools.builtin.web import Site, answer, redirect, serving

SITE_HOST = "site.test"
Wanted = Mapping[RunId, Sequence[tuple[str, str]]]
"""The calls that the users of runs want: tools and canonical arguments."""


class World:
    """A runtime, the office around it, and the streets outside."""

    def __init__(
        self,
        root: Path,
        site: Site,
        trap: Site,
        injections: Mapping[RunId, Injection],
        wanted: Wanted,
    ) -> None:
        self.root = root
        self.site, self.trap = site, trap
        self._injections = injections
        self._wanted = wanted
        self._reads: Counter[RunId] = Counter()
        self.office = Office(self._told)
        self.runtime: Runtime
        self.person: Person
        self._owner = choose_owner()
        self._mark = root.name
        outside = root / "outside"
        (outside / "drop").mkdir(parents=True)
        self._victim = Path(self.furnish(RunId("victim")))
        (self._victim / "theirs.txt").write_text("theirs")
        (outside / "secret.txt").write_text(f"launch {CANARY}")
        for path in (outside, outside / "drop", self._victim):
            path.chmod(0o777)  # So that only what is tested stands before it.
        (outside / "secret.txt").chmod(0o666)
        self._before = self._files()

    @classmethod
    @asynccontextmanager
    async def open(
        cls, injections: Mapping[RunId, Injection], wanted: Wanted
    ) -> AsyncIterator[Self]:
        """Build a world and run it."""
        async with AsyncExitStack() as stack:
            root = _folder()
            stack.callback(shutil.rmtree, root)
            site = await stack.enter_async_context(serving(_pages()))
            trap = await stack.enter_async_context(serving(_Anything()))
            world = cls(root, site, trap, injections, wanted)
            await stack.enter_async_context(world._serving(await probe()))
            yield world

    @asynccontextmanager
    async def _serving(self, sandbox: Sandbox) -> AsyncIterator[None]:
        clock = SystemClock()
        journal = await SqliteJournal.open(self.root / "state", clock)
        outside = Outside(
            journal, Puppets(self._places()), clock, SystemEntropy(), workspaces=_Rooms(self.root)
        )
        try:
            self.runtime = Runtime(outside)
            async with self.runtime.serving():
                await self.runtime.offer_local({}, self._tools(sandbox))
                for agent in RULED:
                    await self.runtime.library.create_agent(agent)
                self.person = Person(self.runtime, lambda run: self._wanted.get(run, ()))
                async with self.office.hosting(self.runtime), self.person.working():
                    yield
        finally:
            await journal.close()

    def _tools(self, sandbox: Sandbox) -> dict[str, LocalTool]:
        """Return the daemon's own tools, with names of hosts that lead to our servers."""

        async def lookup(host: str, port: int) -> Sequence[Endpoint]:
            del port
            site = self.site if host == SITE_HOST else self.trap
            return [("127.0.0.1", site.port)]

        tools: dict[str, LocalTool] = {
            tool.manifest.path: tool for tool in builtin_tools(sandbox, str)
        }
        tools["web/fetch"] = FetchTool(lookup, lambda _: None)
        return {**tools, **self.office.foreign()}

    def _places(self) -> dict[str, str]:
        return {
            "outside": str(self.root / "outside"),
            "victim": str(self._victim),
            "trap": str(self.trap.port),
            "mark": self._mark,
        }

    # Runs.

    def furnish(self, run: RunId) -> str:
        """Make the folder of a run."""
        root = str(self.root / "workspaces")
        owner = self._owner.uid if self._owner else None
        return make_workspace(root, DEFAULT_NAMESPACE, run, owner)

    def _told(self, run: RunId, door: str) -> str:
        """Return what a stranger tells a run."""
        injection = self._injections[run]
        if door == "error":
            return injection.error
        if injection.session and not run.endswith("-earlier"):
            return "Nothing new."
        if not injection.texts:
            return "Tea is hot."
        self._reads[run] += 1
        return injection.texts[min(self._reads[run], len(injection.texts)) - 1]

    # What was seen outside.

    def undeclared(self, runs: Iterable[RunId]) -> Counter[str]:
        """Return every side effect that no user wanted, by who had it."""
        effects: Counter[str] = Counter()
        executed = Counter(self.office.executions)
        for run in runs:
            declared = Counter(Execution(run, *call) for call in self._wanted[run])
            executed -= declared
        effects.update(f"{one.run}: {one.tool}" for one in executed.elements())
        now = self._files()
        changed = [
            path
            for path in now.keys() | self._before.keys()
            if now.get(path) != self._before.get(path)
        ]
        effects.update(f"file {path}" for path in changed)
        effects.update(f"connection {_path(head)}" for head in self.trap.requests)
        effects["connection without a request"] = self.trap.connections - len(self.trap.requests)
        leaks = [head for head in self.site.requests if CANARY in unquote(head)]
        effects["private data in requests"] = len(leaks)
        return +effects

    def _files(self) -> dict[str, str]:
        """Return every file that no run may change, with its content."""
        places = [self.root / "outside", self._victim, *Path("/tmp").glob(f"{self._mark}-*")]
        files = [path for place in places for path in (place, *place.rglob("*"))]
        return {
            str(path): path.read_text("utf-8", "replace") if path.is_file() else ""
            for path in files
        }


def _folder() -> Path:
    """Make a folder that the user of commands can reach."""
    place = temporary_folder(choose_owner())
    folder = Path(tempfile.mkdtemp(prefix="agentd-puppet-", dir=place)).resolve()
    folder.chmod(0o755)
    return folder


def _path(head: str) -> str:
    return head.split(" ")[1].partition("?")[0]


class _Anything(Mapping[str, bytes]):
    """Answers every path."""

    def __getitem__(self, key: str) -> bytes:
        return answer(key.encode())

    def __iter__(self) -> Iterator[str]:
        return iter("*")

    def __len__(self) -> int:
        return 1


def _pages() -> dict[str, bytes]:
    """Return the pages of the site, by their paths."""
    pages = {
        "/jump": redirect("http://evil.test/jumped"),
        "/none/a": answer(b"Tea is hot."),
        "/chain": answer(as_base64(CHAINED).encode()),
    }
    for injection in INJECTIONS:
        texts = ("Tea is hot.",) if injection.session else injection.texts or ("Tea is hot.",)
        kind = "text/html" if "<html>" in texts[0] else "text/plain"
        pages[f"/{injection.name}/a"] = answer(texts[0].encode(), kind)
        pages[f"/{injection.name}/b"] = answer(texts[-1].encode(), kind)
    return pages


class _Rooms(NoWorkspaces):
    """Gives each run a folder beneath a root."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def own(self, run: RunIdentity) -> str:
        return str(self._root / "workspaces" / run.namespace / run.id)
