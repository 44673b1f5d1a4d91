# SPDX-License-Identifier: Apache-2.0
"""The tables that both databases have, and how they refer to one another."""

import collections.abc
import dataclasses
import functools
import graphlib
import typing
import warnings

import sqlalchemy
from sqlalchemy import exc
from sqlalchemy.dialects import mysql

from keystone_crdb_image import errors
from keystone_crdb_image.move import ends
from keystone_crdb_image.move import values

#: Revisions, and what this project keeps in the database for itself.
_NOT_MOVED = frozenset({
    'alembic_version', 'alembic_version_lock', 'keystone_crdb_lock',
    'keystone_crdb_move', 'migrate_version',
})

#: The enumerations of PostgreSQL and CockroachDB, whose dialect does not
#: reflect them.
_ENUMS = sqlalchemy.text(
    'SELECT c.relname, a.attname, e.enumlabel FROM pg_enum e '
    'JOIN pg_attribute a ON a.atttypid = e.enumtypid '
    'JOIN pg_class c ON c.oid = a.attrelid '
    "WHERE c.relkind = 'r' ORDER BY e.enumsortorder"
)

#: References that Keystone goes by and no migration declares. Where a
#: collation took two spellings for equal, they would dangle.
_UNDECLARED = tuple(
    (table, (column,), parent, ('id',))
    for table, column, parent in (
        ('application_credential', 'project_id', 'project'),
        ('application_credential', 'user_id', 'user'),
        ('application_credential_role', 'role_id', 'role'),
        ('config_register', 'domain_id', 'project'),
        ('credential', 'project_id', 'project'),
        ('credential', 'user_id', 'user'),
        ('federation_protocol', 'mapping_id', 'mapping'),
        ('group', 'domain_id', 'project'),
        ('id_mapping', 'domain_id', 'project'),
        ('identity_provider', 'domain_id', 'project'),
        ('limit', 'domain_id', 'project'),
        ('limit', 'project_id', 'project'),
        ('limit', 'registered_limit_id', 'registered_limit'),
        ('policy_association', 'endpoint_id', 'endpoint'),
        ('policy_association', 'policy_id', 'policy'),
        ('policy_association', 'region_id', 'region'),
        ('policy_association', 'service_id', 'service'),
        ('project_endpoint', 'endpoint_id', 'endpoint'),
        ('project_endpoint', 'project_id', 'project'),
        ('project_endpoint_group', 'project_id', 'project'),
        ('region', 'parent_region_id', 'region'),
        ('registered_limit', 'region_id', 'region'),
        ('registered_limit', 'service_id', 'service'),
        ('role', 'domain_id', 'project'),
        ('sensitive_config', 'domain_id', 'project'),
        ('trust', 'project_id', 'project'),
        ('trust_role', 'role_id', 'role'),
        ('trust_role', 'trust_id', 'trust'),
        ('user', 'default_project_id', 'project'),
        ('user', 'domain_id', 'project'),
        ('whitelisted_config', 'domain_id', 'project'),
    )
)

#: Of MySQL's columns; what is reflected leaves out that of the table.
_CHARSETS = sqlalchemy.text(
    'SELECT table_name, column_name, character_set_name '
    'FROM information_schema.columns WHERE table_schema = database()'
)
_CHARSET = 'charset'


@dataclasses.dataclass(frozen=True)
class Reference:
    """Columns whose values are those of a row of another table, or NULL.

    :param is_declared: whether the target refuses a row without a parent
    """

    table: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    is_declared: bool


@dataclasses.dataclass(frozen=True)
class Column:
    """A column, and what the target takes there.

    :param characters: at most; or None
    :param octets: at most, in UTF-8; or None
    :param charset: of MySQL; or None
    :param choices: of an enumeration
    :param largest: integer
    """

    name: str
    kind: values.Kind
    nullable: bool
    characters: int | None = None
    octets: int | None = None
    charset: str | None = None
    choices: tuple[str, ...] = ()
    largest: int = 2**63 - 1


