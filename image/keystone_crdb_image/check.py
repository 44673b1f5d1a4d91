# SPDX-License-Identifier: Apache-2.0
"""The verb check: database, schema, keys, and what is wrong with them."""

import sqlalchemy
from sqlalchemy import exc

from keystone_crdb_image import database
from keystone_crdb_image import keys
from keystone_crdb_image import schema
from keystone_crdb_image import settings as settings_module


def _database(engine: sqlalchemy.Engine) -> tuple[str | None, str | None]:
    try:
        return None, database.product(engine)
    except (exc.SQLAlchemyError, AssertionError) as error:
        return database.explain(error, engine.url), None


def _schema(engine: sqlalchemy.Engine) -> tuple[str | None, str | None]:
    try:
        found = schema.state(engine)
    except exc.DBAPIError as error:
        return f'it can not be read: {database.reason(error)}', None
    text = f'the schema is {found.value}'
    if found in (schema.State.CURRENT, schema.State.EXPANDED):
        return None, text
    if found is schema.State.NEWER:
        return f'{text}: use the image of that release', None
    return f'{text}: run the verb db-sync', None


def check(settings: settings_module.Settings) -> int:
    """Print a line for each thing that Keystone needs.

    :returns: exit status: 0 when all is well
    """
    engine = database.create_engine(settings.database)
    name = database.describe(settings.database)
    wrong, product = _database(engine)
    results = [(f'database {name}', wrong, product)]
    if wrong:
        results.append(('schema', 'not looked at without a database', None))
    else:
        results.append(('schema', *_schema(engine)))
    for title, folder in (
        ('fernet keys', settings.fernet_keys),
        ('receipt keys', settings.receipt_keys),
        ('credential keys', settings.credential_keys),
    ):
        wrong = keys.problem(folder)
        found = None if wrong else f'{len(keys.numbers(folder))} in {folder}'
        results.append((title, wrong, found))
    for title, wrong, found in results:
        print(f'{"FAILED" if wrong else "ok":<7}{title}: {wrong or found}')
    return int(any(wrong for _, wrong, _ in results))
