# SPDX-License-Identifier: Apache-2.0
"""Serve a tree whose answers depend on nothing but what it was asked.

Run once for each tree, with the tree on PYTHONPATH. Each request says by its
headers which it is and when it is: time stands still until the next one, and
random bytes are derived from its number. So two trees make the same ids, the
same tokens and the same times as long as they do the same.

Prints the port as soon as it serves.
"""

import collections.abc
import datetime
import os
import pathlib
import random
import sys
import typing
from wsgiref import simple_server
import wsgiref.types

import freezegun

from keystone_crdb.checks import answers
from keystone_crdb.checks.answers import chance
from keystone_crdb.keystone import in_process


def _header(name: str) -> str:
    """Return a header's name in WSGI's environ."""
    return 'HTTP_' + name.upper().replace('-', '_')


def main() -> None:
    """Serve, until the process is ended."""
    folder, endpoint, start = sys.argv[1:]
    # Keystone would read these as its own.
    del sys.argv[1:]
    derived = chance.Derived()
    patched: typing.Any = random
    os.urandom = patched._urandom = derived.urandom
    clock = freezegun.freeze_time(start).start()
    app = in_process.serve(
        pathlib.Path(folder), os.environ.pop(answers.PASSWORD), endpoint
    )

    def numbered(
        environ: dict[str, typing.Any],
        start_response: wsgiref.types.StartResponse,
    ) -> collections.abc.Iterable[bytes]:
        derived.begin(environ.pop(_header(answers.NUMBER)))
        now = environ.pop(_header(answers.TIME))
        clock.move_to(datetime.datetime.fromisoformat(now))
        return app(environ, start_response)

    httpd = simple_server.make_server('127.0.0.1', 0, numbered)
    print(httpd.server_port, flush=True)
    httpd.serve_forever()


if __name__ == '__main__':
    main()
