"""Translate what passes between the runtime and the hosts of tools into the contract's messages."""

from typing import assert_never

from agentd.agent.hosting import (
    Cancellation,
    HostDrain,
    Instruction,
    Invocation,
    LeaseStatus,
    Welcome,
)
from agentd.services.convert import duration, timestamp, tool_name
from agentd.v1 import tool_host_service_pb2 as pb


def instruction(value: Instruction) -> pb.HostInstruction:
    """Return one instruction to a host."""
    match value:
        case Invocation():
            return pb.HostInstruction(invoke=invocation(value))
        case Cancellation():
            return pb.HostInstruction(cancel=_cancellation(value))
        case Welcome():
            leases = [invocation(lease) for lease in value.leases]
            welcome = pb.HostWelcome(lease_duration=duration(value.lease_ms), leases=leases)
            return pb.HostInstruction(welcome=welcome)
        case HostDrain():
            return pb.HostInstruction(drain=pb.HostDrain())
        case _:
            assert_never(value)


def invocation(value: Invocation) -> pb.Invocation:
    """Return a call to be executed, or looked into."""
    return pb.Invocation(
        call=f"runs/{value.run}/calls/{value.call}",
        kind=pb.InvocationKind.Name(value.kind.value),
        tool=tool_name(value.tool),
        arguments_json=value.arguments_json,
        attempt=value.attempt,
        lease_token=value.token,
        idempotency_key=value.idempotency_key,
        deadline=timestamp(value.deadline_ms),
        lease_expire_time=timestamp(value.lease_expire_time_ms),
        permissions=value.permissions,
    )


def lease_status(value: LeaseStatus) -> pb.LeaseStatus:
    """Return whether a report counted."""
    return pb.LeaseStatus(
        call=f"runs/{value.lease.run}/calls/{value.lease.call}",
        result=pb.LeaseResult.Name(value.result.value),
        lease_expire_time=timestamp(value.lease_expire_time_ms),
    )


def _cancellation(value: Cancellation) -> pb.Cancellation:
    return pb.Cancellation(
        call=f"runs/{value.run}/calls/{value.call}",
        attempt=value.attempt,
        lease_token=value.token,
        reason=value.reason,
        deadline=timestamp(value.deadline_ms),
    )
