# SPDX-License-Identifier: Apache-2.0
"""Bodies that come in chunks, for an application that goes by their length.

uWSGI gives them to its own function alone, and not to wsgi.input.
"""

import collections.abc
import io
import typing

import uwsgi

#: What a server calls: the environment and start_response.
Application = collections.abc.Callable[
    [dict[str, typing.Any], typing.Any], collections.abc.Iterable[bytes]
]


class Chunked:
    """WSGI middleware that gives a chunked body a length.

    The front has read the body before and has refused one that is too large.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    def __call__(
        self, environ: dict[str, typing.Any], start_response: typing.Any
    ) -> collections.abc.Iterable[bytes]:
        if environ.get('HTTP_TRANSFER_ENCODING', '').lower() == 'chunked':
            body = b''.join(iter(uwsgi.chunked_read, b''))
            del environ['HTTP_TRANSFER_ENCODING']
            environ['CONTENT_LENGTH'] = str(len(body))
            environ['wsgi.input'] = io.BytesIO(body)
        return self._application(environ, start_response)
