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

"""Every method of every SQL driver runs its transaction again.

What the methods do with a database is tested elsewhere, under injected
failures too. Here each is called on its own, and there is no database.
"""

import ast
import inspect
import textwrap
from unittest import mock

import fixtures
from oslo_db import exception as db_exception

from keystone.application_credential.backends import sql as app_cred_sql
from keystone.assignment.backends import sql as assignment_sql
from keystone.assignment.role_backends import sql as role_sql
from keystone.catalog.backends import sql as catalog_sql
from keystone.common import driver_hints
from keystone.credential.backends import sql as credential_sql
from keystone.endpoint_policy.backends import sql as endpoint_policy_sql
from keystone.federation.backends import sql as federation_sql
from keystone.identity.backends import sql as identity_sql
from keystone.identity.mapping_backends import sql as mapping_sql
from keystone.identity.shadow_backends import sql as shadow_sql
from keystone.limit.backends import sql as limit_sql
from keystone.models import revoke_model
from keystone.oauth1.backends import sql as oauth1_sql
from keystone.policy.backends import sql as policy_sql
from keystone.resource.backends import sql as resource_sql
from keystone.resource.config_backends import sql as config_sql
from keystone.revoke.backends import sql as revoke_sql
from keystone.tests import unit
from keystone.trust.backends import sql as trust_sql


SESSIONS = ('session_for_read', 'session_for_write')


class _ThirdAttempt(Exception):
    pass


class DriverRetriesMixin:
    """Let a driver's methods meet two serialization failures.

    To subclass with the driver's class as ``driver_class``, and with the
    arguments of methods that don't get by with mocks as ``arguments``.
    """

    driver_class: type
    arguments: dict[str, tuple] = {}

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MockPatch('time.sleep'))
        for kind in ('read', 'write'):
            self.useFixture(
                fixtures.MockPatch(
                    f'keystone.common.sql.session_for_{kind}',
                    side_effect=self._open_session,
                )
            )

    def _open_session(self, consistent=False):
        self.attempts += 1
        if self.attempts < 3:
            raise db_exception.DBDeadlock()
        raise _ThirdAttempt()

    def _methods(self):
        """Return those that name what opens a session, by the source."""
        source = textwrap.dedent(inspect.getsource(self.driver_class))
        (class_def,) = ast.parse(source).body
        return [
            method.name
            for method in class_def.body
            if isinstance(method, ast.FunctionDef)
            and any(
                getattr(node, 'attr', None) in SESSIONS
                for node in ast.walk(method)
            )
        ]

    def _arguments(self, name, method):
        if name in self.arguments:
            return self.arguments[name]
        return [
            driver_hints.Hints() if parameter == 'hints' else mock.MagicMock()
            for parameter, properties in inspect.signature(
                method
            ).parameters.items()
            if properties.default is inspect.Parameter.empty
        ]

    def test_every_method_is_retried(self):
        driver = self.driver_class()
        failed = []
        for name in self._methods():
            method = getattr(driver, name)
            self.attempts = 0
            try:
                method(*self._arguments(name, method))
            except _ThirdAttempt:
                pass
            except db_exception.DBDeadlock:
                failed.append(name)
            self.assertIn(self.attempts, (1, 3), name)

        self.assertEqual([], failed)
        self.assertNotEqual([], self._methods())


class ApplicationCredentialRetriesTestCase(
    DriverRetriesMixin, unit.BaseTestCase
):
    driver_class = app_cred_sql.ApplicationCredential
    arguments = {'create_application_credential': ({'secret': 's'}, [])}


class AssignmentRetriesTestCase(DriverRetriesMixin, unit.BaseTestCase):
    driver_class = assignment_sql.Assignment
    arguments = {'create_grant': ('role', 'user', None, None, 'project')}


class RoleRetriesTestCase(DriverRetriesMixin, unit.BaseTestCase):
    driver_class = role_sql.Role


class CatalogRetriesTestCase(DriverRetriesMixin, unit.BaseTestCase):
    driver_class = catalog_sql.Catalog
    arguments = {'get_v3_catalog': ('user', None)}


class CredentialRetriesTestCase(DriverRetriesMixin, unit.BaseTestCase):
    driver_class = credential_sql.Credential


class EndpointPolicyRetriesTestCase(DriverRetriesMixin, unit.BaseTestCase):
    driver_class = endpoint_policy_sql.EndpointPolicy


class FederationRetriesTestCase(DriverRetriesMixin, unit.BaseTestCase):
    driver_class = federation_sql.Federation


class IdentityRetriesTestCase(DriverRetriesMixin, unit.BaseTestCase):
    driver_class = identity_sql.Identity
    arguments = {
        'create_user': ('user', {}),
        'update_user': ('user', {}),
        '_update_user': ('user', {}),
        'change_password': ('user', 'secret'),
    }


class MappingRetriesTestCase(DriverRetriesMixin, unit.BaseTestCase):
    driver_class = mapping_sql.Mapping


class ShadowUsersRetriesTestCase(DriverRetriesMixin, unit.BaseTestCase):
    driver_class = shadow_sql.ShadowUsers
    arguments = {
        'create_federated_user': (
            'domain',
            {'idp_id': 'i', 'unique_id': 'u', 'protocol_id': 'p'},
        ),
        'create_nonlocal_user': ({'name': 'n'},),
    }

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MockPatchObject(shadow_sql, 'PROVIDERS'))


class LimitRetriesTestCase(DriverRetriesMixin, unit.BaseTestCase):
    driver_class = limit_sql.UnifiedLimit


class OAuth1RetriesTestCase(DriverRetriesMixin, unit.BaseTestCase):
    driver_class = oauth1_sql.OAuth1
    arguments = {
        'create_request_token': ('consumer', 'project', 0),
        'create_access_token': ('request', 0),
    }


class PolicyRetriesTestCase(DriverRetriesMixin, unit.BaseTestCase):
    driver_class = policy_sql.Policy


class ResourceRetriesTestCase(DriverRetriesMixin, unit.BaseTestCase):
    driver_class = resource_sql.Resource


class DomainConfigRetriesTestCase(DriverRetriesMixin, unit.BaseTestCase):
    driver_class = config_sql.DomainConfig


class RevokeRetriesTestCase(DriverRetriesMixin, unit.BaseTestCase):
    driver_class = revoke_sql.Revoke
    arguments = {
        'revoke': (revoke_model.RevokeEvent(),),
        **dict.fromkeys(
            ['revoke_all', '_revoke', '_store_events'],
            ([revoke_model.RevokeEvent()],),
        ),
    }


class TrustRetriesTestCase(DriverRetriesMixin, unit.BaseTestCase):
    driver_class = trust_sql.Trust
