# SPDX-License-Identifier: Apache-2.0
"""The verb drill: restore a backup into another database, and use it.

On CockroachDB it makes a backup, or takes the newest one that is there, and
restores it by the database's own statements, which are those of the pages
BACKUP, RESTORE and SHOW BACKUP of its documentation. What other means have
restored is looked at in the same way.
"""

import argparse
import collections.abc
import contextlib
import datetime
import json
import os
import pathlib
import subprocess
import sys
import typing

import sqlalchemy

from keystone_crdb_image import check
from keystone_crdb_image import credentials
from keystone_crdb_image import database
from keystone_crdb_image import errors
from keystone_crdb_image import handover
from keystone_crdb_image import keys
from keystone_crdb_image import log
from keystone_crdb_image import regions
from keystone_crdb_image import schema
from keystone_crdb_image import settings as settings_module

#: What a backup is restored as; it is dropped after the drill.
NAME = 'keystone_drill'

#: A backup of ten seconds ago waits for no transaction that is under way.
_BACKUP = "BACKUP DATABASE {} INTO {} AS OF SYSTEM TIME '-10s'"
_TAKEN = 'SELECT max(end_time) FROM [SHOW BACKUP FROM LATEST IN {}]'
_RESTORE = 'RESTORE DATABASE {} FROM LATEST IN {} WITH new_db_name = {}'
_DROP = 'DROP DATABASE {} CASCADE'

#: Microseconds since 1970; each new user and each new password has a row.
_NEWEST = sqlalchemy.text('SELECT max(created_at_int) FROM password')

_NUMBER = sqlalchemy.text('SELECT count(*) FROM credential')
_ENCRYPTED = sqlalchemy.text('SELECT encrypted_blob FROM credential LIMIT 1')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        '--to', metavar='COLLECTION',
        help='back up into this collection of CockroachDB first, such as '
        'external://NAME, and restore that',
    )
    what.add_argument(
        '--from', dest='source', metavar='COLLECTION',
        help='restore the newest backup of this collection',
    )
    what.add_argument(
        '--restored', metavar='DATABASE',
        help='look at this database of the same server, which other means '
        'have restored; it is not dropped',
    )
    parser.add_argument(
        '--keys', metavar='FOLDER', type=pathlib.Path,
        help='restored keys, in its folders fernet-keys and credential-keys '
        '(default: those of this replica)',
    )


def _literal(text: str) -> str:
    """Return a string as SQL has it."""
    return "'{}'".format(text.replace("'", "''"))


def _ago(moment: datetime.datetime) -> str:
    """Say when something was.

    :param moment: in UTC, if it has no time zone
    """
    moment = moment.replace(tzinfo=moment.tzinfo or datetime.UTC)
    age = datetime.datetime.now(datetime.UTC) - moment
    return f'{moment:%Y-%m-%d %H:%M:%S %Z}, {age.total_seconds():.0f} s ago'


def _newest(engine: sqlalchemy.Engine) -> datetime.datetime:
    with engine.connect() as connection:
        found = connection.scalar(_NEWEST) or 0
    return datetime.datetime.fromtimestamp(found / 1e6, datetime.UTC)


def _with_keystone(
    environ: dict[str, str], url: sqlalchemy.URL,
    given: dict[str, typing.Any],
) -> dict[str, typing.Any]:
    """Ask a process that has Keystone loaded; see drill_worker.py.

    It uses no cache: that of those who serve knows another database.

    :param environ: of the processes that serve
    :param url: of the database to use
    :param given: what is asked
    :returns: the answer
    :raises Problem: if there is none
    """
    secrets, environ = settings_module.separate({
        **environ,
        'OS_DATABASE__CONNECTION': settings_module.connection(url),
        'OS_CACHE__ENABLED': 'false',
    })
    handle = handover.give(secrets)
    try:
        done = subprocess.run(
            [sys.executable, '-m', 'keystone_crdb_image.drill_worker'],
            env={**environ, handover.NAME: str(handle)}, pass_fds=[handle],
            input=json.dumps(given), stdout=subprocess.PIPE, text=True,
        )
    finally:
        os.close(handle)
    if done.returncode:
        raise errors.Problem(
            f'Keystone ended with {done.returncode} on '
            f'{database.describe(url)}; its own messages are above'
        )
    answer: dict[str, typing.Any] = json.loads(done.stdout)
    return answer


@contextlib.contextmanager
def _restored(
    engine: sqlalchemy.Engine, collection: str, is_new: bool
) -> collections.abc.Iterator[datetime.datetime]:
    """Restore a backup for as long as the context lasts.

    :param collection: of backups
    :param is_new: whether to make a backup first
    :returns: as context: the time of the backup
    :raises sqlalchemy.exc.DBAPIError: if the database refuses
    """
    own = regions.quoted(str(engine.url.database))
    place = _literal(collection)
    # Neither BACKUP nor RESTORE may be in a transaction.
    alone = engine.execution_options(isolation_level='AUTOCOMMIT')
    with alone.connect() as connection:
        if is_new:
            log.say('backing up')
            connection.exec_driver_sql(_BACKUP.format(own, place))
        taken = connection.exec_driver_sql(_TAKEN.format(place)).scalar_one()
        log.say(f'restoring as {NAME}')
        connection.exec_driver_sql(
            _RESTORE.format(own, place, _literal(NAME))
        )
        try:
            yield taken
        finally:
            connection.exec_driver_sql(_DROP.format(regions.quoted(NAME)))


