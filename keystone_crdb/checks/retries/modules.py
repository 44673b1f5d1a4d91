# SPDX-License-Identifier: Apache-2.0
"""Run tests of a few modules, without importing all the others.

    modules.py FILE REGEX MODULE [MODULE ...]

Standard output is a stream of subunit. FILE gets a JSON object: as `tests` the
ids of the tests that REGEX matches, and as `unloaded` the modules that can't
be imported.
"""

import importlib
import json
import pathlib
import re
import sys
import traceback
import unittest

from subunit import run
from testtools import testsuite


def main() -> None:
    """Run it."""
    file, regex, *modules = sys.argv[1:]
    loader = unittest.TestLoader()
    suite = unittest.TestSuite()
    unloaded = []
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception:
            traceback.print_exc()
            unloaded.append(module)
        else:
            suite.addTest(loader.loadTestsFromName(module))
    ids = (test.id() for test in testsuite.iterate_tests(suite))
    tests = [test for test in ids if re.search(regex, test)]
    found = {'tests': tests, 'unloaded': unloaded}
    pathlib.Path(file).write_text(json.dumps(found))
    run.SubunitTestRunner(stream=sys.stdout.buffer).run(
        testsuite.filter_by_ids(suite, frozenset(tests))
    )


if __name__ == '__main__':
    main()