@dataclasses.dataclass(frozen=True)
class Table:
    """A table that both databases have.

    :param key: places of the columns of the primary key
    :param readers: what reads each column's values
    :param itself: columns that refer to the key of the same table
    :param enums: by the sides' names and by columns, enumerations in the
        order in which that side sorts them, which is not that of comparisons
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[int, ...]
    readers: tuple[values.Reader, ...]
    itself: tuple[str, ...]
    enums: dict[str, dict[str, tuple[str, ...]]]

    @functools.cached_property
    def sql(self) -> sqlalchemy.TableClause:
        """The table in statements, whose values stay as drivers have them."""
        return sqlalchemy.table(
            self.name,
            *(sqlalchemy.column(column.name) for column in self.columns),
        )

    @functools.cached_property
    def order(self) -> tuple[sqlalchemy.ColumnClause[typing.Any], ...]:
        """The columns of the primary key in statements."""
        return tuple(
            self.sql.c[self.columns[place].name] for place in self.key
        )

    @functools.cached_property
    def places(self) -> dict[str, int]:
        """The place of each column."""
        return {
            column.name: place for place, column in enumerate(self.columns)
        }

    @property
    def serial(self) -> Column | None:
        """The column that the database numbers."""
        column = self.columns[self.key[0]]
        if len(self.key) == 1 and column.kind is values.Kind.INTEGER:
            return column
        return None

    @property
    def parent(self) -> str | None:
        """The column of `itself` that is NULL in a row without a parent."""
        for name in self.itself:
            if self.columns[self.places[name]].nullable:
                return name
        return None

    def key_of(self, row: values.Row) -> values.Row:
        """Return the primary key of a row."""
        return tuple(row[place] for place in self.key)

    def name_row(self, row: values.Row) -> str:
        """Name a row by its primary key."""
        return ', '.join(
            f'{self.columns[place].name} {row[place]!r}' for place in self.key
        )


@dataclasses.dataclass(frozen=True)
class Schema:
    """What is moved.

    :param tables: parents before their children
    :param references: in the order of their tables
    :param left: tables of the source that the target does not have
    """

    tables: tuple[Table, ...]
    references: tuple[Reference, ...]
    left: tuple[str, ...]

    def table(self, name: str) -> Table:
        """Return the table of a name."""
        return next(table for table in self.tables if table.name == name)


def _reflect(end: ends.End) -> dict[str, sqlalchemy.Table]:
    metadata = sqlalchemy.MetaData()
    with warnings.catch_warnings():
        # A type that it does not know is an enumeration.
        warnings.simplefilter('ignore', exc.SAWarning)
        metadata.reflect(end.engine)
    if end.dialect == 'mysql':
        with end.engine.connect() as connection:
            for table, column, charset in connection.execute(_CHARSETS):
                if table in metadata.tables:
                    found = metadata.tables[table].columns[column]
                    found.info[_CHARSET] = charset
    if end.is_postgresql:
        labels: dict[tuple[str, str], list[str]] = {}
        with end.engine.connect() as connection:
            for table, column, label in connection.execute(_ENUMS):
                labels.setdefault((table, column), []).append(label)
        for (name, column), choices in labels.items():
            if name in metadata.tables:
                found = metadata.tables[name].columns[column]
                found.type = sqlalchemy.Enum(*choices)
    return {
        name: table
        for name, table in metadata.tables.items()
        if name not in _NOT_MOVED
    }


def _has_fractions(end: ends.End, column: sqlalchemy.Column[typing.Any]) -> (
    bool
):
    if end.dialect != 'mysql':
        return True
    return bool(getattr(column.type, 'fsp', None))


def _column(
    source: sqlalchemy.Column[typing.Any],
    target: sqlalchemy.Column[typing.Any],
    end: ends.End,
) -> Column:
    """Describe a column that both have.

    :param end: the target
    """
    kinds = {values.kind(source.type), values.kind(target.type)}
    # An integer on one side may be the other's boolean.
    kind = (
        values.Kind.BOOLEAN if values.Kind.BOOLEAN in kinds
        else values.kind(target.type)
    )
    type_ = target.type
    large = end.dialect != 'cockroachdb' and not isinstance(
        type_, sqlalchemy.BigInteger
    )
    octets = charset = None
    if end.dialect == 'mysql' and kind is values.Kind.TEXT:
        if isinstance(type_, mysql.TEXT):
            octets = 2**16 - 1
        charset = target.info[_CHARSET]
    return Column(
        name=target.name,
        kind=kind,
        nullable=bool(target.nullable),
        characters=getattr(type_, 'length', None) if octets is None else None,
        octets=octets,
        charset=charset,
        choices=_enum(target) or (),
        largest=2**31 - 1 if large and end.dialect != 'sqlite' else 2**63 - 1,
    )


def _enum(column: sqlalchemy.Column[typing.Any]) -> tuple[str, ...] | None:
    type_ = column.type
    return tuple(type_.enums) if isinstance(type_, sqlalchemy.Enum) else None


def _table(
    tables: tuple[sqlalchemy.Table, sqlalchemy.Table],
    sides: tuple[ends.End, ends.End],
) -> Table:
    source, target = tables
    if wrong := set(source.columns.keys()) ^ set(target.columns.keys()):
        raise errors.Problem(
            f'the table {target.name} has the column {min(wrong)} in one of '
            'the databases alone, although both say that their schema is of '
            'the same revision'
        )
    columns = []
    readers = []
    for name in target.columns.keys():
        pair = source.columns[name], target.columns[name]
        try:
            column = _column(*pair, sides[1])
        except LookupError as error:
            raise errors.Problem(
                f'the column {target.name}.{name} has a type that Keystone '
                f'does not use: {error}'
            ) from error
        columns.append(column)
        readers.append(values.reader(
            column.kind,
            not all(map(_has_fractions, sides, pair)),
        ))
    names = [column.name for column in columns]
    return Table(
        name=target.name,
        columns=tuple(columns),
        key=tuple(names.index(column.name) for column in target.primary_key),
        readers=tuple(readers),
        itself=tuple(
            constraint.column_keys[0]
            for constraint in target.foreign_key_constraints
            if constraint.referred_table is target
        ),
        enums={
            side.name: {
                column.name: found
                for column in table.columns
                if (found := _enum(column))
            }
            for side, table in zip(sides, tables, strict=True)
            if side.dialect == 'mysql'
        },
    )


def _declared(
    tables: dict[str, sqlalchemy.Table],
) -> collections.abc.Iterator[Reference]:
    for table in tables.values():
        for constraint in table.foreign_key_constraints:
            yield Reference(
                table.name,
                tuple(constraint.column_keys),
                constraint.referred_table.name,
                tuple(each.column.name for each in constraint.elements),
                True,
            )


def _references(
    targets: dict[str, sqlalchemy.Table],
) -> list[Reference]:
    """Return all references, those of the migrations and the others."""
    found: dict[tuple[str, tuple[str, ...]], Reference] = {}
    for reference in (
        *_declared(targets),
        *(
            Reference(*words, is_declared=False)
            for words in _UNDECLARED
            if words[0] in targets and words[2] in targets
        ),
    ):
        found.setdefault((reference.table, reference.columns), reference)
    return list(found.values())


def read(source: ends.End, target: ends.End) -> Schema:
    """Read both schemas.

    :raises Problem: when they have different columns
    """
    sources, targets = _reflect(source), _reflect(target)
    if missing := sorted(targets.keys() - sources.keys()):
        raise errors.Problem(
            f'{source.name} has no table {missing[0]}, although its schema '
            'is said to be of the same revision'
        )
    references = _references(targets)
    order = graphlib.TopologicalSorter({name: [] for name in sorted(targets)})
    for reference in references:
        if reference.table != reference.parent:
            order.add(reference.table, reference.parent)
    names = list(order.static_order())
    return Schema(
        tables=tuple(
            _table((sources[name], targets[name]), (source, target))
            for name in names
        ),
        references=tuple(
            sorted(references, key=lambda each: names.index(each.table))
        ),
        left=tuple(sorted(sources.keys() - targets.keys())),
    )
