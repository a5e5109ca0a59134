"""Describe messages and enums as JSON Schema 2020-12, as protobuf's JSON mapping writes them, with
the comments of the contract."""

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    MethodDescriptor,
    ServiceDescriptor,
)

from agentd.carriers.transcoding import is_list, is_map, is_plain, message_of

Schema = dict[str, Any]

_REFERENCE = "#/components/schemas/"
_WHOLE = r"^-?[0-9]{1,20}$"
_SCALARS: dict[int, Schema] = {
    FieldDescriptor.CPPTYPE_INT32: {
        "type": "integer",
        "format": "int32",
        "minimum": -(1 << 31),
        "maximum": (1 << 31) - 1,
    },
    FieldDescriptor.CPPTYPE_UINT32: {"type": "integer", "minimum": 0, "maximum": (1 << 32) - 1},
    FieldDescriptor.CPPTYPE_INT64: {"type": "string", "format": "int64", "pattern": _WHOLE},
    FieldDescriptor.CPPTYPE_UINT64: {"type": "string", "format": "uint64", "pattern": _WHOLE},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.CPPTYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
}
_WELL_KNOWN: dict[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {
        "type": "string",
        "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$",
        "examples": ["1.5s"],
    },
    "google.protobuf.FieldMask": {
        "type": "string",
        "pattern": r"^([a-z][a-zA-Z0-9]*(,[a-z][a-zA-Z0-9]*)*)?$",
        "examples": ["displayName,tools"],
    },
}


@cache
def comments() -> dict[str, str]:
    """Return what the contract says of each definition, by full name: what protoc drops."""
    text = files("agentd.v1").joinpath("comments.json").read_text("utf-8")
    found: dict[str, str] = json.loads(text)
    return found


def comment(
    what: Descriptor | EnumDescriptor | FieldDescriptor | MethodDescriptor | ServiceDescriptor,
) -> str:
    """Return what the contract says of a definition."""
    return comments()[what.full_name]


def reference(what: Descriptor | EnumDescriptor) -> Schema:
    """Return the schema that points to a definition."""
    return {"$ref": _REFERENCE + what.name}


def value_schema(field: FieldDescriptor) -> Schema:
    """Return what one value of a field is, without what the field means."""
    if is_map(field):
        values = value_schema(message_of(field).fields_by_name["value"])
        return {"type": "object", "additionalProperties": values}
    if field.enum_type is not None:
        return reference(field.enum_type)
    if is_plain(field):
        return reference(message_of(field))
    if field.message_type is not None:
        return dict(_WELL_KNOWN[field.message_type.full_name])
    if field.type == FieldDescriptor.TYPE_BYTES:
        return {"type": "string", "contentEncoding": "base64"}
    return dict(_SCALARS[field.cpp_type])


def field_schema(field: FieldDescriptor) -> Schema:
    """Return what a field is, and what it means."""
    schema = value_schema(field)
    if is_list(field):
        schema = {"type": "array", "items": schema}
    text = comment(field)
    group = field.containing_oneof
    if group is not None:
        others = " or ".join(f"`{each.json_name}`" for each in group.fields if each is not field)
        text = f"{text} Not together with {others}."
    return {**schema, "description": text}


def message_schema(message: Descriptor, without: frozenset[str] = frozenset()) -> Schema:
    """Return what a message is, but for some fields."""
    return {
        "type": "object",
        "description": comment(message),
        "properties": {
            field.json_name: field_schema(field)
            for field in message.fields
            if field.name not in without
        },
    }


def enum_schema(enum: EnumDescriptor) -> Schema:
    """Return what an enum is, with what each value means."""
    lines = [
        f"- `{value.name}`: {comments()[f'{enum.full_name}.{value.name}']}" for value in enum.values
    ]
    return {
        "type": "string",
        "enum": [value.name for value in enum.values],
        "description": "\n".join((comment(enum), "", *lines)),
    }


def reachable(message: Descriptor) -> Iterator[Descriptor | EnumDescriptor]:
    """Yield a message and every message and enum that it is made of, each once."""
    seen: set[str] = set()
    waiting: list[Descriptor | EnumDescriptor] = [message]
    while waiting:
        each = waiting.pop()
        if each.full_name in seen:
            continue
        seen.add(each.full_name)
        yield each
        if isinstance(each, EnumDescriptor):
            continue
        waiting += [field.enum_type for field in each.fields if field.enum_type is not None]
        waiting += [message_of(field) for field in each.fields if is_plain(field)]


ERROR: Schema = {
    "type": "object",
    "description": "Why a request failed: a `google.rpc.Status`.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "description": "The status.",
            "required": ["code", "message", "status", "details"],
            "properties": {
                "code": {"type": "integer", "description": "The status code of HTTP."},
                "message": {
                    "type": "string",
                    "description": "What is wrong, for people. Its wording may change.",
                },
                "status": {
                    "type": "string",
                    "description": "The canonical code, such as `NOT_FOUND`.",
                },
                "details": {
                    "type": "array",
                    "description": "One `google.rpc.ErrorInfo`, whose `reason` is one of "
                    "`ErrorReason` without its prefix and never changes; a `BadRequest` that names "
                    "the fields at fault; a `RetryInfo` where waiting helps.",
                    "items": {
                        "type": "object",
                        "description": "A message, whose type `@type` names.",
                        "required": ["@type"],
                        "properties": {
                            "@type": {"type": "string", "description": "The type's address."}
                        },
                    },
                },
            },
        }
    },
}
