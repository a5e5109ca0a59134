"""Clients that mean harm, or only fail: the server lives, and nobody else notices."""

import asyncio
import os
import random
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from agentd.carriers.relay import raise_descriptor_limit
from agentd.services.registry import Method, method_table
from tests.unit.carriers.serving import (
    INFO,
    WATCH,
    Serving,
    info_of,
    serving,
    stream,
    unary,
    watch_request,
)

SEED = 20261120
MUTATIONS = 40


def sample(cls: Any, depth: int = 4) -> Any:
    """A message with every field set, down to a depth."""
    message = cls()
    for field in cls.DESCRIPTOR.fields:
        if field.message_type is None:
            value: Any = {
                FieldDescriptor.TYPE_STRING: "text",
                FieldDescriptor.TYPE_BYTES: b"data",
            }.get(field.type, 1)
        elif depth and not field.message_type.GetOptions().map_entry:
            value = sample(GetMessageClass(field.message_type), depth - 1)
        else:
            continue
        if hasattr(getattr(message, field.name), "append"):
            getattr(message, field.name).append(value)
        elif field.message_type is None:
            setattr(message, field.name, value)
        else:
            getattr(message, field.name).CopyFrom(value)
    return message


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The bytes with a few of them changed, cut out or put in."""
    mutant = bytearray(data or b"\x00")
    for _ in range(chance.randint(1, 8)):
        place = chance.randrange(len(mutant) + 1)
        match chance.randrange(4):
            case 0:
                mutant[place : place + 1] = bytes([chance.randrange(256)])
            case 1:
                del mutant[place : place + chance.randint(1, 20)]
            case 2:
                mutant[place:place] = chance.randbytes(chance.randint(1, 20))
            case _:
                mutant[place:place] = b"\xff" * 10
    return bytes(mutant)


async def outcome(channel: grpc.aio.Channel, method: Method, data: bytes) -> grpc.StatusCode:
    call = (stream if method.stream else unary)(channel, method.path, data, timeout=30)
    try:
        await (call.read() if method.stream else call)
    except grpc.aio.AioRpcError as error:
        if info_of(error).reason in {"MALFORMED_REQUEST", "NOT_IMPLEMENTED"}:
            return error.code()
        raise
    finally:
        call.cancel()
    return grpc.StatusCode.OK


async def test_garbage_is_an_invalid_argument_for_every_method(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    seen = set()
    async with serving(tmp_path, implemented=False) as server, server.channel() as channel:
        for method in method_table({}).values():
            valid = sample(method.request_class).SerializeToString()
            assert await outcome(channel, method, valid) is grpc.StatusCode.UNIMPLEMENTED
            garbage = [b"\xff" * 64, b"\x0a\xff\xff\xff\xff\x0f", b"\x0b" * 5000]
            for data in garbage:
                assert await outcome(channel, method, data) is grpc.StatusCode.INVALID_ARGUMENT
            mutants = [mutated(valid, chance) for _ in range(MUTATIONS)]
            async with asyncio.TaskGroup() as group:
                calls = [group.create_task(outcome(channel, method, data)) for data in mutants]
            seen |= {call.result() for call in calls}
    assert seen == {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED}


async def test_a_thousand_streams_stay_open_at_once(tmp_path: Path) -> None:
    raise_descriptor_limit()
    count, request = 1200, watch_request(1)
    async with serving(tmp_path) as server, server.channel() as one, server.channel() as two:
        calls = [stream((one, two)[number % 2], WATCH, request) for number in range(count)]
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for call in calls:
                group.create_task(call.read())
        assert (server.events.open_count, server.events.closed_count) == (count, 0)
        await unary(one, INFO)
        for call in calls:
            call.cancel()
        await closed(server, count)


async def closed(server: Serving, count: int) -> None:
    """Wait until so many streams have ended."""
    async with asyncio.timeout(30):
        while server.events.closed_count < count:
            server.events.closed.clear()
            await server.events.closed.wait()


async def test_a_killed_client_is_noticed(tmp_path: Path) -> None:
    code = """
import sys, grpc
call = grpc.insecure_channel(sys.argv[1]).unary_stream(sys.argv[2])(bytes.fromhex(sys.argv[3]))
next(call), next(call)
"""
    async with serving(tmp_path) as server:
        request = watch_request(1).hex()
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, server.address, WATCH, request
        )
        async with asyncio.timeout(30):
            await server.events.opened.wait()
            os.kill(child.pid, signal.SIGKILL)
            await server.events.closed.wait()
        await child.wait()
        assert server.events.closed_count == server.events.open_count == 1


def frame(kind: int, flags: int, number: int, payload: bytes = b"") -> bytes:
    """An HTTP/2 frame (RFC 9113, section 4.1)."""
    size = len(payload).to_bytes(3, "big")
    return size + bytes([kind, flags]) + number.to_bytes(4, "big") + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header that enters no table (RFC 7541, section 6.2.2)."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0)
HEADERS = b"".join(
    literal(name, value)
    for name, value in (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", WATCH.encode()),
        (b":authority", b"x"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    )
)
RESET = (8).to_bytes(4, "big")


async def test_the_frames_of_the_attacks_are_understood(tmp_path: Path) -> None:
    """Else a flood would only test how garbage is refused."""
    async with serving(tmp_path) as server:
        request = frame(1, 4, 1, HEADERS) + frame(0, 1, 1, bytes(5))
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            client.connect(server.address.removeprefix("unix:"))
            await asyncio.get_running_loop().sock_sendall(client, PREFACE + request)
            async with asyncio.timeout(10):
                await server.events.opened.wait()
        async with asyncio.timeout(10):
            await server.events.closed.wait()


async def attack(server: Serving, data: bytes) -> None:
    """Send bytes as fast as they are taken, and read what comes, until either side has enough."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as attacker:
        attacker.setblocking(False)
        attacker.connect(server.address.removeprefix("unix:"))
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            reading = group.create_task(swallow(attacker))
            with suppress(BrokenPipeError, ConnectionResetError):  # the server had enough
                await loop.sock_sendall(attacker, data)
            reading.cancel()


async def swallow(end: socket.socket) -> None:
    with suppress(ConnectionResetError):
        while await asyncio.get_running_loop().sock_recv(end, 1 << 16):
            pass


@pytest.mark.parametrize("kind", ["reset", "ping", "settings", "noise"])
async def test_a_flood_leaves_other_clients_unharmed(tmp_path: Path, kind: str) -> None:
    chance = random.Random(SEED)
    floods = {
        "reset": PREFACE
        + b"".join(
            frame(1, 4, number, HEADERS)
            + frame(0, 1, number, bytes(5))
            + frame(3, 0, number, RESET)
            for number in range(1, 10_000, 2)
        ),
        "ping": PREFACE + frame(6, 0, 0, bytes(8)) * 5000,
        "settings": PREFACE + frame(4, 0, 0) * 5000,
        "noise": chance.randbytes(1 << 20),
    }
    async with serving(tmp_path) as server, server.channel() as victim:
        watching = stream(victim, WATCH, watch_request(1))
        await watching.read()
        await unary(victim, INFO)
        attacking = True
        answered = 0

        async def go_on() -> None:
            nonlocal answered
            while attacking or answered < 50:
                await unary(victim, INFO, timeout=30)
                answered += 1

        async with asyncio.TaskGroup() as group:
            group.create_task(go_on())
            for _ in range(3):
                await attack(server, floods[kind])
            attacking = False
        assert answered >= 50
        watching.cancel()
        await closed(server, server.events.open_count)
        assert not watching.done() or watching.cancelled()
        await unary(victim, INFO)
