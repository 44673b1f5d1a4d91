# SPDX-License-Identifier: Apache-2.0
"""Run a command and make each line of its output a line of JSON.

Keystone and the front write JSON themselves, which is passed on as it is.
What uWSGI, HAProxy, Python and the entrypoint say in plain text is wrapped.
Signals are passed on, and the exit status is the command's.

    python -m keystone_crdb_image.relay COMMAND...
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import types
import typing

#: The variable that says that the output is relayed already.
MARKER = 'KEYSTONE_CRDB_RELAYED'

#: Seconds that the last lines may take to arrive after the command's end.
_MERCY = 5

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

#: How the lines of the entrypoint begin.
_OWN = 'keystone-crdb: '


def convert(line: bytes) -> bytes:
    """Return a line of output as a line of JSON.

    The names of the fields are those of oslo.log.
    """
    text = line.decode(errors='replace').rstrip('\r\n')
    if text.startswith('{'):
        try:
            json.loads(text)
        except ValueError:
            pass
        else:
            return text.encode() + b'\n'
    name = _OWN.rstrip(': ') if text.startswith(_OWN) else 'container'
    return json.dumps({
        'created': round(time.time(), 3),
        'levelname': 'INFO',
        'name': name,
        'message': text.removeprefix(_OWN),
    }).encode() + b'\n'


def _relay(output: typing.IO[bytes]) -> None:
    for line in output:
        if line.strip():
            sys.stdout.buffer.write(convert(line))
            sys.stdout.buffer.flush()


def main(words: list[str]) -> int:
    """Run a command.

    :returns: its exit status; 128 and the number where a signal ended it
    """
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=os.environ | {MARKER: '1'}, start_new_session=True,
    )

    def pass_on(number: int, frame: types.FrameType | None) -> None:
        process.send_signal(number)

    for number in _SIGNALS:
        signal.signal(number, pass_on)
    assert process.stdout is not None
    thread = threading.Thread(
        target=_relay, args=(process.stdout,), daemon=True
    )
    thread.start()
    status = process.wait()
    thread.join(_MERCY)
    return status if status >= 0 else 128 - status


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
