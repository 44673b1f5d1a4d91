# SPDX-License-Identifier: Apache-2.0
"""What the commands that run something on a database share."""

import argparse

from keystone_crdb import databases
from keystone_crdb import paths
from keystone_crdb.checks import ledger
from keystone_crdb.databases import database


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which tests to run, and on what."""
    add_regexes(parser)
    add_provider(parser)


def add_regexes(parser: argparse.ArgumentParser) -> None:
    """Declare which tests to run."""
    parser.add_argument(
        'regexes', nargs='*', metavar='REGEX',
        help='run the tests whose ids one of them matches',
    )


def add_provider(parser: argparse.ArgumentParser) -> None:
    """Declare --provider."""
    parser.add_argument(
        '--provider', choices=databases.PROVIDERS,
        help='take this database and no other',
    )


def judge(
    project: str,
    server: database.Database,
    outcomes: dict,
    whole: bool,
) -> tuple:
    """Judge a run by the ledger of a project.

    :param project: its name, as of its file in ledger/
    :param outcomes: subunit's status by the id of each test that was run
    :param whole: whether it was the whole suite, which the number of skips,
        and what must be run, are of
    :returns: whether all is as listed, and what a person needs to know of it
    """
    listed = ledger.load(paths.ROOT / 'ledger' / f'{project}.toml')
    if not whole:
        listed = ledger.Ledger(
            tuple(entry for entry in listed.entries if entry.test in outcomes),
            # None of the whole is none of a part.
            None if listed.skips else listed.skips,
        )
    judgement = ledger.judge(
        listed, outcomes, server.product, server.version
    )
    return judgement.is_good(), '\n'.join(
        ledger.describe(judgement, listed)
    )
