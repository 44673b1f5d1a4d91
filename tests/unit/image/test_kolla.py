# SPDX-License-Identifier: Apache-2.0
"""What Kolla makes of deploy/kolla: rendered by Kolla, and not built."""

import re

import fixtures
from keystone_crdb_image import settings
from kolla.common import config
from kolla.image import kolla_worker
from oslo_config import cfg
import yaml

from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.images import image
from keystone_crdb.images import wheels
from tests.unit import base

KOLLA = paths.ROOT / 'deploy' / 'kolla'


class KollaBuildTest(base.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        work = cls.enterClassContext(fixtures.TempDir()).path
        conf = cfg.ConfigOpts()
        config.parse(
            conf,
            ['--template-only', '--base', 'debian', '--base-arch', 'x86_64',
             '--work-dir', work,
             '--config-file', str(KOLLA / 'kolla-build.conf'),
             '--template-override', str(KOLLA / 'template-overrides.j2')],
            prog='kolla-build',
        )
        worker = kolla_worker.KollaWorker(conf)
        worker.setup_working_dir()
        worker.find_dockerfiles()
        # All that kolla-build has would take half a minute.
        worker.docker_build_paths = [
            path for path in worker.docker_build_paths
            if path.endswith('/keystone-base')
        ]
        worker.create_dockerfiles()
        worker.build_image_list()
        (cls.image,) = worker.images
        (folder,) = worker.docker_build_paths
        with open(f'{folder}/Dockerfile') as file:
            cls.dockerfile = file.read()

    def test_release(self):
        line, *_ = pins.load().lines
        self.assertIn(
            f'FROM kolla/openstack-base:{line}-debian', self.dockerfile
        )

    def test_wheels_replace_what_kolla_installs(self):
        (addition,) = self.image.additions
        self.assertEqual(
            wheels.WHEELS, paths.ROOT / addition['source'], addition
        )
        before, found, after = self.dockerfile.partition(
            'ADD additions-archive /\n'
        )
        self.assertTrue(found)
        self.assertIn('/keystone[ldap]', before)
        self.assertIn(
            f'install --no-deps /additions/{wheels.WHEELS.name}/*.whl', after
        )

    def test_drivers_are_those_of_the_image(self):
        lock = (paths.REQUIREMENTS / 'image.txt').read_text()
        pinned = re.findall(r'(\S+)==(\S+)', self.dockerfile)
        self.assertEqual(
            ['psycopg[binary]', 'sqlalchemy-cockroachdb'],
            [name for name, _ in pinned],
        )
        for name, version in pinned:
            self.assertRegex(
                lock, rf'(?m)^{name.partition("[")[0]}=={version} '
            )


class KollaAnsibleTest(base.TestCase):
    """Its files, without Ansible."""

    def test_ca_is_where_the_url_has_it(self):
        variables = yaml.safe_load((KOLLA / 'globals.yml').read_text())
        conf = cfg.ConfigOpts()
        conf.register_opt(cfg.StrOpt('connection'), 'database')
        conf([], default_config_files=[str(KOLLA / 'config/keystone.conf')])
        url = settings.database_url(conf.database.connection)
        (volume,) = variables['keystone_extra_volumes']
        self.assertEqual(url.query['sslrootcert'], volume.split(':')[1])
        self.assertTrue(image.version(pins.load()).endswith(
            variables['keystone_tag'].partition('-')[2]
        ))
