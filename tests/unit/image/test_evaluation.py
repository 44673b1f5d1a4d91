# SPDX-License-Identifier: Apache-2.0
import errno
import stat

import fixtures
from keystone_crdb_image import errors
from keystone_crdb_image import evaluation
from keystone_crdb_image import settings

from tests.unit import base


class EvaluationTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.useFixture(
            fixtures.MonkeyPatch(
                'keystone_crdb_image.settings.STATE', self.path
            )
        )
        self.file = self.path / 'admin-password'

    def _password(self, **environ):
        found = settings.read(environ)
        evaluation.prepare(found)
        return found.bootstrap['OS_BOOTSTRAP_PASSWORD']

    def test_password_is_made_up_once(self):
        password = self._password()
        self.assertGreater(len(password), 20)
        self.assertEqual(password, self.file.read_text())
        self.assertEqual(0o400, stat.S_IMODE(self.file.stat().st_mode))
        self.assertEqual(password, self._password())
        self.assertNotIn(password, self.output.getvalue())

    def test_password_that_was_set(self):
        self.assertEqual('own', self._password(KEYSTONE_ADMIN_PASSWORD='own'))
        self.assertFalse(self.file.exists())

    def test_disk_full_leaves_no_empty_password(self):
        def fsync(handle):
            raise OSError(errno.ENOSPC, 'No space left on device')

        with fixtures.MonkeyPatch('os.fsync', fsync):
            problem = self.assertRaises(errors.Problem, self._password)
        self.assertIn(f'{self.file} can not be made: No sp', str(problem))
        self.assertEqual([], list(self.path.iterdir()))
