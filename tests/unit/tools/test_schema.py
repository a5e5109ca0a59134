"""Schemas are refused with their field; values are refused with one sentence."""

import json
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.agent.tool import Tool
from agentd.errors import InvalidRequest, Reason
from agentd.tools.schema import (
    MAX_DEPTH,
    MAX_SCHEMA_BYTES,
    MAX_SENTENCE,
    MAX_VALUE_BYTES,
    check_schema,
    compile_arguments,
    compile_result,
)

WEATHER = json.dumps(
    {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "minimum": 1, "maximum": 14},
            "units": {"enum": ["metric", "imperial"]},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}},
        },
        "required": ["city"],
        "additionalProperties": False,
    }
)


def arguments(text: str, schema: str = WEATHER) -> str | None:
    return compile_arguments(Tool("w", "t", input_schema_json=schema)).check(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"city":"Berlin","days":3,"units":"metric","tags":["a"]}', None),
        ('{"city":"a: b: c"}', None),
        ("", 'arguments: lacks "city"'),
        ("{}", 'arguments: lacks "city"'),
        ('{"city":1}', "arguments.city: must be of type string, but is 1"),
        ("[]", "arguments: must be of type object, but is []"),
        (
            '{"city":"a","town":2}',
            'arguments: has no use for "town"; it takes "city", "days", "units", "tags"',
        ),
        (
            '{"city":"a","units":"kelvin"}',
            'arguments.units: must be one of "metric", "imperial", but is "kelvin"',
        ),
        ('{"city":"a","days":20}', "arguments.days: 20 is greater than the maximum of 14"),
        (
            '{"city":"a","tags":["b","long"]}',
            'arguments.tags[1]: "long" is longer than 3 characters',
        ),
        ('{"city":"a","city":"b"}', 'arguments: has the key "city" twice'),
        ('{"city":NaN}', "arguments: is not valid JSON"),
        ('{"city":1e999}', "arguments: is not valid JSON"),
        ("Berlin", "arguments: is not valid JSON"),
        ('{"city":"\\ud800"}', "arguments: is not valid JSON"),
        ('"\ud800"', "arguments: is not valid JSON"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "arguments: is nested deeper"),
        ("[" * 100_000, "arguments: is nested deeper"),
    ],
)
def test_arguments(text: str, sentence: str | None) -> None:
    answer = arguments(text)
    if sentence is None:
        assert answer is None
    else:
        assert answer is not None
        assert answer.startswith(sentence)


def test_values_are_bounded() -> None:
    answer = arguments('{"city":"' + "x" * MAX_VALUE_BYTES + '"}')
    assert answer is not None
    assert str(MAX_VALUE_BYTES) in answer


def test_sentences_are_bounded() -> None:
    answer = arguments(json.dumps({"city": "a", "days": "x" * 10_000}))
    assert answer is not None
    assert len(answer) <= MAX_SENTENCE


def test_a_tool_without_schema_takes_nothing() -> None:
    assert arguments("", "") is None
    assert arguments("{}", "") is None
    assert arguments('{"a":1}', "") == "arguments: takes nothing"


def test_results() -> None:
    any_result = compile_result(Tool("w", "t"))
    assert any_result.check('"done"') is None
    assert any_result.check("done") == (
        "result: is not valid JSON (JSON is malformed: invalid character (byte 0))"
    )
    assert any_result.check("") is not None
    number = compile_result(Tool("w", "t", output_schema_json='{"type":"number"}'))
    assert number.check("1.5") is None
    assert number.check('"1.5"') == 'result: must be of type number, but is "1.5"'


def test_compiled_once() -> None:
    one, other = (
        Tool("w", "a", input_schema_json=WEATHER),
        Tool("v", "b", input_schema_json=WEATHER),
    )
    assert compile_arguments(one) is compile_arguments(other)
    assert compile_arguments(one) is not compile_arguments(Tool("w", "a"))


