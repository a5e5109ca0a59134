from agentd.v1 import budget_pb2 as _budget_pb2
from agentd.v1 import permission_pb2 as _permission_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Purpose(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PURPOSE_UNSPECIFIED: _ClassVar[Purpose]
    PURPOSE_PLANNING: _ClassVar[Purpose]
    PURPOSE_SIMULATION: _ClassVar[Purpose]
    PURPOSE_EXECUTION: _ClassVar[Purpose]
    PURPOSE_FEEDBACK: _ClassVar[Purpose]
    PURPOSE_MEMORY: _ClassVar[Purpose]
    PURPOSE_REFLECTION: _ClassVar[Purpose]
    PURPOSE_COMPACTION: _ClassVar[Purpose]

class Protocol(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROTOCOL_UNSPECIFIED: _ClassVar[Protocol]
    PROTOCOL_DIRECT: _ClassVar[Protocol]
    PROTOCOL_LIFECYCLE: _ClassVar[Protocol]

class OnUnknown(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ON_UNKNOWN_UNSPECIFIED: _ClassVar[OnUnknown]
    ON_UNKNOWN_ASK: _ClassVar[OnUnknown]
    ON_UNKNOWN_TELL_MODEL: _ClassVar[OnUnknown]
PURPOSE_UNSPECIFIED: Purpose
PURPOSE_PLANNING: Purpose
PURPOSE_SIMULATION: Purpose
PURPOSE_EXECUTION: Purpose
PURPOSE_FEEDBACK: Purpose
PURPOSE_MEMORY: Purpose
PURPOSE_REFLECTION: Purpose
PURPOSE_COMPACTION: Purpose
PROTOCOL_UNSPECIFIED: Protocol
PROTOCOL_DIRECT: Protocol
PROTOCOL_LIFECYCLE: Protocol
ON_UNKNOWN_UNSPECIFIED: OnUnknown
ON_UNKNOWN_ASK: OnUnknown
ON_UNKNOWN_TELL_MODEL: OnUnknown

class Agent(_message.Message):
    __slots__ = ("name", "revision", "display_name", "instructions", "models", "tools", "budget", "protocol", "on_unknown", "max_parallel_calls", "annotations", "create_time", "update_time", "etag", "permissions", "grants", "require_plan_approval", "phase_prompts")
    class AnnotationsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTIONS_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    ON_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    MAX_PARALLEL_CALLS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    GRANTS_FIELD_NUMBER: _ClassVar[int]
    REQUIRE_PLAN_APPROVAL_FIELD_NUMBER: _ClassVar[int]
    PHASE_PROMPTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    revision: int
    display_name: str
    instructions: str
    models: _containers.RepeatedCompositeFieldContainer[ModelRoute]
    tools: _containers.RepeatedScalarFieldContainer[str]
    budget: _budget_pb2.Budget
    protocol: Protocol
    on_unknown: OnUnknown
    max_parallel_calls: int
    annotations: _containers.ScalarMap[str, str]
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    etag: str
    permissions: _containers.RepeatedCompositeFieldContainer[_permission_pb2.PermissionRule]
    grants: _containers.RepeatedCompositeFieldContainer[_permission_pb2.PermissionGrant]
    require_plan_approval: bool
    phase_prompts: _containers.RepeatedCompositeFieldContainer[PhasePrompt]
    def __init__(self, name: _Optional[str] = ..., revision: _Optional[int] = ..., display_name: _Optional[str] = ..., instructions: _Optional[str] = ..., models: _Optional[_Iterable[_Union[ModelRoute, _Mapping]]] = ..., tools: _Optional[_Iterable[str]] = ..., budget: _Optional[_Union[_budget_pb2.Budget, _Mapping]] = ..., protocol: _Optional[_Union[Protocol, str]] = ..., on_unknown: _Optional[_Union[OnUnknown, str]] = ..., max_parallel_calls: _Optional[int] = ..., annotations: _Optional[_Mapping[str, str]] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ..., permissions: _Optional[_Iterable[_Union[_permission_pb2.PermissionRule, _Mapping]]] = ..., grants: _Optional[_Iterable[_Union[_permission_pb2.PermissionGrant, _Mapping]]] = ..., require_plan_approval: bool = ..., phase_prompts: _Optional[_Iterable[_Union[PhasePrompt, _Mapping]]] = ...) -> None: ...

class ModelRoute(_message.Message):
    __slots__ = ("purpose", "model", "fallbacks")
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FALLBACKS_FIELD_NUMBER: _ClassVar[int]
    purpose: Purpose
    model: str
    fallbacks: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, purpose: _Optional[_Union[Purpose, str]] = ..., model: _Optional[str] = ..., fallbacks: _Optional[_Iterable[str]] = ...) -> None: ...

class PhasePrompt(_message.Message):
    __slots__ = ("purpose", "text")
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    purpose: Purpose
    text: str
    def __init__(self, purpose: _Optional[_Union[Purpose, str]] = ..., text: _Optional[str] = ...) -> None: ...
