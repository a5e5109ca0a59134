"""Carries what C asks to agentd.native and back what that answers. libagentd.so holds this text."""

from typing import Any

from _libagentd import ffi, lib  # made by build.py

FAILED, DONE = -1, 1


@ffi.def_extern(error=0)
def agentd_python(ask: Any, answer: Any) -> int:
    """Fill the answer; return 1 when that is done."""
    try:
        # Not at the top: what is missing must be told, and may be there at the next attempt.
        from agentd import native  # noqa: PLC0415
    except Exception as error:  # noqa: BLE001 - a broken package may raise anything
        answer.kind, answer.code = FAILED, 9
        _fill(answer, "LIBRARY_UNUSABLE", f"{type(error).__name__}: {error}", b"")
        return 1
    if ask.verb == lib.AGENTD_VERB_PREPARE:
        answer.kind = DONE
        return 1
    found = native.perform(
        native.Ask(
            native.Verb(ask.verb),
            ask.id,
            _text(ask.name),
            bytes(ffi.buffer(ask.data, ask.size)) if ask.size else b"",
            ask.timeout_ms,
            native.Encoding.PROTOBUF if ask.encoding else native.Encoding.JSON,
            _text(ask.name_space),
            _text(ask.token_file),
            _text(ask.settings),
        )
    )
    answer.kind, answer.id, answer.code = int(found.kind), found.id, found.code
    _fill(answer, found.reason, found.message, found.data)
    return 1


def _text(pointer: Any) -> str:
    return ffi.string(pointer).decode("utf-8", "surrogateescape") if pointer else ""


def _fill(answer: Any, reason: str, message: str, data: bytes) -> None:
    answer.reason = _copy(reason.encode())
    answer.message = _copy(message.encode("utf-8", "replace"))
    answer.data = _copy(data)
    answer.size = len(data)


def _copy(data: bytes) -> Any:
    copied = lib.agentd_copy(ffi.from_buffer(data), len(data))
    if not copied:
        raise MemoryError
    return copied
