# SPDX-License-Identifier: Apache-2.0
"""Users of an OpenID Connect provider log in, by Apache before the image."""

import os
import re
import ssl
import subprocess

import fixtures
import httpx
import oidc_provider_mock

from keystone_crdb import paths
from keystone_crdb import process
from keystone_crdb.keystone import container
from keystone_crdb.keystone import http
from keystone_crdb.keystone import smoke
from tests import certificates
from tests.functional.image import base

MODULES = '/usr/lib/apache2/modules'

#: What Debian's own configuration has before a site, and the address by which
#: Keystone tells Apache from other clients of this host.
SERVER = """
ServerName 127.0.0.1
ServerRoot {folder}
PidFile {folder}/pid
ErrorLog {folder}/error.log
User nobody
Group nogroup
Listen 127.0.0.1:{port}
{modules}
{defines}
ProxySourceAddress 127.0.0.2
Include {root}/deploy/federation/apache.conf
"""
LOADED = (
    'mpm_event', 'authn_core', 'authz_core', 'authz_user', 'auth_openidc',
    'headers', 'proxy', 'proxy_http', 'ssl',
)

CONF = '/etc/keystone/keystone.conf'
LOGIN = '/OS-FEDERATION/identity_providers/corporate/protocols/openid/auth'
DASHBOARD = 'https://dashboard.example.org/auth/websso/'

ALICE = oidc_provider_mock.User(
    sub='alice', claims={'name': 'Zoë Alice', 'email': 'alice@example.org'}
)


def forged(issuer, dash):
    """Return headers with Bob's attributes, as anyone could send them."""
    return {
        f'OIDC{dash}{name}': value
        for name, value in (
            ('ISS', issuer), ('SUB', 'bob'), ('NAME', 'Bob'),
            ('EMAIL', 'bob@example.org'),
        )
    }  # fmt: skip


def documented():
    """Return what docs/federation.rst has an administrator type."""
    text = (paths.ROOT / 'docs/federation.rst').read_text()
    block = re.search(r'::\n\n((?:    .*\n)*    openstack (?:.*\n)+?)\n', text)
    return block[1]


def settings():
    """Return what docs/federation.rst has Keystone set to."""
    text = (paths.ROOT / 'docs/federation.rst').read_text()
    return dict(re.findall(r'^    ((?:KEYSTONE|OS)_\w+)=(.*)$', text, re.M))


