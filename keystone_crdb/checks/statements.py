# SPDX-License-Identifier: Apache-2.0
"""Count what each request of the API costs: stock Keystone beside ours.

The pinned sdists and the patched trees serve the same requests on SQLite, each
in a process of its own. Each request is sent three times: cold, with the cache
as it is after a start; again; and warm. Two more processes do the same on a
database server, behind a relay that counts round trips: stock on PostgreSQL,
and ours on CockroachDB or what stands in for it. The numbers of statements, of
transactions (those for reading too), of rows and of round trips are exact, and
ledger/statements.csv keeps them. The check fails when a number of ours is
higher than in that file or than stock's, when an answer differs from stock's,
or when the statements of a listing grow with what it lists. When a number is
lower, --update renews the file. A request that is sent again may take more
than stock's, since it reads what the first one left in the cache.

An empty session for reading and one for writing are timed as well. No time
decides about success.

ledger/regions.csv keeps how many trips to other regions each request of ours
takes, by a model of the tables' localities. The check fails when one of these
is higher, or when a table of Keystone has no locality.

With --server ours is counted on a database server too, where the numbers have
to be the same. The check then fails also when the planner scans a table for a
request that issues or validates a token, or that writes.

With --drivers the round trips of ours are counted with each driver of
CockroachDB, and printed.
"""

import argparse
import collections.abc
import contextlib
import csv
import sys
import typing

import sqlalchemy

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import paths
from keystone_crdb import scratch
from keystone_crdb.checks import evidence
from keystone_crdb.checks import run_database
from keystone_crdb.checks import statements_regions as regions
from keystone_crdb.checks import workers
from keystone_crdb.databases import plain
from keystone_crdb.keystone import stestr_run

NUMBERS = paths.LEDGER / 'statements.csv'
WORKER = 'keystone_crdb.checks.statements_worker'

#: Those of the worker, which imports Keystone.
STATES = ('cold', 'again', 'warm')

#: What a worker printed.
Result = dict[str, typing.Any]
#: A request, the state of the cache, and the numbers.
Row = tuple[typing.Any, ...]

WHAT = ('statements', 'transactions', 'rows', 'round trips')
#: Of WHAT, none of which may be higher than stock's.
LIMITED = ('statements', 'transactions', 'round trips')
HEADS = ('request', 'cache', *(f'stock {name}' for name in WHAT), *WHAT)

#: The drivers of CockroachDB; ledger/statements.csv is of the first one.
DRIVERS = ('psycopg', 'psycopg2', 'asyncpg')

#: How many of each kind the listings are counted with.
FEW, MANY = 10, 10_000
#: Statements more that a listing of MANY may take: Keystone asks for no more
#: than 15,000 ids at once.
PORTIONS = 1


def _pairs(one: Result, other: Result) -> collections.abc.Iterator[Row]:
    """Yield each request and state with what both workers say of it."""
    for name, states in one['requests'].items():
        for state, result in states.items():
            yield (name, state), result, other['requests'][name][state]


def add_trips(result: Result, served: Result) -> None:
    """Add the round trips of a worker on a server to another's counts."""
    for _, here, there in _pairs(result, served):
        here['counts'].append(there['trips'])


def table(stock: Result, ours: Result) -> list[Row]:
    """Return the rows of statements.csv, from the workers' results."""
    return [
        (*key, *theirs['counts'], *result['counts'])
        for key, result, theirs in _pairs(ours, stock)
    ]


def driver_table(results: dict[str, Result]) -> list[Row]:
    """Return the round trips of each request and state, by driver."""
    first, *others = (results[driver] for driver in DRIVERS)
    return [
        (
            name, state, result['trips'],
            *(each['requests'][name][state]['trips'] for each in others),
        )
        for (name, state), result, _ in _pairs(first, first)
    ]


def sessions(stock: Result, ours: Result) -> list[Row]:
    """Return microseconds and ratio for each kind of empty session."""
    both = {
        name: (before, ours['sessions'][name])
        for name, before in stock['sessions'].items()
    }
    return [
        (name, f'{before:.1f}', f'{now:.1f}', f'{now / before:.2f}')
        for name, (before, now) in both.items()
    ]


def _renew(
    args: argparse.Namespace, rows: list[Row], crossing: list[Row],
) -> dict[str, list[str]]:
    """Renew both files, or return what differs from them, by title."""
    if args.update:
        _write(rows)
        regions.write(crossing)
        return {}
    problems = {}
    for file, now, before, heads in (
        ('statements.csv', rows, _read(), HEADS),
        ('regions.csv', crossing, regions.read(), regions.HEADS),
    ):
        worse, other = compare(now, before, heads)
        problems[f'more than in ledger/{file}'] = worse
        problems[f'renew ledger/{file} with --update'] = other
    return problems


