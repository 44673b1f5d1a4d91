# SPDX-License-Identifier: Apache-2.0
"""Messages of PostgreSQL's frontend/backend protocol, version 3.

Reference: https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

import struct

# Request codes that stand where a startup message has its version.
CANCEL_REQUEST = 80877102
SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104

# Kinds of messages, as their first byte.
QUERY = ord('Q')
PARSE = ord('P')
BIND = ord('B')
SYNC = ord('S')
ERROR_RESPONSE = ord('E')
NOTICE_RESPONSE = ord('N')
COMMAND_COMPLETE = ord('C')
READY_FOR_QUERY = ord('Z')

# States of a transaction, as ReadyForQuery tells them.
IDLE = b'I'
IN_TRANSACTION = b'T'
FAILED = b'E'

_HEADER = struct.Struct('!BI')
_MAX_LENGTH = 0x3FFFFFFF
_MAX_STARTUP_LENGTH = 10000


class ProtocolError(Exception):
    """The peer does not speak this protocol."""


class Splitter:
    """Cuts a stream into the messages that matter and all the rest.

    :param kinds: first bytes of the messages that are wanted whole
    """

    def __init__(self, kinds: frozenset[int]) -> None:
        self._kinds = kinds
        self._rest = b''
        self._skip = 0

    def feed(self, data: bytes) -> list[tuple[int | None, bytes]]:
        """Take the next bytes of the stream.

        :returns: pairs in the stream's order: the kind and all bytes of a
            wanted message, or None and bytes that belong to others; those
            need not end where a message ends
        :raises ProtocolError: on an impossible length
        """
        if self._rest:
            data = self._rest + data
        end = len(data)
        pieces: list[tuple[int | None, bytes]] = []
        start = 0
        position = min(self._skip, end)
        self._skip -= position
        while end - position >= _HEADER.size:
            kind, length = _HEADER.unpack_from(data, position)
            if not 4 <= length <= _MAX_LENGTH:
                raise ProtocolError(f'message of {length} bytes')
            after = position + 1 + length
            if kind in self._kinds:
                if after > end:
                    break
                if position > start:
                    pieces.append((None, data[start:position]))
                pieces.append((kind, data[position:after]))
                start = position = after
            elif after > end:
                self._skip = after - end
                position = end
            else:
                position = after
        if position > start:
            pieces.append((None, data[start:position]))
        self._rest = data[position:]
        return pieces


def message(kind: int, body: bytes) -> bytes:
    """Return a whole message, of which the kind is the first byte."""
    return _HEADER.pack(kind, len(body) + 4) + body


def take_startup(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Cut the first message, which has no kind, off a connection's bytes.

    :returns: (code, whole message, what follows), or None when there are
        too few bytes yet
    :raises ProtocolError: when it can't be such a message
    """
    if len(data) < 4:
        return None
    (length,) = struct.unpack_from('!I', data)
    if not 8 <= length <= _MAX_STARTUP_LENGTH:
        raise ProtocolError(f'startup message of {length} bytes')
    if len(data) < length:
        return None
    (code,) = struct.unpack_from('!I', data, 4)
    return code, data[:length], data[length:]


def startup_parameters(startup: bytes) -> dict[str, str]:
    """Return the names and values in a startup message."""
    words = startup[8:].decode(errors='replace').split('\0')
    return {
        name: value
        for name, value in zip(words[::2], words[1::2], strict=False)
        if name
    }


def startup_message(startup: bytes, parameters: dict[str, str]) -> bytes:
    """Return a startup message of the same version, other parameters."""
    body = b''.join(
        word.encode() + b'\0' for pair in parameters.items() for word in pair
    )
    return struct.pack('!I', len(body) + 9) + startup[4:8] + body + b'\0'


def strings(body: bytes, count: int) -> list[bytes]:
    """Cut strings, which end with a zero byte, off a message's body.

    :returns: the strings, and what follows
    :raises ProtocolError: when there are fewer
    """
    parts = body.split(b'\0', count)
    if len(parts) <= count:
        raise ProtocolError('string without end')
    return parts


def parse_error(response: bytes) -> dict[str, str]:
    """Return the texts of a whole ErrorResponse by their letters."""
    fields = response[5:].decode(errors='replace').split('\0')
    return {field[0]: field[1:] for field in fields if field}


def error_response(fields: dict[str, str]) -> bytes:
    """Return a whole ErrorResponse of texts by their letters."""
    body = b''.join(
        f'{kind}{text}\0'.encode() for kind, text in fields.items()
    )
    return message(ERROR_RESPONSE, body + b'\0')
