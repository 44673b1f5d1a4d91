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

"""Sessions for reading, with and without a transaction."""

import fixtures
from oslo_db.sqlalchemy import first_statement

from keystone.common import provider_api
from keystone.common import sql
from keystone.tests import unit
from keystone.tests.unit import default_fixtures
from keystone.tests.unit import test_backend_sql

PROVIDERS = provider_api.ProviderAPIs


class ReadsInAutocommitTestCase(test_backend_sql.SqlTests):
    def setUp(self):
        super().setUp()
        self.useFixture(
            fixtures.MockPatchObject(
                first_statement,
                'DIALECTS',
                (*first_statement.DIALECTS, 'sqlite'),
            )
        )

    def assertAutocommit(self, expected, session):
        options = session.get_bind().get_execution_options()
        self.assertEqual(
            expected, options.get(first_statement.READS_ONLY, False)
        )

    def test_session_for_read(self):
        with sql.session_for_read() as session:
            self.assertAutocommit(True, session)
            with sql.session_for_read() as inner:
                self.assertIs(session, inner)

    def test_session_for_consistent_reads(self):
        with sql.session_for_read(consistent=True) as session:
            self.assertAutocommit(False, session)
            with sql.session_for_read() as inner:
                self.assertIs(session, inner)
                self.assertAutocommit(False, inner)

    def test_session_for_read_inside_one_for_write(self):
        with sql.session_for_write() as session:
            with sql.session_for_read() as inner:
                self.assertIs(session, inner)
                self.assertAutocommit(False, inner)

    def test_methods_that_read_several_times(self):
        opened = []
        open_session = sql.session_for_read

        def note(consistent=False):
            opened.append(consistent)
            return open_session(consistent)

        resource = PROVIDERS.resource_api.driver
        idp = {'domain_id': default_fixtures.DEFAULT_DOMAIN_ID}
        PROVIDERS.federation_api.create_idp('i', {**idp, 'enabled': True})
        trust = unit.new_trust_ref(
            trustor_user_id=self.user_foo['id'],
            trustee_user_id=self.user_two['id'],
            project_id=self.project_bar['id'],
            role_ids=[self.role_member['id']],
        )
        PROVIDERS.trust_api.create_trust('t', trust, trust['roles'])
        self.useFixture(
            fixtures.MockPatchObject(sql, 'session_for_read', note)
        )
        for method, *args in (
            (resource.list_projects_in_domain, idp['domain_id']),
            (resource.list_projects_in_subtree, self.project_bar['id']),
            (resource.list_project_parents, self.project_bar['id']),
            (PROVIDERS.trust_api.driver.get_trust, 't'),
            (PROVIDERS.federation_api.driver.get_idp, 'i'),
        ):
            opened.clear()
            method(*args)
            self.assertEqual([True], opened, method)
