# SPDX-License-Identifier: Apache-2.0
"""The steps of the image's entrypoint one by one; served.py runs them.

``prepare`` makes schema, keys and admin; ``serve`` becomes the server,
without a look at the schema, which stock can't read on CockroachDB.
"""

import os
import sys

from keystone_crdb_image import errors
from keystone_crdb_image import serve
from keystone_crdb_image import settings


def main() -> int:
    """Do the step that the command line names."""
    read = settings.read(dict(os.environ))
    if sys.argv[1] == 'prepare':
        try:
            serve.prepare(read)
        except errors.Problem as problem:
            print(problem, file=sys.stderr)
            return 1
        return 0
    serve.become_server(read)


if __name__ == '__main__':
    sys.exit(main())
