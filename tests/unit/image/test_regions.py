# SPDX-License-Identifier: Apache-2.0
import re

from keystone_crdb_image import errors
from keystone_crdb_image import localities
from keystone_crdb_image import regions
import testtools

#: Tables that are in no model of Keystone's.
OURS = ('keystone_crdb_lock', 'alembic_version', 'alembic_version_lock')
#: A table of each class.
FEW = {'user': None, 'consumer': None}


def wanted(text, survive=None, here=None):
    return regions.read({
        'KEYSTONE_DATABASE_REGIONS': text,
        'KEYSTONE_DATABASE_SURVIVE': survive,
        'KEYSTONE_DATABASE_REGION': here,
    })


class Cluster:
    """A CockroachDB that knows of regions, as its documents tell."""

    def __init__(self, *cluster, tables=(*FEW,)):
        self.cluster = cluster
        self.regions = []
        self.survive = None
        self.tables = dict.fromkeys(tables)

    def state(self):
        return regions.State(
            'k', self.cluster, tuple(self.regions), self.survive,
            dict(self.tables),
        )

    def execute(self, sql):
        if found := re.fullmatch('ALTER TABLE "(.*)" SET LOCALITY (.*)', sql):
            assert self.regions
            self.tables[found[1]] = found[2]
            return
        what, region = re.fullmatch(
            'ALTER DATABASE "k" (SET PRIMARY REGION|ADD REGION|DROP REGION'
            '|SURVIVE) (?:"(.*)"|(?:ZONE|REGION) FAILURE)', sql
        ).groups()
        if what == 'SURVIVE':
            self.survive = 'region' if 'REGION FAILURE' in sql else 'zone'
            assert self.survive == 'zone' or len(self.regions) >= 3
            return
        assert region in self.cluster
        if what == 'ADD REGION':
            assert self.regions and region not in self.regions
            self.regions.append(region)
        elif what == 'DROP REGION':
            assert region in self.regions[1:]
            assert self.survive == 'zone' or len(self.regions) > 3
            self.regions.remove(region)
        elif not self.regions:
            self.regions, self.survive = [region], 'zone'
            for table in self.tables:
                self.tables[table] = localities.Class.REGIONAL.value
        else:
            self.regions.remove(region)
            self.regions.insert(0, region)

    def apply(self, text, survive=None):
        for step in regions.plan(self.state(), wanted(text, survive)):
            self.execute(step.sql)


class ReadTest(testtools.TestCase):
    def test_none(self):
        self.assertIsNone(regions.read({}))

    def test_survive(self):
        self.assertEqual('region', wanted('a,b,c').survive)
        self.assertEqual('zone', wanted('a b').survive)
        self.assertEqual('zone', wanted('a,b,c', 'zone').survive)

    def test_problems(self):
        for arguments, part in (
            (('a,b,a',), 'names a region twice'),
            (('a,b', 'region'), 'takes 3 regions'),
            (('a,b,c', 'node'), "region or zone, not 'node'"),
            (('eu,us', None, 'eus'), 'is eus, which is not in'),
            (('', None, 'eu'), 'KEYSTONE_DATABASE_REGION is set and'),
        ):
            problem = self.assertRaises(errors.Problem, wanted, *arguments)
            self.assertIn(part, str(problem))


class LocalitiesTest(testtools.TestCase):
    def test_all_tables_of_the_overlay_and_the_image(self):
        """Upstream's tables are held against these by check statements."""
        self.assertEqual([], localities.unknown(OURS))
        self.assertEqual(51, len(localities.TABLES))
        is_global = localities.Class.GLOBAL
        self.assertEqual(
            41, [one.of for one in localities.TABLES.values()].count(is_global)
        )

    def test_unknown_is_named(self):
        self.assertEqual(
            ['new', 'newer'], localities.unknown(['newer', 'user', 'new'])
        )


