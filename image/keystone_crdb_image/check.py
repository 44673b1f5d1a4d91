# SPDX-License-Identifier: Apache-2.0
"""The verb check: all that Keystone needs, and what is wrong with it."""

import collections.abc
import math
import pathlib
import typing

import sqlalchemy
from sqlalchemy import exc

from keystone_crdb_image import caches
from keystone_crdb_image import configuration
from keystone_crdb_image import credentials
from keystone_crdb_image import database
from keystone_crdb_image import errors
from keystone_crdb_image import keys
from keystone_crdb_image import license as license_module
from keystone_crdb_image import release
from keystone_crdb_image import schema
from keystone_crdb_image import settings as settings_module
from keystone_crdb_image import trial


class Result(typing.NamedTuple):
    """What was found out about one thing.

    :param title: the thing
    :param found: one line
    :param word: ok, WARN or FAILED
    """

    title: str
    found: str
    word: str = 'ok'


def _failed(title: str, why: str) -> Result:
    return Result(title, why, 'FAILED')


def _configuration(
    settings: settings_module.Settings,
) -> collections.abc.Iterator[Result]:
    title = 'configuration'
    try:
        findings = configuration.look(settings.environ)
    except errors.Problem as error:
        yield _failed(title, str(error))
        return
    for line in [*findings.wrong, *findings.unknown]:
        yield _failed(title, line)
    if findings.wrong:
        return
    if why := trial.problem(settings.environ):
        yield _failed(title, why)
    elif not findings.unknown:
        yield Result(title, 'Keystone can be loaded with it')


def _database(engine: sqlalchemy.Engine) -> Result:
    title = f'database {database.describe(engine.url)}'
    try:
        product = database.product(engine)
        if doubt := release.warning(product):
            return Result(title, doubt, 'WARN')
        return Result(title, product)
    except (exc.SQLAlchemyError, AssertionError) as error:
        return _failed(title, database.explain(error, engine.url))


def _license(engine: sqlalchemy.Engine) -> Result:
    title = 'license'
    try:
        doubt = license_module.warning(engine)
    except exc.DBAPIError as error:
        return Result(
            title,
            f'it is not known: {database.reason(error)} (grant the user '
            'VIEWCLUSTERSETTING for this check, or run it as an administrator)'
        )
    if doubt:
        return Result(title, doubt, 'WARN')
    return Result(title, 'no warning')


def _schema(engine: sqlalchemy.Engine) -> Result:
    title = 'schema'
    try:
        found = schema.state(engine)
    except exc.DBAPIError as error:
        return _failed(title, f'it can not be read: {database.reason(error)}')
    text = f'the schema is {found.value}'
    if found in (schema.State.CURRENT, schema.State.EXPANDED):
        return Result(title, text)
    if found is schema.State.NEWER:
        return _failed(title, f'{text}: use the image of that release')
    return _failed(title, f'{text}: run the verb db-sync')


def _keys(title: str, folder: pathlib.Path) -> Result:
    if wrong := keys.problem(folder):
        return _failed(title, wrong)
    if doubt := keys.warning(folder):
        return Result(title, doubt, 'WARN')
    return Result(title, f'{len(keys.numbers(folder))} in {folder}')


def _caches(settings: settings_module.Settings) -> Result:
    title = 'caches of several regions'
    try:
        word, found = caches.finding(settings.environ)
    except errors.Problem as error:
        return _failed(title, str(error))
    return Result(title, found, word)


def _credentials(engine: sqlalchemy.Engine, folder: pathlib.Path) -> Result:
    title = 'stored credentials'
    try:
        lost = credentials.lost(engine, folder)
    except exc.DBAPIError as error:
        return _failed(title, database.reason(error))
    return _failed(title, lost) if lost else Result(title, 'have their keys')


def _connections(settings: settings_module.Settings) -> Result:
    number = settings.processes * settings.threads
    return Result(
        'connections',
        f'this replica uses up to {number} at once; CockroachDB advises 4 for '
        'each of its processors, so it needs '
        f'{math.ceil(number / 4)} of them for each such replica',
    )


def _results(
    settings: settings_module.Settings,
) -> collections.abc.Iterator[Result]:
    yield from _configuration(settings)
    if settings.regions and len(settings.regions.regions) > 1:
        yield _caches(settings)
    engine = database.create_engine(settings.database)
    reached = _database(engine)
    yield reached
    usable = reached.word != 'FAILED'
    if usable and 'CockroachDB' in reached.found:
        yield _license(engine)
    if not settings.evaluation:
        yield _connections(settings)
    if usable:
        at = _schema(engine)
        yield at
        usable = at.word == 'ok'
    else:
        yield _failed('schema', 'not looked at without a database')
    yield _keys('fernet keys', settings.fernet_keys)
    yield _keys('receipt keys', settings.receipt_keys)
    folder = settings.credential_keys
    there = _keys('credential keys', folder)
    yield there
    if usable and there.word != 'FAILED':
        yield _credentials(engine, folder)


def check(settings: settings_module.Settings) -> int:
    """Print a line for each thing that Keystone needs.

    :returns: exit status: 0 when nothing failed
    """
    failed = False
    for result in _results(settings):
        print(f'{result.word:<7}{result.title}: {result.found}')
        failed = failed or result.word == 'FAILED'
    return int(failed)
