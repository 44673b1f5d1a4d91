# SPDX-License-Identifier: Apache-2.0
"""The image in states in which it must not serve.

It has to end by itself with one line that says what to do. States that need
no image are in tests/unit/image.
"""

import collections.abc
import contextlib
import dataclasses
import pathlib
import subprocess

import sqlalchemy

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb.checks.attack import parts
from keystone_crdb.keystone import container
from keystone_crdb.keystone import http

#: Seconds after which it has served, or waits for what can't come.
LIMIT = 120

#: As Kolla has it: the folder of the log is another container's.
KOLLA = """\
[DEFAULT]
log_file = /var/log/kolla/keystone/keystone.log
use_stderr = true
[oslo_middleware]
enable_proxy_headers_parsing = true
"""


@dataclasses.dataclass(frozen=True)
class State:
    """A state, and what its line has to name.

    :param title: what is wrong
    :param part: of the line
    :param settings: further ones; None for one that is not set
    :param options: of `run`
    """

    title: str
    part: str
    settings: dict[str, str | None]
    options: tuple[str, ...] = ()


def _states(url: str, folder: pathlib.Path) -> list[State]:
    """Return the states.

    :param url: of a database that is in use
    :param folder: of a keystone.conf
    """
    typo = {'KEYSTONE_DATABASE_URL': None, 'KEYSTONE_DATABSE_URL': 'x'}
    absent = sqlalchemy.make_url(url).set(database='no_such_database')
    return [
        State('a folder without keys', 'KEYSTONE_NEW_KEYS=true', {}),
        State(
            'a typing error in a variable of the image',
            'did you mean KEYSTONE_DATABASE_URL?', typo,
        ),
        State(
            'an empty URL', 'OS_DATABASE__CONNECTION is empty',
            {'KEYSTONE_DATABASE_URL': None, 'OS_DATABASE__CONNECTION': ''},
        ),
        State(
            'a password and no URL', 'set KEYSTONE_DATABASE_URL',
            {
                'KEYSTONE_DATABASE_URL': None,
                'KEYSTONE_DATABASE_PASSWORD': 'x',
            },
        ),
        State(
            'a database that does not exist', 'no_such_database',
            {
                'KEYSTONE_DATABASE_URL': absent.render_as_string(
                    hide_password=False
                )
            },
        ),
        State(
            'a wrong value', 'OS_TOKEN__EXPIRATION has a wrong value',
            {'OS_TOKEN__EXPIRATION': 'abc'},
        ),
        State(
            'a typing error in an option', 'did you mean OS_TOKEN__EXPIRATION',
            {'OS_TOKEN__EXPIRATON': '60'},
        ),
        State('a driver that is not there', 'sqll',
              {'OS_IDENTITY__DRIVER': 'sqll'}),
        State(
            'a policy file that is not there', 'OS_OSLO_POLICY__POLICY_FILE',
            {'OS_OSLO_POLICY__POLICY_FILE': '/etc/keystone/none.yaml'},
        ),
        State(
            'a log file in a folder that is not there',
            '[DEFAULT] log_file in keystone.conf', {},
            ('--volume', f'{folder}:/etc/keystone:ro,Z'),
        ),
    ]


def _run(
    context: parts.Context,
    state: State,
    settings: collections.abc.Mapping[str, str],
) -> str | None:
    """Start the image in a state; return what is wrong then."""
    chosen = {
        name: value
        for name, value in {**settings, **state.settings}.items()
        if value is not None
    }
    try:
        ended = container.once(
            context.engine, context.image, ('serve',), chosen, state.options,
            LIMIT,
        )
    except subprocess.TimeoutExpired:
        return f'{state.title}: it serves or waits'
    line = ended.output.splitlines()[-1] if ended.output else ''
    console.note(f'{state.title}: {line.removeprefix("keystone-crdb: ")}')
    for wrong, text in (
        (ended.status != 1, f'it ended with {ended.status}'),
        ('Traceback' in ended.output, 'it printed a traceback'),
        (state.part not in line, f'{state.part} is not in "{line}"'),
    ):
        if wrong:
            return f'{state.title}: {text}'
    return None


def _store_credential(keystone: container.Keystone) -> None:
    token = http.issue_token(keystone.url, keystone.password).token
    user = http.request(
        keystone.url, 'GET', '/auth/tokens', token=token, subject=token
    ).body['token']['user']['id']
    answer = http.request(
        keystone.url, 'POST', '/credentials',
        {'credential': {'type': 'cert', 'blob': 'x', 'user_id': user}}, token,
    )
    if answer.outcome is not http.Outcome.DONE:
        raise errors.Failure(f'a credential was not stored: {answer.why}')


def _with_new_keys(
    context: parts.Context,
    settings: collections.abc.Mapping[str, str],
    options: tuple[str, ...],
) -> list[str]:
    """Make new keys where that is asked for; `check` has to tell."""
    told = {**settings, 'KEYSTONE_NEW_KEYS': 'true'}
    with container.Keystone(
        context.engine, context.image, told, options
    ) as keystone:
        try:
            keystone.run('check')
        except errors.Failure as failure:
            if 'FAILED stored credentials: 1 of 1' in str(failure.details):
                return []
    return ['other keys: check does not tell of the stored credential']


def attack(context: parts.Context) -> list[str]:
    """Start the image in each state.

    :returns: what is wrong, one line each
    """
    folder = context.folder / 'etc'
    folder.mkdir()
    folder.chmod(0o755)
    (folder / 'keystone.conf').write_text(KOLLA)
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(context.database.temporary('states'))
        mine, other = (
            container.mounted(
                stack.enter_context(container.volume(context.engine))
            )
            for _ in range(2)
        )
        settings = {
            'KEYSTONE_DATABASE_URL': url, 'KEYSTONE_ADMIN_PASSWORD': 'x',
            # More than LIMIT: what is waited for is found out.
            'KEYSTONE_DATABASE_WAIT': '300',
        }
        wrong = []
        with container.Keystone(
            context.engine, context.image, settings, mine
        ) as keystone:
            _store_credential(keystone)
            try:
                keystone.run('keystone-status', 'upgrade', 'check')
            except errors.Failure as failure:
                wrong.append(str(failure))
        states = _states(url, folder)
        with console.step(f'{len(states)} states in which nothing is served'):
            found = [_run(context, state, settings) for state in states]
        wrong += [line for line in found if line]
        wrong += _with_new_keys(context, settings, other)
    return wrong
