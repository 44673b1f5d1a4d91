# SPDX-License-Identifier: Apache-2.0
import textwrap

import testtools

from keystone_crdb.checks.moves import document


class CommandsTest(testtools.TestCase):
    def test_commands(self):
        text = textwrap.dedent("""\
            ``keystone-crdb import`` copies rows.

            #. Do it:

               .. code-block:: console

                  keystone-crdb import --check @/run/secrets/source-url

               Then ``keystone-crdb check``.
            """)
        self.assertEqual(
            [['import', '--check', '@/run/secrets/source-url']],
            document.commands(text),
        )
