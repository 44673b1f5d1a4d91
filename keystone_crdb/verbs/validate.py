# SPDX-License-Identifier: Apache-2.0
"""Run every check that the table of results needs, and renew its rows.

The checks are run in order on one database: the cluster of --database, or
the first that can be had. A check that fails does not end the validation and
does not renew its row. Interrupted, the same command goes on from there. The
report is in build/validate: report.html and report.json.

On CockroachDB all of it takes some hours; --only runs a part. A run that was
asked for CockroachDB, by --database, --release or --provider, fails if there
is none and never takes the stand-in. Put a URL that has a password into the
variable COCKROACH_URL instead, which no list of processes shows, and pass
--provider url.
"""

import argparse

from keystone_crdb import databases
from keystone_crdb import errors
from keystone_crdb import pins
from keystone_crdb.checks import validation
from keystone_crdb.databases import cluster
from keystone_crdb.databases import release


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this verb."""
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        '--database', metavar='URL',
        help='of the cluster: cockroachdb+psycopg://USER@HOST:26257/defaultdb',
    )
    chosen.add_argument(
        '--provider', choices=databases.PROVIDERS,
        help='take this database and no other',
    )
    chosen.add_argument(
        '--release', choices=pins.load().cockroachdb.releases,
        help="take this release of CockroachDB, from its maker's image",
    )
    parser.add_argument(
        '--nodes', type=int, choices=(1, *cluster.COUNTS), default=1,
        help='of --release (default: %(default)s)',
    )
    parser.add_argument(
        '--only', nargs='+', default=(), metavar='NAME',
        help='run these checks only: '
        + ', '.join(step.check for step in validation.STEPS),
    )
    parser.add_argument(
        '--restart', action='store_true',
        help='run also the checks that have passed on these patches',
    )


def run(args: argparse.Namespace) -> bool:
    """Run this verb."""
    if args.nodes > 1 and not args.release:
        raise errors.Failure(
            f'--nodes {args.nodes} is of --release', remedy='name a release'
        )
    if args.release:
        chosen = release.settings(args.release, args.nodes)
    else:
        chosen = validation.settings(args.database, args.provider)
    return validation.run(args.only, chosen, args.restart)
