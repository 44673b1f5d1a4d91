# SPDX-License-Identifier: Apache-2.0
"""The verbs import and export."""

import argparse
import collections.abc
import contextlib
import importlib.metadata
import pathlib
import time

import sqlalchemy
from sqlalchemy import exc

from keystone_crdb_image import credentials
from keystone_crdb_image import database
from keystone_crdb_image import errors
from keystone_crdb_image import log
from keystone_crdb_image import schema as schemas
from keystone_crdb_image import settings as settings_module
from keystone_crdb_image.move import changes
from keystone_crdb_image.move import collisions
from keystone_crdb_image.move import comparison
from keystone_crdb_image.move import copier
from keystone_crdb_image.move import ends
from keystone_crdb_image.move import findings
from keystone_crdb_image.move import progress
from keystone_crdb_image.move import report as reports
from keystone_crdb_image.move import rows
from keystone_crdb_image.move import state
from keystone_crdb_image.move import tables
from keystone_crdb_image.move import translation

#: Seconds in which sessions of others may end: after a command was killed, its
#: server goes on until the statement is done.
SESSIONS_WAIT = 30


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """Declare the options of a verb.

    :param name: import or export
    """
    parser.add_argument(
        'url', metavar='SOURCE_URL' if name == 'import' else 'TARGET_URL',
        help='mysql://USER:PASSWORD@HOST/DATABASE, likewise mariadb, '
        'postgresql, cockroachdb and sqlite; or @FILE that has it',
    )
    parser.add_argument(
        '--fold-references', action='store_true',
        help='respell references the way that their parents are spelt',
    )
    parser.add_argument(
        '--in-use', action='store_true',
        help='the source may be written meanwhile: --changes follows',
    )
    parser.add_argument(
        '--report', metavar='FILE', type=pathlib.Path,
        help='write what was found and done as JSON',
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        '--check', action='store_true',
        help='write nothing, and list what can not be moved as it is',
    )
    what.add_argument(
        '--changes', action='store_true',
        help='after a move: bring what has changed since',
    )
    what.add_argument(
        '--verify', action='store_true',
        help='write nothing, and compare all rows of both',
    )


def _reach(end: ends.End) -> None:
    """End when a database does not answer.

    :raises Problem: with its answer
    """
    try:
        database.product(end.engine)
    except (exc.SQLAlchemyError, AssertionError) as error:
        raise errors.Problem(
            f'{end.name} can not be reached: {database.reason(error)}'
        ) from error


def _release() -> str:
    """Return the release of Keystone in this image."""
    return importlib.metadata.version('keystone').partition('+')[0]


def refuse_heads(
    end: ends.End,
    is_source: bool,
    revisions: tuple[set[str], dict[str, str]],
) -> None:
    """End when a schema is not that of this release.

    :param revisions: see schema.code_revisions()
    :raises Problem: with the command that raises it
    """
    found = schemas.state(end.engine, revisions)
    if found is schemas.State.CURRENT:
        return
    if found is schemas.State.NEWER:
        raise errors.Problem(
            f"{end.name}: its schema is newer than this image's: use the "
            'image of its release'
        )
    if found is schemas.State.EMPTY and sqlalchemy.inspect(
        end.engine
    ).has_table('migrate_version'):
        found = schemas.State.BEHIND
    raises = (
        f'raise it with the command `keystone-manage db_sync` of Keystone '
        f'{_release()}, stopped before'
        if is_source or end.dialect == 'mysql'
        else 'bring it up with the verb db-sync'
    )
    raise errors.Problem(f'{end.name}: its schema is {found.value}: {raises}')


def _left(
    connection: sqlalchemy.Connection, schema: tables.Schema
) -> dict[str, int]:
    """Count the rows of tables that the target does not have."""
    count = sqlalchemy.func.count()
    counts = {
        name: connection.scalar(
            sqlalchemy.select(count).select_from(sqlalchemy.table(name))
        ) or 0
        for name in schema.left
    }
    return {name: number for name, number in counts.items() if number}


