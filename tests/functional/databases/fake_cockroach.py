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

import sqlalchemy

from keystone_crdb import databases
from keystone_crdb.databases import database


def main():
    parser = argparse.ArgumentParser(prog='cockroach', allow_abbrev=False)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser('start-single-node', allow_abbrev=False)
    security = command.add_mutually_exclusive_group(required=True)
    security.add_argument('--insecure', action='store_true')
    security.add_argument('--certs-dir', type=pathlib.Path)
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
    with databases.start('standin', certs=args.certs_dir) as found:
        url = sqlalchemy.make_url(found.url)
        with database.connect(url) as connection:
            connection.execute(
                'CREATE OR REPLACE FUNCTION pg_catalog.version() '
                "RETURNS text LANGUAGE sql AS $$ SELECT '{}'::text $$".format(
                    os.environ['FAKE_VERSION']
                )
            )
        args.listening_url_file.write_text(
            url.set(drivername='postgresql').render_as_string() + '\n'
        )
        signal.pause()


if __name__ == '__main__':
    main()
