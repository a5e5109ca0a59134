"""Who makes a request, as a carrier found out. Services decide by this and by nothing else."""

from typing import Literal

import msgspec

from agentd.agent.ids import DEFAULT_NAMESPACE, Namespace

Transport = Literal["unix", "tcp", "inprocess"]


class Caller(msgspec.Struct, frozen=True):
    """The author of one request."""

    namespace: Namespace = DEFAULT_NAMESPACE
    uid: int | None = None
    """The user id of the process at the other end; known for local connections only."""
    pid: int | None = None
    """Its process id when it connected; a number may since have passed to another process."""
    transport: Transport = "inprocess"
