"""Check JSON against JSON Schema (2020-12), and say in one sentence what is wrong with it."""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from agentd.agent.tool import Tool
from agentd.errors import invalid_field

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

MAX_SCHEMA_BYTES = 256 * 1024
"""The longest schema that is accepted."""
MAX_VALUE_BYTES = 1024 * 1024
"""The longest arguments or result that are accepted."""
MAX_DEPTH = 64
"""The deepest nesting of JSON: a checker takes several Python frames for each level."""
MAX_SENTENCE = 400
"""The longest sentence that is given to a model, in characters."""
MAX_COMPILED = 4096
"""The most compiled schemas that are kept."""

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NAMED_SCHEMAS = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
)
"""Keywords whose value maps free names to schemas."""
_PLAIN_DATA = frozenset({"const", "enum", "default", "examples"})
"""Keywords whose value is data, in which `$ref` means nothing."""
_NOTHING_PERMITTED = '{"type":"object","additionalProperties":false}'
"""What an empty schema of arguments stands for."""


class _Refusal(Exception):
    """Says what is wrong; never leaves this module."""


class Validator:
    """A compiled schema."""

    __slots__ = ("_errors", "_fallback", "_subject")

    def __init__(
        self,
        subject: str,
        errors: Callable[[Any], Iterator["ValidationError"]] | None,
        fallback: str,
    ) -> None:
        self._subject = subject
        self._errors = errors
        self._fallback = fallback

    def check(self, text: str) -> str | None:
        """Return None for valid JSON, or one sentence for the model: where, what, what instead."""
        try:
            value = _decode(text or self._fallback, MAX_VALUE_BYTES)
        except _Refusal as refusal:
            return f"{self._subject}: {refusal}"
        if self._errors is None:
            return None
        try:
            if next(self._errors(value), None) is None:
                return None
            return _sentence(self._subject, self._errors(value))
        except (RecursionError, OverflowError):
            return (
                f"{self._subject}: cannot be checked, because the schema refers to itself or to "
                "numbers beyond measure"
            )


def check_schema(text: str, field: str, *, of_object: bool = False) -> None:
    """Accept a schema, or raise InvalidRequest (INVALID_FIELD) naming the field.

    Refused are: JSON that is not a 2020-12 schema, references out of the schema, patterns that are
    not regular expressions, and, with `of_object`, a schema of anything but an object. An empty
    text is accepted.
    """
    if not text:
        return
    try:
        schema = _decode(text, MAX_SCHEMA_BYTES)
        _check_dialect(schema, of_object=of_object)
        _check_against_dialect(schema)
        for subschema in _walk(schema):
            _check_subschema(schema, subschema)
    except _Refusal as refusal:
        raise invalid_field(field, str(refusal)) from None


def compile_arguments(tool: Tool) -> Validator:
    """Return the checker of a tool's arguments; empty arguments count as `{}`."""
    return _compile(tool.input_schema_json or _NOTHING_PERMITTED, "arguments", "{}")


def compile_result(tool: Tool) -> Validator:
    """Return the checker of a tool's result; without a schema, any JSON is valid."""
    return _compile(tool.output_schema_json, "result", "")


@lru_cache(maxsize=MAX_COMPILED)
def _compile(schema: str, subject: str, fallback: str) -> Validator:
    if not schema:
        return Validator(subject, None, fallback)
    return Validator(subject, _checker(_decode(schema, MAX_SCHEMA_BYTES)).iter_errors, fallback)


def _checker(schema: Any) -> Any:
    # Imported at the first schema: 67 ms and 10 MB that a daemon without tools does not pay.
    from jsonschema import Draft202012Validator  # noqa: PLC0415
    from referencing import Registry  # noqa: PLC0415

    # An empty registry: without one, the library would fetch what a schema refers to.
    return Draft202012Validator(schema, registry=Registry())


@cache
def _dialect_checker() -> Any:
    checker = _checker({})
    return type(checker)(type(checker).META_SCHEMA)