class _Move:
    """One run of a verb.

    :param source: where the rows are
    :param target: where they go
    """

    def __init__(
        self,
        settings: settings_module.Settings,
        args: argparse.Namespace,
        source: ends.End,
        target: ends.End,
    ) -> None:
        self._args = args
        self._keys = settings.credential_keys
        self._source = source
        self._target = target
        self._schema = tables.read(source, target)
        self._translated = translation.Translation(self._schema)
        self.report = reports.Report(args.verb, source.name, target.name)

    def run(self) -> None:
        """Do what the options want, and fill the report.

        :raises Problem: when that is impossible
        """
        places = self._places()
        with self._source.snapshot() as connection:
            # A move that goes on has looked at all rows when it began.
            self._look(connection, places)
            if self.report.found:
                self.report.status = reports.FOUND
                return
            if self._args.check:
                return
            if not self._args.verify:
                self._write(connection, places)
                if self.report.found:
                    self.report.status = reports.FOUND
                    return
        # With another snapshot, which shows what was written meanwhile. Of
        # a source that is in use the first one is what was moved.
        if not self.report.tables:
            with self._source.snapshot() as connection:
                self.report.compared(self._pair(connection).compare())
        if not all(line['equal'] for line in self.report.tables):
            self.report.status = reports.UNEQUAL
        elif not self._args.verify:
            self._reach(state.Stage.COMPARED)

    def _reach(self, stage: state.Stage) -> None:
        with self._target.engine.begin() as target:
            state.reach(target, self._source.name, stage)

    def _places(self) -> dict[str, state.Place]:
        """Return how far an earlier run came.

        :raises Problem: when this one can't follow it
        """
        with self._target.engine.connect() as connection:
            places = state.read(connection)
        if self._args.check or self._args.verify:
            return places
        if not places:
            copier.refuse_rows(self._target, self._schema)
        before = state.source(places)
        if before not in (None, self._source.name):
            raise errors.Problem(
                f'{self._target.name} has rows of {before}: move to another '
                'database'
            )
        at = state.stage(places)
        if self._args.changes and at in (
            state.Stage.NONE, state.Stage.BEGUN
        ):
            raise errors.Problem(
                f'not all rows of {self._source.name} were moved yet: '
                'leave --changes out'
            )
        if at is state.Stage.COMPARED and not self._args.changes:
            raise errors.Problem(
                f'all rows of {self._source.name} were moved: --changes '
                'brings what has changed since, and --verify compares'
            )
        if not self._args.in_use:
            self._refuse_sessions()
        return places

    def _refuse_sessions(self) -> None:
        """Wait until nobody else uses the source.

        :raises Problem: when sessions of others do not end
        """
        last = time.monotonic() + SESSIONS_WAIT
        is_told = False
        while others := self._source.sessions():
            if time.monotonic() >= last:
                raise errors.Problem(
                    f'{self._source.name} has {others} other sessions: stop '
                    'its Keystones, or take --in-use and bring the rest with '
                    '--changes afterwards'
                )
            if not is_told:
                log.say(
                    f'{self._source.name} has {others} other sessions: '
                    f'waiting up to {SESSIONS_WAIT} s for them to end'
                )
                is_told = True
            time.sleep(database.PAUSE)

    def _look(
        self,
        connection: sqlalchemy.Connection,
        places: dict[str, state.Place],
    ) -> None:
        """Find out what can't be moved as it is.

        :param places: how far an earlier run came
        """
        report = self.report
        # About as many as there were: to count them takes a look at each.
        report.rows = state.rows(places) if self._args.changes else sum(
            rows.count(connection, table) for table in self._schema.tables
        )
        report.numbered = dict(self._translated.number(connection))
        if report.numbered and self._args.changes:
            raise errors.Problem(
                'rows were numbered anew, so that --changes can not tell '
                'them apart: empty the target and move all rows'
            )
        spellings = translation.spellings(
            connection, self._source, self._schema
        )
        if self._args.fold_references:
            self._translated.respell(spellings)
            for one in spellings:
                found = findings.of_spellings(self._source, [one])
                (report.respelled if one.new else report.found).extend(found)
        else:
            report.found += findings.of_spellings(self._source, spellings)
        if self._args.verify or places and not self._args.check:
            return
        report.left = _left(connection, self._schema)
        report.names = findings.names(
            connection, self._source, self._schema
        )
        report.found += findings.scan(
            connection, self._source, self._target, self._schema,
            self._translated, progress.Progress('checking', report.rows),
        )
        if not report.found:
            # What can't be stored can't be tried either.
            report.found += collisions.find(
                connection, self._source, self._target, self._schema,
                self._translated,
            )
        if not any(one.table == 'credential' for one in report.found):
            self._decrypt(connection)

    def _decrypt(self, connection: sqlalchemy.Connection) -> None:
        """Decrypt all credentials with the keys that were copied."""
        is_readable = credentials.reader(self._keys)
        table = self._schema.table('credential')
        place = table.places['encrypted_blob']
        for batch in rows.read(connection, self._source, table):
            for row in batch:
                if is_readable(row[place]):
                    self.report.credentials += 1
                else:
                    self.report.found.append(findings.Finding(
                        table.name, 'encrypted_blob', table.name_row(row), 1,
                        f'can not be decrypted with the keys in {self._keys}:'
                        ' copy those of the source there',
                    ))

    def _write(
        self,
        connection: sqlalchemy.Connection,
        places: dict[str, state.Place],
    ) -> None:
        report = self.report
        pair = self._pair(connection)
        # Rows that are there may be of another moment.
        if self._args.changes or places and self._args.in_use:
            pass_ = changes.Changes(pair)
            compared, report.changed = pass_.apply()
            report.unchanged = pass_.unchanged
            report.found = pass_.found
            if report.found:
                return
            report.compared(compared)
            self._reach(state.Stage.COPIED)
            return
        copier.Copier(
            self._source, self._target, self._schema, self._translated
        ).copy(connection, report.rows)
        if self._args.in_use:
            report.compared(pair.compare())

    def _pair(self, connection: sqlalchemy.Connection) -> comparison.Pair:
        return comparison.Pair(
            connection, self._source, self._target, self._schema,
            self._translated, self.report.rows,
        )


