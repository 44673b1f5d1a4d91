# SPDX-License-Identifier: Apache-2.0
"""Run Keystone's own unit suite in the image, on a database outside of it.

The image's test stage is what ships, with the tests and what they need. The
options, the ledger and the reports are those of the check keystone.
"""

import argparse
import collections.abc
import contextlib
import functools
import os
import pathlib
import subprocess
import typing

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import scratch
from keystone_crdb.checks import suite
from keystone_crdb.images import engine as engines
from keystone_crdb.images import image
from keystone_crdb.keystone import stestr_run

#: The Python of what ships, which runs the tests too.
_PYTHON = '/opt/keystone/bin/python'
#: The run's folder, in the container's memory.
_WORK = '/tmp'  # noqa: S108


class ImageRunner(stestr_run.Runner):
    """Runs tests in a container of the test stage, which is on its own."""

    def __init__(
        self, engine: engines.Engine, container: str, settings: dict[str, str]
    ) -> None:
        super().__init__(pathlib.Path(_WORK))
        self._engine = engine
        self._container = container
        self._env = self._settings(settings)

    def popen(
        self, words: list[str], **streams: typing.Any
    ) -> subprocess.Popen[typing.Any]:
        return self._exec([_PYTHON, '-m', *words], **streams)

    def read(self, name: str) -> str | None:
        process = self._exec(
            ['cat', f'{_WORK}/{name}'], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        text, _ = process.communicate()
        return None if process.returncode else text

    def write(self, name: str, text: str) -> None:
        process = self._exec(
            ['tee', f'{_WORK}/{name}'], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, text=True,
        )
        process.communicate(text)
        if process.returncode:
            raise errors.Failure(
                f'{_WORK}/{name} can not be written in {self._container}'
            )

    def _exec(
        self, words: list[str], **streams: typing.Any
    ) -> subprocess.Popen[typing.Any]:
        # The engine takes the values from its own environment: the URL,
        # which may have a password, is in no list of processes.
        names = [f'--env={name}' for name in self._env]
        return subprocess.Popen(
            self._engine.command(
                'exec', '--interactive', *names, self._container, *words
            ),
            env=os.environ | self._env,
            **streams,
        )


@contextlib.contextmanager
def _running(
    engine: engines.Engine, reference: str, folder: pathlib.Path,
    scratch_folder: pathlib.Path, settings: dict[str, str],
) -> collections.abc.Iterator[ImageRunner]:
    """Run a container for the tests.

    It is on the host's network, where the database is, without capabilities,
    and as the user of what ships.

    :raises Failure: with what the engine said
    """
    name = f'keystone-crdb-{scratch_folder.name}'
    scratch.remember_container(scratch_folder, engine.name, name)
    console.run(
        engine.command(
            'run', '--detach', '--rm', '--name', name, '--network', 'host',
            *engines.LIMITS, '--cap-drop', 'ALL', '--security-opt',
            'no-new-privileges', '--tmpfs', f'{_WORK}:rw,mode=1777',
            reference,
        ),
        log='suite-container',
    )
    try:
        yield ImageRunner(engine, name, settings)
    finally:
        subprocess.run(
            engine.command('rm', '--force', '--volumes', name),
            stdin=subprocess.DEVNULL, capture_output=True,
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this check."""
    suite.add_arguments(parser)
    image.add_engine_arguments(parser)


def run(args: argparse.Namespace) -> bool:
    """Run this check.

    :raises Failure: when there is no engine, no image or no database
    """
    engine = image.find_engine(args.engine, args.engine_option)
    if engine.name == 'buildah':
        raise errors.Failure(
            'buildah keeps no container running, which the suite needs',
            remedy='install podman or docker',
        )
    reference = image.make_test(engine)
    return suite.on_database(
        args, functools.partial(_running, engine, reference)
    )
