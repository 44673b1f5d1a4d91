# SPDX-License-Identifier: Apache-2.0
"""The entrypoint of the image: keystone-crdb VERB, or any other command."""

import argparse
import collections.abc
import importlib.metadata
import os
import pathlib
import shutil
import signal
import sys
import traceback
import types
import typing

import sqlalchemy
from sqlalchemy import exc

from keystone_crdb_image import caches
from keystone_crdb_image import check
from keystone_crdb_image import configuration
from keystone_crdb_image import database
from keystone_crdb_image import drill
from keystone_crdb_image import errors
from keystone_crdb_image import evaluation
from keystone_crdb_image import key_stages
from keystone_crdb_image import keys
from keystone_crdb_image import keys_verb
from keystone_crdb_image import log
from keystone_crdb_image import names
from keystone_crdb_image import regions
from keystone_crdb_image import regions_verb
from keystone_crdb_image import relay
from keystone_crdb_image import schema
from keystone_crdb_image import serve
from keystone_crdb_image import settings as settings_module
from keystone_crdb_image.move import verb as move


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
    configuration.refuse(settings.environ)
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
    configuration.refuse(settings.environ)
    engine = _engine(settings, settings.database)
    if schema.state(engine) is schema.State.EMPTY:
        raise errors.Problem('the schema is empty: run the verb db-sync')

    def first() -> None:
        if not schema.is_in_use(engine):
            keys.ensure_all(settings)

    schema.bootstrap(settings, engine, before=first)


def _check(
    settings: settings_module.Settings,
    args: argparse.Namespace,
) -> int:
    return check.check(settings)


def _rotate_keys(
    settings: settings_module.Settings,
    args: argparse.Namespace,
) -> None:
    configuration.refuse(settings.environ)
    if args.credential:
        keys.rotate_credential_keys(settings)
    else:
        keys.rotate_fernet_keys(settings)


def _keys(
    settings: settings_module.Settings,
    args: argparse.Namespace,
) -> None:
    keys_verb.run(settings, args)


def _of_replica(
    settings: settings_module.Settings,
) -> collections.abc.Iterator[tuple[str, str]]:
    """Yield what several regions need that is not in their database."""
    yield caches.finding(settings.environ)
    try:
        digest = key_stages.digest_of_all(settings.fernet_keys)
    except errors.Problem as problem:
        yield 'FAILED', str(problem)
    else:
        yield 'ok', (
            f'the keys of tokens have the digest {digest}, which is the same '
            'in all regions where they have the same keys'
        )


def _regions(
    settings: settings_module.Settings,
    args: argparse.Namespace,
) -> int:
    wanted = regions_verb.required(settings.regions)
    url = settings.db_sync_database
    if args.word in ('check', 'explain'):
        url = settings.database
    work = getattr(regions_verb, args.word)
    status: int = work(_engine(settings, url), wanted)
    if args.word == 'check' and len(wanted.regions) > 1:
        for word, found in _of_replica(settings):
            print(f'{word:<7}{found}')
            status = status or int(word == 'FAILED')
    return status


def _plan_offline() -> int:
    wanted = regions_verb.required(regions.read(os.environ))
    regions_verb.plan_offline(wanted, 'keystone')
    return 0


def _version() -> str:
    """Return the image's version, and upstream's."""
    keystone, oslo_db = (
        importlib.metadata.version(name) for name in ('keystone', 'oslo.db')
    )
    return (
        f'keystone-crdb {keystone.replace("+", "-")}: '
        f'Keystone {keystone.partition("+")[0]}, '
        f'oslo.db {oslo_db.partition("+")[0]}'
    )


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> typing.NoReturn:
        log.say(f'{message}: see keystone-crdb --help')
        sys.exit(2)


class _Version(argparse.Action):
    """Print the version, which is looked up only then."""

    def __call__(self, *args: object) -> typing.NoReturn:
        print(_version())
        sys.exit()


