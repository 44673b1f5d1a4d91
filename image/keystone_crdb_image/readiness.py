# SPDX-License-Identifier: Apache-2.0
"""Whether this replica can serve requests now: what /readyz answers.

A thread looks at the database, the schema and the keys every few seconds,
and requests get what it found last. The answer may be read by everybody, so
it names what is wrong without hosts, users or paths; the log has these.
"""

import collections.abc
import json
import os
import threading
import time
import typing

from sqlalchemy import exc

from keystone_crdb_image import credentials
from keystone_crdb_image import database
from keystone_crdb_image import keys
from keystone_crdb_image import log
from keystone_crdb_image import schema
from keystone_crdb_image import settings as settings_module
from keystone_crdb_image import supervisor

#: Seconds between two looks, and those after which a look is too old.
EVERY = 10
TOO_OLD = 45

#: The variable that holds what `schema.code_revisions` returned.
REVISIONS = 'KEYSTONE_CRDB_REVISIONS'

OK = 'ok'


def pack() -> str:
    """Return what Keystone's migrations hold, for `REVISIONS`."""
    known, heads = schema.code_revisions()
    return json.dumps([sorted(known), heads])


class Readiness:
    """What a replica needs, and what was found of it.

    :param settings: of the processes that serve
    :param revisions: what `pack` returned
    :param is_loaded: tells whether a worker has loaded Keystone
    """

    def __init__(
        self,
        settings: settings_module.Settings,
        revisions: str,
        is_loaded: collections.abc.Callable[[], bool],
    ) -> None:
        known, heads = json.loads(revisions)
        self._revisions = set(known), heads
        self._settings = settings
        self._engine = database.create_engine(settings.database)
        self._is_loaded = is_loaded
        self._found = {'database': 'it has not been looked at yet'}
        self._looked = time.monotonic()

    def start(self) -> None:
        """Look again and again, in a thread that ends with the process."""
        threading.Thread(
            target=self._work, name='readiness', daemon=True
        ).start()

    def _work(self) -> None:
        while True:
            self.look()
            time.sleep(EVERY)

    def look(self) -> None:
        """Look at the database, the schema and the keys once."""
        before = self._found
        found = {'keys': self._keys(before)}
        try:
            at = schema.state(self._engine, self._revisions)
            found['database'] = OK
            # A newer schema is no reason: all replicas of this release would
            # leave at once when the next one changes the schema.
            behind = at in (schema.State.EMPTY, schema.State.BEHIND)
            found['schema'] = f'it is {at.value}' if behind else OK
            if found['keys'] == OK and not behind:
                found['credentials'] = self._credentials()
        except (exc.SQLAlchemyError, OSError) as error:
            found['database'] = 'it does not answer'
            if before.get('database') != found['database']:
                why = database.explain(error, self._engine.url)
                log.say(f'not ready: the database: {why}')
        self._found = found
        self._looked = time.monotonic()

    def _keys(self, before: dict[str, str]) -> str:
        for folder in keys.folders(self._settings):
            if wrong := keys.problem(folder):
                text = 'a folder of keys can not be used'
                if before.get('keys') != text:
                    log.say(f'not ready: {wrong}')
                return text
        return OK

    def _credentials(self) -> str:
        folder = self._settings.credential_keys
        if credentials.all_lost(self._engine, folder):
            return 'all of them are encrypted with keys that are not here'
        return OK

    def answer(self) -> dict[str, str]:
        """Return what was found of each thing, `OK` where it is right."""
        found = dict(self._found)
        if time.monotonic() - self._looked > TOO_OLD:
            found['database'] = 'it does not answer'
        found['process'] = OK
        if not self._is_loaded():
            found['process'] = 'Keystone is being loaded'
        elif os.path.exists(os.environ[supervisor.MARKER]):
            found['process'] = 'it is about to end'
        return found

    def is_ready(self) -> bool:
        """Tell whether all is right."""
        return set(self.answer().values()) == {OK}

    def application(
        self,
        environ: dict[str, typing.Any],
        start_response: collections.abc.Callable[..., typing.Any],
    ) -> collections.abc.Iterable[bytes]:
        """Answer a request, by 200 if all is right and else by 503."""
        found = self.answer()
        ready = set(found.values()) == {OK}
        status = '200 OK' if ready else '503 Service Unavailable'
        start_response(status, [
            ('Content-Type', 'application/json'),
            ('Cache-Control', 'no-store'),
        ])
        body = {'ready': ready, 'checks': found}
        return [json.dumps(body, sort_keys=True).encode()]
