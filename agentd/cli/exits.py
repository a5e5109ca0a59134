"""What the exit codes mean, in one place. Imports nothing slow: every command ends here."""

from enum import IntEnum

from agentd.errors import AgentdError, Denied, InvalidRequest, NotFound, Unavailable


class Exit(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1
    """The run failed, or the daemon could not do what was asked."""
    USAGE = 2
    """The command or a value in it is wrong."""
    UNREACHABLE = 3
    NOT_FOUND = 4
    DENIED = 5
    """A policy or a missing credential forbids it, or a person has to decide first."""
    TIMED_OUT = 6
    INTERRUPTED = 130
    """Ctrl-C, by the shells' convention of 128 + SIGINT."""


def exit_of(error: AgentdError) -> Exit:
    """Return the exit code for an error."""
    match error:
        case InvalidRequest():
            return Exit.USAGE
        case NotFound():
            return Exit.NOT_FOUND
        case Denied():
            return Exit.DENIED
        case Unavailable(metadata={"code": "DEADLINE_EXCEEDED"}):
            return Exit.TIMED_OUT
        case Unavailable():
            return Exit.UNREACHABLE
        case _:
            return Exit.FAILED
