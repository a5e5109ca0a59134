"""Encode what a watch sends: each event once, however many watchers and selectors there are.

A `WatchResponse` is its fields one after another, so a batch of events is a join of frames: the
field's tag, the length, the event's bytes
(https://protobuf.dev/programming-guides/encoding/#optional).
"""

from collections.abc import Iterator

from agentd.agent.events import Entry
from agentd.runtime.watch import WatchBatch
from agentd.services import convert_event

MAX_RESPONSE_BYTES = 1024 * 1024
"""A response ends beyond this: unless told otherwise, gRPC clients refuse more than 4 MiB."""
MAX_KEPT_BYTES = 4096
"""Longer frames are not kept."""
GENERATION = 4096
"""How many frames are kept at least, and at most half as many as may be kept."""

_EVENTS = b"\x0a"  # field 1, length-delimited
_DELTAS = b"\x12"  # field 2, length-delimited
_PROGRESS = b"\x18"  # field 3, a number


class Frames:
    """The frames of recent events, by revision.

    Two generations: a full young one becomes the old one, and the old one is dropped. That bounds
    memory at the cost of a comparison, where evicting one by one would cost more than it saves.
    """

    def __init__(self) -> None:
        self._young: dict[int, bytes] = {}
        self._old: dict[int, bytes] = {}

    def event(self, entry: Entry) -> bytes:
        """Return the frame of an entry as one of the events of a response."""
        revision = entry.revision
        frame = self._young.get(revision) or self._old.get(revision)
        if frame is None:
            frame = framed(_EVENTS, convert_event.event(entry).SerializeToString())
            if len(frame) <= MAX_KEPT_BYTES:
                if len(self._young) >= GENERATION:
                    self._old, self._young = self._young, {}
                self._young[revision] = frame
        return frame

    def responses(self, batch: WatchBatch) -> Iterator[tuple[bytes, int]]:
        """Yield a batch as encoded responses, each with the revision that a reader has come to.

        A batch that fits one response is kept encoded for the other readers of its selector.
        """
        if batch.encoded is not None:
            yield batch.encoded, batch.progress_revision
            return
        parts: list[bytes] = []
        size, last, whole = 0, 0, True
        for entry in batch.entries:
            frame = self.event(entry)
            if parts and size + len(frame) > MAX_RESPONSE_BYTES:
                yield _response(parts, last), last
                parts, size, whole = [], 0, False
            parts.append(frame)
            size += len(frame)
            last = entry.revision
        for piece in batch.deltas:
            frame = framed(_DELTAS, convert_event.delta(piece).SerializeToString())
            if parts and size + len(frame) > MAX_RESPONSE_BYTES:
                yield _response(parts, last), last
                parts, size, whole = [], 0, False
            parts.append(frame)
            size += len(frame)
        encoded = _response(parts, batch.progress_revision)
        if whole:
            batch.encoded = encoded
        yield encoded, batch.progress_revision


def framed(tag: bytes, payload: bytes) -> bytes:
    """Return a length-delimited field."""
    size = len(payload)
    if size < 0x80:
        return b"%b%c%b" % (tag, size, payload)
    return tag + varint(size) + payload


def varint(value: int) -> bytes:
    """Return a number as protobuf writes it: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _response(parts: list[bytes], progress_revision: int) -> bytes:
    return b"".join([*parts, _PROGRESS, varint(progress_revision)])
