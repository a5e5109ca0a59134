from agentd.v1 import approval_pb2 as _approval_pb2
from agentd.v1 import budget_pb2 as _budget_pb2
from agentd.v1 import call_pb2 as _call_pb2
from agentd.v1 import lifecycle_pb2 as _lifecycle_pb2
from agentd.v1 import permission_pb2 as _permission_pb2
from agentd.v1 import run_pb2 as _run_pb2
from agentd.v1 import tool_pb2 as _tool_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StopReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STOP_REASON_UNSPECIFIED: _ClassVar[StopReason]
    STOP_REASON_END_TURN: _ClassVar[StopReason]
    STOP_REASON_TOOL_USE: _ClassVar[StopReason]
    STOP_REASON_MAX_TOKENS: _ClassVar[StopReason]
    STOP_REASON_REFUSAL: _ClassVar[StopReason]

class ModelErrorKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_ERROR_KIND_UNSPECIFIED: _ClassVar[ModelErrorKind]
    MODEL_ERROR_KIND_RATE_LIMITED: _ClassVar[ModelErrorKind]
    MODEL_ERROR_KIND_OVERLOADED: _ClassVar[ModelErrorKind]
    MODEL_ERROR_KIND_TRANSIENT: _ClassVar[ModelErrorKind]
    MODEL_ERROR_KIND_AUTHENTICATION: _ClassVar[ModelErrorKind]
    MODEL_ERROR_KIND_INVALID_REQUEST: _ClassVar[ModelErrorKind]
    MODEL_ERROR_KIND_CONTEXT_EXCEEDED: _ClassVar[ModelErrorKind]
    MODEL_ERROR_KIND_REFUSED: _ClassVar[ModelErrorKind]
STOP_REASON_UNSPECIFIED: StopReason
STOP_REASON_END_TURN: StopReason
STOP_REASON_TOOL_USE: StopReason
STOP_REASON_MAX_TOKENS: StopReason
STOP_REASON_REFUSAL: StopReason
MODEL_ERROR_KIND_UNSPECIFIED: ModelErrorKind
MODEL_ERROR_KIND_RATE_LIMITED: ModelErrorKind
MODEL_ERROR_KIND_OVERLOADED: ModelErrorKind
MODEL_ERROR_KIND_TRANSIENT: ModelErrorKind
MODEL_ERROR_KIND_AUTHENTICATION: ModelErrorKind
MODEL_ERROR_KIND_INVALID_REQUEST: ModelErrorKind
MODEL_ERROR_KIND_CONTEXT_EXCEEDED: ModelErrorKind
MODEL_ERROR_KIND_REFUSED: ModelErrorKind

