# SPDX-License-Identifier: Apache-2.0
"""Processes that serve a tree by themselves, and print what they measured."""

import dataclasses
import json
import subprocess
import time
import typing

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import scratch
from keystone_crdb.keystone import reproducible
from keystone_crdb.keystone import stestr_run


@dataclasses.dataclass(frozen=True)
class Task:
    """What a worker is told.

    :param options: arguments of its work, which JSON can hold
    :param url: SQLAlchemy URL of the database; SQLite without it
    """

    tree: stestr_run.Tree
    options: dict[str, typing.Any] = dataclasses.field(default_factory=dict)
    url: str | None = None


def _output(
    name: str, process: subprocess.Popen[bytes], start: float
) -> bytes:
    """Return what a worker prints, and report while it runs.

    :param start: when the workers were started, by time.monotonic()
    """
    while True:
        try:
            return process.communicate(timeout=console.REPORT_EVERY)[0]
        except subprocess.TimeoutExpired:
            seconds = time.monotonic() - start
            console.note(f'{seconds:.0f} s: {name} is not done yet')


def run(module: str, tasks: dict[str, Task]) -> dict[str, typing.Any]:
    """Run a worker for each task, all at the same time.

    :param module: the worker; in_process_client.answer() is what it does
    :param tasks: by the name of what is served
    :returns: what each worker printed
    :raises Failure: with the end of its log, when one failed
    """
    results = {}
    with scratch.folder('worker') as folder:
        started = {}
        for name, task in tasks.items():
            own = folder / name
            own.mkdir()
            words = [module, str(own), json.dumps(task.options)]
            started[name] = reproducible.start(
                task.tree, own, words, own / 'log', task.url
            )
        start = time.monotonic()
        for name, process in started.items():
            output = _output(name, process, start)
            if process.returncode:
                log = folder / name / 'log'
                raise errors.Failure(
                    f'{name}: Keystone did not serve all of the requests',
                    details=errors.end_of(log),
                )
            results[name] = json.loads(output)
    return results
