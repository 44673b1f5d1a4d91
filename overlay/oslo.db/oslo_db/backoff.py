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


@dataclasses.dataclass(frozen=True)
class Backoff:
    """Exponential backoff with full jitter, bounded.

    The wait before the n-th retry is anything from nothing to `interval`
    times two to the power of n - 1 or, if that is less, to `max_interval`.
    The first retry is spread as well: transactions that fail together would
    otherwise meet again. The limit is low, for whoever has failed before
    competes with others that come for the first time and do not wait.

    :param interval: what the first wait is less than, in seconds
    :type interval: float
    :param max_interval: what every wait is less than, in seconds
    :type max_interval: float
    :param max_retries: number of retries
    :type max_retries: int
    :param max_time: when retries end, in seconds since the first attempt
    :type max_time: float
    """

    interval: float = 0.02
    max_interval: float = 0.1
    max_retries: int = 200
    max_time: float = 30.0

    def wait(self, retries, elapsed):
        """Return the time to wait before the next retry.

        :param retries: number of retries so far
        :type retries: int
        :param elapsed: seconds since the first attempt
        :type elapsed: float
        :return: seconds, or None when there is to be no other retry
        :rtype: float or None
        """
        if retries >= self.max_retries:
            return None
        # 2 ** 32 is more than any interval, 2 ** 1024 more than a float
        seconds = random.uniform(
            0, min(self.interval * 2 ** min(retries, 32), self.max_interval))
        return seconds if elapsed + seconds <= self.max_time else None
