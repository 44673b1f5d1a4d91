# SPDX-License-Identifier: Apache-2.0
import textwrap

import testtools

from keystone_crdb.series import excerpt

MODULE = '''\
"""What is tested."""

import json

import fixtures
import testtools

from thing import one
from thing import two

LIMIT = 3


class Mixin:
    def used(self):
        return one.thing()

    def unused(self):
        return json.dumps({})


class OneTest(Mixin, testtools.TestCase):
    def test_b(self):
        two.thing()

    def test_a(self):
        self.used()

    @fixtures.decorated
    def test_c(self):
        self._helper()

    def _helper(self):
        """Help."""


# What the second is about.
class TwoTest(testtools.TestCase):
    """Two."""

    def test_a(self):
        two.thing(LIMIT)

    def test_z(self):
        pass


class ThirdTest(TwoTest):
    pass
'''


class ExcerptTest(testtools.TestCase):
    def excerpt(self, *ids):
        return excerpt.tests(
            MODULE, 'm', lambda test: test in [f'm.{one}' for one in ids]
        )

    def test_one_test_and_what_it_needs(self):
        self.assertEqual(
            textwrap.dedent('''\
                """What is tested."""

                import testtools

                from thing import one


                class Mixin:
                    def used(self):
                        return one.thing()


                class OneTest(Mixin, testtools.TestCase):
                    def test_a(self):
                        self.used()
            '''),
            self.excerpt('OneTest.test_a'),
        )

    def test_comment_docstring_and_constant_stay(self):
        self.assertEqual(
            textwrap.dedent('''\
                """What is tested."""

                import testtools

                from thing import two

                LIMIT = 3


                # What the second is about.
                class TwoTest(testtools.TestCase):
                    """Two."""

                    def test_a(self):
                        two.thing(LIMIT)
            '''),
            self.excerpt('TwoTest.test_a'),
        )

    def test_decorated_test_with_its_private_helper(self):
        text = self.excerpt('OneTest.test_c')
        self.assertIn('    @fixtures.decorated\n    def test_c', text)
        self.assertIn('def _helper', text)
        self.assertNotIn('decorated', self.excerpt('OneTest.test_a'))

    def test_inherited(self):
        text = self.excerpt('ThirdTest.test_z')
        self.assertIn('class ThirdTest(TwoTest)', text)
        self.assertIn('def test_z', text)
        self.assertNotIn('LIMIT', text)
        self.assertNotIn('OneTest', text)

    def test_base_of_which_nothing_is_left(self):
        module = textwrap.dedent('''
            class Empty:
                def test_a(self):
                    pass


            class Other(Empty, testtools.TestCase):
                def test_b(self):
                    pass
        ''')
        text = excerpt.tests(
            module, 'm', lambda test: test == 'm.Other.test_b'
        )
        self.assertIn('class Empty:\n    pass\n\n\nclass Other(', text)
        self.assertNotIn('test_a', text)

    def test_all(self):
        self.assertEqual(
            MODULE.replace(
                '''
    def unused(self):
        return json.dumps({})
''', '').replace('import json\n\n', ''),
            excerpt.tests(MODULE, 'm', lambda test: True),
        )
