# SPDX-License-Identifier: Apache-2.0
"""What the database has to hold, from what was acknowledged.

A write that failed without saying whether it took effect leaves both
possible, until the next one is acknowledged. What is read in between decides
nothing: it may take effect later.
"""

import dataclasses
import math
import threading
import typing

from keystone_crdb.keystone import http

#: What was written to: its kind, and its name or id.
Key = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Write:
    """A write of a value that many write.

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
    The first write to a shared one is an acknowledged one.
    """

    def __init__(self) -> None:
        self._lost: list[str] = []
        self._possible: dict[Key, set[object]] = {}
        self._not_looked_for: set[Key] = set()
        self._looked_for = 0
        self._shared: dict[Key, list[Write]] = {}
        self._seen: list[tuple[Key, object, float, float]] = []
        self._found: set[tuple[Key, Write]] = set()
        self._missed: dict[tuple[Key, Write], str] = {}
        self._lock = threading.Lock()

    @property
    def looked_for(self) -> int:
        """Return how many acknowledged writes were looked for.

        Of shared keys it is those of which is known whether they took effect.
        """
        return self._looked_for + len(self._found) + len(self._missed)

    def own(self, key: Key, value: object, answer: http.Answer) -> None:
        """Take the outcome of a write to a key that one client writes to.

        :param value: what it holds, if the write took effect
        """
        with self._lock:
            if answer.outcome is http.Outcome.DONE:
                self._possible[key] = {value}
                self._not_looked_for.add(key)
            elif answer.outcome in http.UNKNOWN:
                self._possible.setdefault(key, {None}).add(value)
                # Where it is not there, this one may have overwritten it.
                self._not_looked_for.discard(key)

    def look(self, key: Key, value: object, name: str | None = None) -> None:
        """Compare what a client's key holds with what it may hold.

        :param value: what was read after the client's last write to it, and
            before the next one
        :param name: of the key, for people
        """
        with self._lock:
            possible = self.possible(key)
            if key in self._not_looked_for:
                self._not_looked_for.remove(key)
                self._looked_for += 1
            if value not in possible:
                self._lost.append(_line(key, value, possible, name))
                # It is lost but once.
                self._possible[key] = {value}

    def settle(self, key: Key, value: object) -> None:
        """Take what a key holds for another reason than a write to it."""
        with self._lock:
            self._possible[key] = {value}
            self._not_looked_for.discard(key)

    def forget(self, key: Key) -> None:
        """Take that nothing can be said of a key any more."""
        with self._lock:
            self._possible.pop(key, None)
            self._not_looked_for.discard(key)

    def possible(self, key: Key) -> set[object]:
        """Return what a key may hold."""
        return self._possible.get(key, {None})

    def share(self, key: Key, value: object, answer: http.Answer) -> None:
        """Take the outcome of a write to a key that all clients write to."""
        if answer.outcome in (http.Outcome.REFUSED, http.Outcome.UNREACHABLE):
            return
        done = answer.outcome is http.Outcome.DONE
        write = Write(value, answer.start, answer.end, done)
        with self._lock:
            self._shared.setdefault(key, []).append(write)

    def see(
        self, key: Key, value: object, start: float = math.inf,
        end: float = math.inf,
    ) -> None:
        """Take what a shared key held at some moment.

        :param start: seconds, when that was sent; by default when all writes
            had ended
        :param end: when its answer came
        """
        with self._lock:
            self._seen.append((key, value, start, end))

    def lost(self) -> list[str]:
        """Compare what was seen of shared keys, when all clients have ended.

        :returns: a line for each write, of keys of both kinds, that was not
            there when it was looked for
        """
        for key, value, start, end in self._seen:
            writes = self._writes(key, start, end)
            same = [write for write in writes if write.value == value]
            if not same:
                self._missed[key, writes[0]] = _line(
                    key, value, {write.value for write in writes}
                )
            elif len(same) == 1 and same[0].acknowledged:
                self._found.add((key, same[0]))
        self._seen.clear()
        return [*self._lost, *self._missed.values()]

    def own_keys(self) -> dict[Key, set[object]]:
        """Return the keys of single clients, with what each may hold."""
        return dict(self._possible)

    def candidates(self, key: Key) -> list[typing.Any]:
        """Return what a shared key may hold when all writes have ended.

        :returns: values, the latest first
        """
        return [write.value for write in self._writes(key)]

    def _writes(
        self, key: Key, start: float = math.inf, end: float = math.inf
    ) -> list[Write]:
        """Return the writes that may be seen in some time, the latest first.

        These are the ones sent before its end that were not overwritten. A
        write is overwritten when an acknowledged one was sent after its
        answer had come, and was itself answered before the start.
        """
        sent = [w for w in self._shared[key] if w.start <= end]
        latest = max(
            write.start
            for write in sent
            if write.acknowledged and write.end <= start
        )
        left = [write for write in sent if write.end >= latest]
        return sorted(left, key=lambda write: write.end, reverse=True)


def _line(
    key: Key, value: object, possible: set[object], name: str | None = None
) -> str:
    return (
        f'{name or " ".join(key)} is {value}, acknowledged was '
        f'{" or ".join(map(str, possible))}'
    )