class FederationTest(base.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()

        def enter(context):
            return cls.enterClassContext(context)

        # The provider has no TLS.
        enter(fixtures.EnvironmentVariable('AUTHLIB_INSECURE_TRANSPORT', '1'))
        provider = enter(
            oidc_provider_mock.run_server_in_thread(user_claims=[ALICE])
        )
        cls.issuer = f'http://localhost:{provider.server_port}'
        port = process.free_port()
        cls.url = f'https://127.0.0.1:{port}/v3'
        folder = enter(fixtures.TempDir()).path
        os.chmod(folder, 0o755)  # noqa: S103
        with open(f'{folder}/keystone.conf', 'w') as file:
            file.write(f'[federation]\ntrusted_dashboard = {DASHBOARD}\n')
        cls.keystone = enter(container.Keystone(
            base.engine(), cls.image.reference,
            {
                **settings(),
                'KEYSTONE_DATABASE_URL': cls.server.database(),
                'KEYSTONE_PROCESSES': '1',
                'KEYSTONE_PUBLIC_URL': cls.url,
                'KEYSTONE_TRUSTED_PROXIES': '127.0.0.2',
            },
            ('--volume', f'{folder}/keystone.conf:{CONF}:ro'),
        ))
        certificates.server(folder)
        cls.tls = ssl.create_default_context(cafile=f'{folder}/ca.crt')
        cls.apache(enter, folder, port)
        cls.administer(folder)

    @classmethod
    def apache(cls, enter, folder, port):
        """Start it, and wait until it listens."""
        defines = {
            'KEYSTONE': cls.keystone.url.split('/')[2],
            'KEYSTONE_CERTIFICATE': f'{folder}/node.crt',
            'KEYSTONE_CERTIFICATE_KEY': f'{folder}/node.key',
            'KEYSTONE_NAME': f'127.0.0.1:{port}',
            'KEYSTONE_PORT': port,
            'OIDC_CLIENT_ID': 'keystone',
            'OIDC_CLIENT_SECRET': 'secret',
            'OIDC_ISSUER': cls.issuer,
            'OIDC_PASSPHRASE': 'passphrase',
        }
        with open(f'{folder}/apache.conf', 'w') as file:
            file.write(SERVER.format(
                folder=folder, port=port, root=paths.ROOT,
                modules='\n'.join(
                    f'LoadModule {name}_module {MODULES}/mod_{name}.so'
                    for name in LOADED
                ),
                defines='\n'.join(
                    f'Define {name} {value}'
                    for name, value in defines.items()
                ),
            ))
        running = subprocess.Popen(
            ['/usr/sbin/apache2', '-f', f'{folder}/apache.conf',
             '-DFOREGROUND']
        )
        cls.addClassCleanup(process.end, running)

        def listens():
            try:
                cls.browser().get(cls.url)
            except httpx.TransportError as error:
                raise process.NotYet(f'Apache: {error}') from error

        process.wait_until(listens, base.LIMIT)

    @classmethod
    def administer(cls, folder):
        """Type what the documents have."""
        subprocess.run(
            ['bash', '-euc', documented()], check=True, cwd=paths.ROOT,
            env={
                **process.environ('OS_'),
                **cls.keystone.credentials(),
                'OIDC_ISSUER': cls.issuer,
                'OS_CACERT': f'{folder}/ca.crt',
                'PATH': f'{smoke.client().parent}:{os.environ["PATH"]}',
            },
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        )

    @classmethod
    def browser(cls):
        return httpx.Client(verify=cls.tls, timeout=60)

    def logged_in(self):
        """Return a browser in which Alice has logged in, and the answer."""
        browser = self.browser()
        browser.follow_redirects = True
        form = browser.get(f'{self.url}{LOGIN}')
        self.assertEqual('localhost', form.url.host, form.text)
        answer = browser.post(form.url, data={'sub': 'alice'})
        self.assertEqual(201, answer.status_code, answer.text)
        return browser, answer

    def test_login(self):
        _, answer = self.logged_in()
        user = answer.json()['token']['user']
        self.assertEqual('Zoë Alice', user['name'])
        self.assertEqual(
            'corporate', user['OS-FEDERATION']['identity_provider']['id']
        )
        unscoped = answer.headers['X-Subject-Token']
        found = http.request(
            self.keystone.url, 'GET', '/auth/projects', token=unscoped
        )
        (project,) = found.body['projects']
        scoped = http.request(
            self.keystone.url, 'POST', '/auth/tokens',
            {'auth': {
                'identity': {'methods': ['token'], 'token': {'id': unscoped}},
                'scope': {'project': {'id': project['id']}},
            }},
        )
        self.assertEqual(201, scoped.status, scoped.why)
        token = scoped.body['token']
        self.assertEqual('demo', token['project']['name'])
        self.assertIn('member', [role['name'] for role in token['roles']])
        self.assertEqual(user['id'], token['user']['id'])

    def test_login_of_the_dashboard(self):
        browser, _ = self.logged_in()
        path = '/auth/OS-FEDERATION/websso/openid'
        answer = browser.get(f'{self.url}{path}', params={'origin': DASHBOARD})
        self.assertEqual(200, answer.status_code, answer.text)
        self.assertIn(f'action="{DASHBOARD}"', answer.text)
        token = re.search(r'name="token".* value="([^"]+)"', answer.text)[1]
        self.assertIsNotNone(http.user_of_token(self.keystone.url, token))

    def test_clients_cannot_forge_attributes(self):
        browser, answer = self.logged_in()
        user = answer.json()['token']['user']
        # Not all of them are such that Apache asks for a login.
        others = f'{LOGIN}/', LOGIN.lower(), LOGIN.replace('/', '//')
        for headers in (forged(self.issuer, '-'), forged(self.issuer, '_')):
            answer = browser.get(f'{self.url}{LOGIN}', headers=headers)
            self.assertEqual(201, answer.status_code, answer.text)
            self.assertEqual(user, answer.json()['token']['user'])
            # Without a login, and past Apache.
            for url, status in ((self.url, 302), (self.keystone.url, 401)):
                answer = self.browser().get(f'{url}{LOGIN}', headers=headers)
                self.assertEqual(status, answer.status_code, answer.text)
            for path in others:
                answer = self.browser().get(
                    f'{self.url}{path}', headers=headers
                )
                self.assertNotIn('X-Subject-Token', answer.headers, path)
