# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""What a validator says of a value does not have its secrets."""

import fixtures
import jsonschema
from oslo_config import fixture as config_fixture

from keystone.api.validation import validators as api_validators
from keystone.auth import schema as auth_schema
from keystone.common import password_hashing
from keystone.common.validation import validators
import keystone.conf
from keystone import exception
from keystone.identity import schema as identity_schema
from keystone.tests import unit

_SECRET = 'tops3cret'
_SECRETS = (
    _SECRET,
    [_SECRET],
    {'a': _SECRET},
    {_SECRET: 1},
    7355608,
    -7355608,
)


class SecretsTestCase(unit.BaseTestCase):
    VALIDATORS = (validators.SchemaValidator, api_validators._SchemaValidator)

    def _texts(self, schema, value):
        for validator in self.VALIDATORS:
            error = self.assertRaises(
                exception.SchemaValidationError,
                validator(schema).validate,
                value,
            )
            self.assertTrue(error.__suppress_context__)
            yield str(error)

    def _assert_hidden(self, schema, value):
        for text in self._texts(schema, value):
            self.assertNotIn(_SECRET, text)
            self.assertNotIn('7355608', text)

    def test_password_at_a_login(self):
        for secret in _SECRETS[1:]:
            user = {'name': 'x', 'password': secret}
            identity = {'methods': ['password'], 'password': {'user': user}}
            self._assert_hidden(
                auth_schema.token_issue, {'identity': identity}
            )

    def test_password_in_place_of_the_user(self):
        for secret in (*_SECRETS[:2], *_SECRETS[4:]):
            identity = {'methods': ['password'], 'password': secret}
            self._assert_hidden(
                auth_schema.token_issue, {'identity': identity}
            )

    def test_token_at_a_login(self):
        for secret in _SECRETS[1:]:
            identity = {'methods': ['token'], 'token': {'id': secret}}
            self._assert_hidden(
                auth_schema.token_issue, {'identity': identity}
            )

    def test_password_beside_what_is_wrong(self):
        user = {'password': _SECRET, 'name': 1}
        for schema in (
            identity_schema.user_create_request,
            {'type': 'array'},
            {'enum': ['x']},
            {'anyOf': [{'type': 'array'}, {'type': 'null'}]},
        ):
            self._assert_hidden(schema, user)
            self._assert_hidden({'items': schema}, [user])

    def test_every_secret(self):
        for name in (
            'access_key',
            'blob',
            'client_secret',
            'original_password',
            'passcode',
            'password',
            'secret',
        ):
            schema = {'properties': {name: {'type': 'null'}}}
            for secret in _SECRETS:
                self._assert_hidden(schema, {name: secret})

    def test_what_is_no_secret(self):
        schema = {'properties': {'name': {'type': 'null'}}, 'type': 'object'}
        for value in ({'name': _SECRET}, {'name': {'x': _SECRET}}, _SECRET):
            error = self.assertRaises(
                jsonschema.ValidationError, jsonschema.validate, value, schema
            )
            for text in self._texts(schema, value):
                self.assertIn(error.message, text)

    def test_method_that_has_a_name_of_a_secret(self):
        identity = {'methods': ['x'], 'password': {'user': {'name': 7355608}}}
        for text in self._texts(
            auth_schema.token_issue, {'identity': identity}
        ):
            self.assertIn('7355608', text)


class TruncationTestCase(unit.BaseTestCase):
    def setUp(self):
        super().setUp()
        config = self.useFixture(config_fixture.Config(keystone.conf.CONF))
        config.config(
            group='identity',
            password_hash_algorithm='bcrypt',
            max_password_length=4096,
        )
        config.config(strict_password_check=False)
        self.log = self.useFixture(fixtures.FakeLogger('keystone'))

    def test_truncation_is_logged(self):
        found = password_hashing.verify_length_and_trunc_password('x' * 73)

        self.assertEqual(b'x' * 72, found)
        self.assertIn('72', self.log.output)

    def test_no_truncation_is_not_logged(self):
        found = password_hashing.verify_length_and_trunc_password('x' * 72)

        self.assertEqual(b'x' * 72, found)
        self.assertEqual('', self.log.output)
