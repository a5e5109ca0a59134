"""A function's signature and docstring make its tool."""

import enum
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, Optional, TypedDict

import pytest
from jsonschema_rs import Draft202012Validator

from agentd.client import InvalidRequest, ToolContext, tool
from agentd.client.functions import encode_result, hosted_tool
from agentd.client.types import EffectClass, Invocation


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    x: int
    y: float = 0.5
    tags: list[str] = field(default_factory=list)


class Options(TypedDict):
    deep: bool
    limit: NotRequired[int]


class Loop(TypedDict):
    inner: "list[Loop]"


def schema_of(function: Callable[..., Any]) -> dict[str, Any]:
    schema = json.loads(hosted_tool(function, "x").manifest.input_schema_json)
    Draft202012Validator(schema)  # A schema that is not valid is refused.
    assert isinstance(schema, dict)
    return schema


def bind(function: Callable[..., Any], arguments: Any) -> dict[str, Any]:
    context = ToolContext(Invocation())
    return hosted_tool(function, "x").execute.bind(json.dumps(arguments), context)


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (None, {"type": "null"}),
        (Any, {}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (list, {"type": "array", "items": {}}),
        (Sequence[str], {"type": "array", "items": {"type": "string"}}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (dict, {"type": "object", "additionalProperties": {}}),
        (Literal["a", 2], {"enum": ["a", 2]}),
        (Colour, {"enum": ["red", "blue"]}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (Optional[str], {"anyOf": [{"type": "string"}, {"type": "null"}]}),  # noqa: UP045
        (Annotated[int, "how many"], {"type": "integer", "description": "how many"}),
        (Annotated[int, 7], {"type": "integer"}),
        (
            Point,
            {
                "type": "object",
                "properties": {
                    "x": {"type": "integer"},
                    "y": {"type": "number"},
                    "tags": {"type": "array", "items": {"type": "string"}},
                },
                "additionalProperties": False,
                "required": ["x"],
            },
        ),
        (
            Options,
            {
                "type": "object",
                "properties": {"deep": {"type": "boolean"}, "limit": {"type": "integer"}},
                "additionalProperties": False,
                "required": ["deep"],
            },
        ),
    ],
)
def test_type_hints_become_schemas(hint: Any, schema: dict[str, Any]) -> None:
    def work(value: Any) -> None:
        """Work."""

    work.__annotations__["value"] = hint
    assert schema_of(work)["properties"]["value"] == schema


@pytest.mark.parametrize("hint", [bytes, set[int], object, dict[int, str], Loop, complex])
def test_what_json_does_not_have_is_refused_by_name(hint: Any) -> None:
    def work(value: Any) -> None:
        """Work."""

    work.__annotations__["value"] = hint
    with pytest.raises(InvalidRequest) as raised:
        hosted_tool(work, "x")
    assert raised.value.metadata["field"] == "work.value"


def test_parameters_that_have_no_name_are_refused() -> None:
    def spread(*values: int) -> None:
        """Spread."""

    def keywords(**values: int) -> None:
        """Spread."""

    def positional(value: int, /) -> None:
        """Spread."""

    for function in (spread, keywords, positional):
        with pytest.raises(InvalidRequest):
            hosted_tool(function, "x")


def test_the_docstring_describes_tool_and_parameters() -> None:
    def search(query: str, limit: int = 5, *, deep: Annotated[bool, "all of it"] = False) -> list:  # type: ignore[type-arg]
        """Search the archive.

        Newest first.

        Args:
            query (str): what to look for,
                in any language
            limit: the most results
            deep: not shown

        Returns:
            what: was found
        """
        raise NotImplementedError

    def sphinx(path: str) -> None:
        """Read a file.

        :param path: where
            it is
        :returns: nothing
        """

    manifest = hosted_tool(search, "x").manifest
    assert manifest.name == "toolsets/x/tools/search"
    assert manifest.description == "Search the archive.\n\nNewest first."
    properties = schema_of(search)["properties"]
    assert properties == {
        "query": {"type": "string", "description": "what to look for, in any language"},
        "limit": {"type": "integer", "description": "the most results", "default": 5},
        "deep": {"type": "boolean", "description": "all of it", "default": False},
    }
    assert schema_of(search)["required"] == ["query"]
    assert hosted_tool(sphinx, "x").manifest.description == "Read a file."
    assert schema_of(sphinx)["properties"]["path"]["description"] == "where it is"


def test_a_function_without_words_has_its_name() -> None:
    def look_up() -> None: ...

    assert hosted_tool(look_up, "x").manifest.description == "look up"


def test_the_decorator_says_the_rest() -> None:
    def probe(path: str) -> str:
        return path

    @tool(
        effect="idempotent",
        timeout=2.5,
        reconcile=probe,
        simulate=probe,
        permissions=["fs.write:*"],
    )
    def write(path: str) -> str:
        return path

    @tool
    def plain() -> None: ...

    hosted = hosted_tool(write, "x")
    assert hosted.manifest.effect == EffectClass.EFFECT_CLASS_IDEMPOTENT
    assert hosted.manifest.timeout.ToTimedelta().total_seconds() == 2.5
    assert (hosted.manifest.reconcile, hosted.manifest.simulate) == (True, True)
    assert list(hosted.manifest.permissions) == ["fs.write:*"]
    assert hosted.reconcile is not None
    assert hosted.reconcile.function is probe
    assert write("a") == "a"
    unmarked = hosted_tool(plain, "x").manifest
    assert unmarked.effect == EffectClass.EFFECT_CLASS_UNSPECIFIED
    assert (unmarked.reconcile, unmarked.HasField("timeout")) == (False, False)


def test_an_effect_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        tool(effect="harmless")  # type: ignore[call-overload]


def test_arguments_become_values() -> None:
    def work(
        point: Point, colour: Colour, options: Options, count: int, context: ToolContext
    ) -> None:
        """Work."""

    values = bind(
        work,
        {"point": {"x": 1, "y": 2}, "colour": "blue", "options": {"deep": True}, "count": 3.0},
    )
    assert values["point"] == Point(1, 2.0)
    assert isinstance(values["point"].y, float)
    assert values["colour"] is Colour.BLUE
    assert values["options"] == {"deep": True}
    assert (values["count"], type(values["count"])) == (3, int)
    assert isinstance(values["context"], ToolContext)
    assert "context" not in schema_of(work)["properties"]


@pytest.mark.parametrize(
    "arguments",
    [{}, {"count": "1"}, {"count": True}, {"count": 1.5}, {"count": 1, "more": 2}, [1], None],
)
def test_arguments_that_do_not_fit_are_refused(arguments: Any) -> None:
    def work(count: int) -> None:
        """Work."""

    with pytest.raises(ValueError, match=r".+"):
        bind(work, arguments)


def test_unions_take_the_first_type_that_fits() -> None:
    def work(value: int | Point | list[int] | None) -> None:
        """Work."""

    assert bind(work, {"value": {"x": 1}})["value"] == Point(1)
    assert bind(work, {"value": [1]})["value"] == [1]
    assert bind(work, {"value": None})["value"] is None
    with pytest.raises(ValueError, match="none of the permitted"):
        bind(work, {"value": "text"})


def test_no_arguments_at_all() -> None:
    def work() -> None: ...

    assert hosted_tool(work, "x").execute.bind("", ToolContext(Invocation())) == {}


def test_results_become_json() -> None:
    assert encode_result(None) == "null"
    assert encode_result({"at": Point(1), "colour": Colour.RED}) == (
        '{"at": {"x": 1, "y": 0.5, "tags": []}, "colour": "red"}'
    )
    assert encode_result("é") == '"é"'


@pytest.mark.parametrize("value", [b"x", bytearray(b"x"), {1, 2}, float("nan"), object(), Point])
def test_what_is_not_json_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        encode_result(value)