def _read() -> list[Row]:
    """Return the rows that are checked in."""
    with open(NUMBERS, newline='') as file:
        _, *rows = csv.reader(file)
    return [(*row[:2], *map(int, row[2:])) for row in rows]


def _write(rows: list[Row]) -> None:
    with open(NUMBERS, 'w', newline='') as file:
        csv.writer(file, lineterminator='\n').writerows([HEADS, *rows])


def higher(rows: list[Row]) -> list[str]:
    """Name what takes more than stock of what is LIMITED.

    What is sent again may: it reads what the first one kept for itself.
    """
    lines = []
    for name, state, *numbers in rows:
        told = dict(zip(HEADS[2:], numbers, strict=True))
        lines += [
            f'{name}, {state}: {told[what]} {what}, '
            f'stock {told[f"stock {what}"]}'
            for what in LIMITED
            if told[what] > told[f'stock {what}'] and state != 'again'
        ]
    return lines


def compare(
    rows: collections.abc.Sequence[Row], kept: collections.abc.Sequence[Row],
    heads: collections.abc.Sequence[str] = HEADS,
) -> tuple[list[str], list[str]]:
    """Compare numbers with those that are checked in.

    :param heads: of the columns
    :returns: what is worse, what is otherwise not the same
    """
    before = {row[:2]: row[2:] for row in kept}
    worse: list[str] = []
    other: list[str] = []
    for name, state, *numbers in rows:
        old = before.pop((name, state), None)
        if old is None:
            other.append(f'{name}, {state}: new')
            continue
        for head, was, now in zip(heads[2:], old, numbers, strict=True):
            text = f'{name}, {state}: {now} {head}, {was} before'
            if now > was and not head.startswith('stock'):
                worse.append(text)
            elif now != was:
                other.append(text)
    other += [f'{name}, {state}: gone' for name, state in before]
    return worse, other


def different(one: Result, other: Result) -> list[str]:
    """Name the requests that two workers got different answers to."""
    return [
        f'{", ".join(key)}:\n{here["answer"]}\n'
        f'-- and not --\n{there["answer"]}'
        for key, here, there in _pairs(one, other)
        if here['answer'] != there['answer']
    ]


def growing(result: Result) -> list[str]:
    """Name the listings that take more statements for more rows.

    One more for a second portion of ids is none of them.
    """
    few, many = (result['listings'][str(rows)] for rows in (FEW, MANY))
    return [
        f'{name}: {few[name]} statements for {FEW}, '
        f'{many[name]} for {MANY}'
        for name in few
        if many[name] > few[name] + PORTIONS
    ]


def _same_counts(one: Result, other: Result) -> list[str]:
    """Name the requests whose statements or transactions are not the same."""
    return [
        f'{", ".join(key)}: {here["counts"][:2]} and {there["counts"][:2]}'
        for key, here, there in _pairs(one, other)
        if here['counts'][:2] != there['counts'][:2]
    ]


def _is_good(problems: dict[str, list[str]]) -> bool:
    """Print what is wrong, by title, and return whether nothing is."""
    problems = {title: texts for title, texts in problems.items() if texts}
    for title, texts in problems.items():
        print(f'{title}:', *texts, sep='\n  ', file=sys.stderr)
    return not problems


def _on_server(args: argparse.Namespace) -> bool:
    """Compare the counts on SQLite with those on a server, and its plans."""
    with databases.start(args.provider) as server:
        console.say(server.describe())
        # Tables that stay small would be scanned, as that is cheaper.
        options: Result = {'explain': MANY}
        if server.provider == 'standin':
            options['settings'] = ['enable_seqscan = off']
        with run_database.make(server) as (url, folder):
            tree = stestr_run.patched_tree(folder)
            tasks = {
                'sqlite': workers.Task(tree),
                'server': workers.Task(tree, options, url),
            }
            results = workers.run(WORKER, tasks)
    plans = results['server']['plans']
    scans = [
        f'{", ".join(tables)}: {text}\n{plan}'
        for text, plan, tables in plans
        if tables
    ]
    console.say(f'{len(plans)} statements explained, {len(scans)} scan')
    requests = len(results['server']['requests'])
    figures = {
        'requests with the same counts as on SQLite': requests,
        'statements explained': len(plans),
        'of these that scan a table': len(scans),
    }
    evidence.write('statements', server.describe(), figures, args.command)
    return _is_good(
        {
            'not the same on SQLite and there': _same_counts(
                results['sqlite'], results['server']
            ),
            'scans a table': scans,
        }
    )


