from agentd.v1 import tool_pb2 as _tool_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TaskState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_STATE_UNSPECIFIED: _ClassVar[TaskState]
    TASK_STATE_PENDING: _ClassVar[TaskState]
    TASK_STATE_RUNNING: _ClassVar[TaskState]
    TASK_STATE_SUCCEEDED: _ClassVar[TaskState]
    TASK_STATE_FAILED: _ClassVar[TaskState]
    TASK_STATE_ABANDONED: _ClassVar[TaskState]
    TASK_STATE_SKIPPED: _ClassVar[TaskState]
TASK_STATE_UNSPECIFIED: TaskState
TASK_STATE_PENDING: TaskState
TASK_STATE_RUNNING: TaskState
TASK_STATE_SUCCEEDED: TaskState
TASK_STATE_FAILED: TaskState
TASK_STATE_ABANDONED: TaskState
TASK_STATE_SKIPPED: TaskState

class Task(_message.Message):
    __slots__ = ("name", "objective", "state", "dependencies", "attempt", "create_time", "update_time", "criterion", "tools", "permissions", "expected", "effect", "result", "reason", "plan", "estimated_tokens", "estimated_calls")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OBJECTIVE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCIES_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CRITERION_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_CALLS_FIELD_NUMBER: _ClassVar[int]
    name: str
    objective: str
    state: TaskState
    dependencies: _containers.RepeatedScalarFieldContainer[str]
    attempt: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    criterion: str
    tools: _containers.RepeatedScalarFieldContainer[str]
    permissions: _containers.RepeatedScalarFieldContainer[str]
    expected: str
    effect: _tool_pb2.EffectClass
    result: str
    reason: str
    plan: int
    estimated_tokens: int
    estimated_calls: int
    def __init__(self, name: _Optional[str] = ..., objective: _Optional[str] = ..., state: _Optional[_Union[TaskState, str]] = ..., dependencies: _Optional[_Iterable[str]] = ..., attempt: _Optional[int] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., criterion: _Optional[str] = ..., tools: _Optional[_Iterable[str]] = ..., permissions: _Optional[_Iterable[str]] = ..., expected: _Optional[str] = ..., effect: _Optional[_Union[_tool_pb2.EffectClass, str]] = ..., result: _Optional[str] = ..., reason: _Optional[str] = ..., plan: _Optional[int] = ..., estimated_tokens: _Optional[int] = ..., estimated_calls: _Optional[int] = ...) -> None: ...
