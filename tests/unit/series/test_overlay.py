# SPDX-License-Identifier: Apache-2.0
from keystone_crdb import errors
from keystone_crdb.series import overlay
from keystone_crdb.series import quilt
from tests.unit import base


class OwnersTest(base.ProjectTestCase):
    """Headers name the files of the overlay, and nothing else."""

    def patches(self, **needs):
        self.series(overlay=needs, one=self.diff(10), two=self.diff(20))
        for name in ('a', 'b'):
            self.write(f'overlay/thing/thing/{name}.py', '')
        return quilt.load('thing')

    def test_first_that_needs_it(self):
        patches = self.patches(
            one=['thing/b.py'], two=['thing/a.py', 'thing/b.py']
        )
        overlay.check_owners('thing', patches)
        self.assertEqual(['thing/a.py', 'thing/b.py'],
                         overlay.needed(patches[1]))
        self.assertEqual(
            {'thing/b.py': patches[0], 'thing/a.py': patches[1]},
            overlay.owners(patches),
        )

    def refused(self, **needs):
        exc = self.assertRaises(
            errors.Failure, overlay.check_owners, 'thing',
            self.patches(**needs),
        )
        return str(exc)

    def test_file_that_no_patch_needs(self):
        self.assertIn('overlay/thing/thing/b.py: no patch needs this file',
                      self.refused(one=['thing/a.py']))

    def test_file_that_is_not_there(self):
        self.assertIn(
            'patches/thing/two.patch: Overlay names thing/c.py, which is not '
            'in overlay/thing',
            self.refused(one=['thing/a.py', 'thing/b.py'],
                         two=['thing/c.py']),
        )
