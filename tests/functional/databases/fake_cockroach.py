# SPDX-License-Identifier: Apache-2.0
"""A program with the documented ways of `cockroach start-single-node`.

Behind it is the stand-in, with its version() replaced by what the variable
FAKE_VERSION says.  It writes its arguments and environment to the folder
that it runs in, as its caller is of interest.
"""

import argparse
import json
import os
import pathlib
import signal
import sys

import psycopg
import sqlalchemy

from keystone_crdb import databases


def main():
    parser = argparse.ArgumentParser(prog='cockroach', allow_abbrev=False)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser('start-single-node', allow_abbrev=False)
    command.add_argument('--insecure', action='store_true', required=True)
    command.add_argument('--store', required=True)
    command.add_argument('--listen-addr', required=True)
    command.add_argument('--http-addr', required=True)
    command.add_argument('--listening-url-file', type=pathlib.Path)
    args = parser.parse_args()
    pathlib.Path(os.environ['FAKE_RECORD']).write_text(
        json.dumps(
            {
                'cwd': os.getcwd(),
                'arguments': sys.argv[1:],
                'environment': dict(os.environ),
            }
        )
    )
    with databases.start('standin') as database:
        url = sqlalchemy.make_url(database.url)
        with psycopg.connect(
            host=url.host,
            port=url.port,
            user=url.username,
            dbname=url.database,
            autocommit=True,
        ) as connection:
            connection.execute(
                'CREATE OR REPLACE FUNCTION pg_catalog.version() '
                "RETURNS text LANGUAGE sql AS $$ SELECT '{}'::text $$".format(
                    os.environ['FAKE_VERSION']
                )
            )
        args.listening_url_file.write_text(
            f'postgresql://root@127.0.0.1:{url.port}/defaultdb'
            '?sslmode=disable\n'
        )
        signal.pause()


if __name__ == '__main__':
    main()
