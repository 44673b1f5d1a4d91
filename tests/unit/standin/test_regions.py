# SPDX-License-Identifier: Apache-2.0
import testtools

from keystone_crdb.standin import regions
from keystone_crdb.standin import rewrite


class RewriteTest(testtools.TestCase):
    def test_statements(self):
        for statement, rewritten in (
            ('ALTER DATABASE "k" SET PRIMARY REGION "us-east1"',
             "CALL standin.set_primary_region('us-east1')"),
            ('alter database k primary region eu;',
             "CALL standin.set_primary_region('eu')"),
            ('ALTER DATABASE k ADD REGION "a""\'"',
             "CALL standin.add_region('a\"''')"),
            ('ALTER DATABASE k DROP REGION "eu"',
             "CALL standin.drop_region('eu')"),
            ('ALTER DATABASE k SURVIVE REGION FAILURE',
             "CALL standin.survive('region')"),
            ('ALTER TABLE "user" SET LOCALITY GLOBAL',
             "CALL standin.set_locality('\"user\"', 'GLOBAL')"),
            ('ALTER TABLE role SET LOCALITY regional  by table',
             "CALL standin.set_locality('role', "
             "'REGIONAL BY TABLE IN PRIMARY REGION')"),
        ):
            self.assertEqual(
                rewritten.encode(), rewrite.rewrite(statement.encode())
            )

    def test_show(self):
        for statement in (
            b'SHOW REGIONS FROM CLUSTER', b'SHOW REGIONS FROM DATABASE',
            b'SHOW REGIONS FROM DATABASE "k"', b'show tables;',
            b'SHOW SURVIVAL GOAL FROM DATABASE k',
        ):
            self.assertIn(b'FROM standin.', regions.rewrite(statement))

    def test_explain(self):
        rewritten = rewrite.rewrite(
            b'EXPLAIN ANALYZE SELECT * FROM "user" LIMIT 1'
        )
        self.assertIn(b"WHERE table_name = 'user'", rewritten)

    def test_others(self):
        for statement in (
            b'EXPLAIN ANALYZE SELECT 1',
            b'EXPLAIN ANALYZE SELECT * FROM t WHERE a = 1',
            b'SHOW server_version', b'SELECT 1',
            b'ALTER DATABASE k RENAME TO l',
            b'ALTER TABLE t ADD COLUMN region TEXT',
            b"INSERT INTO t VALUES ('SHOW TABLES')",
        ):
            self.assertIsNone(regions.rewrite(statement))
            self.assertIs(statement, rewrite.rewrite(statement))
