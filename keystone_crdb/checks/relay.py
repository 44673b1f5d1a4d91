# SPDX-License-Identifier: Apache-2.0
"""TCP proxies before a database, each in a thread of its own."""

from __future__ import annotations

import asyncio
import collections.abc
import contextlib
import threading
import typing

if typing.TYPE_CHECKING:
    import sqlalchemy

#: Host and port, or the path of a socket.
Target = tuple[str, int] | str
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

#: Those that take an address beside the name of a host.
_LIBPQ = ('psycopg', 'psycopg2')
#: Parameters of a URL that name a socket.
_SOCKETS = ('host', 'unix_socket')
_PORTS = {'cockroachdb': 26257, 'mysql': 3306, 'postgresql': 5432}
_CHUNK = 65536


class Relay:
    """A proxy on a port of its own; a subclass says what it passes on.

    :param target: of the connections
    :param listen: address to listen on
    """

    def __init__(self, target: Target, listen: str = '127.0.0.1') -> None:
        self.port = 0
        self._target = target
        self._listen = listen
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> typing.Self:
        self._thread.start()
        self.restore()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        # At its end the runner cancels what is left, and closes the loop.
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.get_loop().run_forever()

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
            self._accept, self._listen, self.port
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server:
            self._server.close()
        await self._drop()

    async def _drop(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    @contextlib.contextmanager
    def _dropping(
        self, writer: asyncio.StreamWriter
    ) -> collections.abc.Iterator[None]:
        """Drop a connection at the end, or when drop() is called."""
        self._writers.add(writer)
        try:
            yield
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    @contextlib.asynccontextmanager
    async def _connected(self) -> collections.abc.AsyncIterator[Streams]:
        """Connect to the target."""
        if isinstance(self._target, str):
            streams = await asyncio.open_unix_connection(self._target)
        else:
            streams = await asyncio.open_connection(*self._target)
        with self._dropping(streams[1]):
            yield streams

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        # NOTE: asyncio before 3.12 logs an error for a server's task that was
        # cancelled, as the last ones are by _run().
        with (
            contextlib.suppress(
                OSError, asyncio.IncompleteReadError, asyncio.CancelledError
            ),
            self._dropping(writer),
        ):
            await self._serve(reader, writer)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Serve a client; its connection is dropped after that."""
        raise NotImplementedError


class CountingRelay(Relay):
    """Passes everything on, counts round trips, and makes them longer.

    A round trip is counted for the first bytes of a client, and for bytes of
    a client that come after bytes of the server. The other thread that reads
    a count has its last answer already, so that no trip is missing in it.

    """

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        #: Seconds that bytes take from one end to the other, each way; all
        #: that comes in this time is under way at once.
        self.delay = 0.0
        self.connections = 0
        self.trips = 0

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        is_answered = True

        def ask() -> None:
            nonlocal is_answered
            self.trips += is_answered
            is_answered = False

        def answer() -> None:
            nonlocal is_answered
            is_answered = True

        async with self._connected() as (server_reader, server_writer):
            await asyncio.gather(
                self._pass(reader, server_writer, ask),
                self._pass(server_reader, writer, answer),
            )

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
        tell: collections.abc.Callable[[], None],
    ) -> None:
        """Pass one way on to its end, which does not end the other way.

        :param tell: called with each piece that comes
        """
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        sending = asyncio.ensure_future(self._send(pieces, writer))
        try:
            while data := await reader.read(_CHUNK):
                tell()
                pieces.put_nowait((self._loop.time() + self.delay, data))
            pieces.put_nowait((self._loop.time() + self.delay, b''))
            await sending
        finally:
            sending.cancel()

    async def _send(
        self, pieces: asyncio.Queue[tuple[float, bytes]],
        writer: asyncio.StreamWriter,
    ) -> None:
        """Write pieces, each at its time, until an empty one ends them."""
        while True:
            due, data = await pieces.get()
            if (wait := due - self._loop.time()) > 0:
                await asyncio.sleep(wait)
            if not data:
                writer.write_eof()
                return
            writer.write(data)


def _target(url: sqlalchemy.URL) -> Target:
    backend = url.get_backend_name()
    port = url.port or _PORTS[backend]
    path = url.query.get('unix_socket')
    folder = url.query.get('host')
    if isinstance(path, str):
        return path
    return f'{folder}/.s.PGSQL.{port}' if folder else (url.host or '', port)


@contextlib.contextmanager
def before(
    url: sqlalchemy.URL,
) -> collections.abc.Iterator[tuple[CountingRelay, sqlalchemy.URL]]:
    """Put a relay before a database.

    :param url: of the database, which may name a socket
    :returns: as context: the relay, and the URL that leads through it
    """
    with CountingRelay(_target(url)) as way:
        led = url.difference_update_query(_SOCKETS).set(port=way.port)
        if url.host and url.get_driver_name() in _LIBPQ:
            # The host's name stays, as its certificate is of that name.
            yield way, led.update_query_dict({'hostaddr': '127.0.0.1'})
        else:
            yield way, led.set(host='127.0.0.1')
