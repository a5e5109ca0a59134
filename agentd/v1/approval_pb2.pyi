from agentd.v1 import tool_pb2 as _tool_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ApprovalState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    APPROVAL_STATE_UNSPECIFIED: _ClassVar[ApprovalState]
    APPROVAL_STATE_PENDING: _ClassVar[ApprovalState]
    APPROVAL_STATE_ALLOWED: _ClassVar[ApprovalState]
    APPROVAL_STATE_DENIED: _ClassVar[ApprovalState]
    APPROVAL_STATE_CANCELLED: _ClassVar[ApprovalState]

class ApprovalScope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    APPROVAL_SCOPE_UNSPECIFIED: _ClassVar[ApprovalScope]
    APPROVAL_SCOPE_ONCE: _ClassVar[ApprovalScope]
    APPROVAL_SCOPE_RUN: _ClassVar[ApprovalScope]
    APPROVAL_SCOPE_AGENT: _ClassVar[ApprovalScope]
APPROVAL_STATE_UNSPECIFIED: ApprovalState
APPROVAL_STATE_PENDING: ApprovalState
APPROVAL_STATE_ALLOWED: ApprovalState
APPROVAL_STATE_DENIED: ApprovalState
APPROVAL_STATE_CANCELLED: ApprovalState
APPROVAL_SCOPE_UNSPECIFIED: ApprovalScope
APPROVAL_SCOPE_ONCE: ApprovalScope
APPROVAL_SCOPE_RUN: ApprovalScope
APPROVAL_SCOPE_AGENT: ApprovalScope

class Approval(_message.Message):
    __slots__ = ("name", "call", "state", "tool", "arguments_json", "create_time", "decide_time", "reason", "run", "needs", "need", "rule", "arguments_sha256", "after_untrusted", "after_private", "tool_description", "effect", "edited_arguments_json", "scope", "decided_by", "agent", "plan")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TOOL_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    DECIDE_TIME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    NEEDS_FIELD_NUMBER: _ClassVar[int]
    NEED_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_SHA256_FIELD_NUMBER: _ClassVar[int]
    AFTER_UNTRUSTED_FIELD_NUMBER: _ClassVar[int]
    AFTER_PRIVATE_FIELD_NUMBER: _ClassVar[int]
    TOOL_DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    EDITED_ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    DECIDED_BY_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    name: str
    call: str
    state: ApprovalState
    tool: str
    arguments_json: str
    create_time: _timestamp_pb2.Timestamp
    decide_time: _timestamp_pb2.Timestamp
    reason: str
    run: str
    needs: _containers.RepeatedScalarFieldContainer[str]
    need: str
    rule: str
    arguments_sha256: str
    after_untrusted: bool
    after_private: bool
    tool_description: str
    effect: _tool_pb2.EffectClass
    edited_arguments_json: str
    scope: ApprovalScope
    decided_by: str
    agent: str
    plan: int
    def __init__(self, name: _Optional[str] = ..., call: _Optional[str] = ..., state: _Optional[_Union[ApprovalState, str]] = ..., tool: _Optional[str] = ..., arguments_json: _Optional[str] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., decide_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ..., run: _Optional[str] = ..., needs: _Optional[_Iterable[str]] = ..., need: _Optional[str] = ..., rule: _Optional[str] = ..., arguments_sha256: _Optional[str] = ..., after_untrusted: bool = ..., after_private: bool = ..., tool_description: _Optional[str] = ..., effect: _Optional[_Union[_tool_pb2.EffectClass, str]] = ..., edited_arguments_json: _Optional[str] = ..., scope: _Optional[_Union[ApprovalScope, str]] = ..., decided_by: _Optional[str] = ..., agent: _Optional[str] = ..., plan: _Optional[int] = ...) -> None: ...
