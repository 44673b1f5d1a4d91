# SPDX-License-Identifier: Apache-2.0
"""Clients that send or read slowly, or not at all."""

from __future__ import annotations

import asyncio
import collections.abc
import contextlib
import itertools
import socket
import threading

#: Seconds between two bytes of a slow client.
_PAUSE = 1

#: Seconds that are more than any limit of the front's.
_LONG = 3600

#: What a client does on its connection.
Behaviour = collections.abc.Callable[
    [asyncio.StreamReader, asyncio.StreamWriter, str],
    collections.abc.Awaitable[None],
]


async def _drip(
    writer: asyncio.StreamWriter, pieces: collections.abc.Iterable[bytes]
) -> None:
    """Send a piece, and the next one after a pause."""
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(_PAUSE)


async def slow_header(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str
) -> None:
    """A byte of the header each second."""
    header = b'GET /v3 HTTP/1.1\r\nHost: a\r\nX-A: ' + b'a' * 999
    await _drip(writer, (bytes([each]) for each in header))


async def many_header_lines(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str
) -> None:
    """A short line of the header each second."""
    writer.write(b'GET /v3 HTTP/1.1\r\nHost: a\r\n')
    await _drip(writer, (b'X-%d: a\r\n' % each for each in itertools.count()))


async def slow_body(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str
) -> None:
    """A byte of the body each second."""
    writer.write(
        b'POST /v3/auth/tokens HTTP/1.1\r\nHost: a\r\n'
        b'Content-Type: application/json\r\nContent-Length: 9999\r\n\r\n'
    )
    body = b'{' + b' ' * 9998
    await _drip(writer, (bytes([each]) for each in body))


async def slow_chunks(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str
) -> None:
    """A chunk of one byte each second."""
    writer.write(
        b'POST /v3/auth/tokens HTTP/1.1\r\nHost: a\r\n'
        b'Content-Type: application/json\r\n'
        b'Transfer-Encoding: chunked\r\n\r\n'
    )
    await _drip(writer, itertools.repeat(b'1\r\n \r\n'))


async def idle(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str
) -> None:
    """Nothing is sent."""
    await asyncio.sleep(_LONG)


async def half_closed(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str
) -> None:
    """Half of a request, and no more will come."""
    writer.write(
        b'POST /v3/auth/tokens HTTP/1.1\r\nHost: a\r\n'
        b'Content-Length: 500\r\n\r\n{"auth"'
    )
    writer.write_eof()
    await asyncio.sleep(_LONG)


async def never_reading(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str
) -> None:
    """A request for a long answer, which is not read."""
    connection = writer.get_extra_info('socket')
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(
        b'GET /v3/projects HTTP/1.1\r\nHost: a\r\n'
        b'X-Auth-Token: ' + token.encode() + b'\r\n\r\n'
    )
    await asyncio.sleep(_LONG)


#: In the order of a run.
KINDS: tuple[Behaviour, ...] = (
    slow_header, many_header_lines, slow_body, slow_chunks, idle,
    half_closed, never_reading,
)  # fmt: skip


def name(kind: Behaviour) -> str:
    """Return a kind's name, for people."""
    return kind.__name__.replace('_', ' ')


async def _client(
    behaviour: Behaviour, pause: float, host: str, port: int, token: str
) -> None:
    """Attack after a pause, and each time the front ends the connection."""
    await asyncio.sleep(pause)
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(
                host, port, limit=4096
            )
            try:
                doing = asyncio.ensure_future(
                    behaviour(reader, writer, token)
                )
                ending = asyncio.ensure_future(
                    asyncio.sleep(_LONG)
                    if behaviour is never_reading
                    else reader.read()
                )
                try:
                    await asyncio.wait(
                        {doing, ending}, return_when=asyncio.FIRST_COMPLETED
                    )
                finally:
                    for each in (doing, ending):
                        each.cancel()
                    await asyncio.gather(
                        doing, ending, return_exceptions=True
                    )
            finally:
                writer.close()
        await asyncio.sleep(0.1)


async def _all(
    behaviour: Behaviour, pauses: list[float], host: str, port: int, token: str
) -> None:
    await asyncio.gather(
        *(_client(behaviour, pause, host, port, token) for pause in pauses)
    )


@contextlib.contextmanager
def attacking(
    behaviour: Behaviour, number: int, seconds: float, host: str, port: int,
    token: str,
) -> collections.abc.Iterator[None]:
    """Let that many clients do the same until the block ends.

    :param seconds: in which they come, one after another
    :param token: for requests that need one
    """
    loop = asyncio.new_event_loop()
    pauses = [each * seconds / number for each in range(number)]
    task = loop.create_task(_all(behaviour, pauses, host, port, token))

    def run() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()
