# SPDX-License-Identifier: Apache-2.0
"""Move a Keystone from MariaDB to the database and back, and compare.

Stock's own migrations make the schema of an older release on MariaDB, which
has to be refused with the command that raises it. Then stock Keystone makes
everything that its API has, with references that differ from their parents by
case. The commands of docs/move.rst are run as they are written there, while
stock goes on to be used, and ours has to answer as stock did: the same tokens,
logins and lists. Then stock has to answer on another MariaDB as ours did.

--all does the same with PostgreSQL, and moves rows of every table that no API
makes. They are named, moved by --fold-references while the command is killed
again and again, changed in the source and brought by --changes, and exported.
Then 26,000 rows are moved while the commands are killed at random.

It fails if an answer or a digest differs, if a reference is not named, if a
refused move has written something, if a source that another session uses is
not refused, if the number of the next row is not free, or if anything that was
printed or reported has a hash or a secret.
"""

import argparse
import collections.abc
import contextlib
import dataclasses
import itertools
import os

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import scratch
from keystone_crdb.checks.moves import document
from keystone_crdb.checks.moves import every_table
from keystone_crdb.checks.moves import kills as killed
from keystone_crdb.checks.moves import rows
from keystone_crdb.checks.moves import stage as stages
from keystone_crdb.databases import database
from keystone_crdb.databases import plain
from keystone_crdb.keystone import stestr_run

#: Characters of two and three bytes, which MySQL's utf8 can store, and four.
_ODD = '\u5bc6\u94a5 na\u00efve'
_ODDER = f'\U0001f511 {_ODD}'

#: How references are spelt on MariaDB, by the spelling of their parents.
_SPELL = {'north': 'NORTH', 'CorpMap': 'corpmap'}


@dataclasses.dataclass
class _Databases:
    """Empty databases, one after the other."""

    ours: collections.abc.Iterator[str]
    mysql: plain.Server
    stack: contextlib.ExitStack
    postgresql: plain.Server | None = None
    numbers: collections.abc.Iterator[int] = dataclasses.field(
        default_factory=itertools.count
    )

    def of_mysql(self) -> str:
        """Return the URL of one whose text is MySQL's older utf8."""
        name = f'moves_{os.getpid()}_{next(self.numbers)}'
        url = self.mysql.create(name, 'CHARACTER SET utf8mb3')
        self.stack.callback(self.mysql.drop, name)
        return url

    def of_postgresql(self) -> str:
        """Return the URL of one of PostgreSQL."""
        assert self.postgresql is not None
        return self.postgresql.create(f'moves{next(self.numbers)}')


def _everything(
    stage: stages.Stage, urls: _Databases, kills: int
) -> None:
    """Move what --all has besides.

    :param kills: how often commands are killed that move many rows
    """
    with console.step('PostgreSQL, by the commands of the document'):
        document.move(
            stage, urls.of_postgresql(), next(urls.ours),
            urls.of_postgresql(), _ODDER, {},
        )
    for name, url, four_bytes, move in (
        (urls.mysql.name, urls.of_mysql, False, every_table.from_mysql),
        (
            'PostgreSQL', urls.of_postgresql, True,
            every_table.from_postgresql,
        ),
    ):
        with (
            console.step(f'{name}, rows of every table'),
            scratch.folder('moves') as folder,
        ):
            source, target, back = url(), next(urls.ours), url()
            own = dataclasses.replace(stage, folder=folder)
            own.sync(own.ours, source, target, back)
            rows.fill(source, every_table.make_keys(folder), four_bytes)
            move(own, source, target, back)
    with (
        console.step(f'Commands that are killed, {kills} times'),
        scratch.folder('moves') as folder,
    ):
        own = dataclasses.replace(stage, folder=folder)
        every_table.make_keys(folder)
        source = urls.of_mysql()
        own.sync(own.ours, source)
        killed.move(own, source, urls.ours, kills)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    databases.add_argument(parser)
    parser.add_argument(
        '--all', action='store_true',
        help='move from PostgreSQL as well, and rows that no API makes',
    )
    parser.add_argument(
        '--kills', type=int, default=50, metavar='NUMBER',
        help='how often --all kills commands at random '
        '(default: %(default)s)',
    )
    parser.add_argument(
        '--mysql-url', metavar='URL',
        help='take this MySQL or MariaDB instead of one that is started, by '
        "SQLAlchemy's URL of a user who may create databases",
    )


def _temporary(
    server: database.Database, stack: contextlib.ExitStack
) -> collections.abc.Iterator[str]:
    while True:
        yield stack.enter_context(server.temporary('moves'))


def run(args: argparse.Namespace) -> bool:
    """Run this check."""
    with contextlib.ExitStack() as stack:
        trees = stack.enter_context(scratch.folder('trees'))
        stage = stages.Stage(
            stack.enter_context(scratch.folder('moves')),
            stestr_run.stock_tree(trees / 'stock'),
            stestr_run.patched_tree(trees / 'ours'),
        )
        server = stack.enter_context(databases.start(args.provider))
        mysql = (
            plain.Server('MySQL', args.mysql_url) if args.mysql_url
            else stack.enter_context(plain.mariadb())
        )
        urls = _Databases(_temporary(server, stack), mysql, stack)
        with console.step(f'{mysql.name}, by the commands of the document'):
            document.move(
                stage, urls.of_mysql(), next(urls.ours), urls.of_mysql(),
                _ODD, _SPELL,
            )
        if args.all:
            urls.postgresql = stack.enter_context(plain.postgresql())
            stage.folder = stack.enter_context(scratch.folder('moves'))
            _everything(stage, urls, args.kills)
    for line in stage.wrong:
        console.warn(line)
    return not stage.wrong
