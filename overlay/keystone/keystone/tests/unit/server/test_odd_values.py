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

"""Requests with values that nothing can be done with."""

import json
import uuid

import fixtures
from oslo_db import exception as db_exception

from keystone.common import provider_api
from keystone.common.sql import odd_values
from keystone.tests import unit
from keystone.tests.unit import test_v3

PROVIDERS = provider_api.ProviderAPIs

_SURROGATE = 'a\ud83d'


class OddValuesTestCase(test_v3.RestfulTestCase):
    def setUp(self):
        super().setUp()
        self.log = self.useFixture(fixtures.FakeLogger('keystone'))

    def _send(self, content, path='/v3/projects', code=400, method='post'):
        """Send bytes, which webtest doesn't make."""
        with self.test_client() as c:
            response = getattr(c, method)(
                path,
                data=content,
                headers={
                    'X-Auth-Token': self.get_scoped_token(),
                    'Content-Type': 'application/json',
                },
                expected_status_code=code,
            )
        self.assertEqual(code, response.json['error']['code'])
        self.assertNotIn('Traceback', self.log.output)
        return response

    def _log_in(self, **user):
        self.v3_create_token(
            self.build_authentication_request(**user), expected_status=401
        )
        self.assertNotIn('Traceback', self.log.output)

    def _project(self, **values):
        return json.dumps({'project': {'name': uuid.uuid4().hex, **values}})

    def test_nesting(self):
        self._send('[' * 50000)
        for opening, closing in (('[', ']'), ('{"a":', '}')):
            for depth in (101, 15000):
                deep = f'{opening * depth}1{closing * depth}'
                self._send(f'{{"project": {{"name": "x", "odd": {deep}}}}}')

    def test_nesting_that_is_allowed(self):
        deep = json.loads('[' * 90 + ']' * 90)

        self.post(
            '/projects', body={'project': unit.new_project_ref(odd=deep)}
        )

    def test_numbers(self):
        for number in ('NaN', '-Infinity', '1e400', str(2**64), '9' * 5000):
            self._send(f'{{"project": {{"name": "x", "odd": {number}}}}}')

    def test_numbers_that_are_allowed(self):
        for number in (2**64 - 1, -(2**63), 1e300, 0.1):
            ref = unit.new_project_ref(odd=number)
            project = self.post('/projects', body={'project': ref}).result
            self.assertEqual(number, project['project']['odd'])

    def test_surrogate(self):
        self._send(self._project(name=_SURROGATE))
        self._send(self._project(odd=[{'x': _SURROGATE}]))
        self._send(self._project(odd={_SURROGATE: 'x'}))
        self._send(b'{"project": {"name": "\xed\xa0\xbd"}}')

    def test_pair_of_surrogates(self):
        ref = unit.new_project_ref(name='\U0001f600')

        self.post('/projects', body={'project': ref})

    def test_surrogate_of_who_logs_in(self):
        password = self.user['password']
        self._log_in(user_id=_SURROGATE, password=password)
        self._log_in(user_id=self.user_id, password=_SURROGATE)
        self._log_in(
            username=_SURROGATE,
            user_domain_id=self.domain_id,
            password=password,
        )

    def _refuse_nul(self):
        self.useFixture(
            fixtures.MockPatchObject(
                odd_values,
                '_WITHOUT_NUL',
                odd_values._WITHOUT_NUL | {'sqlite'},
            )
        )

    def test_nul_in_a_body(self):
        self._refuse_nul()

        self._send(self._project(name='a\0b'))
        self._send(
            self._project(name='a\0b'),
            f'/v3/projects/{self.project_id}',
            method='patch',
        )

    def test_null_that_no_column_has(self):
        path = '/OS-FEDERATION/service_providers/provider'
        ref = {
            'auth_url': 'https://example.org/auth',
            'sp_url': 'https://example.org/sp',
        }
        self.put(path, body={'service_provider': ref}, expected_status=201)

        self.patch(
            path,
            body={'service_provider': {'relay_state_prefix': None}},
            expected_status=400,
        )

        self.assertNotIn('Traceback', self.log.output)

    def test_nul_in_an_extra_attribute(self):
        self._refuse_nul()
        ref = unit.new_project_ref(odd='a\0b')

        project = self.post('/projects', body={'project': ref}).result

        self.assertEqual('a\0b', project['project']['odd'])

    def test_nul_in_a_path(self):
        self._refuse_nul()
        for kind in ('users', 'projects', 'roles', 'services', 'regions'):
            for method in (self.get, self.delete):
                method(f'/{kind}/a%00b', expected_status=404)
        self.put(
            f'/projects/{self.project_id}/users/{self.user_id}/roles/%00',
            expected_status=404,
        )
        self.assertNotIn('Traceback', self.log.output)

    def test_nul_in_an_id_that_is_made(self):
        self._refuse_nul()

        self._send(
            '{"identity_provider": {}}',
            '/v3/OS-FEDERATION/identity_providers/a%00b',
            404,
            'put',
        )

    def test_nul_in_a_filter(self):
        self._refuse_nul()
        for path in (
            '/users?name=%00',
            '/users?name__icontains=%00',
            '/credentials?type=a%00b',
            '/services?type=%00',
        ):
            found = self.get(path).result
            self.assertEqual([], found[path[1:].partition('?')[0]])

    def test_long_filter(self):
        name = 'x' * 256
        for path in ('users', 'groups', 'projects', 'roles'):
            self.get(f'/{path}?name__icontains={name}')
        self.get(f'/users/{self.user_id}/groups?name__icontains={name}')

    def test_nul_of_who_logs_in(self):
        self._refuse_nul()
        password = self.user['password']
        self._log_in(user_id='a\0b', password=password)
        self._log_in(user_id=self.user_id, password='a\0b')
        self._log_in(
            username='a\0b', user_domain_id=self.domain_id, password=password
        )
        self._log_in(
            user_id=self.user_id, password=password, project_id='a\0b'
        )

    def _refuse_in(self, api, method):
        self.useFixture(
            fixtures.MockPatchObject(
                api.driver, method, side_effect=db_exception.DBDataError()
            )
        )

    def test_value_that_the_database_refuses(self):
        self._refuse_in(PROVIDERS.resource_api, 'update_project')

        self._send(
            self._project(), f'/v3/projects/{self.project_id}', method='patch'
        )

    def test_value_that_the_database_refuses_at_a_login(self):
        self._refuse_in(PROVIDERS.identity_api, 'authenticate')

        self._log_in(user_id=self.user_id, password='x')

    def test_limit(self):
        for limit in ('abc', '-1', '%00', '1e3'):
            self.get(f'/users?limit={limit}', expected_status=400)
        self.get('/users?limit=999999999999999999999')

    def test_remaining_uses(self):
        trustee = unit.create_user(PROVIDERS.identity_api, self.domain_id)
        ref = unit.new_trust_ref(
            trustor_user_id=self.user_id,
            trustee_user_id=trustee['id'],
            project_id=self.project_id,
            role_ids=[self.role_id],
            remaining_uses=2**63,
        )
        self.post('/OS-TRUST/trusts', body={'trust': ref}, expected_status=400)

    def test_boolean(self):
        self._send(self._project(enabled='yes'))

    def test_another_type(self):
        for path, body in (
            ('/services', {}),
            ('/services', {'service': []}),
            ('/ec2tokens', {'credentials': 'x'}),
            ('/ec2tokens', {'credentials': {'access': {}}}),
        ):
            code = 401 if 'ec2' in path else 400
            self._send(json.dumps(body), f'/v3{path}', code)
        for mapping in (
            [],
            1,
            {'schema_version': 'x'},
            {'schema_version': []},
        ):
            self.put(
                '/OS-FEDERATION/mappings/m',
                body={'mapping': mapping},
                expected_status=400,
            )

    def test_authorization_of_oauth1(self):
        for path in ('request_token', 'access_token'):
            self.post(
                f'/OS-OAUTH1/{path}',
                headers={'Authorization': 'Basic x'},
                expected_status=400,
            )

    def test_method_that_a_path_has_not(self):
        with self.test_client() as c:
            response = c.get(
                '/v3/OS-OAUTH1/access_token', expected_status_code=405
            )
        self.assertIn('not allowed', response.json['message'])

    def test_last_resort(self):
        token = self.get_scoped_token()
        self.useFixture(
            fixtures.MockPatchObject(
                PROVIDERS.resource_api, 'list_projects', side_effect=ValueError
            )
        )

        response = self.get('/projects', token=token, expected_status=500)

        self.assertEqual(500, response.json['error']['code'])
        self.assertIn('req-', response.headers['x-openstack-request-id'])
        self.assertIn('ValueError', self.log.output)


