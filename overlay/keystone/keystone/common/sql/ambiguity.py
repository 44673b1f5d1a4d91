# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Finding out whether a COMMIT took effect that nobody could answer.

When the node is lost that was about to answer a COMMIT, CockroachDB can't
tell what became of the transaction (40003, oslo.db's DBAmbiguousResult). The
rows that the transaction inserted or deleted tell it: they are looked for in
a new transaction. All of them as they should be: it took effect. None of
them: it didn't, and may be run again. Anything else stays unknown.

A row that was there before, and is updated or replaced, tells nothing.

The look settles it, because it locks. Each statement of the transaction has
laid its intents down before COMMIT was sent: oslo.db has CockroachDB hold
none of them back. A locking read of such a row waits until the transaction is
either committed or aborted for good, whoever has to do that.
"""

import contextlib

from oslo_db import api as oslo_db_api
from oslo_db import exception as db_exception
from oslo_log import log
import sqlalchemy

LOG = log.getLogger(__name__)

# Those that may not know what became of a COMMIT, and say so
DIALECTS = ('cockroachdb',)

# Not every oslo.db has this
AMBIGUOUS_RESULT = getattr(db_exception, 'DBAmbiguousResult', ())

# For metrics: functions that are called with what became of a COMMIT whose
# outcome was unknown: True if it took effect, False if not, None if that
# could not be found out.
listeners = []


def _tell(committed):
    for listener in listeners:
        listener(committed)


class NotCommitted(db_exception.DBDeadlock):
    """The transaction did not take effect, and may be run again."""


class _Written:
    """What a transaction inserted and deleted by way of the ORM.

    :param session: of the transaction
    :type session: sqlalchemy.orm.Session
    """

    def __init__(self, session):
        # {(table, primary key): {column: value}}
        self._inserted = {}
        self._deleted = set()
        # tables that were also written by other means
        self._tables = set()
        for event, listener in (
            ('persistent_to_deleted', self._note_deleted),
            ('pending_to_persistent', self._note_inserted),
            ('after_flush', self._note_updated),
            ('do_orm_execute', self._note_statement),
        ):
            sqlalchemy.event.listen(session, event, listener)

    @staticmethod
    def _key(instance):
        state = sqlalchemy.inspect(instance)
        return state.mapper.local_table, state.identity

    @staticmethod
    def _values(instance):
        state = sqlalchemy.inspect(instance)
        return {
            attribute.columns[0]: state.dict[attribute.key]
            for attribute in state.mapper.column_attrs
            if attribute.key in state.dict
        }

    def _note_deleted(self, session, instance):
        key = self._key(instance)
        if self._inserted.pop(key, None) is None:
            self._deleted.add(key)

    def _note_inserted(self, session, instance):
        key = self._key(instance)
        # A row in place of another proves nothing: its key was there before.
        # Within a flush it is not even inserted but updated, or left alone.
        if key in self._deleted:
            self._deleted.remove(key)
        else:
            self._inserted[key] = self._values(instance)

    def _note_updated(self, session, flush_context):
        for instance in session.dirty:
            key = self._key(instance)
            if key in self._inserted:
                self._inserted[key] = self._values(instance)

    def _note_statement(self, statement):
        if not statement.is_select:
            self._tables.add(getattr(statement.statement, 'table', None))

    def took_effect(self, session):
        """Look whether what was written is there.

        :param session: of another transaction
        :type session: sqlalchemy.orm.Session
        :returns: True, False, or None when that can't be told
        :rtype: bool
        """
        keys = {*self._inserted, *self._deleted}
        if self._tables & {None, *(table for table, _ in keys)}:
            return None
        found = {self._find(session, key) for key in keys}
        return found.pop() if len(found) == 1 else None

    def _find(self, session, key):
        table, primary_key = key
        row = (
            session.execute(
                sqlalchemy.select(table)
                .where(
                    *(
                        column == value
                        for column, value in zip(
                            table.primary_key, primary_key
                        )
                    )
                )
                .with_for_update()
            )
            .mappings()
            .first()
        )
        if key in self._deleted:
            return row is None
        if row is None:
            return False
        # One that is different was changed since, or is not ours
        values = self._inserted[key]
        same = all(row[column] == values[column] for column in values)
        return True if same else None


@contextlib.contextmanager
def settle(open_session):
    """Open a session for writing that finds out whether it took effect.

    :param open_session: returns a context manager, which commits
    :type open_session: callable
    :raises NotCommitted: when the outcome of COMMIT was unknown, and the
        transaction turned out to have had no effect
    """

    # The range's lease moves from a lost node within about ten seconds
    @oslo_db_api.wrap_db_retry(
        max_retries=8,
        max_retry_interval=2,
        retry_on_deadlock=True,
        retry_on_disconnect=True,
    )
    def took_effect():
        with open_session() as another:
            return written.took_effect(another)

    at_commit = False
    try:
        with open_session() as session:
            written = _Written(session)
            yield session
            at_commit = True
    except AMBIGUOUS_RESULT as unknown:
        if not at_commit:
            raise
        try:
            committed = took_effect()
        except db_exception.DBError:
            LOG.exception('The outcome of a transaction remains unknown.')
            _tell(None)
            raise unknown
        _tell(committed)
        if committed is None:
            raise
        LOG.warning(
            'COMMIT ended with "%(error)s". The transaction '
            '%(has)s taken effect.',
            {'error': unknown, 'has': 'has' if committed else 'has not'},
        )
        if not committed:
            not_committed = NotCommitted()
            not_committed.backoff = getattr(unknown, 'backoff', None)
            raise not_committed from unknown