@pytest.mark.parametrize(
    "schema",
    [
        '{"type":"object"}',
        '{"type":"object","$schema":"https://json-schema.org/draft/2020-12/schema"}',
        '{"type":"object","$ref":"#/$defs/a","$defs":{"a":true}}',
        '{"type":"object","$ref":"#a","$defs":{"a":{"$anchor":"a"}}}',
        '{"type":"object","default":{"$ref":"https://example.com"}}',
        '{"type":"object","properties":{"$ref":{"type":"string"},"pattern":{"type":"string"}}}',
        '{"type":"object","patternProperties":{"^a+$":{"pattern":"b"}}}',
        '{"type":"object","properties":{"a":{"$id":"https://example.com/a"}}}',
        WEATHER,
    ],
)
def test_good_schemas(schema: str) -> None:
    check_schema(schema, "s", of_object=True)


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ("{", "not valid JSON"),
        ("[]", "must be a JSON object"),
        ("true", "must be a JSON object"),
        ("{}", '"type": "object"'),
        ('{"type":"string"}', '"type": "object"'),
        ('{"type":["object"]}', '"type": "object"'),
        ('{"type":"object","type":"object"}', 'the key "type" twice'),
        ('{"type":"object","properties":{"a":{"type":"text"}}}', "not a valid schema"),
        ('{"type":"object","properties":{"a":{"items":[{}]}}}', "not a valid schema"),
        ('{"type":"object","properties":{"a":{"minimum":"1"}}}', "properties.a.minimum"),
        ('{"type":"object","required":"a"}', "must be of type array"),
        ('{"type":"object","$schema":"http://json-schema.org/draft-07/schema#"}', "$schema"),
        ('{"type":"object","$schema":1}', "$schema"),
        ('{"type":"object","$ref":"https://example.com/s"}', "leads out of it"),
        ('{"type":"object","$ref":"file:///etc/passwd"}', "leads out of it"),
        (
            '{"type":"object","properties":{"default":{"$ref":"other"}}}',
            "leads out of it",
        ),
        ('{"type":"object","$dynamicRef":"https://example.com/s"}', "leads out of it"),
        ('{"type":"object","$ref":"#/$defs/none"}', "leads out of it"),
        ('{"type":"object","properties":{"a":{"pattern":"("}}}', "not a regular expression"),
        ('{"type":"object","patternProperties":{"[":true}}', "not a regular expression"),
        ('{"type":"object","description":"' + "x" * MAX_SCHEMA_BYTES + '"}', "bytes"),
        ('{"type":"object","not":' * 70 + "true" + "}" * 70, "deeper"),
    ],
)
def test_bad_schemas(schema: str, why: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_schema(schema, "tools[0].input_schema_json", of_object=True)
    assert caught.value.reason is Reason.INVALID_FIELD
    assert caught.value.metadata["field"] == "tools[0].input_schema_json"
    assert why in caught.value.message


def test_a_result_may_be_of_any_type() -> None:
    check_schema('{"type":"string"}', "s")
    check_schema("", "s", of_object=True)


def test_a_reference_is_never_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("nothing may be fetched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    schema = '{"type":"object","allOf":[{"$ref":"http://127.0.0.1:9/s"}]}'
    with pytest.raises(InvalidRequest):
        check_schema(schema, "s", of_object=True)


def test_a_schema_that_refers_to_itself_ends() -> None:
    loop = '{"type":"object","allOf":[{"$ref":"#"}]}'
    check_schema(loop, "s", of_object=True)
    assert arguments("{}", loop) is None
    assert arguments("[]", loop) == "arguments: must be of type object, but is []"


@pytest.mark.parametrize("pattern", ["(a+)+$", "^(a|a)*$", "^(?=a)(a|aa)+$"])
def test_a_pattern_cannot_hold_the_daemon(pattern: str) -> None:
    # Matching these by plain backtracking would take longer than the age of the universe.
    schema = json.dumps({"type": "object", "properties": {"a": {"pattern": pattern}}})
    check_schema(schema, "s", of_object=True)
    assert arguments(json.dumps({"a": "a" * 500 + "b"}), schema) is not None


def test_a_schema_that_doubles_itself_is_refused() -> None:
    parts: dict[str, object] = {"a0": {"type": "object"}}
    for level in range(1, 40):
        parts[f"a{level}"] = {"allOf": [{"$ref": f"#/$defs/a{level - 1}"}] * 2}
    heavy = json.dumps({"type": "object", "$ref": "#/$defs/a39", "$defs": parts})
    with pytest.raises(InvalidRequest, match="apply to one value"):
        check_schema(heavy, "s")
    light = json.dumps({"type": "object", "$ref": "#/$defs/a9", "$defs": parts})
    check_schema(light, "s")


def test_alternatives_name_the_one_that_fits_best() -> None:
    one = {"type": "object", "required": ["kind"], "properties": {"kind": {"const": "one"}}}
    two = {"type": "object", "properties": {"items": {"items": {"type": "integer"}}}}
    schema = json.dumps({"type": "object", "anyOf": [one, two]})
    assert arguments('{"items":[1,"b"]}', schema) == (
        'arguments.items[1]: must be of type integer, but is "b"'
    )


def test_a_recursive_schema_checks_deep_values() -> None:
    tree = '{"type":"object","properties":{"next":{"$ref":"#"},"n":{"type":"integer"}}}'
    deepest = MAX_DEPTH - 1
    good = '{"next":' * deepest + "{}" + "}" * deepest
    bad = '{"next":' * deepest + '{"n":"x"}' + "}" * deepest
    assert arguments(good, tree) is None
    answer = arguments(bad, tree)
    assert answer is not None
    assert "must be of type integer" in answer or ".next.next" in answer


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_any_json_is_a_result(value: object) -> None:
    assert compile_result(Tool("w", "t")).check(json.dumps(value)) is None


@given(JSON, st.text(max_size=3))
def test_any_repeated_key_is_found(value: object, key: str) -> None:
    inner = f"{json.dumps(key)}:1,{json.dumps(key)}:{json.dumps(value)}"
    answer = compile_result(Tool("w", "t")).check(f'[{{"a":{{{inner}}}}}]')
    assert answer is not None
    assert "twice" in answer
