# SPDX-License-Identifier: Apache-2.0
"""The processor time that each component takes under a load.

On a saturated host latency measures the host. This splits the CPU time by
component. It tells only the descendants of this process apart.
"""

import collections
import os
import pathlib
import time

_PROC = pathlib.Path('/proc')
_TICKS = os.sysconf('SC_CLK_TCK')

CLIENTS = 'clients'
KEYSTONE = 'Keystone'
PROXY = "the stand-in's proxy"
OTHERS = 'others'
IDLE = 'idle'

#: Seconds of processor time by whose they were.
Seconds = dict[str, float]


def _processes(proc: pathlib.Path) -> dict[int, tuple[int, str, float]]:
    """Return (parent's id, name, seconds with ended children) by id."""
    found = {}
    for file in proc.glob('[0-9]*/stat'):
        try:
            head, _, tail = file.read_text().rpartition(')')
        except OSError:
            # It has ended.
            continue
        # From the third field of proc(5) on.
        fields = tail.split()
        seconds = sum(map(int, fields[11:15])) / _TICKS
        found[int(file.parent.name)] = (
            int(fields[1]), head.partition('(')[2], seconds
        )
    return found


def family(parent: int) -> set[int]:
    """Return the ids of a process and of all that descend from it.

    A session has too few of them, because the image's supervisor starts its
    programs in sessions of their own.
    """
    processes = _processes(_PROC)
    found: set[int] = set()
    added = {parent} & processes.keys()
    while added:
        found |= added
        added = {
            process for process, (its_parent, _, _) in processes.items()
            if its_parent in added
        }
    return found


def _machine(proc: pathlib.Path) -> tuple[float, float]:
    """Return the seconds that the machine's processors worked, and not."""
    fields = (proc / 'stat').read_text().splitlines()[0].split()[1:9]
    user, nice, system, idle, wait, *rest = (int(x) / _TICKS for x in fields)
    return user + nice + system + sum(rest), idle + wait


def _who(
    process: int, processes: dict[int, tuple[int, str, float]], keystone: int
) -> str | None:
    """Return whose work a process does, None for that of somebody else."""
    me = os.getpid()
    if process == me:
        return CLIENTS
    name = processes[process][1]
    while process in processes and process != me:
        if process == keystone:
            return KEYSTONE
        process = processes[process][0]
    if process != me:
        return None
    # The only other one in Python that a load has.
    return PROXY if name.startswith('python') else name


def used(keystone: int, proc: pathlib.Path = _PROC) -> Seconds:
    """Return the seconds of processor time that were used up to now.

    :param keystone: id of the process that serves, whose children do so too
    :param proc: proc(5)
    :returns: by who used it: the clients, which are threads of this process,
        Keystone, the stand-in's proxy or programs of the database by their
        name, others on this machine, and nobody
    """
    processes = _processes(proc)
    seconds: Seconds = collections.defaultdict(float)
    seconds[CLIENTS] = time.process_time()
    for process, (_, _, own) in processes.items():
        who = _who(process, processes, keystone)
        if who and who != CLIENTS:
            seconds[who] += own
    busy, idle = _machine(proc)
    seconds[OTHERS] = busy - sum(seconds.values())
    seconds[IDLE] = idle
    return seconds


class Account:
    """The processor time of one load, which runs in turns.

    :param keystone: id of the process that serves
    """

    def __init__(self, keystone: int) -> None:
        self.seconds: Seconds = collections.defaultdict(float)
        self._keystone = keystone
        self._before: Seconds = {}

    def __enter__(self) -> None:
        self._before = used(self._keystone)

    def __exit__(self, *exc: object) -> None:
        for who, seconds in used(self._keystone).items():
            self.seconds[who] += seconds
        for who, seconds in self._before.items():
            self.seconds[who] -= seconds
