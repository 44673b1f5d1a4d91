# SPDX-License-Identifier: Apache-2.0
"""Move many rows while the commands are killed at random."""

import collections.abc
import random
import subprocess
import time

from keystone_crdb.checks.moves import rows
from keystone_crdb.checks.moves import stage as stages


class _Killer:
    """Kills commands.

    :param times: that it kills
    :param seconds: that a command takes which is not killed
    """

    def __init__(
        self, stage: stages.Stage, times: int, seconds: float
    ) -> None:
        self._stage = stage
        self._seconds = seconds
        self._chance = random.Random(21)  # noqa: S311
        #: How many more times it kills.
        self.left = times

    def run(self, url: str, *words: str) -> None:
        """Run a command again and again, until it is not killed.

        :param url: of the database that is configured
        """
        while True:
            process = self._stage.start(url, *words)
            limit = self._chance.uniform(0, self._seconds)
            try:
                output, _ = process.communicate(
                    timeout=limit if self.left else None
                )
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                self.left -= 1
                continue
            # The one before may have been killed after its work.
            is_done = not process.returncode or 'were moved' in output
            self._stage.expect(is_done, output)
            return


def move(
    stage: stages.Stage,
    source: str,
    targets: collections.abc.Iterator[str],
    times: int,
) -> None:
    """Move rows to one target after the other, and compare all of them.

    :param times: that commands are killed
    """
    rows.fill_many(source)
    first = next(targets)
    stage.sync(stage.ours, first)
    began = time.monotonic()
    stage.run(first, 'import', source)
    killer = _Killer(stage, times, time.monotonic() - began)
    while killer.left:
        target = next(targets)
        stage.sync(stage.ours, target)
        killer.run(target, 'import', source)
        stage.run(target, 'import', '--verify', source)
        rows.change_many(source)
        killer.run(target, 'import', '--changes', source)
        stage.run(target, 'import', '--verify', source)
