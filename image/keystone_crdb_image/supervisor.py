# SPDX-License-Identifier: Apache-2.0
"""Run uWSGI and HAProxy, and end them so that no client notices.

On SIGTERM /healthcheck turns to 503 and all is served as before, for as many
seconds as load balancers take to notice. Then HAProxy stops to listen and
finishes the requests that it has, within KEYSTONE_DRAIN, and the workers end
last. A second SIGTERM, or SIGINT, skips the first part, and a third one the
second.

    python -m keystone_crdb_image.supervisor NOTICE DRAIN DESCRIPTOR COMMAND...
"""

import asyncio
import contextlib
import os
import pathlib
import signal
import sys

from keystone_crdb_image import front
from keystone_crdb_image import log

#: The option whose file makes /healthcheck answer 503.
MARKER = 'OS_HEALTHCHECK__DISABLE_BY_FILE_PATH'

#: Seconds that a program may take to end once it has nothing to do.
_MERCY = 5

#: Seconds between two looks for uWSGI's sockets.
_POLL = 0.05


class Supervisor:
    """The two programs, and what has been asked of them.

    :param notice: seconds to go on for after the first SIGTERM
    :param drain: seconds that requests get to finish in after that
    """

    def __init__(self, notice: float, drain: float) -> None:
        self._notice = notice
        self._drain = drain
        self._asked = 0
        self._changed = asyncio.Event()

    def _ask(self, least: int) -> None:
        self._asked = max(self._asked + 1, least)
        self._changed.set()

    async def _pause(
        self, seconds: float, stage: int, *programs: asyncio.Task[int]
    ) -> None:
        """Wait until a program ends, or a signal says to go on.

        :param seconds: at most
        :param stage: how often a signal has to have come for that
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while self._asked < stage and not _ended(programs):
            self._changed.clear()
            changed = asyncio.ensure_future(self._changed.wait())
            done, _ = await asyncio.wait(
                (changed, *programs),
                timeout=max(0, end - loop.time()),
                return_when=asyncio.FIRST_COMPLETED,
            )
            changed.cancel()
            if not done:
                return

    async def run(
        self, handle: int, commands: tuple[list[str], list[str]]
    ) -> int:
        """Run both to their end.

        :param handle: descriptor that uWSGI inherits
        :param commands: the command lines of uWSGI and of HAProxy
        :returns: exit status: 0 when it was asked to end
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._ask, 1)
        loop.add_signal_handler(signal.SIGINT, self._ask, 2)
        workers = await asyncio.create_subprocess_exec(
            *commands[0], pass_fds=(handle,), start_new_session=True
        )
        loop.add_signal_handler(
            signal.SIGHUP, workers.send_signal, signal.SIGHUP
        )
        workers_end = asyncio.ensure_future(workers.wait())
        # A client that is let in before would get an error.
        while not (_are_there() or self._asked or workers_end.done()):
            await asyncio.sleep(_POLL)
        clients = await asyncio.create_subprocess_exec(
            *commands[1], start_new_session=True
        )
        both = (workers_end, asyncio.ensure_future(clients.wait()))
        marker = pathlib.Path(os.environ[MARKER])
        try:
            await self._pause(float('inf'), 1, *both)
            if self._asked:
                marker.touch()
                log.say(
                    'going to end: /healthcheck answers 503 for '
                    f'{self._notice:g} s'
                )
                await self._pause(self._notice, 2, *both)
            asked = self._asked and not _ended(both)
            _send(clients, signal.SIGUSR1)
            await self._pause(self._drain + _MERCY, 3, both[1])
            _send(clients, signal.SIGKILL)
            _send(workers, signal.SIGINT)
            await self._pause(_MERCY, 4, both[0])
            _send(workers, signal.SIGKILL)
            found = [await each for each in both]
        finally:
            marker.unlink(missing_ok=True)
        if asked:
            return 0
        log.say(f'uWSGI ended with {found[0]}, HAProxy with {found[1]}')
        return 1


def _are_there() -> bool:
    """Tell whether uWSGI has made its sockets."""
    return all(os.path.exists(os.environ[name]) for name in front.SOCKETS)


def _ended(programs: tuple[asyncio.Task[int], ...]) -> bool:
    return any(each.done() for each in programs)


def _send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def main(words: list[str]) -> int:
    """Run the command line."""
    notice, drain, handle, *server = words

    async def run() -> int:
        supervisor = Supervisor(float(notice), float(drain))
        return await supervisor.run(int(handle), (server, front.command()))

    return asyncio.run(run())


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
