# SPDX-License-Identifier: Apache-2.0
"""Compare what stock Keystone and ours answer to each of Tempest's requests.

Both trees serve on SQLite, the pinned sdists and build/src, and a proxy asks
both of them whatever Tempest asks, one request after the other. Number and
time of a request decide what is random and what the clock says, so answers
are compared to the byte: status, headers and body, with no exception.

In build/answers are the differences, Tempest's log and its tests' stream.
"""

import argparse
import contextlib
import dataclasses
import datetime
import os
import pathlib
import secrets

from keystone_crdb import console
from keystone_crdb import paths
from keystone_crdb import scratch
from keystone_crdb.checks import against_image
from keystone_crdb.checks import answers
from keystone_crdb.checks import evidence
from keystone_crdb.checks import options
from keystone_crdb.checks import report
from keystone_crdb.checks import tempest
from keystone_crdb.checks.answers import tee
from keystone_crdb.keystone import reproducible
from keystone_crdb.keystone import stestr_run

FOLDER = paths.BUILD / 'answers'

#: How many differences are printed; the file has all of them.
_SHOWN = 5


@dataclasses.dataclass
class _Keystone:
    """Both, as a client sees them."""

    url: str
    password: str


def _serving(
    name: str, tree: stestr_run.Tree, folder: pathlib.Path, password: str,
    endpoint: str, start: str,
) -> contextlib.AbstractContextManager[int]:
    """Serve a tree.

    :returns: as context: its port
    :raises Failure: with the end of its log, when it does not serve
    """
    folder.mkdir()
    log = FOLDER / f'{name}.log'
    module = 'keystone_crdb.checks.answers.worker'
    words = [module, str(folder), endpoint, start]
    settings = tempest.OPTIONS | {answers.PASSWORD: password}
    return reproducible.serving(tree, folder, words, log, settings=settings)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    options.add_regexes(parser)
    options.add_workers(parser, default=os.cpu_count() or 1)


def run(args: argparse.Namespace) -> bool:
    """Run this check.

    :raises Failure: when one of the two, or Tempest, does not start
    """
    against_image.make_folder(FOLDER.name)
    proxy = tee.Proxy()
    endpoint = f'http://127.0.0.1:{proxy.port}/v3'
    password = secrets.token_urlsafe(18)
    start = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    keystone = _Keystone(endpoint, password)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch.folder('answers'))
        with console.step('Both Keystones'):
            ports = {
                name: stack.enter_context(
                    _serving(
                        name, tree, folder / f'{name}-state', password,
                        endpoint, start.isoformat(),
                    )
                )
                for name, tree in (
                    ('stock', stestr_run.stock_tree(folder / 'stock')),
                    ('ours', stestr_run.patched_tree(folder / 'ours')),
                )
            }
        output = stack.enter_context(
            open(FOLDER / 'differences', 'w', opener=against_image.private)
        )

        def record(text: str) -> None:
            print(text, file=output, flush=True)
            if both.different <= _SHOWN:
                console.note(text)

        both = tee.Tee(ports, (answers.NUMBER, answers.TIME), record)
        stack.enter_context(proxy.serving(both))
        done = tempest.ask(keystone, FOLDER, args.regexes, args.workers)
    console.say(report.summary('SQLite', done))
    console.say(f'{both.requests} requests, {both.different} differ')
    counts = dict(report.counts(done.results))
    if not args.regexes:
        evidence.write(
            'answers',
            'SQLite',
            {
                'requests of Tempest': both.requests,
                'answered otherwise than by stock': both.different,
                'tests passed': counts['Passed'],
            },
            args.command,
        )
    return not both.different and not counts['Failed']
