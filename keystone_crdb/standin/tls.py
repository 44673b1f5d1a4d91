# SPDX-License-Identifier: Apache-2.0
"""TLS on a connection of asyncio, as the server.

asyncio's own drops the alert that tells a client why its certificate was
refused; here the client gets it.
"""

import asyncio
import itertools
import pathlib
import ssl
import typing

_CHUNK = 65536


def context(certs: pathlib.Path) -> ssl.SSLContext:
    """Return the context of a server that verifies clients' certificates.

    A client need not have one: it is refused with a message of the protocol.

    :param certs: folder with ca.crt, node.crt and node.key, as `cockroach
        cert` names them
    :raises OSError: when they can't be used
    """
    made = ssl.create_default_context(
        ssl.Purpose.CLIENT_AUTH, cafile=certs / 'ca.crt'
    )
    made.load_cert_chain(certs / 'node.crt', certs / 'node.key')
    made.verify_mode = ssl.CERT_OPTIONAL
    return made


class Transport:
    """Encrypts what is written to a transport, and stands in its place."""

    def __init__(
        self, transport: asyncio.Transport, context: ssl.SSLContext
    ) -> None:
        self._transport = transport
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=True
        )
        self._shaken = False

    def __getattr__(self, name: str) -> typing.Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send bytes, encrypted."""
        self._tls.write(data)
        self._flush()

    def decrypt(self, data: bytes) -> bytes:
        """Take what came, the handshake at first.

        :raises ssl.SSLError: when the peer has been refused, and told why
        """
        self._incoming.write(data)
        plain = b''
        try:
            if not self._shaken:
                self._tls.do_handshake()
                self._shaken = True
            while piece := self._tls.read(_CHUNK):
                plain += piece
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._transport.close()
        finally:
            self._flush()
        return plain

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._transport.write(self._outgoing.read())

    def user(self) -> str | None:
        """Return the common name of the client's certificate, or None."""
        certificate: dict[str, typing.Any] = self._tls.getpeercert() or {}
        names = dict(itertools.chain(*certificate.get('subject', ())))
        return names.get('commonName')
