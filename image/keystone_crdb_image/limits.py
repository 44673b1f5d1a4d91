# SPDX-License-Identifier: Apache-2.0
"""What the container may use: processors and memory."""

import collections.abc
import math
import os
import pathlib

from keystone_crdb_image import log

#: Where cgroups are mounted.
ROOT = pathlib.Path('/sys/fs/cgroup')

#: Where the own cgroup is said.
OWN = pathlib.Path('/proc/self/cgroup')

#: Bytes that a process that serves takes, and all others together: one that
#: answers checks of health, HAProxy and the supervisor.
PER_PROCESS = 130_000_000
OTHERS = 230_000_000


def _text(path: pathlib.Path) -> str:
    """Return what a file holds, '' where the kernel has none."""
    try:
        return path.read_text()
    except OSError:
        return ''


def _groups(controller: str) -> collections.abc.Iterator[pathlib.Path]:
    """Yield the folders of the own cgroup, up to the root.

    :param controller: of version 1; version 2 has all of them in one tree
    """
    for line in _text(OWN).splitlines():
        _, controllers, path = line.split(':', 2)
        if controllers and controller not in controllers.split(','):
            continue
        root = ROOT / controllers
        # A container may see its group as the root, whatever it is called.
        group = root / path.strip('/')
        while group != root:
            yield group
            group = group.parent
        yield root


def _quota(group: pathlib.Path) -> float | None:
    """Return how many processors a cgroup may use, None without a limit."""
    words = [
        word
        for name in ('cpu.max', 'cpu.cfs_quota_us', 'cpu.cfs_period_us')
        for word in _text(group / name).split()
    ]
    if len(words) != 2 or not words[0].isdecimal():
        return None
    return int(words[0]) / int(words[1])


def processors() -> int:
    """Return how many processors there are to use, at least one."""
    quotas = [_quota(group) for group in _groups('cpu')]
    least = min((q for q in quotas if q is not None), default=math.inf)
    return max(1, math.ceil(min(len(os.sched_getaffinity(0)), least)))


def memory() -> int | None:
    """Return how many bytes the container may use, None without a limit."""
    found = [
        int(text)
        for group in _groups('memory')
        for name in ('memory.max', 'memory.limit_in_bytes')
        if (text := _text(group / name).strip()).isdecimal()
    ]
    return min(found, default=None)


def processes() -> int:
    """Return how many processes serve where nobody says: 1 to 8.

    One more than processors, as one waits for the database while others
    work, but no more than the memory suffices for.
    """
    number = max(2, min(8, processors() + 1))
    limit = memory()
    if limit is not None:
        number = max(1, min(number, (limit - OTHERS) // PER_PROCESS))
    return number


def warn(processes: int) -> None:
    """Say so when the memory does not suffice for that many processes."""
    limit = memory()
    needed = OTHERS + processes * PER_PROCESS
    if limit is not None and limit < needed:
        log.say(
            f'{processes} processes need about {needed // 10**6} MB and the '
            f'memory limit is {limit // 10**6} MB: raise it, or set '
            'KEYSTONE_PROCESSES to less'
        )