class Event(_message.Message):
    __slots__ = ("revision", "run", "sequence", "time", "run_created", "run_started", "run_waiting", "run_paused", "run_resumed", "run_cancelling", "run_ended", "message_posted", "model_requested", "model_replied", "model_failed", "model_lost", "call_leased", "call_lost", "call_unknown", "call_ended", "call_retried", "call_evidence_kept", "call_probed", "approval_requested", "approval_decided", "phase_started", "phase_ended", "phase_answered", "plan_adopted", "task_started", "task_ended", "task_retried", "task_skipped", "task_stopping", "memories_recalled", "memories_kept", "model_rerouted", "plan_approval_requested", "plan_approval_decided")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    RUN_CREATED_FIELD_NUMBER: _ClassVar[int]
    RUN_STARTED_FIELD_NUMBER: _ClassVar[int]
    RUN_WAITING_FIELD_NUMBER: _ClassVar[int]
    RUN_PAUSED_FIELD_NUMBER: _ClassVar[int]
    RUN_RESUMED_FIELD_NUMBER: _ClassVar[int]
    RUN_CANCELLING_FIELD_NUMBER: _ClassVar[int]
    RUN_ENDED_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_POSTED_FIELD_NUMBER: _ClassVar[int]
    MODEL_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    MODEL_REPLIED_FIELD_NUMBER: _ClassVar[int]
    MODEL_FAILED_FIELD_NUMBER: _ClassVar[int]
    MODEL_LOST_FIELD_NUMBER: _ClassVar[int]
    CALL_LEASED_FIELD_NUMBER: _ClassVar[int]
    CALL_LOST_FIELD_NUMBER: _ClassVar[int]
    CALL_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    CALL_ENDED_FIELD_NUMBER: _ClassVar[int]
    CALL_RETRIED_FIELD_NUMBER: _ClassVar[int]
    CALL_EVIDENCE_KEPT_FIELD_NUMBER: _ClassVar[int]
    CALL_PROBED_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_DECIDED_FIELD_NUMBER: _ClassVar[int]
    PHASE_STARTED_FIELD_NUMBER: _ClassVar[int]
    PHASE_ENDED_FIELD_NUMBER: _ClassVar[int]
    PHASE_ANSWERED_FIELD_NUMBER: _ClassVar[int]
    PLAN_ADOPTED_FIELD_NUMBER: _ClassVar[int]
    TASK_STARTED_FIELD_NUMBER: _ClassVar[int]
    TASK_ENDED_FIELD_NUMBER: _ClassVar[int]
    TASK_RETRIED_FIELD_NUMBER: _ClassVar[int]
    TASK_SKIPPED_FIELD_NUMBER: _ClassVar[int]
    TASK_STOPPING_FIELD_NUMBER: _ClassVar[int]
    MEMORIES_RECALLED_FIELD_NUMBER: _ClassVar[int]
    MEMORIES_KEPT_FIELD_NUMBER: _ClassVar[int]
    MODEL_REROUTED_FIELD_NUMBER: _ClassVar[int]
    PLAN_APPROVAL_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    PLAN_APPROVAL_DECIDED_FIELD_NUMBER: _ClassVar[int]
    revision: int
    run: str
    sequence: int
    time: _timestamp_pb2.Timestamp
    run_created: RunCreated
    run_started: RunStarted
    run_waiting: RunWaiting
    run_paused: RunPaused
    run_resumed: RunResumed
    run_cancelling: RunCancelling
    run_ended: RunEnded
    message_posted: MessagePosted
    model_requested: ModelRequested
    model_replied: ModelReplied
    model_failed: ModelFailed
    model_lost: ModelLost
    call_leased: CallLeased
    call_lost: CallLost
    call_unknown: CallUnknown
    call_ended: CallEnded
    call_retried: CallRetried
    call_evidence_kept: CallEvidenceKept
    call_probed: CallProbed
    approval_requested: ApprovalRequested
    approval_decided: ApprovalDecided
    phase_started: _lifecycle_pb2.PhaseStarted
    phase_ended: _lifecycle_pb2.PhaseEnded
    phase_answered: _lifecycle_pb2.PhaseAnswered
    plan_adopted: _lifecycle_pb2.PlanAdopted
    task_started: _lifecycle_pb2.TaskStarted
    task_ended: _lifecycle_pb2.TaskEnded
    task_retried: _lifecycle_pb2.TaskRetried
    task_skipped: _lifecycle_pb2.TaskSkipped
    task_stopping: _lifecycle_pb2.TaskStopping
    memories_recalled: _lifecycle_pb2.MemoriesRecalled
    memories_kept: _lifecycle_pb2.MemoriesKept
    model_rerouted: _lifecycle_pb2.ModelRerouted
    plan_approval_requested: _lifecycle_pb2.PlanApprovalRequested
    plan_approval_decided: _lifecycle_pb2.PlanApprovalDecided
    def __init__(self, revision: _Optional[int] = ..., run: _Optional[str] = ..., sequence: _Optional[int] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., run_created: _Optional[_Union[RunCreated, _Mapping]] = ..., run_started: _Optional[_Union[RunStarted, _Mapping]] = ..., run_waiting: _Optional[_Union[RunWaiting, _Mapping]] = ..., run_paused: _Optional[_Union[RunPaused, _Mapping]] = ..., run_resumed: _Optional[_Union[RunResumed, _Mapping]] = ..., run_cancelling: _Optional[_Union[RunCancelling, _Mapping]] = ..., run_ended: _Optional[_Union[RunEnded, _Mapping]] = ..., message_posted: _Optional[_Union[MessagePosted, _Mapping]] = ..., model_requested: _Optional[_Union[ModelRequested, _Mapping]] = ..., model_replied: _Optional[_Union[ModelReplied, _Mapping]] = ..., model_failed: _Optional[_Union[ModelFailed, _Mapping]] = ..., model_lost: _Optional[_Union[ModelLost, _Mapping]] = ..., call_leased: _Optional[_Union[CallLeased, _Mapping]] = ..., call_lost: _Optional[_Union[CallLost, _Mapping]] = ..., call_unknown: _Optional[_Union[CallUnknown, _Mapping]] = ..., call_ended: _Optional[_Union[CallEnded, _Mapping]] = ..., call_retried: _Optional[_Union[CallRetried, _Mapping]] = ..., call_evidence_kept: _Optional[_Union[CallEvidenceKept, _Mapping]] = ..., call_probed: _Optional[_Union[CallProbed, _Mapping]] = ..., approval_requested: _Optional[_Union[ApprovalRequested, _Mapping]] = ..., approval_decided: _Optional[_Union[ApprovalDecided, _Mapping]] = ..., phase_started: _Optional[_Union[_lifecycle_pb2.PhaseStarted, _Mapping]] = ..., phase_ended: _Optional[_Union[_lifecycle_pb2.PhaseEnded, _Mapping]] = ..., phase_answered: _Optional[_Union[_lifecycle_pb2.PhaseAnswered, _Mapping]] = ..., plan_adopted: _Optional[_Union[_lifecycle_pb2.PlanAdopted, _Mapping]] = ..., task_started: _Optional[_Union[_lifecycle_pb2.TaskStarted, _Mapping]] = ..., task_ended: _Optional[_Union[_lifecycle_pb2.TaskEnded, _Mapping]] = ..., task_retried: _Optional[_Union[_lifecycle_pb2.TaskRetried, _Mapping]] = ..., task_skipped: _Optional[_Union[_lifecycle_pb2.TaskSkipped, _Mapping]] = ..., task_stopping: _Optional[_Union[_lifecycle_pb2.TaskStopping, _Mapping]] = ..., memories_recalled: _Optional[_Union[_lifecycle_pb2.MemoriesRecalled, _Mapping]] = ..., memories_kept: _Optional[_Union[_lifecycle_pb2.MemoriesKept, _Mapping]] = ..., model_rerouted: _Optional[_Union[_lifecycle_pb2.ModelRerouted, _Mapping]] = ..., plan_approval_requested: _Optional[_Union[_lifecycle_pb2.PlanApprovalRequested, _Mapping]] = ..., plan_approval_decided: _Optional[_Union[_lifecycle_pb2.PlanApprovalDecided, _Mapping]] = ...) -> None: ...

