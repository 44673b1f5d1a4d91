# SPDX-License-Identifier: Apache-2.0
"""Count what each request of the API costs: stock Keystone beside ours.

Usage::

    tox -e statements
    tox -e statements -- --update
    tox -e statements -- --show 'validate' --state cold
    tox -e statements -- --server

Both serve the same requests in a process of their own, on SQLite: the pinned
sdists, and the patched trees. Each request is sent cold, with the cache
invalidated as after a start, then again, and then warm. Statements,
transactions (BEGIN, those for reading too) and rows are exact, so
ledger/statements.csv has them, and this fails when one of ours is higher than
there or than stock's, when an answer differs from stock's, or when the
statements of a listing grow with what it lists. When one is lower, --update
renews the file. A request that is sent again may take more than stock's: it
reads what the first one kept for itself.

An empty session for reading and one for writing are timed as well, stock's
beside ours. No time decides about success.

--server counts ours on a database server too, where the numbers have to be
the same, and fails when the planner scans a table for issuing or validating a
token.
"""

import argparse
import csv
import json
import pathlib
import sys
import tempfile

from keystone_crdb import commands
from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import scratch
from keystone_crdb.checks import command
from keystone_crdb.checks import reports
from keystone_crdb.checks import run_database
from keystone_crdb.keystone import reproducible
from keystone_crdb.keystone import stestr_run

NUMBERS = paths.ROOT / 'ledger' / 'statements.csv'
WORKER = 'keystone_crdb.checks.statements_worker'

#: Those of the worker, which imports Keystone.
STATES = ('cold', 'again', 'warm')

WHAT = ('statements', 'transactions', 'rows')
HEADS = ('request', 'cache', *(f'stock {name}' for name in WHAT), *WHAT)

#: How many of each kind the listings are counted with.
FEW, MANY = 10, 10_000
#: Statements more that a listing of MANY may take: Keystone asks for no more
#: than 15,000 ids at once.
PORTIONS = 1


class Side:
    """A tree that serves in a process of its own.

    :param folder: an empty one, for its files
    :param url: SQLAlchemy URL of an empty database; SQLite without it
    :param words: further arguments of the worker
    """

    def __init__(
        self,
        tree: stestr_run.Tree,
        folder: pathlib.Path,
        url: str | None = None,
        words: tuple = (),
    ) -> None:
        self._log = folder / 'log'
        self._process = reproducible.start(
            tree, folder, [WORKER, folder, *words], self._log, url
        )

    def result(self) -> dict:
        """Wait for it.

        :returns: what the worker printed
        :raises Failure: when it failed
        """
        output, _ = self._process.communicate()
        if self._process.returncode:
            raise errors.Failure(
                'Keystone did not serve all of the requests',
                details=errors.tail(self._log.read_text(errors='replace')),
            )
        return json.loads(output)


def _serve(sides: dict) -> dict:
    """Let trees serve at the same time.

    :param sides: for each name the arguments of a Side but its folder
    :returns: for each name the worker's result
    """
    with scratch.folder('statements') as folder:
        started = {}
        for name, arguments in sides.items():
            (folder / name).mkdir()
            started[name] = Side(folder=folder / name, **arguments)
        return {name: side.result() for name, side in started.items()}


def table(stock: dict, ours: dict) -> list[tuple]:
    """Return the rows of statements.csv.

    :param stock: the worker's result
    :param ours: likewise
    """
    return [
        (
            name,
            state,
            *stock['requests'][name][state]['counts'],
            *result['counts'],
        )
        for name, states in ours['requests'].items()
        for state, result in states.items()
    ]


def sessions(stock: dict, ours: dict) -> list[tuple]:
    """Return a row for each kind of empty session.

    :param stock: the worker's result
    :param ours: likewise
    :returns: what it is for, microseconds of each, and their ratio
    """
    return [
        (
            name,
            f'{before:.1f}',
            f'{ours["sessions"][name]:.1f}',
            f'{ours["sessions"][name] / before:.2f}',
        )
        for name, before in stock['sessions'].items()
    ]


def _read():
    """Return the rows that are checked in."""
    with open(NUMBERS, newline='') as file:
        _, *rows = csv.reader(file)
    return [(*row[:2], *map(int, row[2:])) for row in rows]


def _write(rows):
    with open(NUMBERS, 'w', newline='') as file:
        csv.writer(file, lineterminator='\n').writerows([HEADS, *rows])


def higher(rows: list[tuple]) -> list[str]:
    """Name what takes more statements or transactions than stock.

    What is sent again may: it reads what the first one kept for itself.

    :param rows: as table() returns them
    """
    return [
        f'{row[0]}, {row[1]}: {row[5 + i]} {WHAT[i]}, stock {row[2 + i]}'
        for row in rows
        for i in range(2)
        if row[5 + i] > row[2 + i] and row[1] != 'again'
    ]


def compare(
    rows: list[tuple],
    kept: list[tuple],
) -> tuple[list[str], list[str]]:
    """Compare numbers with those that are checked in.

    :returns: what is worse, what is otherwise not the same
    """
    before = {row[:2]: row[2:] for row in kept}
    worse, other = [], []
    for name, state, *numbers in rows:
        old = before.pop((name, state), None)
        if old is None:
            other.append(f'{name}, {state}: new')
            continue
        for head, was, now in zip(HEADS[2:], old, numbers, strict=True):
            text = f'{name}, {state}: {now} {head}, {was} before'
            if now > was and not head.startswith('stock'):
                worse.append(text)
            elif now != was:
                other.append(text)
    other += [f'{name}, {state}: gone' for name, state in before]
    return worse, other


