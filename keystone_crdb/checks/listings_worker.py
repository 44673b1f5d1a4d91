# SPDX-License-Identifier: Apache-2.0
"""List very many projects, users and assignments in this process.

checks/listings.py runs this once for each tree, with the tree on PYTHONPATH,
on the database that KEYSTONE_CRDB_URL names. The first one fills it. Prints
one JSON object: how long each listing took, and what it answered.
"""

import argparse
import collections.abc
import contextlib
import json
import pathlib
import signal
import sys
import time

from keystone.common import sql
import keystone.conf

from keystone_crdb.checks import statements_worker
from keystone_crdb.keystone import in_process

#: The key of each listing's answer.
LISTINGS = {
    'assignments with names': 'role_assignments',
    'effective assignments of a subtree': 'role_assignments',
    'projects of a token': 'projects',
    'users': 'users',
    'projects': 'projects',
    'groups of a user': 'groups',
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
    def end(number, frame):
        raise TooLong

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class World:
    """What is listed.

    Alice has a role on all projects, inherited from the one above them. Bob
    is in all groups. Each of the other users has a role on a project.
    """

    def __init__(self, client: statements_worker.Client) -> None:
        self.client = client
        client.token = client.issue(
            statements_worker.auth(
                statements_worker.by_password('admin'),
                {'project': {'name': 'admin', 'domain': {'id': 'default'}}},
            )
        )

    def make(self, rows: int) -> None:
        """Make it.

        :param rows: how many projects, users, groups and assignments
        """
        domain = {'domain_id': 'default'}
        top = self.client.make(
            '/projects', {'project': {'name': 'top', **domain}}
        )
        alice, bob = (
            self.client.make(
                '/users',
                {
                    'user': {
                        'name': name,
                        'password': statements_worker.PASSWORD,
                        **domain,
                    }
                },
            )
            for name in ('alice', 'bob')
        )
        reader = self._find('roles', 'reader')
        self.client.make(
            f'/OS-INHERIT/projects/{top}/users/{alice}/roles/{reader}'
            '/inherited_to_projects',
            None, 'PUT',
        )
        statements_worker.insert(_rows(rows, top, bob, reader))

    def _find(self, kind, name):
        (found,) = self.client('GET', f'/{kind}?name={name}').json[kind]
        return found['id']

    def requests(self) -> dict:
        """Return the arguments of the client for each of LISTINGS."""
        top = self._find('projects', 'top')
        alice, bob = (self._find('users', name) for name in ('alice', 'bob'))
        token = self.client.issue(
            statements_worker.auth(
                statements_worker.by_password('alice'), 'unscoped'
            )
        )
        paths = (
            '/role_assignments?include_names',
            f'/role_assignments?scope.project.id={top}&include_subtree'
            f'&user.id={alice}&effective',
            '/auth/projects',
            '/users',
            '/projects',
            f'/users/{bob}/groups',
        )
        requests = {
            name: {'method': 'GET', 'path': path}
            for name, path in zip(LISTINGS, paths, strict=True)
        }
        requests['projects of a token']['token'] = token
        return requests


def _rows(number: int, top: str, member: str, role: str):
    """Return what is inserted, by name of the table.

    :param number: of each kind
    :param top: project above all of them
    :param member: user in all groups
    :param role: of each user on a project
    """
    new = {
        name: []
        for name in (
            'user', 'local_user', 'project', 'group',
            'user_group_membership', 'assignment',
        )
    }
    for n in range(number):
        user, project, group = (
            statements_worker.many_id(kind, number, n)
            for kind in ('user', 'project', 'group')
        )
        common = {'domain_id': 'default', 'extra': '{}'}
        name = f'many-{n}'
        new['user'].append({'id': user, 'enabled': True, **common})
        new['local_user'].append(
            {'user_id': user, 'domain_id': 'default', 'name': name}
        )
        new['project'].append(
            {
                'id': project, 'name': name, 'parent_id': top,
                'enabled': True, 'is_domain': False, **common,
            }
        )
        new['group'].append({'id': group, 'name': name, **common})
        new['user_group_membership'].append(
            {'user_id': member, 'group_id': group}
        )
        new['assignment'].append(
            {
                'type': 'UserProject', 'actor_id': user,
                'target_id': project, 'role_id': role, 'inherited': False,
            }
        )
    return new


def measure(world: World, seconds: int) -> dict | None:
    """Send each request once, with nothing in the cache.

    :param seconds: that each may take
    :returns: for each listing a dict of `status`, None if it took too long;
        `seconds`; and `rows`, the number of what was listed
    """
    results = {}
    for name, arguments in world.requests().items():
        statements_worker.forget()
        start = time.monotonic()
        try:
            with limit(seconds):
                response = world.client(**arguments)
        except TooLong:
            results[name] = {'status': None, 'seconds': seconds, 'rows': 0}
            _disconnect()
        except Exception as exc:
            # A server answers 500 to what the application raises.
            print(str(exc)[:500], file=sys.stderr)
            results[name] = {
                'status': 500, 'seconds': time.monotonic() - start, 'rows': 0,
            }
        else:
            results[name] = {
                'status': response.status_code,
                'seconds': time.monotonic() - start,
                'rows': len((response.json or {}).get(LISTINGS[name], ())),
            }
        print(name, results[name], file=sys.stderr, flush=True)
    return results


def _disconnect() -> None:
    # What was interrupted is still in the middle of a statement.
    with sql.session_for_read() as session:
        session.get_bind().dispose()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=pathlib.Path)
    parser.add_argument('--rows', type=int, help='make so many of each kind')
    parser.add_argument('--limit', type=int, default=300)
    args = parser.parse_args()
    # Keystone would read these as its own.
    del sys.argv[1:]
    app = in_process.serve(
        args.folder, statements_worker.PASSWORD, is_made=not args.rows
    )
    # All are listed by one request.
    keystone.conf.CONF.set_override('max_db_limit', 2**31)
    world = World(statements_worker.Client(app))
    if args.rows:
        world.make(args.rows)
    json.dump(measure(world, args.limit), sys.stdout)


if __name__ == '__main__':
    main()
