# SPDX-License-Identifier: Apache-2.0
"""The way to the database: a TCP proxy that can be cut."""

import asyncio
import collections.abc
import contextlib
import ssl
import struct
import threading
import typing

#: What a client may send before its startup message, by its code.
_SSL_REQUEST = 80877103
_GSSENC_REQUEST = 80877104

#: How the driver ends the message that commits.
_COMMIT = b'COMMIT\0'


class Link:
    """A proxy on a port of its own, in a thread of its own.

    :param host: of the database
    :param port: of the database
    :param listen: address to listen on
    :param tls: what to offer clients who ask for TLS, which ends here;
        without it their TLS goes through
    """

    def __init__(
        self,
        host: str,
        port: int,
        listen: str = '127.0.0.1',
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.tls = tls
        self.port = 0
        #: Cut every Nth COMMIT that passes, and none if this is 0.
        self.cut_every = 0
        self.commits_cut = 0
        #: Keep connections open and accept new ones, and pass nothing on.
        self.silent = False
        self._target = (host, port)
        self._listen = listen
        self._commits = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, daemon=True
        )

    def __enter__(self) -> typing.Self:
        self._thread.start()
        self.restore()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _do(
        self,
        coroutine: collections.abc.Coroutine[typing.Any, typing.Any, None],
    ) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def refuse(self) -> None:
        """Drop all connections, and refuse new ones."""
        self._do(self._close())

    def restore(self) -> None:
        """Listen, after refuse() on the same port again."""
        self._do(self._open())

    def drop(self) -> None:
        """Drop all connections that there are."""
        self._do(self._drop())

    async def _open(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, self._listen, self.port
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server:
            self._server.close()
        await self._drop()

    async def _drop(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._writers.add(writer)
        server_writer = None
        try:
            if self.silent:
                while await reader.read(65536):
                    pass
                return
            start = await self._startup(reader, writer)
            server_reader, server_writer = await asyncio.open_connection(
                *self._target
            )
            self._writers.add(server_writer)
            server_writer.write(start)
            session = _Session(self, writer, server_writer)
            ways = [
                asyncio.ensure_future(session.up(reader)),
                asyncio.ensure_future(session.down(server_reader)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
        except (OSError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            for each in (writer, server_writer):
                if each:
                    self._writers.discard(each)
                    each.transport.abort()

    async def _startup(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes:
        """Take the first bytes, and agree on TLS if this is its end."""
        start = await reader.readexactly(8)
        while self.tls:
            _, code = struct.unpack('!II', start)
            if code == _SSL_REQUEST:
                writer.write(b'S')
                await writer.start_tls(self.tls)
            elif code == _GSSENC_REQUEST:
                writer.write(b'N')
            else:
                break
            start = await reader.readexactly(8)
        return start

    def next_cut(self) -> str | None:
        """Count a commit.

        :returns: None when it goes through, else 'request' or 'answer',
            which is not to arrive
        """
        if not self.cut_every:
            return None
        self._commits += 1
        if self._commits % self.cut_every:
            return None
        self.commits_cut += 1
        return 'answer' if self.commits_cut % 2 else 'request'


class _Session:
    """A client's connection and the one to the database."""

    def __init__(
        self,
        link: Link,
        client: asyncio.StreamWriter,
        server: asyncio.StreamWriter,
    ) -> None:
        self._link = link
        self._client = client
        self._server = server
        self._swallow = False

    async def up(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if _COMMIT in data:
                    cut = self._link.next_cut()
                    if cut == 'request':
                        return
                    self._swallow = cut == 'answer'
                if self._link.silent:
                    continue
                self._server.write(data)
                await self._server.drain()

    async def down(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self._swallow:
                    return
                if self._link.silent:
                    continue
                self._client.write(data)
                await self._client.drain()