class RunCreated(_message.Message):
    __slots__ = ("agent", "agent_revision", "session", "goal", "budget", "parent_run")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    AGENT_REVISION_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    GOAL_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    PARENT_RUN_FIELD_NUMBER: _ClassVar[int]
    agent: str
    agent_revision: int
    session: str
    goal: str
    budget: _budget_pb2.Budget
    parent_run: str
    def __init__(self, agent: _Optional[str] = ..., agent_revision: _Optional[int] = ..., session: _Optional[str] = ..., goal: _Optional[str] = ..., budget: _Optional[_Union[_budget_pb2.Budget, _Mapping]] = ..., parent_run: _Optional[str] = ...) -> None: ...

class RunStarted(_message.Message):
    __slots__ = ("model", "tools", "previous_run", "layers", "untrusted", "private")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_RUN_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    UNTRUSTED_FIELD_NUMBER: _ClassVar[int]
    PRIVATE_FIELD_NUMBER: _ClassVar[int]
    model: str
    tools: _containers.RepeatedScalarFieldContainer[str]
    previous_run: str
    layers: _containers.RepeatedCompositeFieldContainer[_permission_pb2.PermissionLayer]
    untrusted: bool
    private: bool
    def __init__(self, model: _Optional[str] = ..., tools: _Optional[_Iterable[str]] = ..., previous_run: _Optional[str] = ..., layers: _Optional[_Iterable[_Union[_permission_pb2.PermissionLayer, _Mapping]]] = ..., untrusted: bool = ..., private: bool = ...) -> None: ...

class RunWaiting(_message.Message):
    __slots__ = ("reason", "detail")
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    reason: _run_pb2.WaitReason
    detail: str
    def __init__(self, reason: _Optional[_Union[_run_pb2.WaitReason, str]] = ..., detail: _Optional[str] = ...) -> None: ...

