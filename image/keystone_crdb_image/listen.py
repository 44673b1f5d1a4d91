# SPDX-License-Identifier: Apache-2.0
"""The address to listen on; apart, as the health check loads nothing else."""

DEFAULT = '0.0.0.0:5000'

#: Where a server answers that listens on all addresses.
LOCAL = {'0.0.0.0': '127.0.0.1', '[::]': '::1'}  # noqa: S104


def parse(text: str) -> tuple[str, int]:
    """Split ADDRESS:PORT.

    :param text: such as 0.0.0.0:5000 or [::]:5000
    :returns: address and port
    :raises ValueError: when it is neither
    """
    host, _, port = text.rpartition(':')
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(text)
    return host, int(port)
