# SPDX-License-Identifier: Apache-2.0
"""Move rows of every table between MariaDB, PostgreSQL and the database.

MariaDB's rows have references that differ from their parents by case and by
spaces. They are named, moved by --fold-references while the command is killed
again and again, changed in the source and brought by --changes, and exported
to another MariaDB. PostgreSQL's rows, with characters of four bytes, go to
the database and back as well, by the commands of docs/move.rst.

It fails if a digest differs, if a reference is not named, if a refused move
has written something, if a source that another session uses is not refused,
if the number of the next row is not free, or if anything that was printed or
reported has a hash or a secret.
"""

import argparse
import base64
import collections.abc
import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import re
import subprocess
import typing

import sqlalchemy

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import paths
from keystone_crdb import scratch
from keystone_crdb.checks.moves import rows
from keystone_crdb.databases import plain
from keystone_crdb.keystone import programs
from keystone_crdb.keystone import served

_DOCUMENT = paths.ROOT / 'docs/move.rst'

#: Exit statuses of import and export.
_DONE, _REFUSED, _FOUND = 0, 1, 3


@dataclasses.dataclass
class _Stage:
    """What the scenes share.

    :param wrong: what was not as wanted, a line each
    """

    folder: pathlib.Path
    trees: list[pathlib.Path]
    wrong: list[str] = dataclasses.field(default_factory=list)

    def expect(self, is_right: bool, text: str) -> None:
        """Take down what is not as wanted."""
        if not is_right:
            self.wrong.append(text)

    def run(
        self, url: str, *words: str, status: int = _DONE
    ) -> dict[str, typing.Any]:
        """Run import or export.

        :param url: of the database that is configured
        :param status: the exit status that is wanted
        :returns: the report; without lines where there is none
        """
        report = self.folder / 'report.json'
        report.unlink(missing_ok=True)
        process = programs.entrypoint(
            self.trees, self.folder, url, *words, '--report', str(report)
        )
        output, _ = process.communicate()
        name = ' '.join(word for word in words if ':/' not in word)
        self.expect(
            process.returncode == status,
            f'{name} ended with {process.returncode} and not {status}:\n'
            f'{output}',
        )
        text = report.read_text() if report.exists() else '{}'
        for secret in rows.SECRETS:
            self.expect(
                secret not in output and secret not in text,
                f'{name}: the output or the report has {secret}',
            )
        found = {'found': [], 'tables': [], **json.loads(text)}
        if status == _DONE and '--check' not in words:
            self.expect(
                bool(found['tables'])
                and all(line['equal'] for line in found['tables']),
                f'{name}: tables differ:\n{output}',
            )
        return found

    def sync(self, *urls: str) -> None:
        """Bring schemas up, all at once."""
        started = [
            programs.db_sync(self.trees, self.folder, url) for url in urls
        ]
        for process in started:
            programs.finish(process, 'keystone-manage db_sync')

    def killed(self, url: str, *words: str) -> None:
        """Kill a command again and again, later each time, until it ends."""
        for number in itertools.count():
            process = programs.entrypoint(
                self.trees, self.folder, url, *words
            )
            try:
                output, _ = process.communicate(timeout=1 + 0.15 * number)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                continue
            # The one before may have been killed after its work.
            is_done = not process.returncode or 'were moved' in output
            self.expect(is_done, output)
            return


@contextlib.contextmanager
def _engine(url: str) -> collections.abc.Iterator[sqlalchemy.Engine]:
    engine = sqlalchemy.create_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def _count(url: str) -> int:
    """Count the users of a database."""
    with _engine(url) as engine, engine.connect() as connection:
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

    with _engine(url) as engine:
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
    with _engine(url) as engine, engine.begin() as connection:
        connection.execute(
            sqlalchemy.text('UPDATE local_user SET name = :n WHERE id = 103'),
            {'n': name},
        )


def _is_next_free(url: str) -> bool:
    """Insert a row that the database numbers."""
    with _engine(url) as engine, engine.begin() as connection:
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


def _refuse_in_use(stage: _Stage, source: str, target: str) -> None:
    """Move from a database that another session uses."""
    with _engine(source) as engine, engine.connect() as connection:
        connection.execute(sqlalchemy.text('SELECT 1'))
        stage.run(target, 'import', source, status=_REFUSED)


def _from_mariadb(
    stage: _Stage, source: str, target: str, back: str
) -> None:
    """Move MariaDB's rows, which have all that is awkward."""
    _refuse_in_use(stage, source, target)
    _change(source)
    rows.misspell(source)
    found = stage.run(target, 'import', source, status=_FOUND)['found']
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
        target, 'import', '--fold-references', source, status=_REFUSED
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
        found = stage.run(target, 'export', back, status=_FOUND)['found']
        stage.expect(
            [line['table'] for line in found] == ['local_user']
            and found[0]['problem'].startswith(what),
            f'not only a name that {what}: {found}',
        )
    _rename(target, 'bill')
    stage.run(target, 'export', back)
    stage.run(target, 'export', '--verify', back)


def commands(text: str) -> list[list[str]]:
    """Return the words of the commands that a document lets operators type.

    :param text: reStructuredText
    """
    return [
        line.split()[1:]
        for line in text.splitlines()
        if re.match(r' +keystone-crdb ', line)
    ]


def _as_written(stage: _Stage, source: str, target: str, back: str) -> None:
    """Move PostgreSQL's rows by the commands of the document."""
    urls = {
        '@/run/secrets/source-url': source, '@/run/secrets/target-url': back,
    }
    done = []
    for words in commands(_DOCUMENT.read_text()):
        given = [urls.get(word, word) for word in words]
        done.append(words[0])
        if words[0] in ('import', 'export'):
            stage.run(target, *given)
            continue
        process = programs.entrypoint(
            stage.trees, stage.folder, target, *given
        )
        output, _ = process.communicate()
        stage.expect(not process.returncode, f'{words[0]}:\n{output}')
        if words[0] == 'db-sync':
            _refuse_in_use(stage, source, target)
    stage.expect(
        done == ['db-sync', *3 * ['import'], 'check', *2 * ['export']],
        f'the document has other commands: {done}',
    )
    stage.expect(_is_next_free(back), 'the next number is not free')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    databases.add_argument(parser)


def run(args: argparse.Namespace) -> bool:
    """Run this check."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch.folder('moves'))
        stage = _Stage(folder, served.ours())
        key = base64.urlsafe_b64encode(os.urandom(32))
        for name in ('credential-keys', 'fernet-keys'):
            keys = folder / name
            keys.mkdir(mode=0o700)
            (keys / '0').write_bytes(key)
            (keys / '0').chmod(0o400)
        with console.step('Databases'):
            server = stack.enter_context(databases.start(args.provider))
            maria = stack.enter_context(plain.mariadb())
            postgresql = stack.enter_context(plain.postgresql())
            ours = [
                stack.enter_context(server.temporary('moves'))
                for _ in range(2)
            ]
            marias = [
                maria.create(name, 'CHARACTER SET utf8mb3')
                for name in ('source', 'back')
            ]
            plains = [postgresql.url]
            stage.sync(ours[0], *marias, *plains)
            template = sqlalchemy.make_url(plains[0]).database
            plains.append(postgresql.create('back', f'TEMPLATE {template}'))
            rows.fill(marias[0], key, False)
            rows.fill(plains[0], key, True)
        with console.step('MariaDB'):
            _from_mariadb(stage, marias[0], ours[0], marias[1])
        with console.step('PostgreSQL'):
            _as_written(stage, plains[0], ours[1], plains[1])
    for line in stage.wrong:
        console.warn(line)
    return not stage.wrong