def _parser(
) -> tuple[argparse.ArgumentParser, collections.abc.Iterable[str]]:
    parser = _Parser(
        prog='keystone-crdb',
        description='Anything that is no verb is run as it is, with the '
        'settings in its environment: keystone-crdb keystone-manage doctor.',
    )
    parser.add_argument(
        '--version', action=_Version, nargs=0,
        help="print the image's version and upstream's",
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
    add('check', _check, 'say what is wrong with configuration, '
        'database, schema and keys')
    rotate = add('rotate-keys', _rotate_keys, 'rotate the keys of tokens')
    rotate.add_argument(
        '--credential', action='store_true',
        help='rotate those of stored credentials instead, and encrypt the '
        'credentials anew',
    )
    keys_verb.add_words(
        add('keys', _keys, 'rotate the keys of tokens where replicas share no '
            'volume')
    )
    layout = add('regions', _regions, 'lay the database out across regions')
    words = layout.add_subparsers(dest='word', metavar='WORD', required=True)
    for name, text in regions_verb.WORDS.items():
        word = words.add_parser(name, help=text, description=text)
        if name == 'plan':
            word.add_argument(
                '--offline', action='store_true',
                help='for a database named keystone that has all tables and '
                'no regions; no database is asked',
            )
    drill.add_arguments(add(
        'drill', drill.run, 'restore a backup into another database, and use '
        'its users, tokens and credentials',
    ))
    move.add_arguments(add(
        'import', move.run, 'copy all rows of another Keystone into the '
        'database, and compare them',
    ), 'import')
    move.add_arguments(add(
        'export', move.run, 'copy all rows of the database to that of another '
        'Keystone, and compare them',
    ), 'export')
    return parser, verbs.choices


def _relay(
    words: list[str],
    settings: settings_module.Settings,
    args: argparse.Namespace,
) -> None:
    """Become what makes the lines of a verb JSON, unless it is done.

    What `check` prints is for people.
    """
    if (
        settings.json_logs
        and args.verb != 'check'
        and relay.MARKER not in os.environ
    ):
        python = [sys.executable, '-m']
        command = [*python, 'keystone_crdb_image', *words]
        os.execv(  # noqa: S606
            sys.executable,
            [*python, 'keystone_crdb_image.relay', *command],
        )


def _leave(signum: int, frame: types.FrameType | None) -> typing.NoReturn:
    sys.exit(128 + signum)


def _run_command(
    words: list[str],
    settings: settings_module.Settings,
    verbs: collections.abc.Iterable[str],
) -> typing.NoReturn:
    """Become another command.

    :raises Problem: when there is none of this name
    """
    if shutil.which(words[0]) is None:
        hint = names.nearest(words[0], verbs)
        raise errors.Problem(
            f'{words[0]} is no verb and no command of this image'
            f'{hint or ": see keystone-crdb --help"}'
        )
    os.execvpe(words[0], words, settings.environ)  # noqa: S606


def _unforeseen(error: Exception) -> str:
    """Tell of an exception in one line; its text might hold a secret."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f'{pathlib.Path(frame.filename).name}:{frame.lineno}'
    return (
        f'unforeseen {type(error).__name__} at {place}: please report it, '
        'with the traceback that OS_DEFAULT__DEBUG=true shows'
    )


def main() -> int:
    """Run a verb, or become another command.

    :returns: exit status
    """
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    parser, verbs = _parser()
    words = sys.argv[1:] or ['serve']
    is_verb = words[0] in verbs or words[0].startswith('-')
    args = parser.parse_args(words) if is_verb else None
    try:
        if getattr(args, 'offline', False):
            return _plan_offline()
        settings = settings_module.read(dict(os.environ))
        if args is None:
            _run_command(words, settings, verbs)
        _relay(words, settings, args)
        return args.function(settings, args) or 0
    except errors.Problem as problem:
        log.say(str(problem))
    except exc.DBAPIError as error:
        log.say(f'the database failed: {database.reason(error)}')
    except OSError as error:
        log.say(f'{error.filename or words[0]}: {error.strerror or error}')
    except Exception as error:
        log.say(_unforeseen(error))
        if os.environ.get('OS_DEFAULT__DEBUG', '').lower() == 'true':
            traceback.print_exc()
    return 1


if __name__ == '__main__':
    sys.exit(main())
