# SPDX-License-Identifier: Apache-2.0
"""Between SIGTERM and the end: give balancers time to notice.

uWSGI stops to accept connections on SIGTERM, but its socket stays open until
the requests in flight are finished; who connects meanwhile waits, and is
reset. So the server is run by this process, which answers SIGTERM in two
steps: first /healthcheck turns to 503 and all is served as before, then,
after as many seconds as balancers take to notice, the server gets its SIGTERM.

    python -m keystone_crdb_image.notice SECONDS DESCRIPTOR COMMAND...
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import types
import uuid

from keystone_crdb_image import log

#: The option whose file makes /healthcheck answer 503.
MARKER = 'OS_HEALTHCHECK__DISABLE_BY_FILE_PATH'


def command(
    seconds: int,
    handle: int,
    server: list[str],
    environ: dict[str, str],
) -> list[str]:
    """Return the command line that runs a server with notice.

    :param handle: descriptor that the server inherits
    :param server: its command line
    :param environ: of the server; is told about the health check
    """
    name = f'keystone-crdb-leaves-{uuid.uuid4().hex}'
    environ['OS_HEALTHCHECK__BACKENDS'] = 'disable_by_file'
    environ[MARKER] = os.path.join(tempfile.gettempdir(), name)
    return [
        sys.executable, '-m', 'keystone_crdb_image.notice', str(seconds),
        str(handle), *server,
    ]


def run(seconds: float, handle: int, server: list[str]) -> int:
    """Run a server to its end.

    :param seconds: from SIGTERM to the server's
    :param handle: descriptor that it inherits
    :param server: its command line
    :returns: exit status
    """
    marker = pathlib.Path(os.environ[MARKER])
    passed_on = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
    # What arrives while the server is being started waits for a handler.
    mask = signal.pthread_sigmask(
        signal.SIG_BLOCK, (signal.SIGTERM, *passed_on)
    )
    process = subprocess.Popen(
        server,
        pass_fds=(handle,),
        preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, mask),
    )

    def pass_on(number: int, frame: types.FrameType | None) -> None:
        process.send_signal(number)

    def end(number: int, frame: types.FrameType | None) -> None:
        process.terminate()

    def leave(number: int, frame: types.FrameType | None) -> None:
        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGALRM, end)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        marker.touch()
        log.say(f'going to end: /healthcheck answers 503 for {seconds:g} s')

    signal.signal(signal.SIGTERM, leave)
    for number in passed_on:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        status = process.wait()
    finally:
        marker.unlink(missing_ok=True)
    return status if status >= 0 else 128 - status


if __name__ == '__main__':
    sys.exit(run(float(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
