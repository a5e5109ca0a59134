from agentd.v1 import permission_pb2 as _permission_pb2
from agentd.v1 import tool_pb2 as _tool_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CallState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CALL_STATE_UNSPECIFIED: _ClassVar[CallState]
    CALL_STATE_REQUESTED: _ClassVar[CallState]
    CALL_STATE_AWAITING_APPROVAL: _ClassVar[CallState]
    CALL_STATE_QUEUED: _ClassVar[CallState]
    CALL_STATE_LEASED: _ClassVar[CallState]
    CALL_STATE_SUCCEEDED: _ClassVar[CallState]
    CALL_STATE_FAILED: _ClassVar[CallState]
    CALL_STATE_CANCELLED: _ClassVar[CallState]
    CALL_STATE_DENIED: _ClassVar[CallState]
    CALL_STATE_UNKNOWN: _ClassVar[CallState]
    CALL_STATE_RECONCILED: _ClassVar[CallState]
    CALL_STATE_ABANDONED: _ClassVar[CallState]

class CallErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CALL_ERROR_REASON_UNSPECIFIED: _ClassVar[CallErrorReason]
    CALL_ERROR_REASON_UNKNOWN_TOOL: _ClassVar[CallErrorReason]
    CALL_ERROR_REASON_INVALID_ARGUMENTS: _ClassVar[CallErrorReason]
    CALL_ERROR_REASON_INVALID_RESULT: _ClassVar[CallErrorReason]
    CALL_ERROR_REASON_TOOL_FAILED: _ClassVar[CallErrorReason]
    CALL_ERROR_REASON_TIMEOUT: _ClassVar[CallErrorReason]
    CALL_ERROR_REASON_BUDGET: _ClassVar[CallErrorReason]
    CALL_ERROR_REASON_PERMISSION: _ClassVar[CallErrorReason]
    CALL_ERROR_REASON_CANCELLED: _ClassVar[CallErrorReason]
    CALL_ERROR_REASON_HOST_LOST: _ClassVar[CallErrorReason]
    CALL_ERROR_REASON_INTERRUPTED: _ClassVar[CallErrorReason]
    CALL_ERROR_REASON_ATTEMPTS: _ClassVar[CallErrorReason]
CALL_STATE_UNSPECIFIED: CallState
CALL_STATE_REQUESTED: CallState
CALL_STATE_AWAITING_APPROVAL: CallState
CALL_STATE_QUEUED: CallState
CALL_STATE_LEASED: CallState
CALL_STATE_SUCCEEDED: CallState
CALL_STATE_FAILED: CallState
CALL_STATE_CANCELLED: CallState
CALL_STATE_DENIED: CallState
CALL_STATE_UNKNOWN: CallState
CALL_STATE_RECONCILED: CallState
CALL_STATE_ABANDONED: CallState
CALL_ERROR_REASON_UNSPECIFIED: CallErrorReason
CALL_ERROR_REASON_UNKNOWN_TOOL: CallErrorReason
CALL_ERROR_REASON_INVALID_ARGUMENTS: CallErrorReason
CALL_ERROR_REASON_INVALID_RESULT: CallErrorReason
CALL_ERROR_REASON_TOOL_FAILED: CallErrorReason
CALL_ERROR_REASON_TIMEOUT: CallErrorReason
CALL_ERROR_REASON_BUDGET: CallErrorReason
CALL_ERROR_REASON_PERMISSION: CallErrorReason
CALL_ERROR_REASON_CANCELLED: CallErrorReason
CALL_ERROR_REASON_HOST_LOST: CallErrorReason
CALL_ERROR_REASON_INTERRUPTED: CallErrorReason
CALL_ERROR_REASON_ATTEMPTS: CallErrorReason

class Call(_message.Message):
    __slots__ = ("name", "tool", "arguments_json", "effect", "state", "attempt", "host", "idempotency_key", "result_json", "error", "create_time", "lease_expire_time", "update_time", "end_time", "evidence", "verdict", "approval", "edited_arguments_json", "simulate")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TOOL_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    RESULT_JSON_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    LEASE_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_FIELD_NUMBER: _ClassVar[int]
    EDITED_ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    SIMULATE_FIELD_NUMBER: _ClassVar[int]
    name: str
    tool: str
    arguments_json: str
    effect: _tool_pb2.EffectClass
    state: CallState
    attempt: int
    host: str
    idempotency_key: str
    result_json: str
    error: CallError
    create_time: _timestamp_pb2.Timestamp
    lease_expire_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    evidence: _containers.RepeatedCompositeFieldContainer[CallEvidence]
    verdict: _permission_pb2.Verdict
    approval: str
    edited_arguments_json: str
    simulate: bool
    def __init__(self, name: _Optional[str] = ..., tool: _Optional[str] = ..., arguments_json: _Optional[str] = ..., effect: _Optional[_Union[_tool_pb2.EffectClass, str]] = ..., state: _Optional[_Union[CallState, str]] = ..., attempt: _Optional[int] = ..., host: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., result_json: _Optional[str] = ..., error: _Optional[_Union[CallError, _Mapping]] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., lease_expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., evidence: _Optional[_Iterable[_Union[CallEvidence, _Mapping]]] = ..., verdict: _Optional[_Union[_permission_pb2.Verdict, _Mapping]] = ..., approval: _Optional[str] = ..., edited_arguments_json: _Optional[str] = ..., simulate: bool = ...) -> None: ...

class CallError(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: CallErrorReason
    message: str
    def __init__(self, reason: _Optional[_Union[CallErrorReason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class CallEvidence(_message.Message):
    __slots__ = ("host", "attempt", "result_json", "error_message", "receive_time")
    HOST_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    RESULT_JSON_FIELD_NUMBER: _ClassVar[int]
    ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    host: str
    attempt: int
    result_json: str
    error_message: str
    receive_time: _timestamp_pb2.Timestamp
    def __init__(self, host: _Optional[str] = ..., attempt: _Optional[int] = ..., result_json: _Optional[str] = ..., error_message: _Optional[str] = ..., receive_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
