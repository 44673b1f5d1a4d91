# SPDX-License-Identifier: Apache-2.0
import http.client
import threading
from wsgiref import simple_server

import testtools

from keystone_crdb.checks.answers import tee

NUMBERED = 'X-Number', 'X-Time'


class _Silent(simple_server.WSGIRequestHandler):
    def log_message(self, *args):
        pass


class _Server:
    """Answers as it is told, and keeps what it was asked."""

    def __init__(self, test, status='200 OK', body=b'{}', headers=()):
        self.asked = []
        # wsgiref adds the time of the answer where a response has no Date,
        # and two servers may answer in different seconds.
        self._answer = status, [('Date', 'today'), *headers], body
        httpd = simple_server.make_server(
            '127.0.0.1', 0, self._app, handler_class=_Silent
        )
        self.port = httpd.server_port
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        test.addCleanup(thread.join)
        test.addCleanup(httpd.server_close)
        test.addCleanup(httpd.shutdown)

    def _app(self, environ, start_response):
        length = int(environ.get('CONTENT_LENGTH') or 0)
        environ['body'] = environ['wsgi.input'].read(length)
        self.asked.append(environ)
        status, headers, body = self._answer
        start_response(status, headers)
        return [body]


class TeeTest(testtools.TestCase):
    def ask(self, one, other, method='GET', headers=None, body=None):
        self.differences = []
        proxy = tee.Proxy()
        self.tee = tee.Tee(
            {'stock': one.port, 'ours': other.port},
            NUMBERED,
            self.differences.append,
        )
        with proxy.serving(self.tee):
            connection = http.client.HTTPConnection('127.0.0.1', proxy.port)
            self.addCleanup(connection.close)
            connection.request(method, '/v3/users', body, headers or {})
            response = connection.getresponse()
            return response, response.read()

    def test_same(self):
        one, other = _Server(self), _Server(self)
        response, body = self.ask(one, other)
        self.assertEqual((200, b'{}'), (response.status, body))
        self.assertEqual([], self.differences)
        self.assertEqual((1, 0), (self.tee.requests, self.tee.different))

    def test_both_are_asked_the_same(self):
        one, other = _Server(self), _Server(self)
        self.ask(
            one, other, 'POST', {'X-Auth-Token': 'a', 'Host': 'x'}, b'{"b": 1}'
        )
        (asked,), (also,) = one.asked, other.asked
        for name in (
            'REQUEST_METHOD', 'PATH_INFO', 'HTTP_X_AUTH_TOKEN', 'HTTP_HOST',
            'HTTP_X_NUMBER', 'HTTP_X_TIME', 'body',
        ):
            self.assertEqual(asked[name], also[name], name)
        self.assertEqual('POST', asked['REQUEST_METHOD'])
        self.assertEqual('x', asked['HTTP_HOST'])
        self.assertEqual('1', asked['HTTP_X_NUMBER'])
        self.assertEqual(b'{"b": 1}', asked['body'])

    def test_a_byte_of_the_body(self):
        response, body = self.ask(
            _Server(self, body=b'[1]'), _Server(self, body=b'[2]')
        )
        self.assertEqual(b'[2]', body)
        (text,) = self.differences
        self.assertIn('1 GET /v3/users\n--- stock\n+++ ours\n', text)
        self.assertIn('-[1]\n+[2]', text)

    def test_a_header(self):
        self.ask(
            _Server(self, headers=[('Vary', 'a')]),
            _Server(self, headers=[('Vary', 'b')]),
        )
        self.assertIn('-Vary: a\n+Vary: b', self.differences[0])

    def test_a_status(self):
        response, _ = self.ask(
            _Server(self, '404 Not Found'), _Server(self, '403 Forbidden')
        )
        self.assertEqual(403, response.status)
        self.assertEqual(1, self.tee.different)

    def test_no_answer(self):
        gone = tee.Proxy()
        with gone.serving(None):
            pass
        response, _ = self.ask(_Server(self), gone)
        self.assertEqual(502, response.status)
        self.assertEqual(1, self.tee.different)

    def test_nothing_follows_a_head(self):
        body = self.ask(_Server(self), _Server(self), 'HEAD')[1]
        self.assertEqual(b'', body)
        self.assertEqual([], self.differences)
