from agentd.v1 import tool_pb2 as _tool_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InvocationKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INVOCATION_KIND_UNSPECIFIED: _ClassVar[InvocationKind]
    INVOCATION_KIND_EXECUTE: _ClassVar[InvocationKind]
    INVOCATION_KIND_RECONCILE: _ClassVar[InvocationKind]
    INVOCATION_KIND_SIMULATE: _ClassVar[InvocationKind]

class LeaseResult(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEASE_RESULT_UNSPECIFIED: _ClassVar[LeaseResult]
    LEASE_RESULT_OK: _ClassVar[LeaseResult]
    LEASE_RESULT_STALE_LEASE: _ClassVar[LeaseResult]
    LEASE_RESULT_NOT_FOUND: _ClassVar[LeaseResult]
    LEASE_RESULT_INVALID: _ClassVar[LeaseResult]
INVOCATION_KIND_UNSPECIFIED: InvocationKind
INVOCATION_KIND_EXECUTE: InvocationKind
INVOCATION_KIND_RECONCILE: InvocationKind
INVOCATION_KIND_SIMULATE: InvocationKind
LEASE_RESULT_UNSPECIFIED: LeaseResult
LEASE_RESULT_OK: LeaseResult
LEASE_RESULT_STALE_LEASE: LeaseResult
LEASE_RESULT_NOT_FOUND: LeaseResult
LEASE_RESULT_INVALID: LeaseResult

class WatchCallsRequest(_message.Message):
    __slots__ = ("host", "toolset", "tools", "capacity")
    HOST_FIELD_NUMBER: _ClassVar[int]
    TOOLSET_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    host: str
    toolset: str
    tools: _containers.RepeatedCompositeFieldContainer[_tool_pb2.Tool]
    capacity: int
    def __init__(self, host: _Optional[str] = ..., toolset: _Optional[str] = ..., tools: _Optional[_Iterable[_Union[_tool_pb2.Tool, _Mapping]]] = ..., capacity: _Optional[int] = ...) -> None: ...

class WatchCallsResponse(_message.Message):
    __slots__ = ("instructions",)
    INSTRUCTIONS_FIELD_NUMBER: _ClassVar[int]
    instructions: _containers.RepeatedCompositeFieldContainer[HostInstruction]
    def __init__(self, instructions: _Optional[_Iterable[_Union[HostInstruction, _Mapping]]] = ...) -> None: ...

class HostInstruction(_message.Message):
    __slots__ = ("welcome", "invoke", "cancel", "drain")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    INVOKE_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    welcome: HostWelcome
    invoke: Invocation
    cancel: Cancellation
    drain: HostDrain
    def __init__(self, welcome: _Optional[_Union[HostWelcome, _Mapping]] = ..., invoke: _Optional[_Union[Invocation, _Mapping]] = ..., cancel: _Optional[_Union[Cancellation, _Mapping]] = ..., drain: _Optional[_Union[HostDrain, _Mapping]] = ...) -> None: ...

class HostWelcome(_message.Message):
    __slots__ = ("lease_duration", "leases")
    LEASE_DURATION_FIELD_NUMBER: _ClassVar[int]
    LEASES_FIELD_NUMBER: _ClassVar[int]
    lease_duration: _duration_pb2.Duration
    leases: _containers.RepeatedCompositeFieldContainer[Invocation]
    def __init__(self, lease_duration: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., leases: _Optional[_Iterable[_Union[Invocation, _Mapping]]] = ...) -> None: ...

class Invocation(_message.Message):
    __slots__ = ("call", "kind", "tool", "arguments_json", "attempt", "lease_token", "idempotency_key", "deadline", "lease_expire_time", "permissions", "traceparent")
    CALL_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TOOL_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    LEASE_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    call: str
    kind: InvocationKind
    tool: str
    arguments_json: str
    attempt: int
    lease_token: str
    idempotency_key: str
    deadline: _timestamp_pb2.Timestamp
    lease_expire_time: _timestamp_pb2.Timestamp
    permissions: _containers.RepeatedScalarFieldContainer[str]
    traceparent: str
    def __init__(self, call: _Optional[str] = ..., kind: _Optional[_Union[InvocationKind, str]] = ..., tool: _Optional[str] = ..., arguments_json: _Optional[str] = ..., attempt: _Optional[int] = ..., lease_token: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., deadline: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., lease_expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., permissions: _Optional[_Iterable[str]] = ..., traceparent: _Optional[str] = ...) -> None: ...

class Cancellation(_message.Message):
    __slots__ = ("call", "attempt", "lease_token", "reason", "deadline")
    CALL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    call: str
    attempt: int
    lease_token: str
    reason: str
    deadline: _timestamp_pb2.Timestamp
    def __init__(self, call: _Optional[str] = ..., attempt: _Optional[int] = ..., lease_token: _Optional[str] = ..., reason: _Optional[str] = ..., deadline: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class HostDrain(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CompleteCallsRequest(_message.Message):
    __slots__ = ("completions",)
    COMPLETIONS_FIELD_NUMBER: _ClassVar[int]
    completions: _containers.RepeatedCompositeFieldContainer[Completion]
    def __init__(self, completions: _Optional[_Iterable[_Union[Completion, _Mapping]]] = ...) -> None: ...

class Completion(_message.Message):
    __slots__ = ("call", "attempt", "lease_token", "result_json", "error_message", "stopped", "unknown", "not_executed")
    CALL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    RESULT_JSON_FIELD_NUMBER: _ClassVar[int]
    ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    STOPPED_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    NOT_EXECUTED_FIELD_NUMBER: _ClassVar[int]
    call: str
    attempt: int
    lease_token: str
    result_json: str
    error_message: str
    stopped: CallStopped
    unknown: CallOutcomeUnknown
    not_executed: CallNotExecuted
    def __init__(self, call: _Optional[str] = ..., attempt: _Optional[int] = ..., lease_token: _Optional[str] = ..., result_json: _Optional[str] = ..., error_message: _Optional[str] = ..., stopped: _Optional[_Union[CallStopped, _Mapping]] = ..., unknown: _Optional[_Union[CallOutcomeUnknown, _Mapping]] = ..., not_executed: _Optional[_Union[CallNotExecuted, _Mapping]] = ...) -> None: ...

class CallStopped(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CallOutcomeUnknown(_message.Message):
    __slots__ = ("message",)
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    message: str
    def __init__(self, message: _Optional[str] = ...) -> None: ...

class CallNotExecuted(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CompleteCallsResponse(_message.Message):
    __slots__ = ("statuses",)
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    statuses: _containers.RepeatedCompositeFieldContainer[LeaseStatus]
    def __init__(self, statuses: _Optional[_Iterable[_Union[LeaseStatus, _Mapping]]] = ...) -> None: ...

class LeaseStatus(_message.Message):
    __slots__ = ("call", "result", "lease_expire_time")
    CALL_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    LEASE_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    call: str
    result: LeaseResult
    lease_expire_time: _timestamp_pb2.Timestamp
    def __init__(self, call: _Optional[str] = ..., result: _Optional[_Union[LeaseResult, str]] = ..., lease_expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ReportProgressRequest(_message.Message):
    __slots__ = ("reports",)
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    reports: _containers.RepeatedCompositeFieldContainer[ProgressReport]
    def __init__(self, reports: _Optional[_Iterable[_Union[ProgressReport, _Mapping]]] = ...) -> None: ...

class ProgressReport(_message.Message):
    __slots__ = ("call", "attempt", "lease_token", "message", "fraction")
    CALL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    call: str
    attempt: int
    lease_token: str
    message: str
    fraction: float
    def __init__(self, call: _Optional[str] = ..., attempt: _Optional[int] = ..., lease_token: _Optional[str] = ..., message: _Optional[str] = ..., fraction: _Optional[float] = ...) -> None: ...

class ReportProgressResponse(_message.Message):
    __slots__ = ("statuses",)
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    statuses: _containers.RepeatedCompositeFieldContainer[LeaseStatus]
    def __init__(self, statuses: _Optional[_Iterable[_Union[LeaseStatus, _Mapping]]] = ...) -> None: ...

class ExtendLeasesRequest(_message.Message):
    __slots__ = ("leases",)
    LEASES_FIELD_NUMBER: _ClassVar[int]
    leases: _containers.RepeatedCompositeFieldContainer[LeaseExtension]
    def __init__(self, leases: _Optional[_Iterable[_Union[LeaseExtension, _Mapping]]] = ...) -> None: ...

class LeaseExtension(_message.Message):
    __slots__ = ("call", "attempt", "lease_token")
    CALL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    LEASE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    call: str
    attempt: int
    lease_token: str
    def __init__(self, call: _Optional[str] = ..., attempt: _Optional[int] = ..., lease_token: _Optional[str] = ...) -> None: ...

class ExtendLeasesResponse(_message.Message):
    __slots__ = ("statuses",)
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    statuses: _containers.RepeatedCompositeFieldContainer[LeaseStatus]
    def __init__(self, statuses: _Optional[_Iterable[_Union[LeaseStatus, _Mapping]]] = ...) -> None: ...
