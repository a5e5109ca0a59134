from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Budget(_message.Message):
    __slots__ = ("max_turns", "max_tokens", "max_cost_nanos", "max_tool_calls", "max_wall_time")
    MAX_TURNS_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_COST_NANOS_FIELD_NUMBER: _ClassVar[int]
    MAX_TOOL_CALLS_FIELD_NUMBER: _ClassVar[int]
    MAX_WALL_TIME_FIELD_NUMBER: _ClassVar[int]
    max_turns: int
    max_tokens: int
    max_cost_nanos: int
    max_tool_calls: int
    max_wall_time: _duration_pb2.Duration
    def __init__(self, max_turns: _Optional[int] = ..., max_tokens: _Optional[int] = ..., max_cost_nanos: _Optional[int] = ..., max_tool_calls: _Optional[int] = ..., max_wall_time: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("turns", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost_nanos", "tool_calls", "reserved_tokens", "unknown_tokens", "unknown_cost_nanos", "reserved_cost_nanos")
    TURNS_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_READ_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_WRITE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COST_NANOS_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALLS_FIELD_NUMBER: _ClassVar[int]
    RESERVED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_TOKENS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_COST_NANOS_FIELD_NUMBER: _ClassVar[int]
    RESERVED_COST_NANOS_FIELD_NUMBER: _ClassVar[int]
    turns: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost_nanos: int
    tool_calls: int
    reserved_tokens: int
    unknown_tokens: int
    unknown_cost_nanos: int
    reserved_cost_nanos: int
    def __init__(self, turns: _Optional[int] = ..., input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., cache_read_tokens: _Optional[int] = ..., cache_write_tokens: _Optional[int] = ..., cost_nanos: _Optional[int] = ..., tool_calls: _Optional[int] = ..., reserved_tokens: _Optional[int] = ..., unknown_tokens: _Optional[int] = ..., unknown_cost_nanos: _Optional[int] = ..., reserved_cost_nanos: _Optional[int] = ...) -> None: ...
