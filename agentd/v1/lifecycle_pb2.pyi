from agentd.v1 import agent_pb2 as _agent_pb2
from agentd.v1 import approval_pb2 as _approval_pb2
from agentd.v1 import budget_pb2 as _budget_pb2
from agentd.v1 import task_pb2 as _task_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PhaseStarted(_message.Message):
    __slots__ = ("phase", "thread", "prompt", "task")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    THREAD_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    phase: _agent_pb2.Purpose
    thread: str
    prompt: str
    task: str
    def __init__(self, phase: _Optional[_Union[_agent_pb2.Purpose, str]] = ..., thread: _Optional[str] = ..., prompt: _Optional[str] = ..., task: _Optional[str] = ...) -> None: ...

class PhaseAnswered(_message.Message):
    __slots__ = ("turn", "attempt", "text", "faults", "usage")
    TURN_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    turn: int
    attempt: int
    text: str
    faults: _containers.RepeatedScalarFieldContainer[str]
    usage: _budget_pb2.Usage
    def __init__(self, turn: _Optional[int] = ..., attempt: _Optional[int] = ..., text: _Optional[str] = ..., faults: _Optional[_Iterable[str]] = ..., usage: _Optional[_Union[_budget_pb2.Usage, _Mapping]] = ...) -> None: ...

class PhaseEnded(_message.Message):
    __slots__ = ("phase", "outcome", "detail", "task")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    phase: _agent_pb2.Purpose
    outcome: str
    detail: str
    task: str
    def __init__(self, phase: _Optional[_Union[_agent_pb2.Purpose, str]] = ..., outcome: _Optional[str] = ..., detail: _Optional[str] = ..., task: _Optional[str] = ...) -> None: ...

class PlanAdopted(_message.Message):
    __slots__ = ("summary", "tasks", "number")
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    summary: str
    tasks: _containers.RepeatedCompositeFieldContainer[_task_pb2.Task]
    number: int
    def __init__(self, summary: _Optional[str] = ..., tasks: _Optional[_Iterable[_Union[_task_pb2.Task, _Mapping]]] = ..., number: _Optional[int] = ...) -> None: ...

class PlanApprovalRequested(_message.Message):
    __slots__ = ("approval", "plan_json", "plan_sha256")
    APPROVAL_FIELD_NUMBER: _ClassVar[int]
    PLAN_JSON_FIELD_NUMBER: _ClassVar[int]
    PLAN_SHA256_FIELD_NUMBER: _ClassVar[int]
    approval: str
    plan_json: str
    plan_sha256: str
    def __init__(self, approval: _Optional[str] = ..., plan_json: _Optional[str] = ..., plan_sha256: _Optional[str] = ...) -> None: ...

class PlanApprovalDecided(_message.Message):
    __slots__ = ("approval", "decision", "reason", "decided_by")
    APPROVAL_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DECIDED_BY_FIELD_NUMBER: _ClassVar[int]
    approval: str
    decision: _approval_pb2.ApprovalState
    reason: str
    decided_by: str
    def __init__(self, approval: _Optional[str] = ..., decision: _Optional[_Union[_approval_pb2.ApprovalState, str]] = ..., reason: _Optional[str] = ..., decided_by: _Optional[str] = ...) -> None: ...

class TaskStarted(_message.Message):
    __slots__ = ("task", "attempt", "thread", "prompt")
    TASK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    THREAD_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    task: str
    attempt: int
    thread: str
    prompt: str
    def __init__(self, task: _Optional[str] = ..., attempt: _Optional[int] = ..., thread: _Optional[str] = ..., prompt: _Optional[str] = ...) -> None: ...

class TaskEnded(_message.Message):
    __slots__ = ("task", "attempt", "state", "result", "reason")
    TASK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    task: str
    attempt: int
    state: _task_pb2.TaskState
    result: str
    reason: str
    def __init__(self, task: _Optional[str] = ..., attempt: _Optional[int] = ..., state: _Optional[_Union[_task_pb2.TaskState, str]] = ..., result: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class TaskRetried(_message.Message):
    __slots__ = ("task", "attempt", "reason", "guidance")
    TASK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_FIELD_NUMBER: _ClassVar[int]
    task: str
    attempt: int
    reason: str
    guidance: str
    def __init__(self, task: _Optional[str] = ..., attempt: _Optional[int] = ..., reason: _Optional[str] = ..., guidance: _Optional[str] = ...) -> None: ...

class TaskSkipped(_message.Message):
    __slots__ = ("task", "reason")
    TASK_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    task: str
    reason: str
    def __init__(self, task: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class TaskStopping(_message.Message):
    __slots__ = ("task", "reason")
    TASK_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    task: str
    reason: str
    def __init__(self, task: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class MemoriesRecalled(_message.Message):
    __slots__ = ("query", "memories", "error")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    MEMORIES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    query: str
    memories: _containers.RepeatedCompositeFieldContainer[RecalledMemory]
    error: str
    def __init__(self, query: _Optional[str] = ..., memories: _Optional[_Iterable[_Union[RecalledMemory, _Mapping]]] = ..., error: _Optional[str] = ...) -> None: ...

class RecalledMemory(_message.Message):
    __slots__ = ("name", "kind", "text", "why")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    text: str
    why: str
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., text: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class MemoriesKept(_message.Message):
    __slots__ = ("phase", "memories", "error")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    MEMORIES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    phase: _agent_pb2.Purpose
    memories: _containers.RepeatedScalarFieldContainer[str]
    error: str
    def __init__(self, phase: _Optional[_Union[_agent_pb2.Purpose, str]] = ..., memories: _Optional[_Iterable[str]] = ..., error: _Optional[str] = ...) -> None: ...

class ModelRerouted(_message.Message):
    __slots__ = ("thread", "purpose", "failed_model", "model", "reason")
    THREAD_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    FAILED_MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    thread: str
    purpose: _agent_pb2.Purpose
    failed_model: str
    model: str
    reason: str
    def __init__(self, thread: _Optional[str] = ..., purpose: _Optional[_Union[_agent_pb2.Purpose, str]] = ..., failed_model: _Optional[str] = ..., model: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...