class ApplicationCredentialTestCase(test_v3.RestfulTestCase):
    def config_overrides(self):
        super().config_overrides()
        self.config_fixture.config(
            group='auth', methods=['application_credential']
        )

    def _log_in(self, code, **credential):
        identity = {
            'methods': ['application_credential'],
            'application_credential': {'secret': 'x', **credential},
        }
        self.v3_create_token(
            {'auth': {'identity': identity}}, expected_status=code
        )

    def test_who_is_not_there(self):
        domain = {'id': self.domain_id}
        for name in ('nobody', 'x' * 300, 'a\0b', _SURROGATE):
            self._log_in(404 if name == 'nobody' else 401, id=name)
            self._log_in(401, name=name, user={'id': self.user_id})
            self._log_in(401, name='x', user={'name': name, 'domain': domain})
        self._log_in(401, name='x', user={'domain': domain})

    def test_another_type(self):
        for value in ([], [['x']], {'id': 'x'}, 1, 0.5, True):
            self._log_in(400, id=value)
            self._log_in(400, name=value)
            self._log_in(400, name='x', user={'id': value})
            self._log_in(400, name='x', user={'domain': {'id': value}})
        for value in ([], 'x', 1):
            self._log_in(400, name='x', user=value)
            self._log_in(400, name='x', user={'domain': value})