class PlanTest(testtools.TestCase):
    def test_golden(self):
        self.assertEqual(
            [
                'ALTER DATABASE "k" SET PRIMARY REGION "eu"',
                'ALTER DATABASE "k" ADD REGION "us"',
                'ALTER DATABASE "k" ADD REGION "ap"',
                'ALTER DATABASE "k" SURVIVE REGION FAILURE',
                'ALTER TABLE "user" SET LOCALITY GLOBAL',
            ],
            [
                step.sql
                for step in regions.plan(
                    Cluster('ap', 'eu', 'us').state(), wanted('eu,us,ap')
                )
            ],
        )

    def test_text(self):
        state = Cluster('eu', 'us', tables=(*FEW, 'other')).state()
        steps = regions.plan(state, wanted('eu,us'))
        self.assertEqual(
            [
                'ALTER DATABASE "k" SET PRIMARY REGION "eu"; -- the first '
                'region that is named: writes are fastest there',
                'ALTER DATABASE "k" ADD REGION "us"; -- reads of GLOBAL '
                'tables stay in this region',
                'ALTER TABLE "user" SET LOCALITY GLOBAL; -- each login and '
                'each validation reads the user',
                '-- "consumer" stays where it is: each OAuth handshake '
                'writes it',
                '-- "other" is not known, and stays',
            ],
            regions.text(steps, state).splitlines(),
        )

    def test_second_run_does_nothing(self):
        cluster = Cluster('ap', 'eu', 'us')
        cluster.apply('eu,us,ap')
        state = cluster.state()
        self.assertEqual([], regions.plan(state, wanted('eu,us,ap')))
        self.assertEqual('-- nothing to do', regions.text([], state))

    def test_resumed_after_each_statement(self):
        steps = regions.plan(
            Cluster('ap', 'eu', 'us').state(), wanted('eu,us,ap')
        )
        for count in range(len(steps)):
            cluster = Cluster('ap', 'eu', 'us')
            for step in steps[:count]:
                cluster.execute(step.sql)
            rest = regions.plan(cluster.state(), wanted('eu,us,ap'))
            self.assertEqual(steps[count:], rest)

    def test_from_any_regions_to_any(self):
        """Whatever is set leads to the same as on a new database."""
        choices = (
            'eu', 'eu,us', 'us,eu', 'eu,us,ap', 'sa,us,ap', 'ap,us,eu,sa',
        )
        for before in choices:
            for after in choices:
                cluster, new = Cluster(*'ap eu sa us'.split()), Cluster('eu')
                new.cluster = cluster.cluster
                cluster.apply(before)
                cluster.apply(after)
                new.apply(after)
                self.assertEqual(new.survive, cluster.survive)
                self.assertEqual(new.regions[0], cluster.regions[0])
                self.assertEqual(set(new.regions), set(cluster.regions))
                self.assertEqual(new.tables, cluster.tables)

    def test_one_region_has_no_global_table(self):
        cluster = Cluster('ap', 'eu', 'us')
        cluster.apply('eu,us,ap')
        cluster.apply('us')
        self.assertEqual(['us'], cluster.regions)
        self.assertEqual(
            {localities.Class.REGIONAL.value}, {*cluster.tables.values()}
        )

    def test_misspelt_region(self):
        problem = self.assertRaises(
            errors.Problem, regions.plan,
            Cluster('europe-west1', 'us-east1').state(),
            wanted('europe-wst1,us-east1'),
        )
        self.assertIn(
            'region europe-wst1: did you mean europe-west1? (it has '
            'europe-west1, us-east1;', str(problem),
        )

    def test_table_of_a_later_release(self):
        cluster = Cluster('eu', 'us')
        self.assertEqual([], regions.of_new_tables(cluster.state()))
        cluster.apply('eu,us')
        cluster.tables['limit'] = localities.Class.REGIONAL.value
        (step,) = regions.of_new_tables(cluster.state())
        self.assertEqual('ALTER TABLE "limit" SET LOCALITY GLOBAL', step.sql)

    def test_names_are_quoted(self):
        self.assertEqual('"a""b"', regions.quoted('a"b'))

    def test_offline(self):
        steps = regions.offline(wanted('eu,us,ap'), 'keystone')
        self.assertEqual(4 + 41, len(steps))
