"""The tools that are known, by path and by digest, for each namespace.

Memory only: what `register` returns is to be stored by its caller, told to `stored`, and given back
to `restore` when the daemon starts.
"""

import hashlib
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain

import msgspec

from agentd.agent.ids import Namespace
from agentd.agent.tool import Tool
from agentd.errors import Exhausted, NotFound, Reason
from agentd.tools.names import OWN
from agentd.tools.schema import check_schema

SHARED = Namespace("-")
"""Has the tools of the daemon itself, which every namespace sees. No client's namespace is called
so."""
MAX_TOOLS = 10_000
"""The most tools of one namespace."""
SHOWN = 10
"""How many of the tools that exist an error names."""


class Manifest(msgspec.Struct, frozen=True):
    """A tool as it was registered."""

    namespace: Namespace
    tool: Tool
    digest: str
    """What `digest_of` says of the tool; unique within a namespace."""
    update_time_ms: int
    """When it was registered: the newest of a path is the one in force."""


class Registry:
    """The index of tools."""

    def __init__(self) -> None:
        self._shelves: dict[Namespace, _Shelf] = {}
        self._by_digest: dict[str, Tool] = {}
        self._unstored: set[tuple[Namespace, str]] = set()

    def register(
        self, namespace: Namespace, tools: Sequence[Tool], *, time_ms: int
    ) -> Sequence[Manifest]:
        """Make these the newest manifests of their paths, all or none, and return those that are
        not known to be stored.

        Raises InvalidRequest (INVALID_FIELD, with paths such as `tools[2].input_schema_json`) for a
        schema that is not valid, and Exhausted (LIMIT_REACHED) beyond MAX_TOOLS.
        """
        shelf = self._shelves.setdefault(namespace, _Shelf())
        for index, tool in enumerate(tools):
            # The daemon's own schemas are held valid by tests: an idle daemon need not load the
            # checker, which takes 11 MB, for their sake.
            ours = namespace == SHARED and tool.toolset in OWN
            if not ours and digest_of(tool) not in self._by_digest:
                check_schema(
                    tool.input_schema_json, f"tools[{index}].input_schema_json", of_object=True
                )
                check_schema(tool.output_schema_json, f"tools[{index}].output_schema_json")
        if len(shelf.newest.keys() | {tool.path for tool in tools}) > MAX_TOOLS:
            raise Exhausted(
                Reason.LIMIT_REACHED,
                f"a namespace has at most {MAX_TOOLS} tools",
                metadata={"limit": "tools", "value": str(MAX_TOOLS)},
            )
        unstored = []
        for tool in tools:
            manifest = shelf.newest.get(tool.path)
            if manifest is None or manifest.digest != digest_of(tool):
                # Later than its predecessor even on a clock that stands still or goes back.
                after = manifest.update_time_ms + 1 if manifest else 0
                manifest = Manifest(namespace, tool, digest_of(tool), max(time_ms, after))
                self._put(manifest)
                self._unstored.add((namespace, manifest.digest))
            if (namespace, manifest.digest) in self._unstored:
                unstored.append(manifest)
        return unstored

    def stored(self, manifests: Iterable[Manifest]) -> None:
        """Take note that these are durable, so that `register` does not return them again."""
        for manifest in manifests:
            self._unstored.discard((manifest.namespace, manifest.digest))

    def restore(self, manifests: Iterable[Manifest]) -> None:
        """Take in manifests that were stored, in any order."""
        for manifest in manifests:
            self._by_digest[manifest.digest] = manifest.tool
            shelf = self._shelves.setdefault(manifest.namespace, _Shelf())
            newest = shelf.newest.get(manifest.tool.path)
            if newest is None or newest.update_time_ms < manifest.update_time_ms:
                self._put(manifest)

    def get(self, namespace: Namespace, path: str) -> Tool:
        """Return a tool by `toolset/tool`, or raise NotFound (TOOL_NOT_FOUND)."""
        return self.manifest(namespace, path).tool

    def manifest(self, namespace: Namespace, path: str) -> Manifest:
        """Return the newest manifest of `toolset/tool`, or raise NotFound (TOOL_NOT_FOUND)."""
        for shelf in self._visible(namespace):
            manifest = shelf.newest.get(path)
            if manifest is not None:
                return manifest
        raise _unknown_tool(path, self._paths(namespace))

    def by_digest(self, digest: str) -> Tool:
        """Return a tool as it was at some registration, or raise NotFound (TOOL_NOT_FOUND)."""
        tool = self._by_digest.get(digest)
        if tool is None:
            raise NotFound(
                Reason.TOOL_NOT_FOUND,
                f"no tool was registered with the digest {digest}",
                metadata={"digest": digest},
            )
        return tool

    def list(
        self, namespace: Namespace, toolset: str | None, *, after: str, limit: int
    ) -> Sequence[Manifest]:
        """Return the newest manifests with paths above `after`, of one toolset or of all, ordered
        by path."""
        paths = self._paths(namespace)
        start, end = bisect_right(paths, after), len(paths)
        if toolset is not None:
            start = max(start, bisect_left(paths, f"{toolset}/"))
            end = bisect_left(paths, f"{toolset}0")  # "0" is the character after "/"
        return [self.manifest(namespace, path) for path in paths[start : min(end, start + limit)]]

    def match(self, namespace: Namespace, patterns: Iterable[str]) -> Sequence[Tool]:
        """Return the tools that match one of the patterns, ordered by path.

        Raises NotFound (TOOL_NOT_FOUND) for a pattern without `*` that names no tool.
        """
        found: dict[str, Tool] = {}
        for pattern in patterns:
            wide = "*" in pattern
            known = chain.from_iterable(shelf.paths for shelf in self._visible(namespace))
            paths = (path for path in known if matches(pattern, path)) if wide else (pattern,)
            found.update((path, self.get(namespace, path)) for path in paths)
        return [found[path] for path in sorted(found)]

    def _visible(self, namespace: Namespace) -> Iterator["_Shelf"]:
        """Yield the shelves that a namespace sees. Their paths differ: what the daemon's own tools
        are called is kept for them."""
        for name in (namespace, SHARED):
            shelf = self._shelves.get(name)
            if shelf:
                yield shelf

    def _paths(self, namespace: Namespace) -> Sequence[str]:
        """Return the paths of all visible tools, sorted."""
        shelves = [shelf.paths for shelf in self._visible(namespace)]
        return shelves[0] if len(shelves) == 1 else sorted(chain(*shelves))

    def _put(self, manifest: Manifest) -> None:
        shelf = self._shelves[manifest.namespace]
        path = manifest.tool.path
        if path not in shelf.newest:
            insort(shelf.paths, path)
        shelf.newest[path] = manifest
        self._by_digest[manifest.digest] = manifest.tool


