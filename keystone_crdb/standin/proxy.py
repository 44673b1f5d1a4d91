# SPDX-License-Identifier: Apache-2.0
"""The server between the clients and PostgreSQL.

It passes bytes on as they come, and looks at a client's statements and at the
server's errors only.
"""

from __future__ import annotations

import asyncio
import collections
import logging
import ssl
import typing

from keystone_crdb.standin import constraints
from keystone_crdb.standin import releases
from keystone_crdb.standin import reword
from keystone_crdb.standin import rewrite
from keystone_crdb.standin import settle
from keystone_crdb.standin import tls
from keystone_crdb.standin import wire

LOG = logging.getLogger(__name__)

#: CockroachDB's database for a client that names none.
DEFAULT_DATABASE = 'defaultdb'

_FROM_CLIENT = frozenset((wire.QUERY, wire.PARSE, wire.BIND, wire.SYNC))
# What begins no transaction.
_HARMLESS = frozenset((wire.PARSE, wire.SYNC))
_FROM_SERVER = frozenset((wire.ERROR_RESPONSE, wire.READY_FOR_QUERY))
_MAX_PREPARED = 1000
_TEXT_OID = b'\0\0\0\x19'
_UNKNOWN_OID = b'\0\0\0\0'
_BEGIN = wire.message(wire.QUERY, b'BEGIN\0')
_BEGUN = wire.message(wire.COMMAND_COMPLETE, b'BEGIN\0') + wire.message(
    wire.READY_FOR_QUERY, b'T'
)


class _Half(asyncio.Protocol):
    """One of a session's two connections."""

    #: The connection itself, from the moment that it is made.
    transport: asyncio.Transport | tls.Transport
    #: The other half, once there is one.
    peer: _Half | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # NOTE: uvloop's own transports are no asyncio.Transport.
        self.transport = typing.cast('asyncio.Transport', transport)

    def data_received(self, data: bytes) -> None:
        try:
            self.receive(data)
        except wire.ProtocolError as exc:
            LOG.warning('connection dropped: %s', exc)
            self.abort()

    def receive(self, data: bytes) -> None:
        """Take bytes from this half's connection.

        :raises ProtocolError: if they are not of the protocol
        """
        raise NotImplementedError

    def abort(self) -> None:
        """End both connections at once."""
        for half in (self, self.peer):
            if half:
                half.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.peer:
            self.peer.transport.close()

    def pause_writing(self) -> None:
        if self.peer:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer:
            self.peer.transport.resume_reading()


