# SPDX-License-Identifier: Apache-2.0
"""What becomes known of a request while a worker serves it.

Keystone and its libraries tell listeners of statements, retries, the cache
and routes; they are added up for the request of the thread, for the metrics
and for the front's log.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import threading
import time
import typing

import flask
from keystone.common import authorization
from keystone.common.cache import guard
from keystone.common.sql import ambiguity
from keystone.common.sql import retry
from oslo_db.sqlalchemy import cockroachdb_hosts
import sqlalchemy
from sqlalchemy import pool
from werkzeug import exceptions

from keystone_crdb_image import metrics
from keystone_crdb_image import pools

if typing.TYPE_CHECKING:
    # uWSGI alone can import it.
    from keystone_crdb_image import chunked

#: The route of a request that no route of Keystone fits.
NO_ROUTE = 'none'

#: How the fields of a response's header begin that only the front reads.
PREFIX = 'X-Keystone-Crdb-'


@dataclasses.dataclass(slots=True)
class Record:
    """A request, so far.

    :param environ: of WSGI
    :param route: the template of its path
    :param statements: that it sent to the database
    :param retries: of transactions
    :param hits: values that the cache had
    :param misses: values that the cache had not
    """

    environ: dict[str, typing.Any] = dataclasses.field(default_factory=dict)
    route: str | None = None
    statements: int = 0
    retries: int = 0
    hits: int = 0
    misses: int = 0


class _Local(threading.local):
    """What the thread serves; what comes before a request goes to waste."""

    def __init__(self) -> None:
        self.record = Record()


_local = _Local()


def _note_route(*args: object, **kwargs: object) -> None:
    rule = flask.request.url_rule
    _local.record.route = rule.rule if rule else NO_ROUTE


def _note_statement(*args: object) -> None:
    _local.record.statements += 1


def _name_request(
    connection: object, cursor: object, statement: str, parameters: object,
    *args: object,
) -> tuple[str, object]:
    """Add the request's ID to a statement, in sqlcommenter's format."""
    if request_id := _local.record.environ.get('openstack.request_id'):
        statement = f"{statement} /*request_id='{request_id}'*/"
    return statement, parameters


def _sqlstate(error: BaseException) -> str:
    """Return the SQLSTATE of an exception, or the name of its class."""
    driver = getattr(getattr(error, 'inner_exception', None), 'orig', None)
    return getattr(driver, 'sqlstate', None) or type(error).__name__


class Recorder:
    """WSGI middleware that records each request.

    :param application: Keystone
    :param routes: its map of routes
    :param counters: where to count, or None
    """

    def __init__(
        self,
        application: chunked.Application,
        routes: typing.Any,
        counters: metrics.Counters | None = None,
    ) -> None:
        self._application = application
        self._routes = routes
        self._counters = counters

    def listen(self, comments: bool = False) -> None:
        """Listen to Keystone and its libraries, in this process.

        :param comments: whether statements are to name their request
        """
        flask.request_started.connect(_note_route)
        sqlalchemy.event.listen(
            sqlalchemy.Engine, 'before_cursor_execute', _note_statement
        )
        if comments:
            sqlalchemy.event.listen(
                sqlalchemy.Engine, 'before_cursor_execute', _name_request,
                retval=True,
            )
        retry.listeners.append(self._note_conflict)
        guard.listeners.append(self._note_cache)
        counters = self._counters
        if counters:
            ambiguity.listeners.append(counters.ambiguous)
            cockroachdb_hosts.listeners.append(counters.connect)
            sqlalchemy.event.listen(
                pool.Pool, 'checkout', counters.checked_out
            )
            sqlalchemy.event.listen(pool.Pool, 'checkin', counters.checked_in)
            pools.listen(counters)

    def _note_conflict(
        self,
        method: collections.abc.Callable[..., object],
        error: Exception,
        waited: float | None,
    ) -> None:
        if waited is not None:
            _local.record.retries += 1
        if self._counters:
            self._counters.conflict(
                method.__qualname__, _sqlstate(error), waited
            )

    def _note_cache(self, hits: int, misses: int, failed: bool) -> None:
        if not failed:
            _local.record.hits += hits
            _local.record.misses += misses
        elif self._counters:
            self._counters.cache_failed()

    def _route(self, environ: dict[str, typing.Any]) -> str:
        """Return the route of a request that Flask has not seen."""
        try:
            rule, _ = self._routes.bind_to_environ(environ).match(
                return_rule=True
            )
        except exceptions.HTTPException:
            return NO_ROUTE
        return str(rule.rule)

    def __call__(
        self, environ: dict[str, typing.Any], start_response: typing.Any
    ) -> collections.abc.Iterable[bytes]:
        started = time.perf_counter()
        record = _local.record = Record(environ)

        def start(
            status: str, headers: list[tuple[str, str]],
            exc_info: typing.Any = None,
        ) -> typing.Any:
            if record.route is None:
                record.route = self._route(environ)
            if self._counters:
                self._counters.answered(
                    record.route, environ['REQUEST_METHOD'], status[:3],
                    time.perf_counter() - started, record.statements,
                    record.hits, record.misses,
                )
            context = environ.get(authorization.AUTH_CONTEXT_ENV) or {}
            found = {
                'Route': record.route,
                'Statements': record.statements,
                'Retries': record.retries,
                'User': context.get('user_id'),
                'Project': context.get('project_id'),
            }
            headers = headers + [
                (f'{PREFIX}{name}', str(value))
                for name, value in found.items() if value
            ]
            return start_response(status, headers, exc_info)

        return self._application(environ, start)
