# SPDX-License-Identifier: Apache-2.0
import contextlib
import types

import fixtures
from keystone_crdb_image import errors
from keystone_crdb_image import layout
from keystone_crdb_image import localities
from keystone_crdb_image import regions_verb
import sqlalchemy
from sqlalchemy import exc

from tests.unit import base
from tests.unit.image import test_regions

WANTED = test_regions.wanted('eu,us,ap', here='eu')


class Engine:
    """An engine of a cluster, of which it keeps what was executed."""

    dialect = types.SimpleNamespace(name='cockroachdb')

    def __init__(self, cluster):
        self.cluster = cluster
        self.url = sqlalchemy.make_url('cockroachdb://u@near/k')
        self.executed = []
        self.locked = set()
        self.gateway = 'eu'
        self.read_in = 'eu'

    def execution_options(self, **options):
        return self

    @contextlib.contextmanager
    def connect(self):
        yield self

    def _answer(self, sql):
        cluster = self.cluster
        if sql == 'SHOW REGIONS FROM CLUSTER':
            return [{'region': name} for name in cluster.cluster]
        if sql == 'SHOW REGIONS FROM DATABASE "k"':
            return [
                {'region': name, 'primary': name == cluster.regions[0]}
                for name in sorted(cluster.regions)
            ]
        if sql == 'SHOW SURVIVAL GOAL FROM DATABASE "k"':
            return [{'survival_goal': cluster.survive}]
        if sql == 'SHOW TABLES':
            return [
                {
                    'schema_name': 'public', 'type': 'table',
                    'table_name': name, 'locality': locality,
                }
                for name, locality in cluster.tables.items()
            ]
        return None

    def exec_driver_sql(self, sql):
        if (rows := self._answer(sql)) is not None:
            return types.SimpleNamespace(mappings=lambda: rows)
        if sql == 'SELECT gateway_region()':
            return types.SimpleNamespace(scalar=lambda: self.gateway)
        if sql.startswith('EXPLAIN ANALYZE'):
            return [
                ('planning time: 1ms',), (f'regions: {self.read_in}',), ('',),
                ('\u2022 scan',), (f'  regions: {self.read_in}',),
            ]
        self.executed.append(sql)
        words = sql.split()
        if '(schema_locked' in words:
            change = {'false)': self.locked.discard, 'true)': self.locked.add}
            change[words[-1]](words[2])
            return None
        if words[2] in self.locked:
            refused = Exception('schema is locked')
            refused.sqlstate = '57000'
            raise exc.OperationalError(sql, {}, refused)
        self.cluster.execute(sql)
        return None


class Lease:
    """A lock that nobody else wants."""

    def __init__(self, engine, name):
        pass

    def acquire(self):
        return True

    def beat(self):
        return True

    def release(self):
        pass


class LayoutTestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.useFixture(
            fixtures.MonkeyPatch('keystone_crdb_image.lease.Lease', Lease)
        )
        self.cluster = test_regions.Cluster('ap', 'eu', 'us')
        self.engine = Engine(self.cluster)


