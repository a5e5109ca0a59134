"""Carries what C asks to agentd.native and what that answers back. Its text is inside libagentd.so."""

from _libagentd import ffi, lib


@ffi.def_extern(error=0)
def agentd_python(ask, answer):
    try:
        from agentd import native
    except Exception as error:
        # Not cached: it may be installed before the next attempt.
        message = f"{type(error).__name__}: {error}"
        _fill(answer, -1, 0, 9, "LIBRARY_UNUSABLE", message, b"")
        return 1
    if ask.verb == lib.AGENTD_VERB_PREPARE:
        _fill(answer, 1, 0, 0, "", "", b"")
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
    _fill(answer, found.kind, found.id, found.code, found.reason, found.message, found.data)
    return 1


def _text(pointer):
    return ffi.string(pointer).decode("utf-8", "surrogateescape") if pointer else ""


def _fill(answer, kind, number, code, reason, message, data):
    answer.kind, answer.id, answer.code = int(kind), number, code
    answer.reason = _copy(reason.encode())
    answer.message = _copy(message.encode("utf-8", "replace"))
    answer.data = _copy(data)
    answer.size = len(data)


def _copy(data):
    copied = lib.agentd_copy(ffi.from_buffer(data), len(data))
    if not copied:
        raise MemoryError
    return copied