class _Shelf(msgspec.Struct):
    """The tools of one namespace."""

    newest: dict[str, Manifest] = msgspec.field(default_factory=dict)
    paths: list[str] = msgspec.field(default_factory=list)
    """The keys of `newest`, sorted."""


@lru_cache(maxsize=4096)
def digest_of(tool: Tool) -> str:
    """Return the SHA-256 of a tool's canonical encoding, in hexadecimal."""
    return hashlib.sha256(msgspec.msgpack.encode(tool)).hexdigest()


def encode_manifest(manifest: Manifest) -> bytes:
    """Return what is stored of a manifest, beside its namespace and digest."""
    return msgspec.msgpack.encode((manifest.update_time_ms, manifest.tool))


def decode_manifest(namespace: Namespace, digest: str, encoded: bytes) -> Manifest:
    """Return the manifest that `encode_manifest` was given."""
    # The digest is the stored one: runs refer to it, and a later release may digest differently.
    update_time_ms, tool = msgspec.msgpack.decode(encoded, type=tuple[int, Tool])
    return Manifest(namespace, tool, digest, update_time_ms)


def matches(pattern: str, path: str) -> bool:
    """Whether a pattern, in which `*` stands for any run of characters, matches a whole path."""
    first, *middle = pattern.split("*")
    if not middle:
        return pattern == path
    last = middle.pop()
    if len(path) < len(first) + len(last) or not path.startswith(first) or not path.endswith(last):
        return False
    position, end = len(first), len(path) - len(last)
    for part in middle:
        position = path.find(part, position, end)
        if position < 0:
            return False
        position += len(part)
    return True


def _unknown_tool(path: str, known: Sequence[str]) -> NotFound:
    existing = ", ".join(known[:SHOWN]) or "none"
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return NotFound(
        Reason.TOOL_NOT_FOUND,
        f"there is no tool {path!r}; there are: {existing}{more}",
        metadata={"tool": path, "existing": existing, "count": str(len(known))},
    )