class RunPaused(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class RunResumed(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RunCancelling(_message.Message):
    __slots__ = ("reason", "timeout", "outcome")
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    reason: str
    timeout: _duration_pb2.Duration
    outcome: _run_pb2.RunState
    def __init__(self, reason: _Optional[str] = ..., timeout: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., outcome: _Optional[_Union[_run_pb2.RunState, str]] = ...) -> None: ...

class RunEnded(_message.Message):
    __slots__ = ("state", "output", "failure", "usage", "cancel_entries")
    STATE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    CANCEL_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    state: _run_pb2.RunState
    output: str
    failure: _run_pb2.RunFailure
    usage: _budget_pb2.Usage
    cancel_entries: _containers.RepeatedCompositeFieldContainer[_run_pb2.CancelEntry]
    def __init__(self, state: _Optional[_Union[_run_pb2.RunState, str]] = ..., output: _Optional[str] = ..., failure: _Optional[_Union[_run_pb2.RunFailure, _Mapping]] = ..., usage: _Optional[_Union[_budget_pb2.Usage, _Mapping]] = ..., cancel_entries: _Optional[_Iterable[_Union[_run_pb2.CancelEntry, _Mapping]]] = ...) -> None: ...

class MessagePosted(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class ModelRequested(_message.Message):
    __slots__ = ("turn", "attempt", "model", "reserved_tokens", "max_output_tokens", "reserved_cost_nanos", "thread")
    TURN_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RESERVED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    RESERVED_COST_NANOS_FIELD_NUMBER: _ClassVar[int]
    THREAD_FIELD_NUMBER: _ClassVar[int]
    turn: int
    attempt: int
    model: str
    reserved_tokens: int
    max_output_tokens: int
    reserved_cost_nanos: int
    thread: str
    def __init__(self, turn: _Optional[int] = ..., attempt: _Optional[int] = ..., model: _Optional[str] = ..., reserved_tokens: _Optional[int] = ..., max_output_tokens: _Optional[int] = ..., reserved_cost_nanos: _Optional[int] = ..., thread: _Optional[str] = ...) -> None: ...

class ModelReplied(_message.Message):
    __slots__ = ("turn", "attempt", "text", "calls", "stop_reason", "usage")
    TURN_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    STOP_REASON_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    turn: int
    attempt: int
    text: str
    calls: _containers.RepeatedCompositeFieldContainer[CallRequest]
    stop_reason: StopReason
    usage: _budget_pb2.Usage
    def __init__(self, turn: _Optional[int] = ..., attempt: _Optional[int] = ..., text: _Optional[str] = ..., calls: _Optional[_Iterable[_Union[CallRequest, _Mapping]]] = ..., stop_reason: _Optional[_Union[StopReason, str]] = ..., usage: _Optional[_Union[_budget_pb2.Usage, _Mapping]] = ...) -> None: ...

class CallRequest(_message.Message):
    __slots__ = ("call", "tool", "arguments_json", "verdict", "simulate", "departs")
    CALL_FIELD_NUMBER: _ClassVar[int]
    TOOL_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    SIMULATE_FIELD_NUMBER: _ClassVar[int]
    DEPARTS_FIELD_NUMBER: _ClassVar[int]
    call: str
    tool: str
    arguments_json: str
    verdict: _permission_pb2.Verdict
    simulate: bool
    departs: str
    def __init__(self, call: _Optional[str] = ..., tool: _Optional[str] = ..., arguments_json: _Optional[str] = ..., verdict: _Optional[_Union[_permission_pb2.Verdict, _Mapping]] = ..., simulate: bool = ..., departs: _Optional[str] = ...) -> None: ...

class ModelFailed(_message.Message):
    __slots__ = ("turn", "attempt", "kind", "message", "will_retry", "retry_delay", "usage")
    TURN_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    WILL_RETRY_FIELD_NUMBER: _ClassVar[int]
    RETRY_DELAY_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    turn: int
    attempt: int
    kind: ModelErrorKind
    message: str
    will_retry: bool
    retry_delay: _duration_pb2.Duration
    usage: _budget_pb2.Usage
    def __init__(self, turn: _Optional[int] = ..., attempt: _Optional[int] = ..., kind: _Optional[_Union[ModelErrorKind, str]] = ..., message: _Optional[str] = ..., will_retry: bool = ..., retry_delay: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., usage: _Optional[_Union[_budget_pb2.Usage, _Mapping]] = ...) -> None: ...

class ModelLost(_message.Message):
    __slots__ = ("turn", "attempt", "reason")
    TURN_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    turn: int
    attempt: int
    reason: str
    def __init__(self, turn: _Optional[int] = ..., attempt: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class CallLeased(_message.Message):
    __slots__ = ("call", "attempt", "host", "tool", "effect")
    CALL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    TOOL_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    call: str
    attempt: int
    host: str
    tool: str
    effect: _tool_pb2.EffectClass
    def __init__(self, call: _Optional[str] = ..., attempt: _Optional[int] = ..., host: _Optional[str] = ..., tool: _Optional[str] = ..., effect: _Optional[_Union[_tool_pb2.EffectClass, str]] = ...) -> None: ...

class CallLost(_message.Message):
    __slots__ = ("call", "attempt", "reason")
    CALL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    call: str
    attempt: int
    reason: _call_pb2.CallErrorReason
    def __init__(self, call: _Optional[str] = ..., attempt: _Optional[int] = ..., reason: _Optional[_Union[_call_pb2.CallErrorReason, str]] = ...) -> None: ...

class CallUnknown(_message.Message):
    __slots__ = ("call", "attempt", "reason", "message")
    CALL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    call: str
    attempt: int
    reason: _call_pb2.CallErrorReason
    message: str
    def __init__(self, call: _Optional[str] = ..., attempt: _Optional[int] = ..., reason: _Optional[_Union[_call_pb2.CallErrorReason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class CallEnded(_message.Message):
    __slots__ = ("call", "attempt", "state", "result_json", "error", "resolution")
    CALL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RESULT_JSON_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    call: str
    attempt: int
    state: _call_pb2.CallState
    result_json: str
    error: _call_pb2.CallError
    resolution: str
    def __init__(self, call: _Optional[str] = ..., attempt: _Optional[int] = ..., state: _Optional[_Union[_call_pb2.CallState, str]] = ..., result_json: _Optional[str] = ..., error: _Optional[_Union[_call_pb2.CallError, _Mapping]] = ..., resolution: _Optional[str] = ...) -> None: ...

class CallRetried(_message.Message):
    __slots__ = ("call", "reason")
    CALL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    call: str
    reason: str
    def __init__(self, call: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class CallEvidenceKept(_message.Message):
    __slots__ = ("call", "evidence")
    CALL_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    call: str
    evidence: _call_pb2.CallEvidence
    def __init__(self, call: _Optional[str] = ..., evidence: _Optional[_Union[_call_pb2.CallEvidence, _Mapping]] = ...) -> None: ...

class CallProbed(_message.Message):
    __slots__ = ("call", "attempt", "host")
    CALL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    call: str
    attempt: int
    host: str
    def __init__(self, call: _Optional[str] = ..., attempt: _Optional[int] = ..., host: _Optional[str] = ...) -> None: ...

class ApprovalRequested(_message.Message):
    __slots__ = ("approval", "call", "arguments_sha256")
    APPROVAL_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_SHA256_FIELD_NUMBER: _ClassVar[int]
    approval: str
    call: str
    arguments_sha256: str
    def __init__(self, approval: _Optional[str] = ..., call: _Optional[str] = ..., arguments_sha256: _Optional[str] = ...) -> None: ...

class ApprovalDecided(_message.Message):
    __slots__ = ("approval", "call", "decision", "reason", "scope", "edited_arguments_json", "decided_by")
    APPROVAL_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    EDITED_ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    DECIDED_BY_FIELD_NUMBER: _ClassVar[int]
    approval: str
    call: str
    decision: _approval_pb2.ApprovalState
    reason: str
    scope: _approval_pb2.ApprovalScope
    edited_arguments_json: str
    decided_by: str
    def __init__(self, approval: _Optional[str] = ..., call: _Optional[str] = ..., decision: _Optional[_Union[_approval_pb2.ApprovalState, str]] = ..., reason: _Optional[str] = ..., scope: _Optional[_Union[_approval_pb2.ApprovalScope, str]] = ..., edited_arguments_json: _Optional[str] = ..., decided_by: _Optional[str] = ...) -> None: ...

class Delta(_message.Message):
    __slots__ = ("run", "turn", "call", "attempt", "index", "text", "progress")
    RUN_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    run: str
    turn: int
    call: str
    attempt: int
    index: int
    text: str
    progress: CallProgress
    def __init__(self, run: _Optional[str] = ..., turn: _Optional[int] = ..., call: _Optional[str] = ..., attempt: _Optional[int] = ..., index: _Optional[int] = ..., text: _Optional[str] = ..., progress: _Optional[_Union[CallProgress, _Mapping]] = ...) -> None: ...

class CallProgress(_message.Message):
    __slots__ = ("message", "fraction")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    message: str
    fraction: float
    def __init__(self, message: _Optional[str] = ..., fraction: _Optional[float] = ...) -> None: ...
