"""Tools are found by path and by digest, and manifests are stored once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agentd.agent.ids import Namespace
from agentd.agent.tool import EffectClass, Tool
from agentd.errors import Exhausted, InvalidRequest, NotFound, Reason
from agentd.tools import registry as module
from agentd.tools.registry import (
    Registry,
    decode_manifest,
    digest_of,
    encode_manifest,
    matches,
)

HOME, OTHER = Namespace("default"), Namespace("other")
SCHEMA = '{"type":"object"}'
READ = Tool("files", "read", "Reads.", SCHEMA, effect=EffectClass.READ_ONLY)
WRITE = Tool("files", "write", "Writes.", SCHEMA)
SEARCH = Tool("web", "search", "Searches.")


def filled() -> Registry:
    registry = Registry()
    registry.register(HOME, [WRITE, READ], time_ms=1)
    registry.register(HOME, [SEARCH], time_ms=2)
    return registry


def test_finds_by_path_and_digest() -> None:
    registry = filled()
    assert registry.get(HOME, "files/read") == READ
    assert registry.by_digest(digest_of(READ)) == READ
    manifest = registry.manifest(HOME, "web/search")
    assert (manifest.tool, manifest.update_time_ms) == (SEARCH, 2)


def test_a_namespace_sees_its_own_tools_only() -> None:
    with pytest.raises(NotFound) as caught:
        filled().get(OTHER, "files/read")
    assert caught.value.reason is Reason.TOOL_NOT_FOUND
    assert caught.value.metadata["existing"] == "none"
    assert filled().list(OTHER, None, after="", limit=10) == []


def test_an_unknown_tool_names_what_exists() -> None:
    with pytest.raises(NotFound) as caught:
        filled().get(HOME, "files/delete")
    assert caught.value.message == (
        "there is no tool 'files/delete'; there are: files/read, files/write, web/search"
    )
    with pytest.raises(NotFound):
        filled().by_digest("00")


def test_lists_by_path_in_pages_and_by_toolset() -> None:
    registry = filled()
    registry.register(HOME, [Tool("files-2", "read"), Tool("file", "read")], time_ms=3)
    listed = [each.tool.path for each in registry.list(HOME, None, after="", limit=10)]
    assert listed == ["file/read", "files-2/read", "files/read", "files/write", "web/search"]
    page = registry.list(HOME, "files", after="", limit=10)
    assert [each.tool.path for each in page] == ["files/read", "files/write"]
    rest = registry.list(HOME, None, after="files-2/read", limit=2)
    assert [each.tool.path for each in rest] == ["files/read", "files/write"]
    assert registry.list(HOME, "none", after="", limit=10) == []


def test_matches_patterns() -> None:
    registry = filled()
    assert registry.match(HOME, ["files/*"]) == [READ, WRITE]
    assert registry.match(HOME, ["web/search", "*"]) == [READ, WRITE, SEARCH]
    assert registry.match(HOME, ["nothing/*"]) == []
    assert registry.match(HOME, []) == []
    with pytest.raises(NotFound) as caught:
        registry.match(HOME, ["files/*", "web/fetch"])
    assert caught.value.metadata["tool"] == "web/fetch"


@pytest.mark.parametrize(
    ("pattern", "path", "answer"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/bc", False),
        ("*", "a/b", True),
        ("a/*", "a/b", True),
        ("a/*", "ab/c", False),
        ("*/read", "files/read", True),
        ("*/read", "files/reader", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("*a*b*", "xaybz", True),
        ("*b*a*", "xaybz", False),
        ("a**b", "ab", True),
        ("a?b", "axb", False),
    ],
)
def test_wildcards(pattern: str, path: str, answer: bool) -> None:
    assert matches(pattern, path) is answer


@given(st.lists(st.text("ab/", max_size=3), min_size=1, max_size=5), st.text("ab/", max_size=3))
def test_a_pattern_matches_what_is_made_from_it(parts: list[str], filling: str) -> None:
    assert matches("*".join(parts), filling.join(parts))


def test_registering_again_stores_nothing() -> None:
    registry = Registry()
    first = registry.register(HOME, [READ, WRITE], time_ms=1)
    assert [each.tool for each in first] == [READ, WRITE]
    registry.stored(first)
    assert registry.register(HOME, [READ, WRITE], time_ms=2) == []
    assert registry.manifest(HOME, "files/read").update_time_ms == 1


def test_what_was_not_stored_is_returned_again() -> None:
    registry = Registry()
    first = registry.register(HOME, [READ], time_ms=1)
    assert registry.register(HOME, [READ], time_ms=2) == first


def test_the_newest_manifest_is_in_force_and_the_older_one_is_kept() -> None:
    registry = Registry()
    changed = replace(READ, description="Reads more.")
    registry.stored(registry.register(HOME, [READ], time_ms=5))
    (second,) = registry.register(HOME, [changed], time_ms=5)
    assert second.update_time_ms == 6  # the clock stands still, the order does not
    assert registry.get(HOME, "files/read") == changed
    assert registry.by_digest(digest_of(READ)) == READ
    registry.stored([second])
    (third,) = registry.register(HOME, [READ], time_ms=1)  # a host that was rolled back
    assert registry.get(HOME, "files/read") == READ
    assert third.update_time_ms == 7


def test_restores_in_any_order() -> None:
    registry = Registry()
    changed = replace(READ, description="Reads more.")
    manifests = [
        *registry.register(HOME, [READ], time_ms=1),
        *registry.register(HOME, [changed], time_ms=2),
        *registry.register(OTHER, [SEARCH], time_ms=3),
    ]
    for order in (manifests, manifests[::-1]):
        restored = Registry()
        restored.restore(
            decode_manifest(each.namespace, each.digest, encode_manifest(each)) for each in order
        )
        assert restored.get(HOME, "files/read") == changed
        assert restored.by_digest(digest_of(READ)) == READ
        assert restored.get(OTHER, "web/search") == SEARCH
        assert restored.register(HOME, [changed], time_ms=4) == []


def test_a_stored_digest_stays_what_runs_refer_to() -> None:
    (manifest,) = Registry().register(HOME, [READ], time_ms=1)
    restored = Registry()
    restored.restore([decode_manifest(HOME, "of-an-older-release", encode_manifest(manifest))])
    assert restored.by_digest("of-an-older-release") == READ


def test_one_bad_schema_registers_nothing() -> None:
    registry = Registry()
    bad = Tool("files", "bad", output_schema_json='{"type":"nothing"}')
    with pytest.raises(InvalidRequest) as caught:
        registry.register(HOME, [READ, bad], time_ms=1)
    assert caught.value.metadata["field"] == "tools[1].output_schema_json"
    assert registry.list(HOME, None, after="", limit=10) == []
    with pytest.raises(InvalidRequest):
        registry.register(HOME, [Tool("a", "b", input_schema_json='{"type":"string"}')], time_ms=1)


def test_a_namespace_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TOOLS", 2)
    registry = Registry()
    registry.register(HOME, [READ, WRITE], time_ms=1)
    registry.register(HOME, [replace(READ, description="Other.")], time_ms=2)
    with pytest.raises(Exhausted) as caught:
        registry.register(HOME, [SEARCH], time_ms=3)
    assert caught.value.reason is Reason.LIMIT_REACHED
    registry.register(OTHER, [SEARCH], time_ms=4)
