"""Check JSON against JSON Schema (2020-12), and say in one sentence what is wrong with it."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from agentd.agent.tool import Tool
from agentd.errors import invalid_field
from agentd.tools.weight import TooHeavy, weigh

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError
    from jsonschema_rs import Validator as Checker

MAX_SCHEMA_BYTES = 256 * 1024
"""The longest schema that is accepted."""
MAX_VALUE_BYTES = 1024 * 1024
"""The longest arguments or result that are accepted."""
MAX_DEPTH = 64
"""The deepest nesting of JSON."""
MAX_SENTENCE = 400
"""The longest sentence that is given to a model, in characters."""
MAX_COMPILED = 4096
"""The most compiled schemas that are kept."""
MAX_WEIGHT = 100_000
"""The most parts of a schema that may apply to one value, about 10 ms."""
MAX_BACKTRACKS = 100_000
"""Steps of one match of a pattern, about 10 ms; a text that needs more does not match."""

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NOTHING_PERMITTED = '{"type":"object","additionalProperties":false}'
"""What an empty schema of arguments stands for."""


class _Refusal(Exception):
    """Says what is wrong; never leaves this module."""


class Validator:
    """A compiled schema."""

    __slots__ = ("_checker", "_fallback", "_schema", "_subject")

    def __init__(self, subject: str, schema: Any, checker: "Checker | None", fallback: str) -> None:
        self._subject = subject
        self._schema = schema
        self._checker = checker
        self._fallback = fallback

    def check(self, text: str) -> str | None:
        """Return None for valid JSON, or one sentence for the model: where, what, what instead."""
        try:
            value = _decode(text or self._fallback, MAX_VALUE_BYTES)
        except _Refusal as refusal:
            return f"{self._subject}: {refusal}"
        if self._checker is None or self._checker.is_valid(value):
            return None
        return _sentence(self._subject, self._schema, list(self._checker.iter_errors(value)))


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
        _checker(schema)
        weigh(schema, MAX_WEIGHT)
    except (_Refusal, TooHeavy) as refusal:
        raise invalid_field(field, str(refusal)) from None


def compile_arguments(tool: Tool) -> Validator:
    """Return the checker of a tool's arguments; empty arguments count as `{}`."""
    return _compile(tool.input_schema_json or _NOTHING_PERMITTED, "arguments", "{}")


def compile_result(tool: Tool) -> Validator:
    """Return the checker of a tool's result; without a schema, any JSON is valid."""
    return _compile(tool.output_schema_json, "result", "")


@lru_cache(maxsize=MAX_COMPILED)
def _compile(text: str, subject: str, fallback: str) -> Validator:
    if not text:
        return Validator(subject, None, None, fallback)
    schema = _decode(text, MAX_SCHEMA_BYTES)
    return Validator(subject, schema, _checker(schema), fallback)


def _checker(schema: Any) -> "Checker":
    # Imported at the first schema: 19 ms and 9 MB that a daemon without tools does not pay.
    from jsonschema_rs import (  # noqa: PLC0415
        Draft202012Validator,
        FancyRegexOptions,
        ValidationError,
    )

    try:
        return Draft202012Validator(
            schema,
            offline=True,
            validate_formats=False,
            pattern_options=FancyRegexOptions(backtrack_limit=MAX_BACKTRACKS),
        )
    except ValidationError as error:
        raise _Refusal(_fault_of_schema(error)) from None


def _fault_of_schema(error: "ValidationError") -> str:
    from jsonschema_rs import ValidationErrorKind as Kind  # noqa: PLC0415

    match error.kind:
        case Kind.Referencing():
            cause = error.message.partition(" and retrieving")[0]
            return f"has a reference that leads out of it, or nowhere ({cause})"
        case Kind.Format(format="regex"):
            return f"{_quote(error.instance)} is not a regular expression"
        case _:
            return _sentence("not a valid schema", {}, [error])


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


def _sentence(subject: str, schema: Any, errors: Sequence["ValidationError"]) -> str:
    """Describe the error that says most about what is wrong."""
    error = _most_telling(errors)
    where = subject + "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path
    )
    return f"{where[: MAX_SENTENCE // 2]}: {_complaint(error, schema, errors)}"[:MAX_SENTENCE]


def _most_telling(errors: Sequence["ValidationError"]) -> "ValidationError":
    """Return the outermost error; of alternatives, the one that fits the value furthest down."""
    from jsonschema_rs import ValidationErrorKind as Kind  # noqa: PLC0415

    error = min(errors, key=lambda each: len(each.instance_path))
    match error.kind:
        case Kind.AnyOf(context=context) | Kind.OneOfNotValid(context=context):
            branches = [_most_telling(branch) for branch in context if branch]
            depths = sorted((len(branch.instance_path) for branch in branches), reverse=True)
            if depths and (len(depths) == 1 or depths[0] > depths[1]):
                return max(branches, key=lambda each: len(each.instance_path))
    return error


def _complaint(error: "ValidationError", schema: Any, errors: Sequence["ValidationError"]) -> str:
    from jsonschema_rs import ValidationErrorKind as Kind  # noqa: PLC0415

    match error.kind:
        case Kind.Type(types=types):
            return f"must be of type {' or '.join(types)}, but is {_quote(error.instance)}"
        case Kind.Required():
            missing = [
                each.kind.property
                for each in errors
                if isinstance(each.kind, Kind.Required)
                and each.instance_path == error.instance_path
            ]
            return f"lacks {_list(missing)}"
        case Kind.AdditionalProperties(unexpected=unexpected):
            known = _known_properties(schema, error.schema_path)
            return f"has no use for {_list(unexpected)}; it takes {_list(known) or 'nothing'}"
        case Kind.FalseSchema() if error.schema_path[-1:] == ["additionalProperties"]:
            return "takes nothing"
        case Kind.FalseSchema():
            return "is not accepted here"
        case Kind.Enum(options=options):
            return f"must be one of {_list(options)}, but is {_quote(error.instance)}"
        case _:
            return error.message


def _known_properties(schema: Any, path: Sequence[str | int]) -> list[Any]:
    """Return the properties beside the `additionalProperties` that stands at a path."""
    for part in path[:-1]:
        try:
            schema = schema[part]
        except (KeyError, IndexError, TypeError):
            return []
    return [*schema.get("properties", ())] if isinstance(schema, dict) else []


def _list(values: Sequence[Any]) -> str:
    return ", ".join(_quote(value) for value in values[:20])


def _quote(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 80 else f"{text[:77]}..."