@contextlib.contextmanager
def _told() -> collections.abc.Iterator[None]:
    """Turn a failure of a database into a problem without its values."""
    try:
        yield
    except exc.DBAPIError as error:
        raise errors.Problem(
            f'a database failed: {copier.refusal(error)}; the same command '
            'goes on from there'
        ) from error


def run(settings: settings_module.Settings, args: argparse.Namespace) -> int:
    """Run import or export.

    :returns: exit status
    :raises Problem: when it can't work with what it finds
    """
    if settings.evaluation:
        raise errors.Problem(
            f'{args.verb} needs a database: set KEYSTONE_DATABASE_URL'
        )
    began = time.monotonic()
    # Import makes a table in the target.
    ours = ends.End(
        settings.db_sync_database if args.verb == 'import'
        else settings.database
    )
    other = ends.End(ends.read_url(args.url))
    if ours.name == other.name:
        raise errors.Problem(f'{ours.name} is source and target')
    database.wait(ours.engine, settings.database_wait)
    _reach(other)
    source, target = (
        (other, ours) if args.verb == 'import' else (ours, other)
    )
    revisions = schemas.code_revisions()
    for end in (source, target):
        refuse_heads(end, end is source, revisions)
    with _told():
        move = _Move(settings, args, source, target)
        move.run()
    report = move.report
    report.seconds = round(time.monotonic() - began, 1)
    report.print()
    if args.report is not None:
        report.write(args.report)
    return report.status