class Client(_Half):
    """A client's connection."""

    peer: Server | None = None

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.database = DEFAULT_DATABASE
        self.statement = b''
        self._begun = False
        # Whether nothing has been executed since all was answered.
        self._clean = True
        # What is held back until the transaction is settled.
        self._held: collections.deque[tuple[int | None, bytes]] | None = None
        self._skipping = False
        # Whether the transaction was settled for what will be bound next.
        self._settled = False
        self._prepared: dict[bytes, bytes] = {}
        self._startup = b''
        self._task: asyncio.Future[None] | None = None
        self._splitter = wire.Splitter(_FROM_CLIENT)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.proxy.clients.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.proxy.clients.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if isinstance(self.transport, tls.Transport):
            try:
                data = self.transport.decrypt(data)
            except ssl.SSLError as exc:
                LOG.warning('TLS refused: %s', exc)
                self.transport.close()
                return
        super().data_received(data)

    def receive(self, data: bytes) -> None:
        if self.peer is None:
            self._startup += data
            self._take_startup()
            return
        pieces = self._splitter.feed(data)
        if self._held is not None:
            self._held.extend(pieces)
        else:
            self._take(pieces)

    def _take(self, pieces: list[tuple[int | None, bytes]]) -> None:
        """Send pieces on to the server, each in its turn."""
        server = self._server()
        if server.idle:
            self._clean = True
            self._settled = False
        if server.idle and pieces == [(wire.QUERY, _BEGIN)]:
            # Nothing can be wrong with it, and each second statement is one:
            # PostgreSQL gets it with the first of its transaction.
            self._begun = True
            self._clean = False
            server.idle = False
            self.transport.write(_BEGUN)
            return
        ready: list[bytes] = []
        for place, (kind, piece) in enumerate(pieces):
            if self._skipping:
                self._skip(kind)
                continue
            message = piece if kind is None else self._handle(kind, piece)
            if not self._clean and self._has_to_settle(kind):
                self._send(ready)
                self._held = collections.deque(pieces[place + 1:])
                self._settling = asyncio.ensure_future(
                    self._settle(kind, message)
                )
                return
            if kind not in _HARMLESS:
                self._clean = False
            ready.append(message)
        self._send(ready)

    def _server(self) -> Server:
        """Return the other half, which is there once statements are."""
        assert self.peer is not None
        return self.peer

    def take_begin(self) -> bool:
        """Say whether a BEGIN was not sent on yet; it is up to the caller."""
        begun, self._begun = self._begun, False
        return begun

    def _skip(self, kind: int | None) -> None:
        """Drop what follows an error, up to the Sync."""
        if kind == wire.SYNC:
            self._skipping = False
            self._answer_ready()

    def _answer_ready(self) -> None:
        server = self._server()
        server.failed = False
        self.transport.write(
            wire.message(wire.READY_FOR_QUERY, server.status)
        )

    def _has_to_settle(self, kind: int | None) -> bool:
        """Say whether a statement changes the schema in a transaction."""
        if kind == wire.BIND and self._settled:
            self._settled = False
            return False
        if (
            kind not in (wire.BIND, wire.PARSE, wire.QUERY)
            or not settle.is_schema_change(self.statement)
        ):
            return False
        # To settle it takes simple queries, which forget the statement that
        # has no name: that one is settled for before it is parsed.
        self._settled = kind == wire.PARSE
        return True

    async def _settle(self, kind: int | None, message: bytes) -> None:
        """Settle the transaction, and send on what was held back."""
        if await settle.settle(self, self._server()):
            self._clean = False
            self._send([message])
        elif kind == wire.QUERY:
            self._answer_ready()
        else:
            self._skipping = True
        held, self._held = self._held, None
        self._take(list(held or ()))

    def _send(self, messages: list[bytes]) -> None:
        """Send messages in one piece: PostgreSQL is to wake up once."""
        server = self._server()
        message = b''.join(messages)
        if not message:
            return
        if self._begun:
            self._begun = False
            server.answered_begin = True
            message = _BEGIN + message
        server.idle = False
        server.transport.write(message)

    def _take_startup(self) -> None:
        if self._task is not None:
            return
        while taken := wire.take_startup(self._startup):
            code, startup, self._startup = taken
            if (
                code == wire.SSL_REQUEST
                and self.proxy.context
                and not isinstance(self.transport, tls.Transport)
            ):
                self.transport.write(b'S')
                self.transport = tls.Transport(
                    self.transport, self.proxy.context
                )
                continue
            if code in (wire.SSL_REQUEST, wire.GSSENC_REQUEST):
                self.transport.write(b'N')
                continue
            self.transport.pause_reading()
            if code == wire.CANCEL_REQUEST:
                connecting = self._cancel(startup)
            else:
                connecting = self._connect(startup)
            self._task = asyncio.ensure_future(connecting)
            return

    async def _open(self) -> Server | None:
        loop = asyncio.get_running_loop()
        try:
            _, server = await loop.create_unix_connection(
                lambda: Server(self), self.proxy.socket
            )
        except OSError as exc:
            LOG.error('PostgreSQL is not there: %s', exc)
            self._refuse('57P03', 'server is not accepting clients')
            return None
        if self.transport.is_closing():
            server.transport.close()
            return None
        return server

    async def _cancel(self, request: bytes) -> None:
        server = await self._open()
        if server:
            server.transport.write(request)
            # PostgreSQL closes once it has seen to it, and not before that
            # may the client go on.
            self.peer = server

    def _refuse(self, code: str, message: str) -> None:
        self.transport.write(
            wire.error_response({'S': 'ERROR', 'C': code, 'M': message})
        )
        self.transport.close()

    def _is_let_in(self, user: str | None) -> bool:
        """Ask a client for the certificate of its user, where there is TLS."""
        if self.proxy.context is None:
            return True
        if not isinstance(self.transport, tls.Transport):
            self._refuse(
                '08P01', 'node is running secure mode, SSL connection required'
            )
            return False
        name = self.transport.user()
        if name is None:
            # CockroachDB asks for a password then; nobody has one here.
            self._refuse(
                '28P01', f'password authentication failed for user {user}'
            )
        elif name != user:
            self._refuse(
                '28000', f'certificate authentication failed for user "{user}"'
            )
        return name == user

    async def _connect(self, startup: bytes) -> None:
        parameters = wire.startup_parameters(startup)
        if not self._is_let_in(parameters.get('user')):
            return
        server = await self._open()
        if server is None:
            return
        self.database = parameters.setdefault('database', self.database)
        rewrite.rename_variables(parameters, self.proxy.release.variables)
        server.transport.write(wire.startup_message(startup, parameters))
        self.peer = server
        self.transport.resume_reading()
        if self._startup:
            self.data_received(self._startup)

    def _handle(self, kind: int, message: bytes) -> bytes:
        """Return what to send on in the place of a message."""
        body = message[5:]
        if kind == wire.SYNC:
            return message
        if kind == wire.BIND:
            _, name, _ = wire.strings(body, 2)
            self.statement = self._prepared.get(name, self.statement)
            return message
        if kind == wire.QUERY:
            self.statement, rest = wire.strings(body, 1)
            rewritten = self._rewrite()
            if rewritten is self.statement:
                return message
            return wire.message(kind, rewritten + b'\0' + rest)
        name, self.statement, types = wire.strings(body, 2)
        self._prepared[name] = self.statement
        if len(self._prepared) > _MAX_PREPARED:
            del self._prepared[next(iter(self._prepared))]
        rewritten = self._rewrite()
        if rewritten is self.statement and _TEXT_OID not in types:
            return message
        return wire.message(
            kind, b'\0'.join((name, rewritten, _untyped(types)))
        )

    def _rewrite(self) -> bytes:
        return rewrite.rewrite(self.statement, self.proxy.release.variables)


