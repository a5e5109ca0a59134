"""What becomes of the tools that a server lists."""

from pathlib import Path
from typing import Any

import pytest

from agentd.agent.ids import check_tool_id
from agentd.agent.permission import Labels
from agentd.agent.tool import EffectClass
from agentd.tools.mcp.catalogue import (
    MAX_LIST_BYTES,
    MAX_TOOLS,
    RESULT_SCHEMA,
    Catalogue,
    Unlistable,
    canonical,
    differences,
    digest_of,
    tool_ids,
    translate,
)
from agentd.tools.mcp.server import McpServer, Phase
from agentd.tools.schema import check_schema
from tests.unit.tools.mcp.world import QUICK, Scene, hostile

OBJECT = {"type": "object"}


def entry(name: str = "t", **more: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": OBJECT} | more


def listed(*entries: dict[str, Any], **server: Any) -> Catalogue:
    return translate(McpServer("s", command=("x",), **server), canonical(entries))


def test_the_digest_says_the_same_of_the_same_tools_in_any_order() -> None:
    one, two = entry("a", description="A"), entry("b", annotations={"readOnlyHint": True})
    turned = [{key: two[key] for key in reversed(two)}, one]
    assert digest_of(canonical([one, two])) == digest_of(canonical(turned))
    assert digest_of(canonical([one])) != digest_of(canonical([one, two]))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "u"},
        {"title": "T"},
        {"description": "D"},
        {"inputSchema": {"type": "object", "title": "x"}},
        {"outputSchema": OBJECT},
        {"annotations": {"readOnlyHint": True}},
    ],
    ids=lambda change: str(*change),
)
def test_all_that_matters_of_a_tool_is_in_the_digest(change: dict[str, Any]) -> None:
    assert canonical([entry()]) != canonical([entry() | change])


def test_what_is_not_used_is_not_in_the_digest() -> None:
    assert canonical([entry()]) == canonical([entry(icons=[], _meta={"now": 1}, execution={})])


def test_a_list_has_bounds() -> None:
    with pytest.raises(Unlistable, match="at most"):
        canonical([entry(str(number)) for number in range(MAX_TOOLS + 1)])
    with pytest.raises(Unlistable, match="bytes"):
        canonical([entry(description="x" * MAX_LIST_BYTES)])
    with pytest.raises(Unlistable, match="encoded"):
        canonical([entry(description="\ud800")])


def test_differences_are_told_tool_by_tool() -> None:
    old = canonical([entry("kept"), entry("gone"), entry("other", description="a")])
    new = canonical([entry("kept"), entry("new\x1b"), entry("other", description="b", title="B")])
    assert differences(old, new) == (
        "added 'new'",
        "removed 'gone'",
        "changed 'other': title, description",
    )
    assert differences(old, old) == ()


def test_every_name_becomes_an_id_that_the_order_does_not_decide() -> None:
    names = ["a.b", "a/b", "a_b", "plain", "7", "_x", "é", "", "e" * 100, "e" * 101, "c.d"]
    ids = tool_ids(names)
    assert ids == tool_ids(reversed(names))
    assert len(set(ids.values())) == len(names)
    for made in ids.values():
        check_tool_id(made, "id")
    assert (ids["a_b"], ids["plain"], ids["c.d"], ids["7"]) == ("a_b", "plain", "c_d", "t7")
    assert ids["a.b"].startswith("a_b-")


def test_no_tool_can_take_the_id_of_another() -> None:
    taken = tool_ids(["a.b", "a_b"])["a.b"]
    catalogue = listed(entry("a.b"), entry("a_b"), entry(taken, description="mine"))
    by_id = {one.tool.id: one.name for one in catalogue.tools}
    assert by_id == {"a_b": "a_b", taken: taken}
    assert catalogue.faults == ("'a.b' is left out: another tool has its id",)


def test_a_name_that_two_tools_have_is_nobodys() -> None:
    catalogue = listed(entry("twice", title="1"), entry("twice", title="2"), entry("once"))
    assert [one.name for one in catalogue.tools] == ["once"]
    assert len(catalogue.faults) == 2


@pytest.mark.parametrize(
    "schema",
    [
        None,
        [],
        {},
        {"type": "array"},
        {"type": "object", "properties": {"x": {"$ref": "https://example.com/x"}}},
        {"type": "object", "$schema": "https://example.com/mine"},
        {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "items": [{}]},
    ],
)
def test_a_tool_with_a_bad_schema_is_left_out(schema: object) -> None:
    catalogue = listed(entry("bad", inputSchema=schema), entry("good"))
    assert [one.name for one in catalogue.tools] == ["good"]
    [fault] = catalogue.faults
    assert fault.startswith("'bad' is left out: it")


