# SPDX-License-Identifier: Apache-2.0
"""Call Keystone's API in the process that has the application."""

from __future__ import annotations

import collections
import collections.abc
import json
import pathlib
import sys
import typing
import uuid

from keystone.assignment import COMPUTED_ASSIGNMENTS_REGION
from keystone.catalog import COMPUTED_CATALOG_REGION
from keystone.common import cache
from keystone.common import sql
from keystone.identity import ID_MAPPING_REGION
from keystone.receipt.provider import RECEIPTS_REGION
from keystone.revoke import REVOKE_REGION
from keystone.token.provider import TOKENS_REGION
from oslo_context import context
import sqlalchemy

from keystone_crdb import keystone
from keystone_crdb.keystone import in_process

if typing.TYPE_CHECKING:
    import flask
    import werkzeug.test

PASSWORD = keystone.PASSWORD

_REGIONS = (
    cache.CACHE_REGION,
    cache.CACHE_INVALIDATION_REGION,
    COMPUTED_ASSIGNMENTS_REGION,
    COMPUTED_CATALOG_REGION,
    ID_MAPPING_REGION,
    RECEIPTS_REGION,
    REVOKE_REGION,
    TOKENS_REGION,
)

#: Kinds of which make_rows() gives one id each to every number.
_KINDS = ('user', 'project', 'group', 'role', 'application_credential')

Json = dict[str, typing.Any]
#: The name of a table and a row of it.
Row = tuple[str, Json]
Rows = collections.abc.Iterable[Row]


def forget() -> None:
    """Empty the caches, as they are after a start of the server."""
    for region in _REGIONS:
        backend = region.backend
        while hasattr(backend, 'proxied'):
            backend = backend.proxied
        backend._cache.clear()
    context._request_store.__dict__.clear()


def auth(identity: Json, scope: Json | str | None = None) -> Json:
    """Return a body for POST /auth/tokens."""
    return {
        'auth': {'identity': identity} | ({'scope': scope} if scope else {})
    }


def by_password(user: str, domain: str = 'default') -> Json:
    """Return the identity of a user whose password is PASSWORD."""
    named = {'name': user, 'domain': {'id': domain}, 'password': PASSWORD}
    return {'methods': ['password'], 'password': {'user': named}}


ADMIN = auth(
    by_password('admin'),
    {'project': {'name': 'admin', 'domain': {'id': 'default'}}},
)


class Client:
    """Calls the API, as the administrator unless told otherwise."""

    def __init__(self, app: flask.Flask) -> None:
        self._client = app.test_client()
        self.token = self.issue(ADMIN)

    def __call__(
        self, method: str, path: str, body: Json | None = None,
        token: str | None = None, subject: str | None = None,
    ) -> werkzeug.test.TestResponse:
        """Send a request.

        :param token: the administrator's by default; an empty one for none
        :param subject: token that the request is about
        """
        token = self.token if token is None else token
        headers = {'X-Auth-Token': token, 'X-Subject-Token': subject}
        return self._client.open(
            f'/v3{path}', method=method, json=body,
            headers={name: value for name, value in headers.items() if value},
        )

    def make(
        self, path: str, body: Json | None = None, method: str = 'POST',
        **kwargs: typing.Any,
    ) -> typing.Any:
        """Send a request that must succeed, and return what it made.

        :raises RuntimeError: when it fails
        """
        response = self(method, path, body, **kwargs)
        if response.status_code >= 300:
            raise RuntimeError(f'{method} {path}: {response.get_data(True)}')
        if response.status_code == 201:
            (made,) = self.read(response).values()
            return made
        return None

    def make_id(self, kind: str, **values: typing.Any) -> str:
        """Make a user, a project or the like, and return its id."""
        return self.make(f'/{kind}s', {kind: values})['id']

    def find(self, kinds: str, name: str) -> str:
        """Return the id of what has a name."""
        (found,) = self.read(self('GET', f'/{kinds}?name={name}'))[kinds]
        return found['id']

    @staticmethod
    def read(response: werkzeug.test.TestResponse) -> Json:
        """Return what was answered."""
        return response.json or {}

    def issue(self, body: Json) -> str:
        """Return a new token.

        :raises RuntimeError: when there is none
        """
        response = self('POST', '/auth/tokens', body, token='')
        if response.status_code != 201:
            raise RuntimeError(response.get_data(True))
        return response.headers['X-Subject-Token']


def answer(work: collections.abc.Callable[..., object]) -> None:
    """Do what checks/workers.py asks this process for, and print the result.

    :param work: takes an empty folder, and the options of the task by name;
        returns what JSON can hold
    """
    _, folder, options = sys.argv
    # Keystone would read the arguments as its own.
    del sys.argv[1:]
    json.dump(work(pathlib.Path(folder), **json.loads(options)), sys.stdout)


def serve(folder: pathlib.Path, is_made: bool = False) -> Client:
    """Serve Keystone in this process.

    :param folder: an empty one, for Keystone's files
    :param is_made: whether schema and admin are there already
    """
    return Client(in_process.serve(folder, PASSWORD, is_made=is_made))


def user_rows(user: str, domain: str, name: str) -> Rows:
    """Return the rows of a user."""
    yield 'user', {
        'id': user, 'domain_id': domain, 'enabled': True, 'extra': '{}',
    }
    yield 'local_user', {'user_id': user, 'domain_id': domain, 'name': name}


def project_row(project: str, domain: str, parent: str, name: str) -> Row:
    """Return the row of a project."""
    return 'project', {
        'id': project, 'domain_id': domain, 'parent_id': parent, 'name': name,
        'enabled': True, 'is_domain': False, 'extra': '{}',
    }


def group_row(group: str, domain: str, name: str) -> Row:
    """Return the row of a group."""
    return 'group', {
        'id': group, 'domain_id': domain, 'name': name, 'extra': '{}',
    }


def assignment_row(user: str, project: str, role: str) -> Row:
    """Return the row of a user's role on a project."""
    return 'assignment', {
        'type': 'UserProject', 'actor_id': user, 'target_id': project,
        'role_id': role, 'inherited': False,
    }


def make_rows(rows: int, make: collections.abc.Callable[..., Rows]) -> None:
    """Insert very many rows, without the API and without the models.

    :param make: called for each number from 0 to `rows` with that number and
        with its ids as arguments, such as `user`, which are the same in every
        call with as many rows; returns the rows and the tables that they go to
    """
    new: dict[str, list[Json]] = collections.defaultdict(list)
    for number in range(rows):
        ids = {
            kind: uuid.uuid5(uuid.NAMESPACE_URL, f'{kind} {rows} {number}').hex
            for kind in _KINDS
        }
        for table, row in make(number, **ids):
            new[table].append(row)
    with sql.session_for_write() as session:
        for name, values in new.items():
            columns: list[sqlalchemy.ColumnClause[typing.Any]] = [
                sqlalchemy.column(column) for column in values[0]
            ]
            session.execute(sqlalchemy.table(name, *columns).insert(), values)
