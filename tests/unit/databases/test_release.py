# SPDX-License-Identifier: Apache-2.0
import os
import stat
import textwrap

import fixtures

from keystone_crdb import paths
from keystone_crdb import pins
from keystone_crdb.databases import providers
from keystone_crdb.databases import release
from keystone_crdb.images import engine
from tests.unit import base

#: An engine that has one image: `cp` copies a folder out of it.
ENGINE = """\
    #!/bin/sh
    echo "$@" >> {calls}
    [ "$1" != cp ] || {{ mkdir "$3"; echo program > "$3/cockroach"; }}
    """


class ReleaseTest(base.TestCase):
    def setUp(self):
        super().setUp()
        self.calls = self.path / 'calls'
        program = self.write(
            'bin/docker', textwrap.dedent(ENGINE).format(calls=self.calls)
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self.useFixture(
            fixtures.EnvironmentVariable(
                'PATH', f'{program.parent}:{os.environ["PATH"]}'
            )
        )
        for name in 'BUILD', 'LOGS':
            self.useFixture(
                fixtures.MockPatchObject(paths, name, self.path / name)
            )
        self.asked = []

        def find(image):
            self.asked.append(image)
            return engine.Engine('docker', (), ())

        self.useFixture(
            fixtures.MockPatchObject(providers, 'find_engine', find)
        )

    def test_the_image_is_that_of_the_newest_patch(self):
        self.assertEqual(
            'docker.io/cockroachdb/cockroach:latest-v25.4',
            release.reference('25.4'),
        )

    def test_one_node_runs_in_the_image(self):
        self.assertEqual(
            {
                providers.PROVIDER_SETTING: 'container',
                providers.IMAGE_SETTING: release.reference('25.4'),
            },
            release.settings('25.4'),
        )
        self.assertEqual([], self.asked)

    def test_three_nodes_are_of_the_program_of_the_image(self):
        found = release.settings('25.4', 3)
        self.assertEqual('binary', found[providers.PROVIDER_SETTING])
        self.assertEqual('3', found[providers.NODES_SETTING])
        self.assertEqual([release.reference('25.4')], self.asked)
        with open(found['COCKROACH_BIN']) as program:
            self.assertEqual('program\n', program.read())
        created, copied, removed = self.calls.read_text().splitlines()
        name = created.split()[2]
        self.assertEqual(
            f'create --name {name} {release.reference("25.4")}', created
        )
        self.assertEqual(
            f'cp {name}:/cockroach {self.path}/BUILD/cockroach/25.4', copied
        )
        self.assertEqual(f'rm --force {name}', removed)

    def test_every_pinned_release_has_an_image(self):
        for each in pins.load().cockroachdb.releases:
            self.assertRegex(release.reference(each), r':latest-v\d+\.\d$')
