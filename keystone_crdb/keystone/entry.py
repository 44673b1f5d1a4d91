# SPDX-License-Identifier: Apache-2.0
"""The steps of the image's entrypoint one by one; served.py runs them.

``prepare`` makes schema, keys and admin; ``serve`` becomes the server,
without a look at the schema, which stock can't read on CockroachDB. The
modules of the image are made for the patched trees, so both steps import
these; only the workers that serve another tree import that one.
"""

import os
import sys

from keystone_crdb_image import errors
from keystone_crdb_image import serve
from keystone_crdb_image import settings

from keystone_crdb.keystone import tree_path


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
    if tree_path.VARIABLE in os.environ:
        serve.APPLICATION = 'keystone_crdb.keystone.tree_wsgi:application'
    serve.become_server(read)


if __name__ == '__main__':
    sys.exit(main())
