# SPDX-License-Identifier: Apache-2.0
"""The proof that an image works, by a client that users have.

A token is issued and validated with python-openstackclient, a second
bootstrap changes nothing, and a duplicate is answered with 409.
"""

import collections.abc
import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys
import typing

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import process
from keystone_crdb.images import wheelhouse
from keystone_crdb.keystone import container
from keystone_crdb.keystone import http


@dataclasses.dataclass(frozen=True)
class Proof:
    """What was proved.

    :param first_token: seconds from the container's start to its first token
    :param facts: a line for each
    """

    first_token: float
    facts: list[str]


def client() -> pathlib.Path:
    """Return the `openstack` of the locked client, installing it once."""
    lock = paths.REQUIREMENTS / 'client.txt'
    folder = paths.BUILD / 'client'
    installed = folder / 'lock.txt'
    if not installed.exists() or installed.read_text() != lock.read_text():
        wheels = paths.BUILD / 'client-wheelhouse'
        wheelhouse.ensure(wheels, (lock.name,))
        shutil.rmtree(folder, ignore_errors=True)
        console.run([sys.executable, '-m', 'venv', folder], log='client')
        console.run(
            [
                folder / 'bin' / 'python', '-m', 'pip', 'install',
                '--disable-pip-version-check', '--no-index', '--find-links',
                wheels, '--require-hashes', '--requirement', lock,
            ],
            log='client',
        )
        shutil.copyfile(lock, installed)
    return folder / 'bin' / 'openstack'


def _openstack(
    environ: collections.abc.Mapping[str, str], *words: str
) -> subprocess.CompletedProcess[str]:
    """Run python-openstackclient with nothing else of OS_* around."""
    return subprocess.run(
        [client(), *words], env={**process.environ('OS_'), **environ},
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )


def _answer(
    environ: collections.abc.Mapping[str, str], *words: str
) -> typing.Any:
    result = _openstack(environ, *words, '-f', 'json')
    if result.returncode:
        raise errors.Failure(
            f'openstack {" ".join(words)} ended with {result.returncode}',
            details=result.stderr.strip(),
        )
    return json.loads(result.stdout)


def prove(keystone: container.Keystone) -> Proof:
    """Prove that a container works on an empty database, and end it.

    :param keystone: that is not started yet
    :raises Failure: naming what does not work
    """
    with console.step('Client: python-openstackclient'):
        client()
    facts: list[str] = []

    def fact(text: str) -> None:
        console.note(text)
        facts.append(text)

    with console.step('Proof'), keystone:
        fact(
            f'first token {keystone.first_token:.1f} s after the start of the '
            'container'
        )
        environ = keystone.credentials()
        issued = _answer(environ, 'token', 'issue')
        user = http.user_of_token(keystone.url, issued['id'])
        if user != 'admin':
            raise errors.Failure(f'the token is valid, but for {user}')
        fact(
            'a token issued with python-openstackclient is valid until '
            f'{issued["expires"]}'
        )
        by_token = {
            'OS_AUTH_TYPE': 'v3token',
            'OS_AUTH_URL': keystone.url,
            'OS_IDENTITY_API_VERSION': '3',
            'OS_TOKEN': issued['id'],
            'OS_PROJECT_NAME': 'admin',
            'OS_PROJECT_DOMAIN_ID': 'default',
        }
        endpoints = _answer(by_token, 'endpoint', 'list')
        fact(f'with that token: {len(endpoints)} endpoints listed')
        keystone.run('bootstrap')
        if len(_answer(environ, 'endpoint', 'list')) != len(endpoints):
            raise errors.Failure('a second bootstrap made more endpoints')
        fact('a second bootstrap succeeds and changes nothing')
        _answer(environ, 'user', 'create', 'proof')
        again = _openstack(environ, 'user', 'create', 'proof')
        if again.returncode == 0 or '409' not in again.stderr:
            raise errors.Failure(
                'a duplicate user was not answered with 409',
                details=again.stderr.strip() or again.stdout.strip(),
            )
        fact('a duplicate user is answered with 409')
    return Proof(keystone.first_token, facts)
