# SPDX-License-Identifier: Apache-2.0
import hashlib
import json
import pathlib

from keystone_crdb.images import anonymous
from tests.unit import base


def _configuration(made_up):
    """Return the configuration of an image, as podman 4.3 writes it."""
    part = {'Hostname': made_up, 'Healthcheck': {'Test': ['CMD', 'true']}}
    return {
        'created': '2026-11-22T00:00:00Z',
        'container': made_up,
        'container_config': {**part},
        'config': {**part},
        'parent': f'sha256:{made_up}',
        'history': [
            {'created_by': 'COPY dir:1 in /'},
            {'created_by': 'CMD', 'comment': f'FROM {made_up}'},
            {'created_by': 'RUN', 'comment': 'of its author'},
        ],
    }


class Engine:
    """Keeps what it pulls, as podman does."""

    def __init__(self, made_up):
        self.made_up = made_up
        self.called = []

    def call(self, word, *words):
        self.called.append((word, *words))
        folder = pathlib.Path(words[-1].removeprefix('dir:'))
        if word == 'push':
            content = json.dumps(_configuration(self.made_up)).encode()
            digest = hashlib.sha256(content).hexdigest()
            (folder / digest).write_bytes(content)
            named = {'digest': f'sha256:{digest}', 'size': len(content)}
            (folder / 'manifest.json').write_text(
                json.dumps({'config': named, 'layers': ['a']})
            )
        elif word == 'pull':
            self.manifest = json.loads((folder / 'manifest.json').read_text())
            digest = self.manifest['config']['digest'].partition(':')[2]
            self.content = (folder / digest).read_bytes()
            assert hashlib.sha256(self.content).hexdigest() == digest
            return f'{digest}\n'
        return ''


class AnonymousTest(base.TestCase):
    def replace(self, made_up):
        engine = Engine(made_up)
        anonymous.replace(engine, ['keystone:1', 'keystone:latest'])
        return engine

    def test_two_builds_are_the_same(self):
        first, second = map(self.replace, ('1a', '2bb'))
        self.assertEqual(first.content, second.content)
        self.assertEqual(first.manifest, second.manifest)
        self.assertEqual(len(first.content), first.manifest['config']['size'])

    def test_what_is_not_made_up_stays(self):
        found = json.loads(self.replace('1a').content)
        self.assertEqual(
            ['CMD', 'true'], found['config']['Healthcheck']['Test']
        )
        self.assertEqual('2026-11-22T00:00:00Z', found['created'])
        self.assertEqual(
            ['COPY dir:1 in /', 'CMD', 'RUN'],
            [step['created_by'] for step in found['history']],
        )
        self.assertEqual('of its author', found['history'][2]['comment'])

    def test_all_names_move(self):
        engine = self.replace('1a')
        identity = engine.manifest['config']['digest'].partition(':')[2]
        self.assertEqual(
            [
                ('tag', identity, 'keystone:1'),
                ('tag', identity, 'keystone:latest'),
            ],
            engine.called[-2:],
        )
