# SPDX-License-Identifier: Apache-2.0
"""A small schema in two files of SQLite, and the verbs on them."""

import argparse
import json

import fixtures
from keystone_crdb_image import settings
from keystone_crdb_image.move import verb
import sqlalchemy

from tests.unit import base

SCHEMA = """
CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('head');
CREATE TABLE region (
    id VARCHAR(20) PRIMARY KEY, description VARCHAR(20) NOT NULL);
CREATE TABLE endpoint (
    id VARCHAR(64) PRIMARY KEY, enabled BOOLEAN NOT NULL,
    region_id VARCHAR(20) REFERENCES region (id));
CREATE TABLE project (
    id VARCHAR(64) PRIMARY KEY, name VARCHAR(64) NOT NULL UNIQUE,
    domain_id VARCHAR(64) NOT NULL REFERENCES project (id),
    parent_id VARCHAR(64) REFERENCES project (id));
INSERT INTO project VALUES ('<<keystone.domain.root>>', 'root',
    '<<keystone.domain.root>>', NULL);
CREATE TABLE "limit" (
    internal_id INTEGER PRIMARY KEY, project_id VARCHAR(64), seen DATETIME,
    day DATE);
CREATE TABLE credential (
    id VARCHAR(64) PRIMARY KEY, encrypted_blob TEXT NOT NULL);
"""

ROWS = """
INSERT INTO region VALUES ('north', 'a'), ('A', 'b'), ('south', '');
INSERT INTO endpoint VALUES ('1', 1, 'north'), ('2', 0, NULL);
INSERT INTO project VALUES
    ('default', 'Default', '<<keystone.domain.root>>', NULL),
    ('z', 'z', 'default', 'default'), ('a', 'a', 'default', 'z'),
    ('m', 'm', 'default', 'a'), ('k', 'k', 'default', 'm');
INSERT INTO "limit" VALUES
    (3, 'z', '1970-01-01 00:00:00.000000', NULL),
    (9, NULL, '9999-12-31 23:59:59.999999', '9999-12-31');
"""


class TestCase(base.TestCase):
    """A test with a source that has rows and a target that has none."""

    def setUp(self):
        super().setUp()
        for name, new in (
            ('schema.code_revisions', lambda: ({'head'}, {'expand': 'head'})),
            ('move.verb._release', lambda: '30.0.0'),
        ):
            self.useFixture(
                fixtures.MonkeyPatch(f'keystone_crdb_image.{name}', new)
            )
        self.source = self.make('source', SCHEMA + ROWS)
        self.target = self.make('target', SCHEMA)
        self.environ = {}
        self.keys = self.path / 'keys'
        self.keys.mkdir()

    def make(self, name, script):
        """Make a database and return its URL."""
        url = f'sqlite:///{self.path}/{name}'
        engine = sqlalchemy.create_engine(url)
        with engine.connect() as connection:
            connection.connection.executescript(
                f'PRAGMA synchronous = OFF; BEGIN; {script} COMMIT'
            )
        engine.dispose()
        return url

    def execute(self, url, statement, *values):
        """Run a statement and return its rows."""
        engine = sqlalchemy.create_engine(url)
        with engine.begin() as connection:
            result = connection.exec_driver_sql(statement, values)
            found = result.all() if result.returns_rows else None
        engine.dispose()
        return found

    def rows(self, url):
        """Return all rows of a database."""
        engine = sqlalchemy.create_engine(url)
        metadata = sqlalchemy.MetaData()
        metadata.reflect(engine)
        with engine.connect() as connection:
            found = {
                table.name: sorted(connection.execute(table.select()), key=str)
                for table in metadata.sorted_tables
                if table.name != 'keystone_crdb_move'
            }
        engine.dispose()
        return found

    def run_verb(self, name, *words):
        """Run import or export; return its status and its report."""
        path = self.path / 'report'
        path.unlink(missing_ok=True)
        parser = argparse.ArgumentParser()
        verb.add_arguments(parser, name)
        url = self.source if name == 'import' else self.other
        args = parser.parse_args([url, *words, '--report', str(path)])
        args.verb = name
        read = settings.read({
            'KEYSTONE_DATABASE_URL': self.target,
            **self.environ,
            'OS_CREDENTIAL__KEY_REPOSITORY': str(self.keys),
        })
        status = verb.run(read, args)
        return status, json.loads(path.read_text())
