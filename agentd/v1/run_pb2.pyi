from agentd.v1 import budget_pb2 as _budget_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RunState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_STATE_UNSPECIFIED: _ClassVar[RunState]
    RUN_STATE_PENDING: _ClassVar[RunState]
    RUN_STATE_RUNNING: _ClassVar[RunState]
    RUN_STATE_WAITING: _ClassVar[RunState]
    RUN_STATE_PAUSED: _ClassVar[RunState]
    RUN_STATE_CANCELLING: _ClassVar[RunState]
    RUN_STATE_SUCCEEDED: _ClassVar[RunState]
    RUN_STATE_FAILED: _ClassVar[RunState]
    RUN_STATE_CANCELLED: _ClassVar[RunState]
    RUN_STATE_ABANDONED: _ClassVar[RunState]

class WaitReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WAIT_REASON_UNSPECIFIED: _ClassVar[WaitReason]
    WAIT_REASON_APPROVAL: _ClassVar[WaitReason]
    WAIT_REASON_HOST: _ClassVar[WaitReason]
    WAIT_REASON_MESSAGE: _ClassVar[WaitReason]
    WAIT_REASON_INPUT: _ClassVar[WaitReason]
    WAIT_REASON_TIMER: _ClassVar[WaitReason]

class RunFailureReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_FAILURE_REASON_UNSPECIFIED: _ClassVar[RunFailureReason]
    RUN_FAILURE_REASON_BUDGET_TURNS: _ClassVar[RunFailureReason]
    RUN_FAILURE_REASON_BUDGET_TOKENS: _ClassVar[RunFailureReason]
    RUN_FAILURE_REASON_BUDGET_COST: _ClassVar[RunFailureReason]
    RUN_FAILURE_REASON_BUDGET_TOOL_CALLS: _ClassVar[RunFailureReason]
    RUN_FAILURE_REASON_BUDGET_WALL_TIME: _ClassVar[RunFailureReason]
    RUN_FAILURE_REASON_MODEL_AUTHENTICATION: _ClassVar[RunFailureReason]
    RUN_FAILURE_REASON_MODEL_INVALID_REQUEST: _ClassVar[RunFailureReason]
    RUN_FAILURE_REASON_MODEL_REFUSED: _ClassVar[RunFailureReason]
    RUN_FAILURE_REASON_MODEL_UNAVAILABLE: _ClassVar[RunFailureReason]
    RUN_FAILURE_REASON_MODEL_CONTEXT_EXCEEDED: _ClassVar[RunFailureReason]
    RUN_FAILURE_REASON_MODEL_OUTPUT_TRUNCATED: _ClassVar[RunFailureReason]
    RUN_FAILURE_REASON_NOT_FOUND: _ClassVar[RunFailureReason]
    RUN_FAILURE_REASON_INTERNAL: _ClassVar[RunFailureReason]
    RUN_FAILURE_REASON_PLAN_REJECTED: _ClassVar[RunFailureReason]
    RUN_FAILURE_REASON_ANSWER_INVALID: _ClassVar[RunFailureReason]
    RUN_FAILURE_REASON_GOAL_NOT_REACHED: _ClassVar[RunFailureReason]

class CancelOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CANCEL_OUTCOME_UNSPECIFIED: _ClassVar[CancelOutcome]
    CANCEL_OUTCOME_STOPPED: _ClassVar[CancelOutcome]
    CANCEL_OUTCOME_REFUSED: _ClassVar[CancelOutcome]
    CANCEL_OUTCOME_STILL_RUNNING: _ClassVar[CancelOutcome]