def _show(args: argparse.Namespace) -> bool:
    """Print the statements of a request."""
    with scratch.folder('trees') as folder:
        make = {
            'stock': stestr_run.stock_tree, 'ours': stestr_run.patched_tree,
        }[args.side]
        options = {'texts': True, 'only': args.show}
        task = workers.Task(make(folder), options)
        result = workers.run(WORKER, {args.side: task})[args.side]
    sent = result['requests'][args.show][args.state]['statements']
    for transaction, text, parameters in sent:
        console.say(f'T{transaction} {text} {parameters}')
    return True


def _by_driver(args: argparse.Namespace) -> bool:
    """Print the round trips of ours with each driver of CockroachDB."""
    with (
        scratch.folder('trees') as folder,
        databases.start(args.provider) as server,
        contextlib.ExitStack() as stack,
    ):
        console.say(server.describe())
        tree = stestr_run.patched_tree(folder)
        tasks = {}
        for driver in DRIVERS:
            url = stack.enter_context(server.temporary('statements'))
            led = sqlalchemy.make_url(url).set(
                drivername=f'cockroachdb+{driver}'
            ).render_as_string(hide_password=False)
            # asyncpg prepares each statement when it is first sent.
            tasks[driver] = workers.Task(tree, {'rounds': 2}, led)
        results = workers.run(WORKER, tasks)
    rows = driver_table(results)
    console.table(('request', 'cache', *DRIVERS), rows)
    for number, driver in enumerate(DRIVERS[1:], 3):
        name, state, *_ = top = max(rows, key=lambda row: row[number] - row[2])
        console.say(
            f'{driver}: at most {top[number] - top[2]} more than {DRIVERS[0]}'
            f', in {name}, {state}'
        )
    return True


def _count(args: argparse.Namespace) -> tuple[Result, Result]:
    """Return what the workers of stock and of ours counted."""
    with (
        scratch.folder('trees') as folder,
        databases.start(args.provider) as server,
        server.temporary('statements') as url,
        plain.postgresql() as postgresql,
    ):
        console.say(server.describe())
        stock = stestr_run.stock_tree(folder / 'stock')
        ours = stestr_run.patched_tree(folder / 'ours')
        timed: Result = {'sessions': True}
        tasks = {
            'stock': workers.Task(stock, timed),
            'ours': workers.Task(ours, timed | {'sizes': [FEW, MANY]}),
            'stock served': workers.Task(stock, url=postgresql.url),
            # Only there rows are locked.
            'ours served': workers.Task(ours, {'texts': True}, url),
        }
        results = workers.run(WORKER, tasks)
    for name in 'stock', 'ours':
        add_trips(results[name], results[f'{name} served'])
    ours_served = results['ours served']
    results['ours']['regions'] = regions.table(ours_served['requests'])
    return results['stock'], results['ours']


def _beside_stock(args: argparse.Namespace) -> bool:
    """Count both, compare, and check or renew the file."""
    stock, ours = _count(args)
    rows = table(stock, ours)
    console.table(HEADS, rows)
    _, _, *columns = zip(*rows, strict=True)
    sums = zip(HEADS[2:], map(sum, columns), strict=True)
    console.say(f'all: {", ".join(f"{total} {head}" for head, total in sums)}')
    console.table(
        ('empty session for', 'stock, us', 'ours, us', 'ours / stock'),
        sessions(stock, ours),
    )
    crossing = ours['regions']
    console.say(
        f'{len(regions.at_home(crossing))} of {len(ours["requests"])} '
        'requests leave no region, by the model of statements_regions.py'
    )
    problems = {
        'no class in image/keystone_crdb_image/localities.py': (
            regions.unknown(ours['tables'])
        ),
        'answered differently': different(ours, stock),
        'takes more than stock': higher(rows),
        'grows with what it lists': growing(ours),
    }
    return _is_good(problems | _renew(args, rows, crossing))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    parser.add_argument(
        '--update', action='store_true',
        help='renew ledger/statements.csv and ledger/regions.csv',
    )
    parser.add_argument(
        '--show', metavar='REQUEST', help='print its statements, and no more'
    )
    parser.add_argument('--side', choices=('stock', 'ours'), default='ours')
    parser.add_argument('--state', choices=STATES, default='cold')
    parser.add_argument(
        '--server', action='store_true', help='count on a server too'
    )
    parser.add_argument(
        '--drivers', action='store_true',
        help='count round trips with each driver, and no more',
    )
    databases.add_argument(parser)


def run(args: argparse.Namespace) -> bool:
    """Run this check."""
    if args.show:
        return _show(args)
    if args.drivers:
        return _by_driver(args)
    return _on_server(args) if args.server else _beside_stock(args)
