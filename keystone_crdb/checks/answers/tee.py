# SPDX-License-Identifier: Apache-2.0
"""A proxy that asks two servers the same, and compares what they answer."""

import collections.abc
import concurrent.futures
import contextlib
import dataclasses
import datetime
import difflib
import http.client
import http.server
import threading

#: Seconds, for one answer.
TIMEOUT = 60

#: Headers of the connection, not of the answer.
_HOP_BY_HOP = {'connection', 'keep-alive', 'transfer-encoding'}


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a server answered.

    :param headers: pairs, as they came
    """

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def lines(self) -> list[str]:
        """Return it for people."""
        return [
            f'{self.status} {self.reason}',
            *(f'{name}: {value}' for name, value in self.headers),
            '',
            self.body.decode(errors='backslashreplace'),
        ]


def ask(
    port: int, method: str, path: str, headers: dict[str, str],
    body: bytes | None,
) -> Answer:
    """Send a request to a server of this machine.

    :returns: its answer; status 502 when it gave none
    """
    connection = http.client.HTTPConnection('127.0.0.1', port, TIMEOUT)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return Answer(
            response.status,
            response.reason,
            tuple(response.getheaders()),
            response.read(),
        )
    except (OSError, http.client.HTTPException) as exc:
        why = str(exc) or type(exc).__name__
        return Answer(502, 'Bad Gateway', (), why.encode())
    finally:
        connection.close()


class Tee:
    """The proxy's side of the two servers.

    :param ports: of the servers by their names; the last one's answers are
        passed on
    :param numbered: names of the headers that tell the number of a request
        and its time
    :param record: called with each difference, a text
    """

    def __init__(
        self, ports: dict[str, int], numbered: tuple[str, str],
        record: collections.abc.Callable[[str], object],
    ) -> None:
        self._ports = ports
        self._numbered = numbered
        self._record = record
        self._pool = concurrent.futures.ThreadPoolExecutor(len(ports))
        self.requests = 0
        self.different = 0

    def ask(
        self, method: str, path: str, headers: dict[str, str],
        body: bytes | None,
    ) -> Answer:
        """Ask both at the same time, and compare."""
        self.requests += 1
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        values = str(self.requests), now.isoformat()
        headers = headers | dict(zip(self._numbered, values, strict=True))
        answers = self._pool.map(
            lambda port: ask(port, method, path, headers, body),
            self._ports.values(),
        )
        one, other = answers
        if one != other:
            self.different += 1
            before, after = self._ports
            diff = difflib.unified_diff(
                one.lines(), other.lines(), before, after, lineterm=''
            )
            self._record(
                '\n'.join([f'{self.requests} {method} {path}', *diff, ''])
            )
        return other


def _handler(tee: Tee) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def _pass_on(self) -> None:
            length = int(self.headers.get('Content-Length', 0))
            answer = tee.ask(
                self.command, self.path, dict(self.headers),
                self.rfile.read(length) or None,
            )
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.headers:
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_DELETE = do_GET = do_HEAD = do_PATCH = do_POST = do_PUT = _pass_on

    return Handler


class Proxy:
    """The proxy's side of the clients; it takes one request at a time."""

    def __init__(self) -> None:
        self._server = http.server.HTTPServer(
            ('127.0.0.1', 0), http.server.BaseHTTPRequestHandler
        )
        self.port = self._server.server_port

    @contextlib.contextmanager
    def serving(self, tee: Tee) -> collections.abc.Iterator[None]:
        """Serve, from here to the end of the context."""
        self._server.RequestHandlerClass = _handler(tee)
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()
