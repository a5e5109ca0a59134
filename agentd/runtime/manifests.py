"""The manifests of tools: checked, durable, and known again after a restart."""

from collections.abc import Sequence

from agentd.agent.events import GrantedTool
from agentd.agent.ids import Namespace
from agentd.agent.tool import Tool
from agentd.runtime.ports import Clock, Journal, Record
from agentd.tools.registry import SHARED, Manifest, Registry, decode_manifest, encode_manifest

_TOOL = "tool"
_PAGE = 1_000


class Manifests:
    """The registry of tools, as the journal holds it."""

    def __init__(self, journal: Journal, registry: Registry, clock: Clock) -> None:
        self._journal = journal
        self._registry = registry
        self._clock = clock
        self._unstored: dict[tuple[Namespace, str], Manifest] = {}
        """What is known, and may not be durable: a write may be under way, or have failed."""

    async def register(self, namespace: Namespace, tools: Sequence[Tool]) -> None:
        """Check manifests and make them known, durably."""
        manifests = self._registry.register(namespace, tools, time_ms=self._clock.now_ms())
        if manifests:
            self._unstored |= {(namespace, manifest.digest): manifest for manifest in manifests}
            await self._store(manifests)

    async def settle(self, namespace: Namespace, granted: Sequence[GrantedTool]) -> None:
        """Make what a run is granted durable before the run keeps it by its digest."""
        if self._unstored:
            places = [(name, tool.digest) for tool in granted for name in (namespace, SHARED)]
            await self._store([self._unstored[at] for at in places if at in self._unstored])

    async def _store(self, manifests: Sequence[Manifest]) -> None:
        records = [
            Record(_TOOL, manifest.namespace, manifest.digest, encode_manifest(manifest))
            for manifest in manifests
        ]
        if records:
            await self._journal.put(records)
        self._registry.stored(manifests)
        for manifest in manifests:
            self._unstored.pop((manifest.namespace, manifest.digest), None)

    async def restore(self) -> None:
        """Take in the manifests that the journal holds."""
        for namespace in await self._journal.namespaces(_TOOL):
            after = ""
            while records := await self._journal.list_newest(
                _TOOL, namespace, after=after, limit=_PAGE
            ):
                self._registry.restore(
                    decode_manifest(namespace, record.id, record.body) for record in records
                )
                after = records[-1].id