def _credential(
    engine: sqlalchemy.Engine, folder: pathlib.Path
) -> check.Result:
    """Decrypt a stored credential, and look whether all have their keys."""
    title = 'stored credentials'
    if wrong := keys.problem(folder) or credentials.lost(engine, folder):
        return check.Result(title, wrong, 'FAILED')
    with engine.connect() as connection:
        number = connection.scalar(_NUMBER)
        blob = connection.scalar(_ENCRYPTED)
    if blob is None:
        return check.Result(title, 'there are none to decrypt', 'WARN')
    if not credentials.reader(folder)(blob):
        return check.Result(title, 'one can not be decrypted', 'FAILED')
    return check.Result(
        title, f'one of {number} was decrypted, and all have their keys'
    )


def _age(
    own: sqlalchemy.Engine, engine: sqlalchemy.Engine,
    taken: datetime.datetime | None,
) -> check.Result:
    """Tell how old the backup is, and what it does not have."""
    newest = _newest(engine)
    behind = (_newest(own) - newest).total_seconds()
    found = [f'its newest password is of {_ago(newest)}']
    if behind > 0:
        found.append(f'the newest one in use came {behind:.0f} s later')
    if taken:
        found.insert(0, f'it was taken at {_ago(taken)}')
    return check.Result('age of the backup', '; '.join(found))


def _results(
    settings: settings_module.Settings, token: dict[str, typing.Any],
    name: str, folder: pathlib.Path | None, taken: datetime.datetime | None,
) -> collections.abc.Iterator[check.Result]:
    """Use a database that was restored.

    :param token: what was issued before
    :param name: of the database
    :param folder: of the restored keys, or None
    :param taken: when the backup was made, if that is known
    """
    tokens, stored = settings.fernet_keys, settings.credential_keys
    if folder:
        tokens, stored = folder / 'fernet-keys', folder / 'credential-keys'
    url = settings.db_sync_database.set(database=name)
    engine = database.create_engine(url)
    found = schema.state(engine)
    right = found in (schema.State.CURRENT, schema.State.EXPANDED)
    yield check.Result(
        'schema', f'the schema is {found.value}', 'ok' if right else 'FAILED'
    )
    if not right:
        return
    if wrong := keys.problem(tokens):
        yield check.Result('token', wrong, 'FAILED')
    else:
        answer = _with_keystone(
            {**settings.environ,
             'OS_FERNET_TOKENS__KEY_REPOSITORY': str(tokens)},
            url, token,
        )
        if 'problem' in answer:
            yield check.Result('token', answer['problem'], 'FAILED')
        else:
            yield check.Result(
                'token',
                'what was issued on the database in use is valid, for user '
                f'{answer["user"]} with the roles {answer["roles"]}',
            )
    yield _credential(engine, stored)
    yield _age(
        database.create_engine(settings.db_sync_database), engine, taken
    )


def run(settings: settings_module.Settings, args: argparse.Namespace) -> int:
    """Run the verb.

    :returns: exit status: 0 if nothing failed
    :raises Problem: if nothing can be restored
    :raises sqlalchemy.exc.DBAPIError: if the database refuses
    """
    engine = database.create_engine(settings.db_sync_database)
    if not args.restored and engine.dialect.name != 'cockroachdb':
        raise errors.Problem(
            'only CockroachDB restores by itself: restore the backup with '
            "your database's tools, such as pg_restore, and name the new "
            'database with --restored'
        )
    if args.restored == engine.url.database:
        raise errors.Problem(
            f'{args.restored} is the database in use: restore the backup '
            'into another one'
        )
    database.wait(engine, settings.database_wait)
    token = _with_keystone(
        settings.environ, settings.database,
        {
            'user': settings.bootstrap['OS_BOOTSTRAP_USERNAME'],
            'project': settings.bootstrap['OS_BOOTSTRAP_PROJECT_NAME'],
        },
    )
    if 'problem' in token:
        raise errors.Problem(f'no token could be issued: {token["problem"]}')
    failed = False
    with contextlib.ExitStack() as stack:
        taken = None
        if not args.restored:
            taken = stack.enter_context(
                _restored(engine, args.to or args.source, bool(args.to))
            )
        for result in _results(
            settings, token, args.restored or NAME, args.keys, taken
        ):
            print(f'{result.word:<7}{result.title}: {result.found}')
            failed = failed or result.word == 'FAILED'
    return int(failed)
