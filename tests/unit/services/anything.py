"""Strategies for values of the vocabulary, made from their types."""

import dataclasses
import types
from collections.abc import Mapping
from enum import Enum
from typing import Any, NewType, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import strategies as st

from agentd.agent.events import ModelReplied
from agentd.agent.message import AssistantMessage, ToolUse

T = TypeVar("T")
IDS = st.from_regex(r"[a-z]([a-z0-9-]{0,5}[a-z0-9])?", fullmatch=True)
TEXTS = st.text(max_size=8)
NUMBERS = st.integers(0, 2**31 - 1)


def anything(kind: type[T], **chosen: st.SearchStrategy[Any]) -> st.SearchStrategy[T]:
    """Return a strategy for a dataclass whose every field may be anything that its type says."""
    hints = get_type_hints(kind)
    made = {name: _value(hints[name]) for name in _fields(kind)}
    strategy: st.SearchStrategy[T] = st.builds(kind, **{**made, **chosen})
    if kind is ModelReplied:
        return strategy.map(_matching)
    return strategy


def _matching(reply: Any) -> Any:
    """Give a reply as many uses as it has calls: the one rule that its type does not state."""
    uses = tuple(ToolUse("", f"tool{index}", "{}") for index in range(len(reply.calls)))
    return ModelReplied(
        reply.turn,
        reply.attempt,
        AssistantMessage(reply.message.text, uses),
        reply.stop_reason,
        reply.calls,
        reply.usage,
    )


def _value(hint: Any) -> st.SearchStrategy[Any]:
    if isinstance(hint, NewType):
        return IDS if hint.__supertype__ is str else NUMBERS
    if hint is bool:
        return st.booleans()
    if hint is int:
        return NUMBERS
    if hint is float:
        return st.floats(0, 1)
    if hint is str:
        return TEXTS
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    if get_origin(hint) in (types.UnionType, Union):
        return st.one_of(*(_value(member) for member in get_args(hint)))
    if hint is types.NoneType:
        return st.none()
    if get_origin(hint) is tuple:
        return st.lists(_value(get_args(hint)[0]), max_size=3).map(tuple)
    if get_origin(hint) is Mapping:
        key, value = get_args(hint)
        return st.dictionaries(_value(key), _value(value), max_size=3)
    return anything(hint)


def _fields(kind: type[Any]) -> list[str]:
    if issubclass(kind, msgspec.Struct):
        return [field.name for field in msgspec.structs.fields(kind)]
    return [field.name for field in dataclasses.fields(kind)]
