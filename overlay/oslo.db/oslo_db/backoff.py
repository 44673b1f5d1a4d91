#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""How long to wait before a transaction that lost to another is run again."""

import dataclasses
import random

# 2 ** 5 is 32
_MAX_DOUBLINGS = 5


@dataclasses.dataclass(frozen=True)
class Backoff:
    """Exponential backoff with full jitter, in proportion to the work.

    Each wait is a random time between nothing and a limit. The limit begins
    with the time that the attempt itself took, since the others need about as
    long, and doubles with each retry up to 32 times that. The first retry is
    spread as well: transactions that fail together would otherwise meet again.

    The limit shrinks with the square of the time that is left of `max_time`.
    A transaction that has failed for long competes with others that come for
    the first time and have not waited at all, and so it is let in before its
    time has passed.

    :param interval: what the limit is at least, in seconds
    :type interval: float
    :param max_interval: what the limit is at most, in seconds
    :type max_interval: float
    :param max_retries: number of retries
    :type max_retries: int
    :param max_time: when retries end, in seconds since the first failure
    :type max_time: float
    :param last_interval: what the limit of the last retry is, in seconds; it
        grows by the same factor with each retry. None if it doubles.
    :type last_interval: float or None
    """

    interval: float = 0.01
    max_interval: float = 5.0
    max_retries: int = 200
    max_time: float = 30.0
    last_interval: float | None = None

    def restricted_to(self, max_retries, last_interval):
        """Return one with another's number of retries.

        :param max_retries: number of retries
        :type max_retries: int
        :param last_interval: limit of the last wait, in seconds
        :type last_interval: float
        :rtype: Backoff
        """
        return dataclasses.replace(
            self, max_retries=max_retries, last_interval=last_interval)

    def _limit(self, retries, took):
        shortest = min(max(self.interval, took), self.max_interval)
        if self.last_interval is None:
            return min(shortest * 2 ** min(retries, _MAX_DOUBLINGS),
                       self.max_interval)
        longest = max(self.last_interval, shortest)
        if self.max_retries == 1:
            return longest
        return shortest * (longest / shortest) ** (
            retries / (self.max_retries - 1))

    def wait(self, retries, elapsed, took=0):
        """Return the time to wait before the next retry.

        :param retries: number of retries so far
        :type retries: int
        :param elapsed: seconds since the first failure
        :type elapsed: float
        :param took: seconds that the last attempt took
        :type took: float
        :return: seconds, or None when there is to be no other retry
        :rtype: float or None
        """
        if retries >= self.max_retries or elapsed >= self.max_time:
            return None
        remaining = self.max_time - elapsed
        limit = self._limit(retries, took) * (remaining / self.max_time) ** 2
        return random.uniform(0, min(max(limit, self.interval), remaining))
