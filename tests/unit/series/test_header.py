# SPDX-License-Identifier: Apache-2.0
from keystone_crdb import errors
from keystone_crdb.series import header
from keystone_crdb.series import quilt
from tests.unit import base


class HeaderTest(base.ProjectTestCase):
    def patch(self, text):
        self.series(a=self.diff(10))
        path = self.write('patches/thing/a.patch', text + self.diff(10))
        return quilt.read(path)

    def test_fields(self):
        fields = header.check(self.patch(base.HEADER))
        self.assertEqual(
            'Change a line\n Because the test wants it so.',
            fields['Description'],
        )
        self.assertEqual('the test is gone', fields['Drop-When'])

    def test_each_field_is_required(self):
        for name in (*header.REQUIRED, 'Forwarded'):
            text = base.HEADER.replace(f'{name}:', f'X-{name}:')
            exc = self.assertRaises(
                errors.Failure, header.check, self.patch(text)
            )
            self.assertIn(f'patches/thing/a.patch: its header has no {name}',
                          str(exc))

    def test_upstream_status_stands_for_forwarded(self):
        text = base.HEADER.replace('Forwarded: no', 'Upstream-Status: Pending')
        self.assertEqual(
            'Pending', header.check(self.patch(text))['Upstream-Status']
        )

    def test_description_says_why(self):
        text = base.HEADER.replace(' Because the test wants it so.\n', '')
        exc = self.assertRaises(errors.Failure, header.check, self.patch(text))
        self.assertIn('without a why', str(exc))

    def test_last_update_is_a_date(self):
        text = base.HEADER.replace('2026-11-22', '2026-11-31')
        exc = self.assertRaises(errors.Failure, header.check, self.patch(text))
        self.assertIn('Last-Update is no date', str(exc))