def test_a_description_is_cleaned_and_cut() -> None:
    hidden = "a\x1b[31m\u202eb\U000e0041"
    [one] = listed(entry(description=hidden * 9_000)).tools
    assert one.tool.description.startswith("a[31mba[31mb")
    assert len(one.tool.description) < 8_100
    [titled] = listed(entry(title="T")).tools
    assert titled.tool.description == "T"


def test_the_schema_of_results_is_sound() -> None:
    check_schema(RESULT_SCHEMA, "it", of_object=True)


HINTS: dict[EffectClass, list[dict[str, Any]]] = {
    EffectClass.READ_ONLY: [{"readOnlyHint": True}, {"readOnlyHint": True, "idempotentHint": True}],
    EffectClass.IDEMPOTENT: [
        {"idempotentHint": True},
        {"idempotentHint": True, "destructiveHint": True},
    ],
    EffectClass.NON_IDEMPOTENT: [{"destructiveHint": False}],
    EffectClass.IRREVERSIBLE: [
        {},
        {"readOnlyHint": False},
        {"destructiveHint": True},
        {"readOnlyHint": True, "destructiveHint": True},
        {"readOnlyHint": "true"},
        {"readOnlyHint": 1},
    ],
}


@pytest.mark.parametrize(
    ("effect", "hints"), [(effect, hints) for effect, many in HINTS.items() for hints in many]
)
def test_hints_count_only_for_a_trusted_server(effect: EffectClass, hints: dict[str, Any]) -> None:
    [trusted] = listed(entry(annotations=hints), trusted=True).tools
    assert trusted.tool.effect is effect
    [foreign] = listed(entry(annotations=hints)).tools
    assert foreign.tool.effect is EffectClass.IRREVERSIBLE


def test_the_operators_word_stands_above_all() -> None:
    hints = {"readOnlyHint": True}
    effects = {"t": EffectClass.NON_IDEMPOTENT}
    for trusted in (True, False):
        [one] = listed(entry(annotations=hints), trusted=trusted, effects=effects).tools
        assert one.tool.effect is EffectClass.NON_IDEMPOTENT


def test_results_are_untrusted_unless_the_server_is_and_speaks_for_itself() -> None:
    [foreign] = listed(entry()).tools
    assert foreign.tool.labels == Labels(untrusted=True)
    [own] = listed(entry(), trusted=True).tools
    assert own.tool.labels == Labels()
    [fetching] = listed(entry(annotations={"openWorldHint": True}), trusted=True).tools
    assert fetching.tool.labels == Labels(untrusted=True)


@pytest.mark.parametrize("misdeeds", [("endless",), ("endless", "empty")])
async def test_a_list_without_an_end_is_not_listed(
    tmp_path: Path, misdeeds: tuple[str, ...]
) -> None:
    scene = Scene(tmp_path)
    async with scene.play(hostile(*misdeeds)):
        state = await scene.until_phase(Phase.FAILING)
        assert state.reason == "it lists its tools without an end"
        assert scene.servers.tools() == {}


async def test_a_server_may_have_no_tools(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.play(hostile("toolless")):
        state = await scene.until_phase(Phase.CONNECTED)
        assert (state.tools, state.faults) == (0, ())


async def test_bad_tools_are_left_out_and_the_others_stay(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.play(hostile("bad")):
        state = await scene.until_phase(Phase.CONNECTED)
        assert {fault.partition(" ")[0] for fault in state.faults} == {"'refers'", "'array'"}
        assert "mcp-bad/echo" in scene.servers.tools()
        assert state.tools == len(scene.servers.tools())


async def test_foreign_names_are_called_by_what_the_server_calls_them(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.play(hostile("named")):
        state = await scene.until_phase(Phase.CONNECTED)
        assert [fault.partition(" ")[0] for fault in state.faults] == ["'twice'", "'twice'"]
        ids = {path.partition("/")[2] for path in scene.servers.tools()}
        assert {"t7", "e" * 64, "t_"} <= ids


async def test_a_long_description_is_cut(tmp_path: Path) -> None:
    scene = Scene(tmp_path, patience=QUICK)
    async with scene.play(hostile("described")):
        await scene.until_phase(Phase.CONNECTED)
        manifest = scene.tool("described").manifest
        assert len(manifest.description) < 8_100
        assert manifest.description.startswith("a[31mred reversed hidden end\n")
        assert len(manifest.input_schema_json) < 3_000
