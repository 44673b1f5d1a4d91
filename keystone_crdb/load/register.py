# SPDX-License-Identifier: Apache-2.0
"""What the database has to hold, from what was acknowledged.

A write that failed without saying whether it took effect leaves both
possible, until the next one is acknowledged.
"""

import dataclasses
import threading

from keystone_crdb.load import http


@dataclasses.dataclass(frozen=True)
class Write:
    """A write of a value that many write.

    :param value: what was written
    :param start: when it was sent, in seconds
    :param end: when its answer came, in seconds
    :param acknowledged: whether it is known to have taken effect
    """

    value: object
    start: float
    end: float
    acknowledged: bool


class Register:
    """Every value that was written, by what it was written to.

    A key is either of one client, which writes to it in sequence, or shared.
    """

    def __init__(self):
        self.acknowledged = 0
        self._possible = {}
        self._shared = {}
        self._lock = threading.Lock()

    def own(self, key, value, answer):
        """Take the outcome of a write to a key that one client writes to.

        :param key: what was written to
        :type key: tuple
        :param value: what it holds, if the write took effect
        :type answer: keystone_crdb.load.http.Answer
        """
        with self._lock:
            if answer.outcome is http.Outcome.DONE:
                self._possible[key] = {value}
                self.acknowledged += 1
            elif answer.outcome in http.UNKNOWN:
                self._possible.setdefault(key, {None}).add(value)

    def settle(self, key, value):
        """Take what was read of a key after an unknown outcome."""
        with self._lock:
            self._possible[key] = {value}

    def forget(self, key):
        """Take that nothing can be said of a key any more."""
        with self._lock:
            self._possible.pop(key, None)

    def possible(self, key):
        """Return what a key may hold.

        :rtype: set
        """
        return self._possible.get(key, {None})

    def is_known(self, key):
        """Return whether a key can hold one value only."""
        return len(self.possible(key)) == 1

    def share(self, key, value, answer):
        """Take the outcome of a write to a key that all clients write to."""
        if answer.outcome in (
            http.Outcome.REFUSED, http.Outcome.UNREACHABLE
        ):
            return
        done = answer.outcome is http.Outcome.DONE
        write = Write(value, answer.start, answer.end, done)
        with self._lock:
            self._shared.setdefault(key, []).append(write)
            self.acknowledged += done

    def own_keys(self):
        """Return the keys of single clients, with what each may hold.

        :rtype: dict
        """
        return dict(self._possible)

    def candidates(self, key):
        """Return what a shared key may hold: nothing that was overwritten.

        A write is overwritten when an acknowledged one was sent after its
        answer had come.

        :returns: values, the latest first
        :rtype: list
        """
        writes = self._shared.get(key, [])
        latest = max(
            (write.start for write in writes if write.acknowledged),
            default=float('-inf'),
        )
        left = [write for write in writes if write.end >= latest]
        left.sort(key=lambda write: write.end, reverse=True)
        return [write.value for write in left]