RUN_STATE_UNSPECIFIED: RunState
RUN_STATE_PENDING: RunState
RUN_STATE_RUNNING: RunState
RUN_STATE_WAITING: RunState
RUN_STATE_PAUSED: RunState
RUN_STATE_CANCELLING: RunState
RUN_STATE_SUCCEEDED: RunState
RUN_STATE_FAILED: RunState
RUN_STATE_CANCELLED: RunState
RUN_STATE_ABANDONED: RunState
WAIT_REASON_UNSPECIFIED: WaitReason
WAIT_REASON_APPROVAL: WaitReason
WAIT_REASON_HOST: WaitReason
WAIT_REASON_MESSAGE: WaitReason
WAIT_REASON_INPUT: WaitReason
WAIT_REASON_TIMER: WaitReason
RUN_FAILURE_REASON_UNSPECIFIED: RunFailureReason
RUN_FAILURE_REASON_BUDGET_TURNS: RunFailureReason
RUN_FAILURE_REASON_BUDGET_TOKENS: RunFailureReason
RUN_FAILURE_REASON_BUDGET_COST: RunFailureReason
RUN_FAILURE_REASON_BUDGET_TOOL_CALLS: RunFailureReason
RUN_FAILURE_REASON_BUDGET_WALL_TIME: RunFailureReason
RUN_FAILURE_REASON_MODEL_AUTHENTICATION: RunFailureReason
RUN_FAILURE_REASON_MODEL_INVALID_REQUEST: RunFailureReason
RUN_FAILURE_REASON_MODEL_REFUSED: RunFailureReason
RUN_FAILURE_REASON_MODEL_UNAVAILABLE: RunFailureReason
RUN_FAILURE_REASON_MODEL_CONTEXT_EXCEEDED: RunFailureReason
RUN_FAILURE_REASON_MODEL_OUTPUT_TRUNCATED: RunFailureReason
RUN_FAILURE_REASON_NOT_FOUND: RunFailureReason
RUN_FAILURE_REASON_INTERNAL: RunFailureReason
RUN_FAILURE_REASON_PLAN_REJECTED: RunFailureReason
RUN_FAILURE_REASON_ANSWER_INVALID: RunFailureReason
RUN_FAILURE_REASON_GOAL_NOT_REACHED: RunFailureReason
CANCEL_OUTCOME_UNSPECIFIED: CancelOutcome
CANCEL_OUTCOME_STOPPED: CancelOutcome
CANCEL_OUTCOME_REFUSED: CancelOutcome
CANCEL_OUTCOME_STILL_RUNNING: CancelOutcome

class Run(_message.Message):
    __slots__ = ("name", "agent", "agent_revision", "session", "goal", "model", "tools", "budget", "annotations", "state", "wait_reason", "wait_detail", "output", "failure", "usage", "last_sequence", "parent_run", "create_time", "start_time", "end_time", "update_time", "workspace", "simulate_only")
    class AnnotationsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    AGENT_REVISION_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    GOAL_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    WAIT_REASON_FIELD_NUMBER: _ClassVar[int]
    WAIT_DETAIL_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PARENT_RUN_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    WORKSPACE_FIELD_NUMBER: _ClassVar[int]
    SIMULATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    name: str
    agent: str
    agent_revision: int
    session: str
    goal: str
    model: str
    tools: _containers.RepeatedScalarFieldContainer[str]
    budget: _budget_pb2.Budget
    annotations: _containers.ScalarMap[str, str]
    state: RunState
    wait_reason: WaitReason
    wait_detail: str
    output: str
    failure: RunFailure
    usage: _budget_pb2.Usage
    last_sequence: int
    parent_run: str
    create_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    workspace: str
    simulate_only: bool
    def __init__(self, name: _Optional[str] = ..., agent: _Optional[str] = ..., agent_revision: _Optional[int] = ..., session: _Optional[str] = ..., goal: _Optional[str] = ..., model: _Optional[str] = ..., tools: _Optional[_Iterable[str]] = ..., budget: _Optional[_Union[_budget_pb2.Budget, _Mapping]] = ..., annotations: _Optional[_Mapping[str, str]] = ..., state: _Optional[_Union[RunState, str]] = ..., wait_reason: _Optional[_Union[WaitReason, str]] = ..., wait_detail: _Optional[str] = ..., output: _Optional[str] = ..., failure: _Optional[_Union[RunFailure, _Mapping]] = ..., usage: _Optional[_Union[_budget_pb2.Usage, _Mapping]] = ..., last_sequence: _Optional[int] = ..., parent_run: _Optional[str] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., workspace: _Optional[str] = ..., simulate_only: bool = ...) -> None: ...

class RunFailure(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: RunFailureReason
    message: str
    def __init__(self, reason: _Optional[_Union[RunFailureReason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class CancelReport(_message.Message):
    __slots__ = ("run", "state", "entries", "complete", "elapsed")
    RUN_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_FIELD_NUMBER: _ClassVar[int]
    run: str
    state: RunState
    entries: _containers.RepeatedCompositeFieldContainer[CancelEntry]
    complete: bool
    elapsed: _duration_pb2.Duration
    def __init__(self, run: _Optional[str] = ..., state: _Optional[_Union[RunState, str]] = ..., entries: _Optional[_Iterable[_Union[CancelEntry, _Mapping]]] = ..., complete: bool = ..., elapsed: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class CancelEntry(_message.Message):
    __slots__ = ("name", "outcome", "detail")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    name: str
    outcome: CancelOutcome
    detail: str
    def __init__(self, name: _Optional[str] = ..., outcome: _Optional[_Union[CancelOutcome, str]] = ..., detail: _Optional[str] = ...) -> None: ...
