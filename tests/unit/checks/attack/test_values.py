# SPDX-License-Identifier: Apache-2.0
import http.server
import json
import threading
import types
from unittest import mock

import fixtures

from keystone_crdb.checks.attack import objects
from keystone_crdb.checks.attack import odd
from keystone_crdb.checks.attack import routes
from keystone_crdb.checks.attack import values
from tests.unit import base

_ERROR = {'error': {'code': 400, 'message': 'x', 'title': 'Bad Request'}}
_SCHEMA = {
    'type': 'object',
    'properties': {
        'thing': {
            'type': 'object',
            'properties': {
                'name': {'type': 'string', 'minLength': 1},
                'tags': {'type': 'array', 'items': {'type': 'string'}},
                'size': {'type': ['integer', 'null']},
            },
            'required': ['name'],
        }
    },
    'required': ['thing'],
}
_API = [
    routes.Route('GET', '/v3/things'),
    routes.Route('GET', '/v3/things/<string:thing_id>'),
    routes.Route('POST', '/v3/things', body=_SCHEMA),
]


class _Server(fixtures.Fixture):
    """Answers each request in the same way, as long as nobody says else."""

    def __init__(self, status, content):
        super().__init__()
        self.answer = lambda request: (status, content)
        self.seen = []

    def _setUp(self):
        fixture = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                length = int(self.headers['Content-Length'])
                body = self.rfile.read(length)
                fixture.seen.append((self.command, self.path, body))
                status, content = fixture.answer(self)
                if status is None:
                    return
                self.send_response(status)
                self.send_header('Content-Type', 'application/json')
                self.send_header('Content-Length', str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_DELETE = do_PATCH = do_POST = do_PUT = do_GET

            def log_message(self, *args):
                pass

        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(
            target=server.serve_forever, args=(0.01,), daemon=True
        ).start()
        self.netloc = f'127.0.0.1:{server.server_port}'


class JudgeTest(base.TestCase):
    def judge(self, status, content=b''):
        server = self.useFixture(_Server(status, content))
        request = odd.Request(
            odd.Position(_API[0], 'query', ('name',)), '/v3/things?name=x', {}
        )
        return values.judge(request, server.netloc)

    def test_fine(self):
        self.assertIsNone(self.judge(200, b'{"things": []}'))
        self.assertIsNone(self.judge(204))
        self.assertIsNone(self.judge(400, json.dumps(_ERROR).encode()))
        self.assertIsNone(self.judge(405, b'{"message": "no"}'))

    def test_5xx(self):
        for status in (500, 502, 503):
            wrong = self.judge(status, json.dumps(_ERROR).encode())
            self.assertStartsWith(wrong, str(status))

    def test_nothing(self):
        self.assertIn('no answer', self.judge(None))

    def test_no_json(self):
        for content in (b'', b'<html>', b'{"a": NaN}', b'{'):
            self.assertIn('without JSON', self.judge(200, content))
        self.assertIn('without JSON', self.judge(404, b'<html>'))

    def test_no_error(self):
        for content in (b'[]', b'{}', b'"x"'):
            self.assertIn('without an error', self.judge(400, content))

    def assertStartsWith(self, text, start):
        self.assertEqual(start, text[: len(start)])


class WalkTest(base.TestCase):
    def setUp(self):
        super().setUp()
        content = json.dumps(_ERROR).encode()
        self.server = self.useFixture(_Server(404, content))
        made = objects.Objects({'thing_id': 'T'}, ('token',))
        self.useFixture(
            fixtures.MockPatchObject(objects, 'make', return_value=made)
        )

    def walk(self, requests, seed=1):
        walk = values.Walk(f'http://{self.server.netloc}/v3', 'p', _API)
        walk.run(requests, seed)
        return walk

    def test_each_position(self):
        number = len(odd.positions(_API, {}))
        walk = self.walk(2 * number)
        self.assertEqual({}, walk.findings)
        self.assertEqual(2 * number, len(self.server.seen))
        self.assertIn(f'{number} of {number}', str(walk))

    def test_seed(self):
        self.walk(30)
        first = self.server.seen[:]
        self.server.seen.clear()
        self.walk(30)
        self.assertEqual(first, self.server.seen)
        self.server.seen.clear()
        self.walk(30, seed=2)
        self.assertNotEqual(first, self.server.seen)

    def test_findings(self):
        def answer(request):
            if request.command == 'POST':
                return None, b''
            if 'limit' in request.path:
                return 500, b'{"error": {}}'
            return 404, b'{"error": {}}'

        self.server.answer = answer
        found = sorted(self.walk(90).findings.values())
        self.assertEqual(3, len(found))
        for each in found[:2]:
            self.assertIn('500 {"error": {}}: GET /v3/things', each)
            self.assertIn('?limit=', each)
        self.assertIn('no answer', found[2])
        self.assertIn(': POST /v3/things', found[2])


class AttackTest(base.TestCase):
    def attack(self, output, findings, short=True):
        keystone = mock.MagicMock(url='http://h/v3', log='LOG')
        keystone.output.return_value = output
        walk = mock.MagicMock(findings=findings)
        self.useFixture(
            fixtures.MockPatch(
                'keystone_crdb.checks.attack.values.container.Keystone',
                return_value=keystone,
            )
        )
        for name, value in (('Walk', walk), ('routes', mock.MagicMock())):
            self.useFixture(
                fixtures.MockPatchObject(
                    values,
                    name,
                    mock.MagicMock(return_value=value)
                    if name == 'Walk'
                    else value,
                )
            )
        context = mock.MagicMock(short=short)
        return values.attack(context), walk

    def test_fine(self):
        found, walk = self.attack('fine', {})
        self.assertEqual([], found)
        walk.run.assert_called_once_with(values.SHORT)

    def test_whole(self):
        _, walk = self.attack('fine', {}, short=False)
        walk.run.assert_called_once_with(5000)

    def test_found(self):
        found, _ = self.attack('Traceback', {('a', 'b'): '500: GET /'})
        self.assertEqual(['500: GET /', 'a traceback is in LOG'], found)


class RequestsTest(base.TestCase):
    def test_positions(self):
        found = {
            (each.route.method, each.place, each.name)
            for each in odd.positions(_API, {'POST /v3/things': {'x': ['y']}})
        }
        for each in (
            ('GET', 'path', ('thing_id',)),
            ('GET', 'query', ('limit',)),
            ('GET', 'header', ('X-Auth-Token',)),
            ('POST', 'content', ()),
            ('POST', 'body', ()),
            ('POST', 'body', ('thing', 'name')),
            ('POST', 'body', ('thing', 'tags', 0)),
            ('POST', 'body', ('thing', 'odd')),
            ('POST', 'body', ('x', 0)),
        ):
            self.assertIn(each, found)

    def test_put(self):
        for keys, expected in (
            (('thing', 'name'), {'thing': {'name': 'odd', 'size': 1}}),
            (('thing', 'tags', 0), {'thing': {'tags': ['odd'], 'size': 1}}),
            (('thing',), {'thing': 'odd'}),
            ((), 'odd'),
        ):
            body = {'thing': {'size': 1}}
            self.assertEqual(expected, odd._put(body, keys, 'odd'))

    def test_raw(self):
        self.assertEqual(b'{"a": 1e400}', odd.encode({'a': 'raw:1e400'}))
        self.assertEqual(rb'{"a": "\ud83d"}', odd.encode({'a': '\ud83d'}))

    def test_abbreviated(self):
        position = odd.Position(_API[2], 'content')
        request = odd.Request(position, '/v3/things', {}, b'[' * 50000)
        self.assertEqual("POST /v3/things '([)*50000'", str(request))


class RoutesTest(base.TestCase):
    def test_read(self):
        listed = [{'method': 'GET', 'rule': '/v3/a/<string:a_id>'}]
        engine = types.SimpleNamespace(
            call=lambda *words: json.dumps(listed) + '\n'
        )
        (route,) = routes.read(engine, 'image')
        self.assertEqual('GET /v3/a/<a_id>', route.name)
        self.assertEqual(['a_id'], route.parameters)
        self.assertEqual('/v3/a/b', route.path({'a_id': 'b'}))
