# SPDX-License-Identifier: Apache-2.0
"""An upgrade without downtime, in the steps that docs/upgrade.rst gives."""

import contextlib
import json
import pathlib
import shutil
import uuid

import fixtures

from keystone_crdb import download
from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.keystone import container
from keystone_crdb.keystone import http
from tests.functional.image import base

PASSWORD = 'a-secret-of-the-test'

#: Where the tree of an old release is in its container.
OLD = '/old'

#: What the containers share: keys.
STATE = '/var/lib/keystone'

#: What the image's own code listens to, and a tree of upstream's has not.
LISTENED_TO = (
    'keystone/common/cache/guard.py',
    'keystone/common/sql/ambiguity.py',
    'keystone/common/sql/retry.py',
)

#: The contract branch without its last two revisions, which are Bobcat's.
UNCONTRACTED = 'e25ffa003242'

#: Brings a schema up to the revisions that are its arguments, with our
#: db_sync's way on CockroachDB: the old release's own fails there.
UPGRADE = """
import os
import sys

from alembic import command
from keystone.common import sql
from keystone.common.sql import upgrades
import keystone.conf
import sqlalchemy

keystone.conf.configure()
sql.initialize()
config = upgrades.get_alembic_config()
engine = sqlalchemy.create_engine(os.environ['OS_DATABASE__CONNECTION'])
with engine.connect() as connection:
    config.attributes['connection'] = connection.execution_options(
        isolation_level='AUTOCOMMIT'
    )
    for revision in sys.argv[1:]:
        command.upgrade(config, revision)
"""


def head(tree, branch):
    """Return the last revision of a branch of a release's migrations."""
    versions = tree / 'keystone/common/sql/migrations/versions'
    return (versions / f'{branch.upper()}_HEAD').read_text().strip()


class Client:
    """The admin's requests to a replica, and those of users."""

    def __init__(self, keystone: container.Keystone):
        self._keystone = keystone
        self._token = http.issue_token(keystone.url, PASSWORD).token

    def request(
        self,
        method,
        path,
        body=None,
        token=None,
        subject=None,
    ) -> tuple:
        """Send a request.

        :returns: the answer, and its JSON without the replica's port, so that
            replicas can be compared
        """
        answer = http.request(
            self._keystone.url, method, f'/{path}', body,
            token or self._token, subject,
        )  # fmt: skip
        if answer.outcome is not http.Outcome.DONE:
            raise AssertionError(f'{method} {path}: {answer.why}')
        text = json.dumps(answer.body)
        return answer, json.loads(
            text.replace(f':{self._keystone.port}/', '/')
        )

    def create(self, path, token=None, **body):
        """Create an entity; return its ID."""
        kind = path.rpartition('/')[2][:-1]
        _, created = self.request('POST', path, {kind: body}, token)
        return created[kind]['id']

    def issue(self, user, password, project):
        """Return a token of a user for a project."""
        user = {'id': user, 'password': password}
        answer, _ = self.request('POST', 'auth/tokens', {
            'auth': {
                'identity': {
                    'methods': ['password'], 'password': {'user': user}
                },
                'scope': {'project': {'id': project}},
            }
        })
        return answer.token

    def is_valid(self, token):
        """Return whether a token is valid."""
        return http.user_of_token(self._keystone.url, token) is not None


class Entities:
    """One of each of the main entities, and what is seen of them.

    Among them are those of the tables that migrations change since Antelope.

    :param client: by whom they are written
    """

    def __init__(self, client: Client):
        self.name = uuid.uuid4().hex
        mine = {'name': self.name, 'domain_id': 'default'}
        self._password = 'first'
        self._user = client.create('users', password=self._password, **mine)
        self._project = client.create('projects', **mine)
        group = client.create('groups', **mine)
        role = client.create('roles', name=self.name)
        filtering = client.create(
            'OS-EP-FILTER/endpoint_groups', name=self.name,
            filters={'interface': 'public'},
        )
        for path in (
            f'projects/{self._project}/users/{self._user}/roles/{role}',
            f'projects/{self._project}/groups/{group}/roles/{role}',
            f'groups/{group}/users/{self._user}',
            f'OS-EP-FILTER/endpoint_groups/{filtering}/projects/'
            f'{self._project}',
        ):
            client.request('PUT', path)
        credential = client.create(
            'credentials', type='cert', blob=self.name, user_id=self._user,
            project_id=self._project,
        )
        token = client.issue(self._user, self._password, self._project)
        trust = client.create(
            'OS-TRUST/trusts', token, trustor_user_id=self._user,
            trustee_user_id=self._user, project_id=self._project,
            impersonation=False, roles=[{'id': role}],
        )
        application = client.create(
            f'users/{self._user}/application_credentials', token,
            name=self.name, access_rules=[
                {'service': 'identity', 'method': 'GET', 'path': '/v3/users'}
            ],
        )
        client.request('DELETE', 'auth/tokens', token=token, subject=token)
        another = client.issue(self._user, self._password, self._project)
        self._is_valid = {token: False, another: True}
        self._paths = (
            f'users/{self._user}',
            f'users/{self._user}/groups',
            f'users/{self._user}/access_rules',
            f'users/{self._user}/application_credentials/{application}',
            f'projects/{self._project}',
            f'groups/{group}/users',
            f'role_assignments?scope.project.id={self._project}',
            f'credentials/{credential}',
            f'OS-TRUST/trusts/{trust}',
            f'OS-EP-FILTER/projects/{self._project}/endpoint_groups',
        )
        self.seen = self.see(client)

    def see(self, client):
        """Return all that there is to be read of them, by path.

        The password and the tokens are tried too.
        """
        client.issue(self._user, self._password, self._project)
        for token, expected in self._is_valid.items():
            if client.is_valid(token) is not expected:
                raise AssertionError(f'a token: valid is not {expected}')
        return {path: client.request('GET', path)[1] for path in self._paths}

    def change(self, client):
        """Change the project, and the password, which revokes tokens."""
        self._password = uuid.uuid4().hex
        for path, body in (
            (f'projects/{self._project}',
             {'project': {'description': self._password}}),
            (f'users/{self._user}', {'user': {'password': self._password}}),
        ):
            client.request('PATCH', path, body)
        self._is_valid = dict.fromkeys(self._is_valid, False)
        self.seen = self.see(client)

    def remove(self, client):
        """Delete the user, with what hangs on it, and the project."""
        client.request('DELETE', f'users/{self._user}')
        client.request('DELETE', f'projects/{self._project}')


