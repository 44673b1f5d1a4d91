# SPDX-License-Identifier: Apache-2.0
"""Move rows of every table, with those that no API makes."""

import base64
import os
import pathlib

import sqlalchemy

from keystone_crdb.checks.moves import rows
from keystone_crdb.checks.moves import stage as stages


def _count(url: str) -> int:
    """Count the users of a database."""
    with stages.connecting(url) as engine, engine.connect() as connection:
        table = sqlalchemy.table('local_user')
        query = sqlalchemy.select(sqlalchemy.func.count()).select_from(table)
        return connection.scalar(query) or 0


def _change(url: str) -> None:
    """Change rows as a Keystone in use does, and exchange two names."""
    def user(number: int, name: str) -> None:
        key = f'{number:032}'
        connection.execute(tables['user'].insert(), {
            'id': key, 'enabled': True, 'domain_id': 'default',
        })
        connection.execute(tables['local_user'].insert(), {
            'id': number, 'user_id': key, 'domain_id': 'default',
            'name': name,
        })

    def rename(number: int, name: str) -> None:
        table = tables['local_user']
        connection.execute(
            table.update().where(table.c.id == number).values(name=name)
        )

    with stages.connecting(url) as engine:
        metadata = sqlalchemy.MetaData()
        metadata.reflect(engine)
        tables = metadata.tables
        with engine.begin() as connection:
            if _count(url) == 1:
                user(101, 'one')
                user(102, 'two')
                return
            rename(101, 'three')
            rename(102, 'one')
            rename(101, 'two')
            user(103, 'three')
            connection.execute(tables['endpoint'].delete())
            table = tables['project']
            for key, parent in (('zz', 'default'), ('aa', 'zz')):
                connection.execute(table.insert(), {
                    'id': key, 'name': key, 'domain_id': 'default',
                    'parent_id': parent, 'is_domain': False,
                })


def _rename(url: str, name: str) -> None:
    """Give a user a name."""
    with stages.connecting(url) as engine, engine.begin() as connection:
        connection.execute(
            sqlalchemy.text('UPDATE local_user SET name = :n WHERE id = 103'),
            {'n': name},
        )


def _is_next_free(url: str) -> bool:
    """Insert a row that the database numbers."""
    with stages.connecting(url) as engine, engine.begin() as connection:
        highest = connection.scalar(sqlalchemy.text(
            'SELECT max(id) FROM revocation_event'
        ))
        table = sqlalchemy.table(
            'revocation_event',
            *map(sqlalchemy.column, ('issued_before', 'revoked_at')),
        )
        now = sqlalchemy.func.now()
        connection.execute(
            table.insert().values(issued_before=now, revoked_at=now)
        )
        return connection.scalar(sqlalchemy.text(
            'SELECT max(id) FROM revocation_event'
        )) > highest


def _refuse_in_use(stage: stages.Stage, source: str, target: str) -> None:
    """Move from a database that another session uses."""
    with stages.connecting(source) as engine, engine.connect() as connection:
        connection.execute(sqlalchemy.text('SELECT 1'))
        stage.run(target, 'import', source, status=stages.REFUSED)


def from_mysql(
    stage: stages.Stage, source: str, target: str, back: str
) -> None:
    """Move MySQL's rows, which have all that is awkward."""
    _refuse_in_use(stage, source, target)
    _change(source)
    rows.misspell(source)
    found = stage.run(target, 'import', source, status=stages.FOUND)['found']
    named = {
        (line['table'], column)
        for line in found
        for column in line['column'].split(', ')
    }
    missing = {(table, column) for table, column, _ in rows.MISSPELT} - named
    stage.expect(not missing, f'not named: {sorted(missing)}')
    stage.expect(_count(target) == 0, 'a refused import wrote rows')
    stage.killed(target, 'import', '--fold-references', source)
    report = stage.run(
        target, 'import', '--verify', '--fold-references', source
    )
    empty = [
        line['table'] for line in report['tables'] if not line['source_rows']
    ]
    stage.expect(not empty, f'tables without a row: {empty}')
    stage.run(
        target, 'import', '--fold-references', source, status=stages.REFUSED
    )
    _change(source)
    changed = stage.run(
        target, 'import', '--changes', '--fold-references', source
    )
    stage.expect(bool(changed.get('changed')), 'no change was brought')
    stage.expect(_is_next_free(target), 'the next number is not free')
    for name, what in (
        ('BOB', 'has other spellings'),
        ('\U0001f511', 'has a character of 4 bytes'),
    ):
        _rename(target, name)
        found = stage.run(target, 'export', back, status=stages.FOUND)['found']
        stage.expect(
            [line['table'] for line in found] == ['local_user']
            and found[0]['problem'].startswith(what),
            f'not only a name that {what}: {found}',
        )
    _rename(target, 'bill')
    stage.run(target, 'export', back)
    stage.run(target, 'export', '--verify', back)


def make_keys(folder: pathlib.Path) -> bytes:
    """Make the folders of keys, and return the key."""
    key = base64.urlsafe_b64encode(os.urandom(32))
    for name in ('credential-keys', 'fernet-keys'):
        keys = folder / name
        keys.mkdir(mode=0o700)
        (keys / '0').write_bytes(key)
        (keys / '0').chmod(0o400)
    return key


def from_postgresql(
    stage: stages.Stage, source: str, target: str, back: str
) -> None:
    """Move PostgreSQL's rows, which have characters of four bytes."""
    _refuse_in_use(stage, source, target)
    stage.run(target, 'import', source)
    stage.run(target, 'export', back)
    stage.expect(_is_next_free(back), 'the next number is not free')