def different(one: dict, other: dict) -> list[str]:
    """Name the requests that were answered differently.

    :param one: a worker's result
    :param other: another one's
    """
    texts = []
    for name, states in one['requests'].items():
        for state, result in states.items():
            theirs = other['requests'][name][state]['answer']
            if result['answer'] != theirs:
                texts.append(
                    f'{name}, {state}:\n{result["answer"]}\n'
                    f'-- and not --\n{theirs}'
                )
    return texts


def growing(result: dict) -> list[str]:
    """Name the listings that take more statements for more rows.

    One more for a second portion of ids is none of them.

    :param result: a worker's
    """
    few, many = (result['listings'][str(rows)] for rows in (FEW, MANY))
    return [
        f'{name}: {few[name]} statements for {FEW}, '
        f'{many[name]} for {MANY}'
        for name in few
        if many[name] > few[name] + PORTIONS
    ]


def _same_counts(one, other):
    """Name the requests whose statements or transactions are not the same."""
    return [
        f'{name}, {state}: {result["counts"][:2]} and {theirs[:2]}'
        for name, states in one['requests'].items()
        for state, result in states.items()
        if result['counts'][:2]
        != (theirs := other['requests'][name][state]['counts'])[:2]
    ]


def _show(result, name, state):
    for transaction, text, parameters in result['requests'][name][state][
        'statements'
    ]:
        console.say(f'T{transaction} {text} {parameters}')


def _fail(problems: dict) -> int:
    """Print what is wrong.

    :param problems: lists by title
    :returns: exit status
    """
    problems = {title: texts for title, texts in problems.items() if texts}
    for title, texts in problems.items():
        print(f'{title}:', *texts, sep='\n  ', file=sys.stderr)
    return 1 if problems else 0


def _on_server(args):
    """Compare the counts on SQLite with those on a server, and its plans."""
    with databases.start(args.provider) as server:
        console.say(server.describe())
        # Tables that stay small would be scanned, as that is cheaper.
        settings = ()
        if server.provider == 'standin':
            settings = ('--set', 'enable_seqscan = off')
        with run_database.make(server) as (url, folder):
            tree = stestr_run.patched_tree(folder)
            results = _serve(
                {
                    'sqlite': {'tree': tree},
                    'server': {
                        'tree': tree,
                        'url': url,
                        'words': ('--explain', str(MANY), *settings),
                    },
                }
            )
    plans = results['server']['plans']
    scans = [
        f'{", ".join(tables)}: {text}\n{plan}'
        for text, plan, tables in plans
        if tables
    ]
    status = _fail(
        {
            'not the same on SQLite and there': _same_counts(
                results['sqlite'], results['server']
            ),
            'scans a table': scans,
        }
    )
    console.say(f'{len(plans)} statements explained, {len(scans)} scan')
    reports.write(
        'statements',
        server.describe(),
        {
            'requests with the same counts as on SQLite': str(
                len(results['server']['requests'])
            ),
            'statements explained': str(len(plans)),
            'of these that scan a table': str(len(scans)),
        },
        'tox -e statements -- --server',
    )
    return status


def _beside_stock(args):
    """Count both, compare, and check or renew the file."""
    words = ('--texts', '--only', args.show) if args.show else ()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        results = _serve(
            {
                'stock': {
                    'tree': stestr_run.stock_tree(folder / 'stock'),
                    'words': words,
                },
                'ours': {
                    'tree': stestr_run.patched_tree(folder / 'ours'),
                    'words': words or ('--sizes', str(FEW), str(MANY)),
                },
            }
        )
    stock, ours = results['stock'], results['ours']
    if args.show:
        _show(results[args.side], args.show, args.state)
        return 0
    rows = table(stock, ours)
    console.table(HEADS, rows)
    sums = [sum(row[2 + i] for row in rows) for i in range(6)]
    console.say(
        f'all: stock {sums[0]} statements in {sums[1]} transactions, '
        f'{sums[2]} rows; ours {sums[3]} in {sums[4]}, {sums[5]} rows'
    )
    console.table(
        ('empty session for', 'stock, us', 'ours, us', 'ours / stock'),
        sessions(stock, ours),
    )
    status = _fail(
        {
            'answered differently': different(ours, stock),
            'takes more than stock': higher(rows),
            'grows with what it lists': growing(ours),
        }
    )
    if args.update:
        _write(rows)
        return status
    worse, other = compare(rows, _read())
    status |= _fail({'more than in ledger/statements.csv': worse})
    if other:
        status |= _fail(
            {'renew ledger/statements.csv with --update': other}
        )
    return status


def main(argv: list | None = None) -> int:
    """Run it.

    :param argv: arguments, or None for the process's own
    :returns: exit status, 0 when all is as it should be
    """
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--update', action='store_true', help='renew ledger/statements.csv'
    )
    parser.add_argument(
        '--show', metavar='REQUEST', help='print its statements, and no more'
    )
    parser.add_argument('--side', choices=('stock', 'ours'), default='ours')
    parser.add_argument('--state', choices=STATES, default='cold')
    parser.add_argument(
        '--server', action='store_true', help='count on a server too'
    )
    command.add_provider(parser)
    args = parser.parse_args(argv)
    work = _on_server if args.server else _beside_stock
    return commands.status('tox -e statements', work, args)


if __name__ == '__main__':
    sys.exit(main())
