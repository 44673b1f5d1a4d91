# SPDX-License-Identifier: Apache-2.0
"""The way to the database: a TCP proxy that can be cut."""

import asyncio
import contextlib
import ssl
import struct

from keystone_crdb.checks import relay

#: What a client may send before its startup message, by its code.
_SSL_REQUEST = 80877103
_GSSENC_REQUEST = 80877104

#: How the driver ends the message that commits.
_COMMIT = b'COMMIT\0'


class Link(relay.Relay):
    """A proxy that can be cut.

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
        super().__init__((host, port), listen)
        self.tls = tls
        #: Cut every Nth COMMIT that passes, and none if this is 0.
        self.cut_every = 0
        self.commits_cut = 0
        #: Keep connections open and accept new ones, and pass nothing on.
        self.silent = False
        self._commits = 0

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self.silent:
            while await reader.read(65536):
                pass
            return
        start = await self._startup(reader, writer)
        async with self._connected() as (server_reader, server_writer):
            server_writer.write(start)
            session = _Session(self, writer, server_writer)
            ways = [
                asyncio.ensure_future(session.up(reader)),
                asyncio.ensure_future(session.down(server_reader)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()

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
