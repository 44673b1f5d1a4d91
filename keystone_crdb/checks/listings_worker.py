# SPDX-License-Identifier: Apache-2.0
"""List very many projects, users and assignments in this process.

checks/listings.py runs this once for each tree, with the tree on PYTHONPATH,
on the database that KEYSTONE_CRDB_URL names. The first one fills it. The
result is how long each listing took, and what it answered.
"""

import collections.abc
import contextlib
import pathlib
import signal
import sys
import time
import typing

from keystone import conf

from keystone_crdb.checks import in_process_client as api
from keystone_crdb.keystone import in_process

#: What is listed by which path, and the key of the answer.
LISTINGS = {
    'assignments with names': (
        '/role_assignments?include_names', 'role_assignments',
    ),
    'effective assignments of a subtree': (
        '/role_assignments?scope.project.id={top}&include_subtree'
        '&user.id={alice}&effective', 'role_assignments',
    ),
    'projects of a token': ('/auth/projects', 'projects'),
    'users': ('/users', 'users'),
    'projects': ('/projects', 'projects'),
    'groups of a user': ('/users/{bob}/groups', 'groups'),
}


class TooLong(BaseException):
    """A request was not answered in time.

    Keystone would answer an Exception with 500.
    """


@contextlib.contextmanager
def limit(seconds: int) -> collections.abc.Iterator[None]:
    """Let a block of the main thread take no longer.

    :raises TooLong: when it does
    """
    def end(*_: object) -> typing.NoReturn:
        raise TooLong

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fill(client: api.Client, rows: int) -> None:
    """Make what is listed.

    Alice has a role on all projects, inherited from the one above them. Bob
    is in all groups. Each of the other users has a role on a project.
    """
    domain = 'default'
    top = client.make_id('project', name='top', domain_id=domain)
    alice, bob = (
        client.make_id(
            'user', name=name, password=api.PASSWORD, domain_id=domain
        )
        for name in ('alice', 'bob')
    )
    reader = client.find('roles', 'reader')
    client.make(
        f'/OS-INHERIT/projects/{top}/users/{alice}/roles/{reader}'
        '/inherited_to_projects',
        method='PUT',
    )

    def make(
        number: int, user: str, project: str, group: str, **_: str
    ) -> api.Rows:
        name = f'many-{number}'
        return (
            *api.user_rows(user, domain, name),
            api.project_row(project, domain, top, name),
            api.group_row(group, domain, name),
            ('user_group_membership', {'user_id': bob, 'group_id': group}),
            api.assignment_row(user, project, reader),
        )

    api.make_rows(rows, make)


def measure(client: api.Client, seconds: int) -> dict[str, api.Json]:
    """Send each request once, with nothing in the cache.

    :param seconds: that each may take
    :returns: for each listing a dict of `status`, None if it took too long;
        `seconds`; and `rows`, the number of what was listed
    """
    ids = {
        'top': client.find('projects', 'top'),
        'alice': client.find('users', 'alice'),
        'bob': client.find('users', 'bob'),
    }
    own = client.issue(api.auth(api.by_password('alice'), 'unscoped'))
    results: dict[str, dict[str, float | None]] = {}
    for name, (path, key) in LISTINGS.items():
        status: int | None
        token = own if name == 'projects of a token' else None
        rows = 0
        api.forget()
        start = time.monotonic()
        try:
            with limit(seconds):
                response = client('GET', path.format(**ids), token=token)
        except TooLong:
            status = None
            # What was interrupted is still in the middle of a statement.
            in_process.disconnect()
        except Exception as exc:
            # A server answers 500 to what the application raises.
            print(str(exc)[:500], file=sys.stderr)
            status = 500
        else:
            status = response.status_code
            rows = len((response.json or {}).get(key, ()))
        taken = time.monotonic() - start
        results[name] = {
            'status': status, 'rows': rows,
            'seconds': seconds if status is None else taken,
        }
        print(name, results[name], file=sys.stderr, flush=True)
    return results


def work(folder: pathlib.Path, limit: int, rows: int = 0) -> api.Json:
    """Serve the tree and measure.

    :param limit: seconds that a request may take
    :param rows: how many of each kind to make; without any, they are there
    """
    client = api.serve(folder, is_made=not rows)
    # All are listed by one request.
    conf.CONF.set_override('max_db_limit', 2**31)
    if rows:
        fill(client, rows)
    return measure(client, limit)


if __name__ == '__main__':
    api.answer(work)
