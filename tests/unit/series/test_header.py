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

    def test_test_is_required_of_keystone(self):
        path = self.write(
            'patches/keystone/a.patch', base.HEADER + self.diff(10)
        )
        exc = self.assertRaises(errors.Failure, header.check, quilt.read(path))
        self.assertIn('a.patch: its header has no Test', str(exc))
        path.write_text(f'Test: none: it is one\n{path.read_text()}')
        header.check(quilt.read(path))

    def test_kind_is_one_of_three(self):
        text = base.HEADER.replace('cockroachdb\n', 'nicety\n')
        exc = self.assertRaises(errors.Failure, header.check, self.patch(text))
        self.assertIn('its Kind is nicety', str(exc))
        self.assertIn('one of: upstream bug, cockroachdb, performance',
                      str(exc))

    def test_overlay_is_not_empty(self):
        text = base.HEADER.replace('---', 'Overlay:\n---')
        exc = self.assertRaises(errors.Failure, header.check, self.patch(text))
        self.assertIn('its Overlay is empty', str(exc))

    def bug(self, forwarded):
        return self.patch(
            base.HEADER.replace('Kind: cockroachdb', 'Kind: upstream bug')
            .replace('Forwarded: no', f'Forwarded: {forwarded}')
        )

    def test_series_of_a_bug(self):
        one = header.series(header.check(self.bug(
            'no; series\n locks, 2 of 3; to the\n vulnerability team first'
        )))
        self.assertEqual(header.Series('locks', 2, 3, True), one)
        header.check(self.bug('https://review.opendev.org/1'))
        exc = self.assertRaises(
            errors.Failure, header.check, self.bug('no')
        )
        self.assertIn('neither an address nor a series', str(exc))

    def test_series_is_whole(self):
        first = self.bug('no; series locks, 1 of 2')
        header.check_series([first, self.bug('no; series locks, 2 of 2')])
        for position in (1, 3):
            exc = self.assertRaises(
                errors.Failure, header.check_series,
                [first, self.bug(f'no; series locks, {position} of 2')],
            )
            self.assertIn('the series locks of 2 commits has the numbers 1, '
                          f'{position}', str(exc))
