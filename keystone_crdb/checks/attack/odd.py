# SPDX-License-Identifier: Apache-2.0
"""Requests of which one value is odd."""

from __future__ import annotations

import collections.abc
import dataclasses
import json
import re
import string
import typing
import urllib.parse

from hypothesis import strategies

from keystone_crdb.checks.attack import routes

#: Stands for JSON that no Python value is written as.
_RAW = re.compile(r'"raw:([^"]*)"')

_DEEP = 50_000

_TEXTS = (
    '', ' ', '\0', 'a\0b', '\ud83d', 'a\udc80', '\ufffe', '\U0001f600' * 256,
    'x' * 65, 'x' * 256, 'x' * 300, 'x' * 70_000, '%', '%s', '{0}', '..', '/',
    "'", '\\', '\x1b[31m', 'a\r\nb', '-1', 'NaN', '9' * 30, '2026-13-45T99',
    'lt:2026-13-45T99', '[::1', 'http://[::1',
)  # fmt: skip

_VALUES: tuple[object, ...] = (
    None, True, False, 0, -1, 0.5, 2**31, 2**63, 2**64, -(2**63) - 1, [],
    {}, [None], {'a': None}, ['x'], [[]], [{}], {'id': None}, {'id': {}},
    {'id': ['x']}, {'name': 1}, 'raw:1e400', 'raw:NaN', 'raw:-Infinity',
    'raw:' + '9' * 5000, f'raw:{"[" * 300}{"]" * 300}',
    f'raw:{"[" * _DEEP}{"]" * _DEEP}',
)  # fmt: skip

_BODIES = (
    b'', b'{', b'null', b'[]', b'"x"', b'1', b'\0', b'\xff\xfe', b'{"a":\xff}',
    b'{"a": "\xed\xa0\xbd"}', b'[' * _DEEP, b'{"a":' * _DEEP,
    b'[' * _DEEP + b']' * _DEEP, b'9' * 5000,
)  # fmt: skip

#: Bytes of a header's value, and of a path's or a query's.
_HEADERS = (
    b'', b'x', b'x' * 300, b'x' * 4000, b'\xff', b'\xc3\xa9', b'\xed\xa0\xbd',
    b'gAAAAAB\xff', b'gAAAAAB' + b'x' * 200, b'a=b; c', b'Basic \xff',
    b'Basic OjpA', b'OAuth x', b'OAuth oauth_consumer_key="\xff"', b'Bearer ',
)  # fmt: skip
_BYTES = (b'\xff', b'a\xed\xa0\xbd', b'\xc3\xa9')

#: Characters of a URL's part, so that the server takes the URL.
_LONGEST = 3000


#: Of queries, in addition to what the schemas declare.
_QUERIES = ('limit', 'marker', 'name', 'name__icontains', 'nothing', 'origin')


class Position(typing.NamedTuple):
    """Where a request has its odd value.

    :param place: path, query, header, body (one value of it) or content (all
        of it)
    :param name: of the value; the keys that lead to it, in a body
    :param kinds: types that a schema has for it
    :param example: the body that the value is in, where it is of no schema
    """

    route: routes.Route
    place: str
    name: tuple[str | int, ...] = ()
    kinds: tuple[str, ...] = ()
    example: typing.Any = None

    def __repr__(self) -> str:
        name = '.'.join(map(str, self.name))
        return f'{self.route.name}, {self.place} {name}'.rstrip()


@dataclasses.dataclass(frozen=True)
class Request:
    """What is sent."""

    position: Position
    path: str
    headers: dict[str, bytes]
    content: bytes | None = None

    def __str__(self) -> str:
        words = [self.position.route.method, self.path]
        words += [f'{k}: {v!r}' for k, v in self.headers.items()]
        if self.content is not None:
            words.append(repr(self.content)[1:])
        return _abbreviate(' '.join(words))


def _abbreviate(text: str) -> str:
    """Write what is repeated often as (it)*times."""
    return re.sub(
        r'(.{1,6}?)\1{40,}',
        lambda found: f'({found[1]})*{len(found[0]) // len(found[1])}',
        text,
    )


#: The keys that lead to a value of a body.
Keys = tuple[str | int, ...]


def _leaves(
    schema: typing.Any, keys: Keys = ()
) -> collections.abc.Iterator[tuple[Keys, tuple[str, ...]]]:
    """Yield the keys that lead to each value of a schema, and its types."""
    kinds = schema.get('type', 'string') if isinstance(schema, dict) else ()
    yield keys, (kinds,) if isinstance(kinds, str) else tuple(kinds)
    if isinstance(schema, dict):
        for name, each in schema.get('properties', {}).items():
            yield from _leaves(each, (*keys, name))
        yield from (
            found
            for kind in ('allOf', 'anyOf', 'oneOf')
            for each in schema.get(kind, ())
            for found in _leaves(each, keys)
        )
        if 'items' in schema:
            yield from _leaves(schema['items'], (*keys, 0))
        if schema.get('type') == 'object' and len(keys) == 1:
            yield (*keys, 'odd'), ()