class UpgradeTest(base.TestCase):
    """Old releases serve on the schema that the new one expands.

    No contract revision is younger than Bobcat's two, so there is none
    between any of the releases in pins.toml and the pinned one. That
    ``--contract`` has something to do, the schema is that of a cloud which
    never ran it: at the old release's head of the expand branch, but not yet
    contracted for Bobcat, which all these releases serve on.
    """

    def setUp(self):
        super().setUp()
        self.url = self.server.database()
        self.options = self.volume()
        self.settings = {
            'KEYSTONE_DATABASE_URL': self.url,
            'KEYSTONE_ADMIN_PASSWORD': PASSWORD,
            'KEYSTONE_DB_SYNC': 'false',
            'KEYSTONE_PROCESSES': '1',
            'OS_IDENTITY__PASSWORD_HASH_ROUNDS': '4',
        }

    def at(self):
        """Return the revisions that the schema is at."""
        found = self.execute(self.url, 'SELECT * FROM alembic_version')
        return {revision for (revision,) in found}

    def run_once(self, *words):
        """Run a command of the new release's image."""
        status, output = self.once(
            *words, environ={'KEYSTONE_DATABASE_URL': self.url}
        )
        self.assertEqual(0, status, output)

    def unpack(self, source):
        """Unpack a release so that the container's own user can read it."""
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        tree = folder / 'tree'
        download.unpack(download.sdist(source), tree)
        for module in LISTENED_TO:
            shutil.copy(paths.OVERLAY / 'keystone' / module, tree / module)
        tree.chmod(0o755)
        return tree

    def assert_seen(self, client, *written):
        for entities in written:
            self.assertEqual(entities.seen, entities.see(client))

    @contextlib.contextmanager
    def replica(self, tree=None):
        """Serve, with the new release or another one's tree."""
        options = list(self.options)
        if tree:
            options += [
                '--volume', f'{tree}:{OLD}:ro,Z', '--env', f'PYTHONPATH={OLD}',
                # Unlike the image's own code this has no bytecode.
                '--env', 'PYTHONDONTWRITEBYTECODE=',
                '--env', f'PYTHONPYCACHEPREFIX={STATE}/{tree.parent.name}',
            ]
        with self.serving(options, **self.settings) as keystone:
            where = 'import keystone; print(keystone.__file__)'
            self.assertEqual(
                bool(tree),
                f'{OLD}/' in keystone.run('python3', '-c', where),
            )
            yield Client(keystone)
            self.assertEqual([], keystone.server_errors())

    def test_upgrade(self):
        # 28.1.0's expand branch ends before the new release's, 29.1.0's with
        # it.
        releases = pins.load().releases['keystone']
        trees = [self.unpack(releases[number]) for number in (0, -1)]
        old_head = head(trees[0], 'expand')
        new_head, contracted = (
            head(paths.SOURCES / 'keystone', branch)
            for branch in ('expand', 'contract')
        )
        self.assertNotEqual(old_head, new_head)
        self.run_once('python3', '-c', UPGRADE, old_head, UNCONTRACTED)
        self.assertEqual({old_head, UNCONTRACTED}, self.at())

        with contextlib.ExitStack() as stack, contextlib.ExitStack() as old:
            oldest = old.enter_context(self.replica(trees[0]))
            written = [Entities(oldest)]
            self.run_once('db-sync', '--expand')
            self.assertEqual({new_head, UNCONTRACTED}, self.at())
            last = old.enter_context(self.replica(trees[1]))
            new = stack.enter_context(self.replica())
            for client in (oldest, last, new):
                self.assert_seen(client, written[-1])
                written[-1].change(client)
                written.append(Entities(client))
            self.assert_seen(oldest, written[-1])
            old.close()

            self.run_once('db-sync', '--contract')
            self.assertEqual({new_head, contracted}, self.at())
            self.assert_seen(new, *written)
            for entities in (*written, Entities(new)):
                entities.remove(new)