def _untyped(types: bytes) -> bytes:
    """Leave the type of text parameters to the server.

    psycopg's adapters for CockroachDB declare each string and each NULL as
    text, since that database casts text to what is wanted; PostgreSQL does
    so only with a parameter of unknown type.

    :param types: number and OIDs of a Parse message's parameters
    """
    oids = [types[i:i + 4] for i in range(2, len(types), 4)]
    return types[:2] + b''.join(
        _UNKNOWN_OID if oid == _TEXT_OID else oid for oid in oids
    )


class Server(_Half):
    """A client's connection to PostgreSQL."""

    peer: Client

    def __init__(self, client: Client) -> None:
        self.peer = client
        #: Whether it has answered everything and is in no transaction.
        self.idle = False
        #: The state of the transaction when it last was ready.
        self.status = wire.IDLE
        #: Whether an error has come since the client was told all is ready.
        self.failed = False
        # What it has answered to the proxy, and who waits for it.
        self._answer: list[bytes] = []
        self._asked: asyncio.Future[bytes] | None = None
        self._for_client = False
        #: Whether the client has the next answer, to BEGIN, already.
        self.answered_begin = False
        self._splitter = wire.Splitter(_FROM_SERVER)
        self._pieces: collections.deque[tuple[int | None, bytes]] = (
            collections.deque()
        )
        self._rewording: asyncio.Future[None] | None = None
        self._lost = False

    async def ask(self, message: bytes, for_client: bool = False) -> bytes:
        """Send a message that the client has not sent.

        :param for_client: whether what comes before ReadyForQuery, which
            ends the answer, is the client's
        :returns: the answer without errors, which are the client's always
        """
        self._answer = []
        self._for_client = for_client
        self._asked = asyncio.get_running_loop().create_future()
        self.idle = False
        self.transport.write(message)
        return await self._asked

    def _take_answer(self, kind: int | None, piece: bytes) -> bytes:
        """Take a piece of an answer to the proxy.

        :returns: what of it is the client's
        """
        if kind == wire.READY_FOR_QUERY and self._asked:
            self._asked.set_result(b''.join(self._answer))
            self._asked = None
        elif self._for_client:
            return piece
        else:
            self._answer.append(piece)
        return b''

    def receive(self, data: bytes) -> None:
        self._pieces.extend(self._splitter.feed(data))
        if self._rewording is None:
            self._pass_on()

    def _pass_on(self) -> None:
        """Send on what came, up to an error that takes a look-up."""
        ready = []
        while self._pieces:
            kind, piece = self._pieces.popleft()
            if kind == wire.READY_FOR_QUERY:
                self.status = piece[-1:]
            if kind == wire.ERROR_RESPONSE:
                self.failed = True
                fields = wire.parse_error(piece)
                if reword.needs_constraint(fields):
                    self.transport.pause_reading()
                    self._rewording = asyncio.ensure_future(
                        self._look_up(fields)
                    )
                    break
                ready.append(self._reword(fields, None))
            elif self.answered_begin:
                self.answered_begin = kind != wire.READY_FOR_QUERY
            else:
                self.idle = (
                    kind == wire.READY_FOR_QUERY and self.status == wire.IDLE
                )
                if self._asked:
                    piece = self._take_answer(kind, piece)
                elif kind == wire.READY_FOR_QUERY:
                    self.failed = False
                ready.append(piece)
        if ready:
            self.peer.transport.write(b''.join(ready))
        if self._lost and self._rewording is None:
            super().connection_lost(None)

    async def _look_up(self, fields: dict[str, str]) -> None:
        client = self.peer
        constraint = await client.proxy.catalog.constraint(
            client.database, fields.get('s'), fields.get('t'), fields['n']
        )
        client.transport.write(self._reword(fields, constraint))
        self._rewording = None
        self._pass_on()
        if self._rewording is None:
            self.transport.resume_reading()

    def _reword(
        self, fields: dict[str, str], constraint: constraints.Constraint | None
    ) -> bytes:
        """Return an error in CockroachDB's words."""
        client = self.peer
        context = reword.Context(
            statement=client.statement.decode(errors='replace'),
            database=client.database,
            constraint=constraint,
            release=client.proxy.release,
        )
        try:
            fields = reword.reword(fields, context)
        except Exception:
            # The client waits for an answer: better this one than none.
            LOG.exception('error not reworded: %s', fields)
        return wire.error_response(fields)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._asked:
            self._asked.cancel()
            self._asked = None
        if self._rewording is None:
            super().connection_lost(exc)


class Proxy:
    """The server.

    :param socket: PostgreSQL's
    :param catalog: to look up constraints in
    :param release: that is imitated
    :param context: of TLS; each client then needs its user's certificate
    """

    def __init__(
        self, socket: str, catalog: constraints.Catalog,
        release: releases.Release,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.socket = socket
        self.catalog = catalog
        self.release = release
        self.context = context
        self.clients: set[Client] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen on a free port of 127.0.0.1, and return it."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Client(self), '127.0.0.1', 0
        )
        return self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Stop listening, and drop all clients."""
        if self._server:
            self._server.close()
        for client in list(self.clients):
            client.abort()
