"""Say in a line what happens in the phases and tasks of a run that plans."""

from agentd.cli.text import line, lower
from agentd.client.types import Event, Purpose, TaskState

WIDTH = 100


def stage(event: Event) -> str:
    """Return what an event says of a phase or a task; empty for any other."""
    match event.WhichOneof("payload"):
        case "phase_started":
            started = event.phase_started
            phase = lower(Purpose.Name(started.phase), "PURPOSE_")
            return "" if started.task else f"# {phase}"
        case "phase_answered" if event.phase_answered.faults:
            return f"  sent back: {line('; '.join(event.phase_answered.faults), WIDTH)}"
        case "phase_ended":
            ended = event.phase_ended
            of = f"{ended.task.rpartition('/')[2]}: " if ended.task else ""
            said = f": {line(ended.detail, WIDTH)}" if ended.detail else ""
            return f"  {of}{line(ended.outcome)}{said}"
        case "plan_adopted":
            names = ", ".join(task.name.rpartition("/")[2] for task in event.plan_adopted.tasks)
            return f"  plan {event.plan_adopted.number}: {line(names, WIDTH)}"
        case "plan_approval_requested":
            name = event.plan_approval_requested.approval.rpartition("/")[2]
            return f"  a person has to approve the plan: agentd approve {name}"
        case "model_rerouted":
            changed = event.model_rerouted
            return f"  {line(changed.failed_model)} stays down: now {line(changed.model)}"
        case _:
            return _of_task(event)


def _of_task(event: Event) -> str:
    match event.WhichOneof("payload"):
        case "task_started":
            name = event.task_started.task.rpartition("/")[2]
            return f"  {name}: attempt {event.task_started.attempt}"
        case "task_ended":
            ended = event.task_ended
            state = lower(TaskState.Name(ended.state), "TASK_STATE_")
            said = f": {line(ended.result or ended.reason, WIDTH)}"
            return f"  {ended.task.rpartition('/')[2]}: {state}{said}"
        case "task_skipped":
            skipped = event.task_skipped
            return f"  {skipped.task.rpartition('/')[2]}: skipped: {line(skipped.reason, WIDTH)}"
        case _:
            return ""
