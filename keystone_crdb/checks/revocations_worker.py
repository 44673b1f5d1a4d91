# SPDX-License-Identifier: Apache-2.0
"""Two processes with a cache each: one removes, the other has to refuse."""

import collections.abc
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import time

from keystone_crdb.checks import in_process_client as api
from keystone_crdb.keystone import in_process

#: The one thing that leaves all but the token as it was.
REVOKE = 'revoke the token'

#: Seconds between two validations of a token that is still accepted.
_PAUSE = 0.05


class _World:
    """Users with a token each, and what is done to them."""

    def __init__(self, client: api.Client) -> None:
        self.client = client
        self.role = client.make_id('role', name='reporter')
        self._number = 0
        self._last: tuple[str, str, str] | None = None

    def token(self, how: str) -> tuple[str, str, str]:
        """Return the ids of a user and a project, and a new token.

        :param how: the token will be removed; a revoked one leaves its user
            as he was
        """
        if how != REVOKE or self._last is None:
            self._last = self._user()
        user, project, name = self._last
        token = self.client.issue(
            api.auth(api.by_password(name), {'project': {'id': project}})
        )
        return user, project, token

    def _user(self) -> tuple[str, str, str]:
        """Return the ids of a new user and a project, and their name."""
        self._number += 1
        name = f'user-{self._number}'
        make = self.client.make_id
        user = make(
            'user', name=name, password=api.PASSWORD, domain_id='default'
        )
        project = make('project', name=name, domain_id='default')
        self.client.make(self._grant(user, project), method='PUT')
        return user, project, name

    def _grant(self, user: str, project: str) -> str:
        return f'/projects/{project}/users/{user}/roles/{self.role}'

    def remove(self, how: str, user: str, project: str, token: str) -> None:
        """Do what makes a token invalid."""
        make = self.client.make
        path = f'/users/{user}'
        if how == REVOKE:
            response = self.client('DELETE', '/auth/tokens', subject=token)
            if response.status_code != 204:
                raise RuntimeError(response.get_data(True))
        elif how == 'disable the user':
            make(path, {'user': {'enabled': False}}, method='PATCH')
        elif how == 'change the password':
            make(path, {'user': {'password': 'another'}}, method='PATCH')
        elif how == 'delete the user':
            make(path, method='DELETE')
        elif how == 'remove the role':
            make(self._grant(user, project), method='DELETE')
        else:
            make(
                f'/projects/{project}', {'project': {'enabled': False}},
                method='PATCH',
            )


def _validate(client: api.Client, token: str) -> int:
    return client('HEAD', '/auth/tokens', subject=token).status_code


def _other(
    client: api.Client, pipe: multiprocessing.connection.Connection,
) -> None:
    """Validate what the first process sends, until it ends."""
    try:
        while True:
            pipe.send(_validate(client, pipe.recv()))
    except EOFError:
        return


def _seconds(
    world: _World, ask: collections.abc.Callable[[str], int], how: str,
    limit: float,
) -> float:
    """Return how long the other process accepts what this one removed."""
    user, project, token = world.token(how)
    for _ in range(2):
        if ask(token) != 200:
            raise RuntimeError('the other process refuses a good token')
    world.remove(how, user, project, token)
    start = time.monotonic()
    if ask(token) != 200:
        # At once, however long the answer took.
        return 0
    while time.monotonic() - start <= limit and ask(token) == 200:
        time.sleep(_PAUSE)
    return time.monotonic() - start


def work(
    folder: pathlib.Path, tries: dict[str, int], limit: float,
    settings: dict[str, str],
) -> dict[str, list[float]]:
    """Serve in two processes, and remove things in one.

    :param tries: how often to do what
    :param limit: seconds after which the other process is not asked any more
    :param settings: variables of Keystone's options
    :returns: for each thing the seconds until the other process refuses
    """
    os.environ.update(settings)
    client = api.serve(folder)
    world = _World(client)
    # No connection is to be used by both.
    in_process.disconnect()
    context = multiprocessing.get_context('fork')
    ours, theirs = context.Pipe()

    def serve() -> None:
        ours.close()
        _other(client, theirs)

    process = context.Process(target=serve)
    process.start()
    theirs.close()

    def ask(token: str) -> int:
        ours.send(token)
        return ours.recv()

    try:
        return {
            how: [_seconds(world, ask, how, limit) for _ in range(count)]
            for how, count in tries.items()
        }
    finally:
        ours.close()
        process.join()


if __name__ == '__main__':
    api.answer(work)
