from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EffectClass(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EFFECT_CLASS_UNSPECIFIED: _ClassVar[EffectClass]
    EFFECT_CLASS_READ_ONLY: _ClassVar[EffectClass]
    EFFECT_CLASS_IDEMPOTENT: _ClassVar[EffectClass]
    EFFECT_CLASS_NON_IDEMPOTENT: _ClassVar[EffectClass]
    EFFECT_CLASS_IRREVERSIBLE: _ClassVar[EffectClass]
EFFECT_CLASS_UNSPECIFIED: EffectClass
EFFECT_CLASS_READ_ONLY: EffectClass
EFFECT_CLASS_IDEMPOTENT: EffectClass
EFFECT_CLASS_NON_IDEMPOTENT: EffectClass
EFFECT_CLASS_IRREVERSIBLE: EffectClass

class Tool(_message.Message):
    __slots__ = ("name", "description", "input_schema_json", "output_schema_json", "effect", "timeout", "reconcile", "simulate", "permissions", "available", "update_time", "untrusted_results", "private_results")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    INPUT_SCHEMA_JSON_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_SCHEMA_JSON_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    RECONCILE_FIELD_NUMBER: _ClassVar[int]
    SIMULATE_FIELD_NUMBER: _ClassVar[int]
    PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UNTRUSTED_RESULTS_FIELD_NUMBER: _ClassVar[int]
    PRIVATE_RESULTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    input_schema_json: str
    output_schema_json: str
    effect: EffectClass
    timeout: _duration_pb2.Duration
    reconcile: bool
    simulate: bool
    permissions: _containers.RepeatedScalarFieldContainer[str]
    available: bool
    update_time: _timestamp_pb2.Timestamp
    untrusted_results: bool
    private_results: bool
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., input_schema_json: _Optional[str] = ..., output_schema_json: _Optional[str] = ..., effect: _Optional[_Union[EffectClass, str]] = ..., timeout: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., reconcile: bool = ..., simulate: bool = ..., permissions: _Optional[_Iterable[str]] = ..., available: bool = ..., update_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., untrusted_results: bool = ..., private_results: bool = ...) -> None: ...
