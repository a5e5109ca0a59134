"""Carry connections from a sandbox's loopback to the proxy outside, then become the command.

Runs inside the sandbox, under the system's Python and without the rest of agentd.
"""

import os
import signal
import socket
import sys
import threading

PROXY = "/run/agentd/proxy"
ADDRESS = ("127.0.0.1", 3128)
CONNECTIONS = 16
CHUNK_BYTES = 65_536


def serve(listener: socket.socket) -> None:
    """Carry every connection, a bounded number at once."""
    room = threading.BoundedSemaphore(CONNECTIONS)
    while True:
        near, _ = listener.accept()
        room.acquire()
        threading.Thread(target=carry, args=(near, room), daemon=True).start()


def carry(near: socket.socket, room: threading.BoundedSemaphore) -> None:
    """Carry one connection both ways until both sides have said their last."""
    with near, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as far:
        try:
            far.connect(PROXY)
            back = threading.Thread(target=pour, args=(far, near), daemon=True)
            back.start()
            pour(near, far)
            back.join()
        except OSError:
            pass  # one side is gone, and so is the connection
    room.release()


def pour(source: socket.socket, sink: socket.socket) -> None:
    """Copy one direction to its end, and say that it ended."""
    try:
        while data := source.recv(CHUNK_BYTES):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


def main() -> None:
    """Listen, leave the carrying to a process that is nobody's child, and become the command."""
    listener = socket.create_server(ADDRESS)
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            for stream in (0, 1, 2):
                os.close(stream)
            serve(listener)
        os._exit(0)
    os.waitpid(child, 0)
    listener.close()
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored, signal.SIG_DFL)  # Python ignores them, and the command would inherit
    try:
        os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"{sys.argv[1]}: {error.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    main()