def _decode(text: str, limit_bytes: int) -> Any:
    """Return the value of JSON that is small, shallow and without duplicate keys."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > limit_bytes:
        raise _Refusal(f"has {size} bytes, and at most {limit_bytes} are accepted")
    try:
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise _Refusal(f"is not valid JSON ({error})") from None
    except RecursionError:
        raise _Refusal(f"is nested deeper than {MAX_DEPTH} levels") from None
    # Each key has one colon, so as many colons as distinct keys means that no key was repeated.
    if text.count(":") != _count_keys(value, 1):
        _refuse_duplicates(text)
    return value


def _count_keys(value: Any, depth: int) -> int:
    if depth > MAX_DEPTH:
        raise _Refusal(f"is nested deeper than {MAX_DEPTH} levels")
    count = 0
    items: Iterable[Any] = ()
    if type(value) is dict:
        count, items = len(value), value.values()
    elif type(value) is list:
        items = value
    for item in items:
        if type(item) is dict or type(item) is list:
            count += _count_keys(item, depth + 1)
    return count


def _refuse_duplicates(text: str) -> None:
    # Only the standard library shows every pair; JSON with a colon inside a string pays for it.
    import json  # noqa: PLC0415

    json.loads(text, object_pairs_hook=_distinct)


def _distinct(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise _Refusal(f"has the key {_quote(key)} twice")
        seen.add(key)


def _check_dialect(schema: Any, *, of_object: bool) -> None:
    if type(schema) is not dict:
        raise _Refusal("must be a JSON object")
    dialect = schema.get("$schema", _DIALECT)
    if type(dialect) is not str or dialect.removesuffix("#") != _DIALECT:
        raise _Refusal(f"$schema must be absent or {_DIALECT}")
    if of_object and schema.get("type") != "object":
        raise _Refusal('must have "type": "object"')


def _check_against_dialect(schema: Any) -> None:
    try:
        if not _dialect_checker().is_valid(schema):
            raise _Refusal(_sentence("not a valid schema", _dialect_checker().iter_errors(schema)))
    except RecursionError:
        raise _Refusal("is nested too deeply") from None


def _walk(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield a schema and every schema inside it, but not the data it contains."""
    if type(schema) is list:
        for item in schema:
            yield from _walk(item)
    if type(schema) is not dict:
        return
    yield schema
    for keyword, value in schema.items():
        if keyword in _NAMED_SCHEMAS and type(value) is dict:
            for named in value.values():
                yield from _walk(named)
        elif keyword not in _PLAIN_DATA:
            yield from _walk(value)


def _check_subschema(root: dict[str, Any], schema: dict[str, Any]) -> None:
    if schema is not root and "$id" in schema:
        raise _Refusal("$id is only accepted at the top of a schema")
    for keyword in ("$ref", "$dynamicRef"):
        if keyword in schema:
            _check_reference(root, schema[keyword])
    patterns = [*schema.get("patternProperties", ())]
    if "pattern" in schema:
        patterns.append(schema["pattern"])
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise _Refusal(f"{_quote(pattern)} is not a regular expression ({error})") from None


def _check_reference(root: dict[str, Any], reference: str) -> None:
    from referencing import Registry  # noqa: PLC0415
    from referencing.exceptions import Unresolvable  # noqa: PLC0415
    from referencing.jsonschema import DRAFT202012  # noqa: PLC0415

    if not reference.startswith("#"):
        raise _Refusal(f"{_quote(reference)} refers to something outside of the schema")
    registry: Any = Registry().with_resource("", DRAFT202012.create_resource(root))
    try:
        registry.resolver().lookup(reference)
    except Unresolvable:
        raise _Refusal(f"{_quote(reference)} refers to nothing in the schema") from None


def _sentence(subject: str, errors: Iterator["ValidationError"]) -> str:
    """Describe the error that says most about what is wrong."""
    from jsonschema.exceptions import best_match  # noqa: PLC0415

    error = best_match(errors)
    assert error is not None
    where = subject + "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path
    )
    return f"{where[: MAX_SENTENCE // 2]}: {_complaint(error)}"[:MAX_SENTENCE]


def _complaint(error: "ValidationError") -> str:
    rule: Any = error.validator_value
    instance: Any = error.instance
    match error.validator, rule:
        case "type", _:
            names = rule if isinstance(rule, list) else [rule]
            return f"must be of type {' or '.join(names)}, but is {_quote(instance)}"
        case "required", _:
            missing = [name for name in rule if name not in instance]
            return f"lacks {_list(missing)}"
        case "additionalProperties", _:
            known = [*error.schema.get("properties", ())] if isinstance(error.schema, dict) else []
            extra = [key for key in instance if key not in known]
            return f"has no use for {_list(extra)}; it takes {_list(known) or 'nothing'}"
        case "enum", _:
            return f"must be one of {_list(rule)}, but is {_quote(instance)}"
        case _:
            return error.message


def _list(values: list[Any]) -> str:
    return ", ".join(_quote(value) for value in values[:20])


def _quote(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 80 else f"{text[:77]}..."
