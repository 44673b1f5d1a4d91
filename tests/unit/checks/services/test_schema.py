# SPDX-License-Identifier: Apache-2.0
"""Tests of keystone_crdb.checks.services.schema."""

import sqlalchemy

from keystone_crdb.checks.services import schema
from tests.unit import base


class SchemaTestCase(base.TestCase):
    """Schemas of databases of SQLite."""

    def read(self, *statements: str) -> schema.Schema:
        engine = sqlalchemy.create_engine('sqlite://')
        self.addCleanup(engine.dispose)
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        return schema.read(engine)

    def test_what_is_read(self) -> None:
        found = self.read(
            'CREATE TABLE a (id INTEGER NOT NULL PRIMARY KEY, b VARCHAR(9))',
            'CREATE TABLE c (d INTEGER REFERENCES a (id), e INTEGER)',
            'CREATE INDEX i ON c (e)',
            'CREATE UNIQUE INDEX u ON c (e, d)',
        )

        self.assertEqual(
            {
                'a': {
                    'column id: int, not null', 'column b: str',
                    'primary key (id)',
                },
                'c': {
                    'column d: int', 'column e: int', 'index (e)',
                    'unique (d, e)', 'foreign key (d) to a (id)',
                },
            },
            found,
        )

    def test_unique_index_is_a_constraint(self) -> None:
        index = self.read(
            'CREATE TABLE a (b INTEGER)', 'CREATE UNIQUE INDEX u ON a (b)'
        )
        constraint = self.read('CREATE TABLE a (b INTEGER UNIQUE)')

        self.assertEqual([], schema.compare(index, constraint))

    def test_type_that_the_dialect_does_not_know(self) -> None:
        self.assertEqual(
            'str', schema._python_type(sqlalchemy.types.NullType())
        )

    def test_what_mariadb_shares(self) -> None:
        engine = sqlalchemy.create_engine('sqlite://')
        self.addCleanup(engine.dispose)
        with engine.begin() as connection:
            connection.exec_driver_sql(
                'CREATE TABLE a (b VARCHAR(9) NOT NULL, c INTEGER)'
            )
            connection.exec_driver_sql('CREATE INDEX i ON a (c)')
        self.assertEqual(
            {'a': {'column b', 'column c'}},
            schema.read(engine, whole=False),
        )

    def test_columns_of_differences(self) -> None:
        self.assertEqual(
            {'a.b', 'a: index (c): only in ours', 'd: only in theirs'},
            schema.columns_of([
                'a: column b: int: only in ours',
                'a: column b: str: only in theirs',
                'a: index (c): only in ours', 'd: only in theirs',
            ]),
        )

    def test_differences(self) -> None:
        ours = self.read('CREATE TABLE a (b INTEGER, c INTEGER)')
        postgresql = self.read(
            'CREATE TABLE a (b INTEGER NOT NULL, c INTEGER)',
            'CREATE TABLE d (e INTEGER)',
        )

        self.assertEqual(
            [
                'a: column b: int: only in ours',
                'a: column b: int, not null: only in theirs',
                'd: only in theirs',
            ],
            schema.compare(ours, postgresql),
        )
