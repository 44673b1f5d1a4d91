# SPDX-License-Identifier: Apache-2.0
"""In what the releases of CockroachDB differ that the stand-in imitates."""

import dataclasses
import os

from keystone_crdb import errors

#: Names the release that the stand-in imitates; the newest by default.
SETTING = 'KEYSTONE_CRDB_STANDIN_RELEASE'

#: Variables of the session that PostgreSQL does not have, and that each of
#: the releases has.
_VARIABLES = {
    'autocommit_before_ddl': 'off',
    'enable_durable_locking_for_serializable': 'off',
    'enable_implicit_fk_locking_for_serializable': 'off',
    'enable_shared_locking_for_serializable': 'off',
    'enable_implicit_transaction_for_batch_statements': 'on',
    'max_retries_for_read_committed': '10',
    'sql_safe_updates': 'off',
}


@dataclasses.dataclass(frozen=True)
class Release:
    """A release.

    :param name: its year and number
    :param variables: of the session, with what they are at first
    :param drops_unique_constraints: whether ALTER TABLE ... DROP CONSTRAINT
        works for them
    :param unlocks_tables: whether a schema change of its own unlocks a table
        that is schema_locked, and locks it again
    :param restricts_internals: whether tables of crdb_internal are refused
    """

    name: str
    variables: dict[str, str]
    drops_unique_constraints: bool = False
    unlocks_tables: bool = False
    restricts_internals: bool = False

    def settings(self) -> dict[str, str]:
        """Return settings for PostgreSQL, by which template.sql knows it."""
        flags = {
            name: 'on' if getattr(self, name) else 'off'
            for name in ('drops_unique_constraints', 'unlocks_tables')
        }
        return {
            f'standin.{name}': value
            for name, value in (
                {'release': self.name} | flags | self.variables
            ).items()
        }


_2 = _VARIABLES | {
    'autocommit_before_ddl': 'on',
    'kv_transaction_buffered_writes_enabled': 'off',
}
_4 = _2 | {
    'create_table_with_schema_locked': 'off',
    'max_retries_for_read_committed': '100',
}
_6 = _4 | {
    'allow_unsafe_internals': 'off',
    'create_table_with_schema_locked': 'on',
    'kv_transaction_buffered_writes_enabled': 'on',
}

#: From the oldest to the newest.
ALL = {
    release.name: release
    for release in (
        Release('24.3', _VARIABLES),
        Release('25.2', _2),
        Release('25.4', _4, unlocks_tables=True),
        Release(
            '26.2', _6, drops_unique_constraints=True, unlocks_tables=True,
            restricts_internals=True,
        ),
    )
}
OLDEST, *_, NEWEST = ALL


def get(name: str) -> Release:
    """Return a release by its name.

    :raises Failure: when it is none that is imitated
    """
    try:
        return ALL[name]
    except KeyError:
        raise errors.Failure(
            f'the stand-in does not imitate CockroachDB {name}',
            remedy=f'set {SETTING} to one of {", ".join(ALL)}',
        ) from None


def chosen() -> Release:
    """Return the release that the environment names, or the newest.

    :raises Failure: when it is none that is imitated
    """
    return get(os.environ.get(SETTING) or NEWEST)
