# SPDX-License-Identifier: Apache-2.0
"""Lay a database out across the regions of its cluster, and time requests.

The words of `keystone-crdb regions` are run as the image runs them: plan,
apply, check and explain, and apply again, which must find nothing to do. The
primary region is another one than that of the node that the URL leads to.
Then the requests of the check wan --regions are timed on this database, and
on one without regions. Nothing is delayed: on one host nothing is far away,
and the stand-in moves nothing anywhere.

No time decides about success. On a cluster whose nodes tell fewer than two
regions nothing is run.
"""

import argparse
import dataclasses
import pathlib

import sqlalchemy

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import errors
from keystone_crdb import keystone
from keystone_crdb import scratch
from keystone_crdb.checks import evidence
from keystone_crdb.checks import wan_regions
from keystone_crdb.checks import workers
from keystone_crdb.databases import database
from keystone_crdb.keystone import programs
from keystone_crdb.keystone import served
from keystone_crdb.keystone import stestr_run

_NOTHING = 'there is nothing to do'


@dataclasses.dataclass(frozen=True)
class Place:
    """Where this host is.

    :param here: the region of the node that the URL leads to
    :param regions: of the cluster, the one to be the primary region first
    """

    here: str
    regions: tuple[str, ...]

    def settings(self) -> dict[str, str]:
        """Return the image's settings."""
        return {
            'KEYSTONE_DATABASE_REGIONS': ','.join(self.regions),
            'KEYSTONE_DATABASE_REGION': self.here,
        }


def place(here: str, cluster: list[str]) -> Place | None:
    """Choose the regions, or return None if there are too few.

    :param cluster: all of its regions
    """
    others = sorted(set(cluster) - {here})
    return Place(here, (*others, here)) if others else None


def _look(url: str) -> Place | None:
    with database.connect(sqlalchemy.make_url(url)) as connection:
        found = connection.execute('SHOW REGIONS FROM CLUSTER').fetchall()
        regions = [str(row[0]) for row in found]
        if not regions:
            return None
        (here,) = connection.execute('SELECT gateway_region()').fetchone() or (
            regions[0],
        )
    return place(here, regions)


def _lay_out(found: Place, url: str, folder: pathlib.Path) -> None:
    """Make the schema and an administrator, and lay the database out.

    :raises Failure: when a command fails, or does something the second time
    """
    # Without keys, check fails; bootstrap makes them.
    settings = found.settings() | {
        'KEYSTONE_ADMIN_PASSWORD': keystone.PASSWORD,
    }

    def run(*words: str) -> str:
        name = f'keystone-crdb {" ".join(words)}'
        with console.step(name):
            return programs.finish(
                programs.entrypoint(
                    served.ours(), folder, url, *words,
                    settings=settings,
                ),
                name,
            )

    run('db-sync')
    run('bootstrap')
    for word in 'plan', 'apply', 'check', 'explain':
        run('regions', word)
    again = run('regions', 'apply')
    if _NOTHING not in again:
        raise errors.Failure(
            'regions apply did something the second time', details=again
        )


def _measure(
    url: str, other: str, folder: pathlib.Path
) -> dict[str, object]:
    """Time the requests with and without localities.

    :param url: of a database that is laid out
    :param other: of an empty one
    """
    tree = stestr_run.patched_tree(folder)
    told = {'delays': [0], 'names': wan_regions.REQUESTS}
    results = workers.run(
        wan_regions.WORKER,
        {
            'with localities': workers.Task(tree, told, url),
            'without': workers.Task(tree, told, other),
        },
    )
    return {
        f'{row["request"]}, {row["cache"]}': ', '.join(
            f'{name} {found[number]["seconds"]:.2f} s'
            for name, found in results.items()
        )
        for number, row in enumerate(results['without'])
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    databases.add_argument(parser)


def run(args: argparse.Namespace) -> bool:
    """Run this check."""
    with (
        databases.start(args.provider) as server,
        server.temporary('regions') as url,
        server.temporary('without') as other,
        scratch.folder('regions') as folder,
    ):
        console.say(server.describe())
        found = _look(url)
        figures: dict[str, object] = {
            'regions': 'the cluster tells fewer than two'
        }
        if found:
            _lay_out(found, url, folder)
            figures = {
                'regions': f'{", ".join(found.regions)}, seen from '
                f'{found.here}',
                **_measure(url, other, folder),
            }
        for name, told in figures.items():
            console.say(f'{name}: {told}')
        evidence.write('regions', server.describe(), figures, args.command)
    return True
