# SPDX-License-Identifier: Apache-2.0
"""The image's verb regions on the stand-in, which has regions as rows."""

import concurrent.futures

from keystone_crdb_image import errors
from keystone_crdb_image import layout
from keystone_crdb_image import localities
from keystone_crdb_image import regions
from keystone_crdb_image import regions_verb
import sqlalchemy
from sqlalchemy import exc

from tests.functional.databases import base

REGIONAL = localities.Class.REGIONAL.value


def wanted(text, here=None):
    return regions.read({
        'KEYSTONE_DATABASE_REGIONS': text, 'KEYSTONE_DATABASE_REGION': here,
    })


class TestRegions(base.TestCase):
    NAME = 'regions'

    def setUp(self):
        super().setUp()
        self.bare = self.engine(poolclass=sqlalchemy.NullPool)
        self.reset()
        self.addCleanup(self.reset)

    def reset(self):
        engine = self.bare.execution_options(isolation_level='AUTOCOMMIT')
        with engine.connect() as connection:
            connection.exec_driver_sql('DROP TABLE IF EXISTS "user", consumer')
            connection.exec_driver_sql(
                'TRUNCATE standin.regions, standin.survival, '
                'standin.localities'
            )
            for table in ('"user"', 'consumer'):
                connection.exec_driver_sql(f'CREATE TABLE {table} (id TEXT)')

    def localities(self):
        return {
            table: locality
            for table, locality in layout.look(self.bare).tables.items()
            if table != 'keystone_crdb_lock'
        }

    def test_apply(self):
        self.assertEqual({'user': None, 'consumer': None}, self.localities())
        self.assertEqual(5, layout.apply(self.bare, wanted('us,eu,ap')))
        state = layout.look(self.bare)
        self.assertEqual(('us', 'ap', 'eu'), state.regions)
        self.assertEqual('region', state.survive)
        self.assertEqual(
            {'user': 'GLOBAL', 'consumer': REGIONAL}, self.localities()
        )
        self.assertEqual(0, layout.apply(self.bare, wanted('us,eu,ap')))
        self.assertEqual(0, regions_verb.check(self.bare, wanted('us,eu,ap')))

    def test_to_other_regions_and_back(self):
        for text in ('eu,us', 'us,ap,eu', 'ap,us', 'us'):
            layout.apply(self.bare, wanted(text))
            found = layout.look(self.bare).regions
            self.assertEqual(set(text.split(',')), set(found))
            self.assertEqual(text.split(',')[0], found[0])
        self.assertEqual(
            {'user': REGIONAL, 'consumer': REGIONAL}, self.localities()
        )

    def test_many_at_once(self):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            counts = list(
                pool.map(
                    lambda _: layout.apply(self.bare, wanted('us,eu,ap')),
                    range(6),
                )
            )
        self.assertEqual([0, 0, 0, 0, 0, 5], sorted(counts))

    def test_new_table(self):
        self.assertEqual(0, layout.place_new_tables(self.bare))
        layout.apply(self.bare, wanted('eu,us'))
        with self.bare.begin() as connection:
            connection.exec_driver_sql('DROP TABLE "user"')
            connection.exec_driver_sql('CREATE TABLE "user" (id TEXT)')
        self.assertEqual(REGIONAL, self.localities()['user'])
        self.assertEqual(1, layout.place_new_tables(self.bare))
        self.assertEqual('GLOBAL', self.localities()['user'])

    def test_misspelt_region(self):
        problem = self.assertRaises(
            errors.Problem, layout.apply, self.bare, wanted('eu,uss')
        )
        self.assertIn('did you mean us? (it has ap, eu, us;', str(problem))
        self.assertEqual((), layout.look(self.bare).regions)

    def test_gateway(self):
        self.assertEqual('eu', layout.gateway(self.bare))
        url = self.url.set(drivername='cockroachdb+psycopg')
        far = sqlalchemy.create_engine(
            url.update_query_dict({'options': '-c standin.region=us'})
        )
        self.addCleanup(far.dispose)
        self.assertEqual('us', layout.gateway(far))

    def test_explain(self):
        layout.apply(self.bare, wanted('us,eu'))
        self.assertEqual({'eu'}, layout.read_in(self.bare, 'user'))
        self.assertEqual({'us'}, layout.read_in(self.bare, 'consumer'))
        self.assertEqual(0, regions_verb.explain(self.bare, wanted('us,eu')))
        with self.bare.execution_options(
            isolation_level='AUTOCOMMIT'
        ).connect() as connection:
            connection.exec_driver_sql(
                'ALTER TABLE "user" SET LOCALITY REGIONAL BY TABLE'
            )
        self.assertEqual(1, regions_verb.explain(self.bare, wanted('us,eu')))

    def test_what_the_database_refuses(self):
        for statement, code in (
            ('ADD REGION "us"', '42P12'), ('SURVIVE ZONE FAILURE', '42P12'),
            ('PRIMARY REGION "uss"', '42602'),
            ('PRIMARY REGION "us"', None), ('ADD REGION "us"', '42710'),
            ('ADD REGION "eu"', None), ('DROP REGION "us"', '42P12'),
            ('SURVIVE REGION FAILURE', '22023'),
            ('PRIMARY REGION "ap"', '42P12'), ('DROP REGION "ap"', '42704'),
        ):
            with self.bare.connect() as connection:
                try:
                    connection.exec_driver_sql(
                        f'ALTER DATABASE "regions" {statement}'
                    )
                    connection.commit()
                    found = None
                except exc.DBAPIError as error:
                    found = error.orig.sqlstate
            self.assertEqual(code, found, statement)
