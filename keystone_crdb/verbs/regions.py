# SPDX-License-Identifier: Apache-2.0
"""Lay a database out across regions, without the image.

It does what `keystone-crdb regions` does in the image (docs/regions.rst):
plan prints the SQL that apply would run, check says what is not as it should
be, and explain reads each GLOBAL table and says which regions answered.
"""

import argparse
import collections.abc
import contextlib
import sys

import sqlalchemy
from sqlalchemy import exc

from keystone_crdb import errors
from keystone_crdb import paths


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this verb."""
    parser.add_argument(
        'word', choices=('plan', 'apply', 'check', 'explain'), metavar='WORD',
        help='plan, apply, check or explain',
    )
    parser.add_argument(
        '--regions', metavar='REGIONS', required=True,
        help='those of the database, such as eu,us,ap, the primary one first',
    )
    parser.add_argument(
        '--survive', choices=('region', 'zone'),
        help='what may be lost (default: region if there are three or more)',
    )
    parser.add_argument(
        '--region', metavar='REGION', help='where the Keystone of check is'
    )
    database = parser.add_mutually_exclusive_group(required=True)
    database.add_argument(
        '--database', metavar='URL',
        help='the database, as cockroachdb+psycopg://USER@HOST:26257/NAME',
    )
    database.add_argument(
        '--offline', action='store_true',
        help='plan for a database named keystone that has all tables and no '
        'regions',
    )


@contextlib.contextmanager
def _of_the_image() -> collections.abc.Iterator[None]:
    """Let the image's modules be imported, and its problems be Failures."""
    for folder in ('overlay/oslo.db', 'image'):
        sys.path.insert(0, str(paths.ROOT / folder))
    from keystone_crdb_image import errors as image_errors

    try:
        yield
    except image_errors.Problem as problem:
        raise errors.Failure(str(problem)) from problem


def run(args: argparse.Namespace) -> bool:
    """Run this verb.

    :raises Failure: when an option is wrong, or the database fails
    """
    with _of_the_image():
        from keystone_crdb_image import database
        from keystone_crdb_image import regions
        from keystone_crdb_image import regions_verb

        wanted = regions_verb.required(
            regions.read({
                'KEYSTONE_DATABASE_REGIONS': args.regions,
                'KEYSTONE_DATABASE_SURVIVE': args.survive,
                'KEYSTONE_DATABASE_REGION': args.region,
            })
        )
        if args.offline:
            if args.word != 'plan':
                raise errors.Failure('only plan can be --offline')
            regions_verb.plan_offline(wanted, 'keystone')
            return True
        try:
            engine = database.create_engine(sqlalchemy.make_url(args.database))
            status = getattr(regions_verb, args.word)(engine, wanted)
        except exc.DBAPIError as error:
            raise errors.Failure(
                f'the database failed: {database.reason(error)}'
            ) from error
        except exc.ArgumentError as error:
            raise errors.Failure(
                '--database is no URL such as '
                'cockroachdb+psycopg://USER@HOST:26257/NAME'
            ) from error
    return bool(status == 0)
