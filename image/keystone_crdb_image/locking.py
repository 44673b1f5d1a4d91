# SPDX-License-Identifier: Apache-2.0
"""Work on the database that one replica does while the others wait."""

import collections.abc
import contextlib
import threading
import time

import sqlalchemy
from sqlalchemy import exc

from keystone_crdb_image import errors
from keystone_crdb_image import lease
from keystone_crdb_image import log

#: Seconds between two looks at a lock that another replica holds.
PAUSE = 0.5


@contextlib.contextmanager
def locked(
    engine: sqlalchemy.engine.Engine,
    what: str,
    needed: collections.abc.Callable[[], bool],
) -> collections.abc.Iterator[lease.Lease | None]:
    """Hold the lock of all changes to the database, if there is any to make.

    :param what: what is to be done, for the message to those who wait
    :param needed: asked before each try; ends the waiting by returning False
    :returns: as context: the Lease, or None when nothing is needed any more
    """
    held = lease.Lease(engine, 'database')
    told = False
    while True:
        if not needed():
            yield None
            return
        if held.acquire():
            break
        if not told:
            log.say(f'another replica works on the database; {what} waits')
            told = True
        time.sleep(PAUSE)
    try:
        # What was needed may have been done between the look and the lock.
        yield held if needed() else None
    finally:
        held.release()


@contextlib.contextmanager
def kept(
    held: lease.Lease,
) -> collections.abc.Iterator[collections.abc.Callable[[], None]]:
    """Keep a lock while this thread waits for the database.

    :returns: as context: a function that raises Problem when the lock is lost
    """
    ended = threading.Event()
    lost = threading.Event()

    def beat() -> None:
        while not ended.wait(lease.BEAT):
            try:
                if held.beat():
                    continue
            except exc.DBAPIError:
                # Others can not see that this one lives.
                pass
            lost.set()
            return

    def refuse_lost() -> None:
        if lost.is_set():
            raise errors.Problem(
                'the lock was lost, to another replica or with the database: '
                'run the same verb again'
            )

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield refuse_lost
    finally:
        ended.set()
        thread.join()
