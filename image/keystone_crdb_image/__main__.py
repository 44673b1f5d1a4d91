# SPDX-License-Identifier: Apache-2.0
"""The entrypoint of the image: keystone-crdb VERB, or any other command."""

import argparse
import collections.abc
import os
import signal
import sys
import types
import typing

import sqlalchemy
from sqlalchemy import exc

from keystone_crdb_image import check
from keystone_crdb_image import database
from keystone_crdb_image import errors
from keystone_crdb_image import evaluation
from keystone_crdb_image import keys
from keystone_crdb_image import log
from keystone_crdb_image import schema
from keystone_crdb_image import serve
from keystone_crdb_image import settings as settings_module


def _engine(
    settings: settings_module.Settings,
    url: sqlalchemy.URL,
) -> sqlalchemy.Engine:
    engine = database.create_engine(url)
    database.wait(engine, settings.database_wait)
    return engine


def _serve(
    settings: settings_module.Settings,
    args: argparse.Namespace,
) -> None:
    serve.serve(settings)


def _db_sync(
    settings: settings_module.Settings,
    args: argparse.Namespace,
) -> None:
    engine = _engine(settings, settings.db_sync_database)
    schema.sync(settings, engine, *args.phase)


def _bootstrap(
    settings: settings_module.Settings,
    args: argparse.Namespace,
) -> None:
    if settings.evaluation:
        evaluation.prepare(settings)
    if 'OS_BOOTSTRAP_PASSWORD' not in settings.bootstrap:
        raise errors.Problem(
            'bootstrap needs KEYSTONE_ADMIN_PASSWORD or '
            'KEYSTONE_ADMIN_PASSWORD_FILE'
        )
    schema.bootstrap(settings, _engine(settings, settings.database))


def _check(
    settings: settings_module.Settings,
    args: argparse.Namespace,
) -> int:
    return check.check(settings)


def _rotate_keys(
    settings: settings_module.Settings,
    args: argparse.Namespace,
) -> None:
    if args.credential:
        keys.rotate_credential_keys(settings)
    else:
        keys.rotate_fernet_keys(settings)


def _parser(
) -> tuple[argparse.ArgumentParser, collections.abc.Container[str]]:
    parser = argparse.ArgumentParser(
        prog='keystone-crdb',
        description='Anything that is no verb is run as it is, with the '
        'settings in its environment: keystone-crdb keystone-manage doctor.',
    )
    verbs = parser.add_subparsers(dest='verb', metavar='VERB', required=True)

    def add(
        name: str,
        function: collections.abc.Callable[
            [settings_module.Settings, argparse.Namespace], int | None
        ],
        text: str,
    ) -> argparse.ArgumentParser:
        verb = verbs.add_parser(name, help=text, description=text)
        verb.set_defaults(function=function)
        return verb

    add('serve', _serve, 'wait for the database, bring the schema up, '
        'bootstrap when an admin password is set, and serve')
    db_sync = add('db-sync', _db_sync, 'bring the schema up')
    phases = db_sync.add_mutually_exclusive_group()
    for phase in ('--expand', '--migrate', '--contract'):
        phases.add_argument(
            phase, dest='phase', action='append_const', const=phase,
            help='only this phase',
        )
    db_sync.set_defaults(phase=[])
    add('bootstrap', _bootstrap, 'create the admin, its roles and the '
        'identity service, or set them right again')
    add('check', _check, 'say what is wrong with database, schema and keys')
    rotate = add('rotate-keys', _rotate_keys, 'rotate the keys of tokens')
    rotate.add_argument(
        '--credential', action='store_true',
        help='rotate those of stored credentials instead, and encrypt the '
        'credentials anew',
    )
    return parser, verbs.choices


def _leave(signum: int, frame: types.FrameType | None) -> typing.NoReturn:
    sys.exit(128 + signum)


def main() -> int:
    """Run a verb, or become another command.

    :returns: exit status
    """
    signal.signal(signal.SIGTERM, _leave)
    parser, verbs = _parser()
    words = sys.argv[1:] or ['serve']
    is_verb = words[0] in verbs or words[0] in ('-h', '--help')
    args = parser.parse_args(words) if is_verb else None
    try:
        settings = settings_module.read(dict(os.environ))
        if args:
            return args.function(settings, args)
        os.execvpe(words[0], words, settings.environ)  # noqa: S606
    except errors.Problem as problem:
        log.say(str(problem))
    except exc.DBAPIError as error:
        log.say(f'the database failed: {database.reason(error)}')
    except OSError as error:
        if is_verb:
            raise
        log.say(f'{words[0]}: {error.strerror}')
    return 1


if __name__ == '__main__':
    sys.exit(main())