class ApplyTest(LayoutTestCase):
    def test_look(self):
        self.cluster.apply('us,eu,ap')
        state = layout.look(self.engine)
        self.assertEqual(('us', 'ap', 'eu'), state.regions)
        self.assertEqual('region', state.survive)
        self.assertEqual('GLOBAL', state.tables['user'])

    def test_other_databases_have_none(self):
        engine = sqlalchemy.create_engine('sqlite://')
        self.assertRaises(errors.Problem, layout.look, engine)
        self.assertEqual(0, layout.place_new_tables(engine))

    def test_second_run_does_nothing(self):
        self.assertEqual(5, layout.apply(self.engine, WANTED))
        self.assertEqual('GLOBAL', self.cluster.tables['user'])
        self.assertEqual(0, layout.apply(self.engine, WANTED))
        self.assertEqual(5, len(self.engine.executed))

    def test_schema_locked(self):
        self.engine.locked.add('"user"')
        layout.apply(self.engine, WANTED)
        self.assertEqual('GLOBAL', self.cluster.tables['user'])
        self.assertEqual({'"user"'}, self.engine.locked)

    def test_locked_again_after_a_failure(self):
        self.engine.locked.add('"user"')
        broken = fixtures.MonkeyPatch(
            'tests.unit.image.test_regions.Cluster.execute',
            lambda cluster, sql: self.fail(sql),
        )
        self.cluster.apply('eu,us,ap')
        self.cluster.tables['user'] = None
        with broken:
            self.assertRaises(
                AssertionError, layout.apply, self.engine, WANTED
            )
        self.assertEqual({'"user"'}, self.engine.locked)

    def test_lock_that_was_lost(self):
        problem = errors.Problem('taken over')

        @contextlib.contextmanager
        def kept(held):
            def refuse():
                if len(self.engine.executed) == 2:
                    raise problem
            yield refuse

        lost = fixtures.MonkeyPatch('keystone_crdb_image.locking.kept', kept)
        with lost:
            self.assertRaises(
                errors.Problem, layout.apply, self.engine, WANTED
            )
        self.assertEqual(3, layout.apply(self.engine, WANTED))

    def test_new_table(self):
        self.assertEqual(0, layout.place_new_tables(self.engine))
        layout.apply(self.engine, WANTED)
        self.cluster.tables['limit'] = localities.Class.REGIONAL.value
        self.assertEqual(1, layout.place_new_tables(self.engine))
        self.assertEqual('GLOBAL', self.cluster.tables['limit'])


class CheckTest(LayoutTestCase):
    def words(self, wanted=WANTED):
        return list(regions_verb.findings(self.engine, wanted))

    def test_all_is_well(self):
        layout.apply(self.engine, WANTED)
        self.assertEqual(
            [('ok', 'the node of u@near/k is in eu')], self.words()
        )
        self.assertEqual(0, regions_verb.check(self.engine, WANTED))

    def test_before_apply(self):
        self.assertEqual(1, regions_verb.check(self.engine, WANTED))
        said = self.output.getvalue()
        for region in WANTED.regions:
            self.assertIn(f'the database has no region {region}', said)

    def test_what_differs(self):
        layout.apply(self.engine, WANTED)
        self.cluster.tables |= {
            'consumer': 'GLOBAL', 'user': 'REGIONAL BY ROW', 'other': None,
        }
        wanted = test_regions.wanted('us,eu,sq', 'zone', 'eu')
        self.assertEqual(
            [
                ('FAILED', 'no node is in the region sq'),
                ('FAILED', 'the database has no region sq: run apply'),
                ('FAILED', 'the database has the region ap, which is not in '
                           'KEYSTONE_DATABASE_REGIONS: run apply'),
                ('FAILED', 'the primary region is eu, and not us: run apply'),
                ('FAILED', 'the database survives the failure of a region, '
                           'and not of a zone: run apply'),
                ('FAILED', 'consumer is GLOBAL, and not REGIONAL BY TABLE IN '
                           'PRIMARY REGION: run apply'),
                ('FAILED', 'user is REGIONAL BY ROW, and not GLOBAL: run '
                           'apply'),
                ('WARN', 'other is no table of Keystone, and is left alone'),
                ('ok', 'the node of u@near/k is in eu'),
            ],
            self.words(wanted),
        )

    def test_gateway(self):
        layout.apply(self.engine, WANTED)
        self.engine.gateway = 'us'
        ((word, found),) = self.words()
        self.assertEqual('FAILED', word)
        self.assertIn('a node in us, and this replica is in eu', found)
        ((word, found),) = self.words(test_regions.wanted('eu,us,ap'))
        self.assertEqual('WARN', word)

    def test_hosts_at_random(self):
        layout.apply(self.engine, WANTED)
        self.engine.url = self.engine.url.update_query_dict(
            {'load_balance_hosts': 'random'}
        )
        ((word, _),) = self.words()
        self.assertEqual('WARN', word)

    def test_explain(self):
        layout.apply(self.engine, WANTED)
        self.assertEqual(0, regions_verb.explain(self.engine, WANTED))
        self.assertIn('ok     user: read in eu\n', self.output.getvalue())
        self.engine.read_in = 'ap, eu'
        self.assertEqual(1, regions_verb.explain(self.engine, WANTED))
        self.assertIn('FAILED user: read in ap, eu', self.output.getvalue())
