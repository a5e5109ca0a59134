"""A server that answers each request with the error that a case of the scenario asks for."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from agentd.v1 import agent_service_pb2
from tests.fakes.server import Context, ScriptedServer, bad_field, retry_after


class Refusals:
    """Refuses GetAgent, DeleteAgent and CreateAgent of `agents/ID`, and counts."""

    def __init__(self, server: ScriptedServer, cases: Sequence[Mapping[str, Any]]) -> None:
        self._cases = {f"agents/{case['id']}": case for case in cases}
        self._server = server
        for method in ("GetAgent", "DeleteAgent", "CreateAgent"):
            server.answers[method] = self._refuse

    async def _refuse(self, request: Any, context: Context) -> Any:
        case = self._cases[_name(request)]
        code = grpc.StatusCode[case["code"]]
        status = status_pb2.Status(code=code.value[0], message="no", details=_details(case))
        await context.abort_with_status(rpc_status.to_status(status))

    def lines(self) -> list[str]:
        """Return how many requests came for each case."""
        counts = dict.fromkeys(self._cases, 0)
        for request in self._server.requests:
            counts[_name(request)] += 1
        return [f"served {name.removeprefix('agents/')} {count}" for name, count in counts.items()]

    def request_ids(self) -> Mapping[str, set[str]]:
        """Return the request ids that came for each creation."""
        ids: dict[str, set[str]] = defaultdict(set)
        for request in self._server.named(agent_service_pb2.CreateAgentRequest):
            ids[_name(request)].add(request.request_id)
        return ids


def _name(request: Any) -> str:
    creates = isinstance(request, agent_service_pb2.CreateAgentRequest)
    return str(request.agent.name if creates else request.name)


def _details(case: Mapping[str, Any]) -> list[any_pb2.Any]:
    details: list[Any] = []
    if "reason" in case:
        domain = case.get("domain", "agentd.dev")
        metadata = case.get("metadata", {})
        details.append(
            error_details_pb2.ErrorInfo(reason=case["reason"], domain=domain, metadata=metadata)
        )
    if "fields" in case:
        faults = error_details_pb2.BadRequest()
        for field in case["fields"]:
            faults.MergeFrom(bad_field(field, "is wrong"))
        details.append(faults)
    if "retry_ms" in case:
        details.append(retry_after(case["retry_ms"] / 1000))
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    return packed
