# SPDX-License-Identifier: Apache-2.0
"""Serve the tree on PYTHONPATH by HTTP, with a thread for each request.

Prints the port as soon as it serves.
"""

import os
import pathlib
import socketserver
import sys
from wsgiref import simple_server

from keystone_crdb.checks import wan_load
from keystone_crdb.keystone import in_process


class _Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    """Serve, until the process is ended."""
    folder, is_made = sys.argv[1:]
    # Keystone would read these as its own.
    del sys.argv[1:]
    app = in_process.serve(
        pathlib.Path(folder), os.environ.pop(wan_load.PASSWORD),
        is_made=is_made == wan_load.MADE,
    )
    httpd = simple_server.make_server('127.0.0.1', 0, app, _Server)
    print(httpd.server_port, flush=True)
    httpd.serve_forever()


if __name__ == '__main__':
    main()
