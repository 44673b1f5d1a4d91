# SPDX-License-Identifier: Apache-2.0
"""Tests of the recorded errors themselves."""

import json

import testtools

from keystone_crdb import paths
from tests import facts

SAMPLE = (
    paths.OVERLAY
    / 'oslo.db/oslo_db/tests/sqlalchemy/cockroachdb_errors.json'
)

#: What a kind of answers has in common: what the driver makes of it, when it
#: comes and what is wanted of it.
KIND = (
    'driver',
    'dbapi_class',
    'sqlstate',
    'when',
    'is_disconnect',
    'oslo_exception',
)
DEFAULTS = {'sqlstate': None, 'when': 'execute', 'is_disconnect': False}


def kind(observation):
    return tuple({**DEFAULTS, **observation}[name] for name in KIND)


class TestFacts(testtools.TestCase):
    def setUp(self):
        super().setUp()
        self.facts = facts.load()
        self.sample = json.loads(SAMPLE.read_text())

    def test_complete(self):
        self.assertEqual(613, len(self.facts))

    def test_sample_has_each_kind(self):
        self.assertEqual(
            set(map(kind, self.facts)), set(map(kind, self.sample))
        )

    def test_sample_is_recorded(self):
        recorded = {(fact['id'], fact['driver']): fact for fact in self.facts}
        for observation in self.sample:
            fact = recorded[observation['id'], observation['driver']]
            fact['expect'].pop('column', None)
            self.assertEqual(
                observation, {name: fact[name] for name in observation}
            )
