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
import datetime
import os
import secrets
import shutil
import subprocess
import sys
import time
import types

from keystone_crdb import answers
from keystone_crdb import cli
from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import paths
from keystone_crdb import reports
from keystone_crdb.answers import tee
from keystone_crdb.databases import scratch
from keystone_crdb.suite import report
from keystone_crdb.suite import stestr_run
from keystone_crdb.validation import tempest

FOLDER = paths.BUILD / 'answers'

#: How many differences are printed; the file has all of them.
_SHOWN = 5


@contextlib.contextmanager
def _serving(name, tree, folder, password, endpoint, start):
    """Serve a tree.

    :returns: as context: its port
    :raises Failure: with the end of its log, when it does not serve
    """
    folder.mkdir()
    log = FOLDER / f'{name}.log'
    runner = stestr_run.HostRunner(
        tree,
        folder,
        folder,
        {
            **tempest.OPTIONS,
            # What comes out of a set comes out in the same order.
            'PYTHONHASHSEED': '0',
            'PYTHONDONTWRITEBYTECODE': '1',
            answers.URL: f'sqlite:///{folder}/keystone.db',
            answers.PASSWORD: password,
        },
    )
    with (
        open(log, 'wb') as stderr,
        runner.popen(
            ['keystone_crdb.answers.worker', folder, endpoint, start],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
        ) as process,
    ):
        try:
            port = process.stdout.readline()
            if not port:
                lines = log.read_text(errors='replace').splitlines()
                raise errors.Failure(
                    f'{name} does not serve',
                    details='\n'.join(lines[-15:]),
                    remedy=f'all of its output is in {log}',
                )
            yield int(port)
        finally:
            process.terminate()


def compare(args):
    """Let Tempest ask both, and report how often they differ.

    :type args: argparse.Namespace
    :returns: whether all answers were the same, and no test failed
    :rtype: bool
    :raises Failure: when one of the two, or Tempest, does not start
    """
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(0o700, parents=True)
    runner = tempest.Runner(FOLDER)
    proxy = tee.Proxy()
    endpoint = f'http://127.0.0.1:{proxy.port}/v3'
    password = secrets.token_urlsafe(18)
    start = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    keystone = types.SimpleNamespace(url=endpoint, password=password)
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
            open(FOLDER / 'differences', 'w', opener=tempest.private)
        )

        def record(text):
            print(text, file=output, flush=True)
            if both.different <= _SHOWN:
                console.note(text)

        both = tee.Tee(ports, (answers.NUMBER, answers.TIME), record)
        stack.enter_context(proxy.serving(both))
        stack.enter_context(
            tempest.configuration(tempest.settings(keystone, FOLDER), FOLDER)
        )
        with console.step('Tempest'):
            tests = runner.list_tests(args.regexes)
            console.say(f'{len(tests)} tests; all reports: {FOLDER}')
            progress = report.Progress(len(tests))
            begin = time.monotonic()
            runner.run(tests, FOLDER, args.workers, progress.add)
            seconds = time.monotonic() - begin
    results = tempest.account_for(tests, progress.results)
    console.say(report.summary('SQLite', results, seconds, None))
    console.say(f'{both.requests} requests, {both.different} differ')
    counts = dict(report.counts(results))
    if not args.regexes:
        reports.write(
            'answers',
            'SQLite',
            {
                'requests of Tempest': both.requests,
                'answered otherwise than by stock': both.different,
                'tests passed': counts['Passed'],
            },
        )
    return not both.different and not counts['Failed']


def main(argv=None):
    """Run the command.

    :param argv: arguments, or None for the process's own
    :type argv: list
    :returns: exit status: 0 all the same, 1 not so
    :rtype: int
    """
    parser = argparse.ArgumentParser(
        prog='tox -e answers --',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'regexes', nargs='*', metavar='REGEX',
        help='run the tests whose ids one of them matches',
    )
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count(), metavar='N',
        help='processes that run tests (default: %(default)s)',
    )
    return cli.status(parser.prog, compare, parser.parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
