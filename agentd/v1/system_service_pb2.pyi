from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class McpServerState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MCP_SERVER_STATE_UNSPECIFIED: _ClassVar[McpServerState]
    MCP_SERVER_STATE_CONNECTING: _ClassVar[McpServerState]
    MCP_SERVER_STATE_CONNECTED: _ClassVar[McpServerState]
    MCP_SERVER_STATE_PAUSED: _ClassVar[McpServerState]
    MCP_SERVER_STATE_FAILING: _ClassVar[McpServerState]

class SandboxTier(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SANDBOX_TIER_UNSPECIFIED: _ClassVar[SandboxTier]
    SANDBOX_TIER_NONE: _ClassVar[SandboxTier]
    SANDBOX_TIER_LANDLOCK: _ClassVar[SandboxTier]
    SANDBOX_TIER_BUBBLEWRAP: _ClassVar[SandboxTier]
MCP_SERVER_STATE_UNSPECIFIED: McpServerState
MCP_SERVER_STATE_CONNECTING: McpServerState
MCP_SERVER_STATE_CONNECTED: McpServerState
MCP_SERVER_STATE_PAUSED: McpServerState
MCP_SERVER_STATE_FAILING: McpServerState
SANDBOX_TIER_UNSPECIFIED: SandboxTier
SANDBOX_TIER_NONE: SandboxTier
SANDBOX_TIER_LANDLOCK: SandboxTier
SANDBOX_TIER_BUBBLEWRAP: SandboxTier

class GetInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetInfoResponse(_message.Message):
    __slots__ = ("version", "start_time", "revision", "oldest_revision", "unfinished_run_count", "models", "default_model", "sandbox_tier", "draining", "process_id", "connected_host_count", "max_request_bytes", "runtime_versions", "lease_duration", "sandbox_faults", "mcp_servers")
    class RuntimeVersionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    OLDEST_REVISION_FIELD_NUMBER: _ClassVar[int]
    UNFINISHED_RUN_COUNT_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_MODEL_FIELD_NUMBER: _ClassVar[int]
    SANDBOX_TIER_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_HOST_COUNT_FIELD_NUMBER: _ClassVar[int]
    MAX_REQUEST_BYTES_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    LEASE_DURATION_FIELD_NUMBER: _ClassVar[int]
    SANDBOX_FAULTS_FIELD_NUMBER: _ClassVar[int]
    MCP_SERVERS_FIELD_NUMBER: _ClassVar[int]
    version: str
    start_time: _timestamp_pb2.Timestamp
    revision: int
    oldest_revision: int
    unfinished_run_count: int
    models: _containers.RepeatedCompositeFieldContainer[ModelInfo]
    default_model: str
    sandbox_tier: SandboxTier
    draining: bool
    process_id: int
    connected_host_count: int
    max_request_bytes: int
    runtime_versions: _containers.ScalarMap[str, str]
    lease_duration: _duration_pb2.Duration
    sandbox_faults: _containers.RepeatedScalarFieldContainer[str]
    mcp_servers: _containers.RepeatedCompositeFieldContainer[McpServer]
    def __init__(self, version: _Optional[str] = ..., start_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., revision: _Optional[int] = ..., oldest_revision: _Optional[int] = ..., unfinished_run_count: _Optional[int] = ..., models: _Optional[_Iterable[_Union[ModelInfo, _Mapping]]] = ..., default_model: _Optional[str] = ..., sandbox_tier: _Optional[_Union[SandboxTier, str]] = ..., draining: bool = ..., process_id: _Optional[int] = ..., connected_host_count: _Optional[int] = ..., max_request_bytes: _Optional[int] = ..., runtime_versions: _Optional[_Mapping[str, str]] = ..., lease_duration: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., sandbox_faults: _Optional[_Iterable[str]] = ..., mcp_servers: _Optional[_Iterable[_Union[McpServer, _Mapping]]] = ...) -> None: ...

class McpServer(_message.Message):
    __slots__ = ("name", "state", "reason", "digest", "offered_digest", "changes", "tool_count", "faults")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    OFFERED_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    TOOL_COUNT_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: McpServerState
    reason: str
    digest: str
    offered_digest: str
    changes: _containers.RepeatedScalarFieldContainer[str]
    tool_count: int
    faults: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[McpServerState, str]] = ..., reason: _Optional[str] = ..., digest: _Optional[str] = ..., offered_digest: _Optional[str] = ..., changes: _Optional[_Iterable[str]] = ..., tool_count: _Optional[int] = ..., faults: _Optional[_Iterable[str]] = ...) -> None: ...

class ModelInfo(_message.Message):
    __slots__ = ("name", "context_tokens", "ready", "detail")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    name: str
    context_tokens: int
    ready: bool
    detail: str
    def __init__(self, name: _Optional[str] = ..., context_tokens: _Optional[int] = ..., ready: bool = ..., detail: _Optional[str] = ...) -> None: ...

class DrainRequest(_message.Message):
    __slots__ = ("timeout",)
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    timeout: _duration_pb2.Duration
    def __init__(self, timeout: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class DrainResponse(_message.Message):
    __slots__ = ("complete",)
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    complete: bool
    def __init__(self, complete: bool = ...) -> None: ...