def _values(
    example: typing.Any, keys: Keys = ()
) -> collections.abc.Iterator[tuple[Keys, tuple[str, ...]]]:
    """Yield the keys that lead to each value of an example."""
    yield keys, ('string',) if isinstance(example, str) else ()
    if isinstance(example, dict):
        for name, each in example.items():
            yield from _values(each, (*keys, name))
    elif isinstance(example, list):
        for index, each in enumerate(example):
            yield from _values(each, (*keys, index))


def _several(examples: typing.Any) -> list[typing.Any]:
    return examples if isinstance(examples, list) else [examples]


def positions(
    api: collections.abc.Iterable[routes.Route],
    examples: dict[str, typing.Any],
) -> list[Position]:
    """Return each position of an API.

    :param examples: bodies by the route's name, one or a list of several
    """
    found = []
    for route in api:
        if route.rule.startswith('/static'):
            continue
        names: list[tuple[typing.Any, ...]] = [
            ('path', (name,)) for name in route.parameters
        ]
        names.append(('header', ('X-Auth-Token',)))
        if route.method == 'GET':
            queries = {*route.query.get('properties', {}), *_QUERIES}
            names += [('query', (name,)) for name in sorted(queries)]
        if '/auth/tokens' in route.rule:
            names += [
                ('header', ('X-Subject-Token',)),
                ('header', ('Openstack-Auth-Receipt',)),
            ]
        if '/OS-' in route.rule:
            names.append(('header', ('Authorization',)))
        if route.method in ('PATCH', 'POST', 'PUT'):
            names += [('header', ('Content-Type',)), ('content', ())]
            names += [
                ('body', *each, example)
                for example in _several(examples.get(route.name, []))
                for each in _values(example)
            ]
            names += [('body', *each) for each in _leaves(route.body)]
        found += [Position(route, *name) for name in names]
    return found


def _put(body: typing.Any, keys: Keys, value: object) -> typing.Any:
    """Put a value into a body at the keys, which are made if need be."""
    if not keys:
        return value
    key, *rest = keys
    if isinstance(key, int):
        body = body if isinstance(body, list) and body else [None]
        key = min(key, len(body) - 1)
        body[key] = _put(body[key], tuple(rest), value)
        return body
    body = body if isinstance(body, dict) else {}
    body[key] = _put(body.get(key), tuple(rest), value)
    return body


def _identify(body: typing.Any, known: dict[str, str]) -> typing.Any:
    """Return a body with what is there in the fields that name it."""
    if isinstance(body, dict):
        return {
            key: known[key]
            if isinstance(each, str) and key.endswith('_id') and key in known
            else _identify(each, known)
            for key, each in body.items()
        }
    if isinstance(body, list):
        return [_identify(each, known) for each in body]
    if isinstance(body, str) and body[:1] == '@':
        return known[body[1:]]
    return body


def _fitting(
    schema: routes.Schema,
) -> strategies.SearchStrategy[typing.Any]:
    """Return a strategy of values that fit a schema, but for its patterns."""
    for kind in ('anyOf', 'oneOf'):
        if kind in schema:
            rest = {key: schema[key] for key in schema if key != kind}
            return strategies.one_of(
                [_fitting({**rest, **each}) for each in schema[kind]]
            )
    if 'enum' in schema:
        return strategies.sampled_from(schema['enum'])
    kinds = schema.get('type', 'object')
    kinds = [kinds] if isinstance(kinds, str) else kinds
    return strategies.one_of([_KINDS[kind](schema) for kind in kinds])


def _an_object(
    schema: routes.Schema,
) -> strategies.SearchStrategy[typing.Any]:
    known = {
        name: _fitting(each)
        for name, each in schema.get('properties', {}).items()
    }
    required = {
        name: known.pop(name, strategies.just('x'))
        for name in schema.get('required', ())
    }
    return strategies.fixed_dictionaries(required, optional=known)


def _an_array(schema: routes.Schema) -> strategies.SearchStrategy[typing.Any]:
    items = schema.get('items', {'type': 'string'})
    least = schema.get('minItems', 0)
    return strategies.lists(
        _fitting(items), min_size=least, max_size=max(least, 2)
    )


_FORMATS = {'date-time': '2036-01-01T00:00:00Z', 'uri': 'http://x'}


