from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Decision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECISION_UNSPECIFIED: _ClassVar[Decision]
    DECISION_DENY: _ClassVar[Decision]
    DECISION_ASK: _ClassVar[Decision]
    DECISION_ALLOW: _ClassVar[Decision]
DECISION_UNSPECIFIED: Decision
DECISION_DENY: Decision
DECISION_ASK: Decision
DECISION_ALLOW: Decision

class PermissionRule(_message.Message):
    __slots__ = ("decision", "permission", "after_untrusted", "after_private", "outward")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_FIELD_NUMBER: _ClassVar[int]
    AFTER_UNTRUSTED_FIELD_NUMBER: _ClassVar[int]
    AFTER_PRIVATE_FIELD_NUMBER: _ClassVar[int]
    OUTWARD_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    permission: str
    after_untrusted: bool
    after_private: bool
    outward: bool
    def __init__(self, decision: _Optional[_Union[Decision, str]] = ..., permission: _Optional[str] = ..., after_untrusted: bool = ..., after_private: bool = ..., outward: bool = ...) -> None: ...

class PermissionGrant(_message.Message):
    __slots__ = ("permissions", "untrusted", "private")
    PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    UNTRUSTED_FIELD_NUMBER: _ClassVar[int]
    PRIVATE_FIELD_NUMBER: _ClassVar[int]
    permissions: _containers.RepeatedScalarFieldContainer[str]
    untrusted: bool
    private: bool
    def __init__(self, permissions: _Optional[_Iterable[str]] = ..., untrusted: bool = ..., private: bool = ...) -> None: ...

class PermissionLayer(_message.Message):
    __slots__ = ("rules",)
    RULES_FIELD_NUMBER: _ClassVar[int]
    rules: _containers.RepeatedCompositeFieldContainer[PermissionRule]
    def __init__(self, rules: _Optional[_Iterable[_Union[PermissionRule, _Mapping]]] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("decision", "needs", "need", "rule", "after_untrusted", "after_private", "granted")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    NEEDS_FIELD_NUMBER: _ClassVar[int]
    NEED_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    AFTER_UNTRUSTED_FIELD_NUMBER: _ClassVar[int]
    AFTER_PRIVATE_FIELD_NUMBER: _ClassVar[int]
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    needs: _containers.RepeatedScalarFieldContainer[str]
    need: str
    rule: str
    after_untrusted: bool
    after_private: bool
    granted: bool
    def __init__(self, decision: _Optional[_Union[Decision, str]] = ..., needs: _Optional[_Iterable[str]] = ..., need: _Optional[str] = ..., rule: _Optional[str] = ..., after_untrusted: bool = ..., after_private: bool = ..., granted: bool = ...) -> None: ...
