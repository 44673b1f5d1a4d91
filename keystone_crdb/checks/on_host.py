# SPDX-License-Identifier: Apache-2.0
"""Run Keystone's own unit suite on CockroachDB, or on the stand-in.

Without REGEX all of it. ledger/keystone.toml lists what can't pass. What a
run leaves to read is in build/suite: the summary, the HTML report and, for
each test that failed, its SQL, log and traceback.
"""

import contextlib
import sys

from keystone_crdb import commands
from keystone_crdb.checks import suite
from keystone_crdb.keystone import stestr_run


@contextlib.contextmanager
def _on_host(folder, scratch, settings):
    tree = stestr_run.patched_tree(scratch)
    yield stestr_run.HostRunner(tree, folder, scratch, settings)


def main(argv: list | None = None) -> int:
    """Run the command.

    :param argv: arguments, or None for the process's own
    :returns: exit status: 0 all as the ledger has it, 1 not so
    """
    args = suite.parser('keystone', __doc__).parse_args(argv)
    return commands.status(
        'tox -e keystone', suite.on_database, args, _on_host
    )


if __name__ == '__main__':
    sys.exit(main())