def _a_string(schema: routes.Schema) -> strategies.SearchStrategy[str]:
    if schema.get('format') in _FORMATS:
        return strategies.just(_FORMATS[schema['format']])
    return strategies.text(
        string.ascii_letters,
        min_size=max(schema.get('minLength', 1), 1),
        max_size=min(schema.get('maxLength', 12), 12),
    )


def _an_integer(schema: routes.Schema) -> strategies.SearchStrategy[int]:
    least = schema.get('minimum', 0)
    return strategies.integers(least, min(schema.get('maximum', 9), least + 9))


_KINDS: dict[
    str,
    collections.abc.Callable[
        [routes.Schema], strategies.SearchStrategy[typing.Any]
    ],
] = {
    'object': _an_object,
    'array': _an_array,
    'string': _a_string,
    'integer': _an_integer,
    'number': _an_integer,
    'boolean': lambda schema: strategies.booleans(),
    'null': lambda schema: strategies.none(),
}


def encode(body: object) -> bytes:
    """Return a body's JSON, with what is raw in it."""
    return _RAW.sub(r'\1', json.dumps(body)).encode()


def _quote(value: str | bytes) -> str:
    if isinstance(value, str):
        value = value.encode('utf-8', 'surrogatepass')
    return urllib.parse.quote(value, safe='')


class Requests:
    """Makes requests.

    :param examples: bodies by the route's name, one or a list of several
    :param ids: what is there, by the name of the field or parameter
    :param tokens: to send the requests with; None is without one
    """

    def __init__(
        self,
        examples: dict[str, typing.Any],
        ids: dict[str, str],
        tokens: collections.abc.Sequence[str | None],
    ) -> None:
        self._examples = examples
        self._ids = ids
        self._tokens = tokens
        self._bodies: dict[str, strategies.SearchStrategy[typing.Any]] = {}

    def _body(
        self, route: routes.Route
    ) -> strategies.SearchStrategy[typing.Any]:
        if route.name not in self._bodies:
            several = _several(self._examples.get(route.name, [{}]))
            found = strategies.sampled_from(several)
            if route.body:
                found = found | _fitting(route.body)
            self._bodies[route.name] = found
        return self._bodies[route.name]

    def at(
        self, position: Position
    ) -> strategies.SearchStrategy[Request]:
        """Return a strategy of requests with an odd value at a position."""
        route, place = position.route, position.place
        odd: strategies.SearchStrategy[typing.Any]
        body: strategies.SearchStrategy[typing.Any] = strategies.none()
        if place in ('path', 'query'):
            # One with a slash, or an empty one, leads to another route.
            texts = {
                each[:_LONGEST]
                for each in _TEXTS
                if place == 'query' or not ('/' in each or each in ('', '..'))
            }
            odd = strategies.sampled_from([*sorted(texts), *_BYTES])
        elif place == 'header':
            odd = strategies.sampled_from(_HEADERS)
        elif place == 'content':
            odd = strategies.sampled_from(_BODIES)
        else:
            # Most values are of a type that a schema lets through.
            odd = strategies.one_of(
                strategies.sampled_from(_TEXTS),
                strategies.sampled_from(_VALUES),
                strategies.sampled_from(
                    _TEXTS if 'string' in position.kinds else _VALUES
                ),
            )
        if place != 'content' and route.method in ('PATCH', 'POST', 'PUT'):
            body = (
                self._body(route)
                if position.example is None
                else strategies.just(position.example)
            )
        return strategies.builds(
            self._make, strategies.just(position), odd, body,
            strategies.sampled_from(self._tokens),
        )  # fmt: skip

    def _make(
        self,
        position: Position,
        odd: typing.Any,
        body: typing.Any,
        token: str | None,
    ) -> Request:
        route, place, name, *_ = position
        values = {each: self._ids[each] for each in route.parameters}
        headers = {} if token is None else {'X-Auth-Token': token.encode()}
        if '/auth/tokens' in route.rule and token:
            headers['X-Subject-Token'] = token.encode()
        query = ''
        content: bytes | None = None
        if place == 'path':
            values = {**values, str(name[0]): odd}
        elif place == 'query':
            query = f'?{_quote(str(name[0]))}={_quote(odd)}'
        elif place == 'header':
            headers[str(name[0])] = odd
        if place == 'content':
            content = odd
        elif body is not None:
            body = _identify(body, self._ids)
            if place == 'body':
                body = _put(body, name, odd)
            content = encode(body)
        if content is not None:
            headers.setdefault('Content-Type', b'application/json')
        path = route.path({key: _quote(each) for key, each in values.items()})
        return Request(position, path + query, headers, content)
