# SPDX-License-Identifier: Apache-2.0
"""Container engines: docker, podman and buildah.

The first one that really works is taken: it has to build a trivial image and
run it. That some program prints its version says little; docker may have no
daemon, and a runtime may not fit the host's cgroups.
"""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import tempfile
import typing
import uuid

from keystone_crdb import console
from keystone_crdb import errors
from keystone_crdb import process

#: The engine that is wanted, where no option says.
SETTING = 'KEYSTONE_CRDB_ENGINE'

#: Engines ask for the largest limits that they know of, which is more than a
#: caller with smaller hard limits may grant; these are plenty for Keystone.
LIMITS = ('--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=4096:4096')

#: Seconds that a trivial build or run may take, on a slow disk too.
PROBE_TIMEOUT = 120

_PROBE = 'localhost/keystone-crdb-probe'

_UNITS = {'B': 1, 'KB': 1e3, 'kB': 1e3, 'MB': 1e6, 'GB': 1e9}


@dataclasses.dataclass(frozen=True)
class Image:
    """An image that an engine has.

    :param identity: its ID
    :param size: bytes, uncompressed, as the engine reports them
    """

    identity: str
    size: int
    labels: dict[str, str]


def unique_name() -> str:
    """Return a name for a container or a volume."""
    return f'keystone-crdb-{uuid.uuid4().hex[:12]}'


class Engine:
    """An engine, with the options that make it work here.

    :param build_options: words that a build needs
    """

    def __init__(
        self, name: str, options: collections.abc.Iterable[str] = (),
        build_options: collections.abc.Iterable[str] = (),
    ) -> None:
        self.name = name
        self.options = tuple(options)
        self.build_options = tuple(build_options)

    def __str__(self) -> str:
        return ' '.join([self.name, *self.options, *self.build_options])

    def command(self, *words: object) -> list[str]:
        """Return a call of the engine."""
        return [self.name, *self.options, *(str(word) for word in words)]

    def call(self, *words: str) -> str:
        """Run a command of the engine, and return what it printed.

        :raises Failure: when it fails
        """
        return process.output(self.command(*words), f'{self} {words[0]}')

    def _query(self, *words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), stdin=subprocess.DEVNULL,
            capture_output=True, text=True,
        )

    def build_command(
        self, context: pathlib.Path | str, tags: list[str],
        arguments: collections.abc.Mapping[str, object] | None = None,
        file: pathlib.Path | None = None, target: str | None = None,
        epoch: int | None = None, cache: bool = True,
    ) -> list[str]:
        """Return the call that builds an image.

        :param file: the Dockerfile, when it is not the context's own
        :param target: the stage to build, when it is not the last one
        :param epoch: date of the image and of all its files, in seconds since
            1970; docker has no such option
        :param cache: whether layers of earlier builds may be taken
        """
        words: list[object] = [
            'build', '--network', 'host', *LIMITS, *self.build_options,
        ]
        if self.name != 'docker':
            # OCI's format has no health check.
            words += ['--format', 'docker', '--layers']
            if epoch is not None:
                words += ['--timestamp', epoch, '--identity-label=false']
        if not cache:
            words.append('--no-cache')
        for tag in tags:
            words += ['--tag', tag]
        for name, value in (arguments or {}).items():
            words += ['--build-arg', f'{name}={value}']
        if file:
            words += ['--file', file]
        if target:
            words += ['--target', target]
        return self.command(*words, context)

    def import_root(
        self, archive: pathlib.Path, reference: str, epoch: int
    ) -> None:
        """Make an image of a root file system.

        :param epoch: its date; see `build_command`
        :raises Failure: with the end of the engine's output
        """
        with tempfile.TemporaryDirectory(dir=archive.parent) as context:
            os.link(archive, os.path.join(context, 'root.tar'))
            file = pathlib.Path(context, 'Dockerfile')
            file.write_text('FROM scratch\nADD root.tar /\nCMD ["/bin/sh"]\n')
            console.run(
                self.build_command(context, [reference], epoch=epoch),
                log='base-import',
            )

    def inspect(self, reference: str) -> Image | None:
        """Look an image up.

        :param reference: name or ID
        :returns: None when the engine does not have it
        """
        if self.name == 'buildah':
            return self._inspect_buildah(reference)
        result = self._query('image', 'inspect', reference)
        if result.returncode:
            return None
        (found,) = json.loads(result.stdout)
        return Image(
            found['Id'], found['Size'], found['Config'].get('Labels') or {}
        )

    def must_have(self, reference: str) -> Image:
        """Look up an image that was pulled or made just now.

        :param reference: name or ID
        :raises Failure: when the engine does not have it
        """
        image = self.inspect(reference)
        if image is None:
            raise errors.Failure(
                f'{self.name} does not have the image {reference}, although '
                'it was made just now',
                remedy='find out what removes images here, and try again',
            )
        return image

    def _inspect_buildah(self, reference: str) -> Image | None:
        result = self._query('inspect', '--type', 'image', reference)
        if result.returncode:
            return None
        found = json.loads(result.stdout)
        listed = self._query('images', '--json', reference)
        number, unit = json.loads(listed.stdout)[0]['size'].split()
        return Image(
            found['FromImageID'],
            int(float(number) * _UNITS[unit]),
            found['Docker']['config'].get('Labels') or {},
        )

    def untag(self, reference: str) -> None:
        """Remove a name of an image, if it is there."""
        self._query('rmi', reference)

    def run_command(
        self,
        image: str,
        name: str,
        environ: collections.abc.Mapping[str, str],
        options: collections.abc.Iterable[str] = (),
        words: collections.abc.Iterable[str] = (),
    ) -> list[str]:
        """Return the call that runs a container, hardened.

        It is on the host's network, its root file system is read-only and it
        has no capabilities.

        :param name: of the container, which buildah wants made before
        :param environ: its settings, without secrets; see `secret_files`
        :param words: for the image's entrypoint
        """
        passed = []
        for key, value in environ.items():
            passed += ['--env', f'{key}={value}']
        if self.name == 'buildah':
            return self.command(
                'run', *self.build_options, '--network', 'host', *passed,
                *options, name, '--', 'keystone-crdb', *words,
            )
        return self.command(
            'run', '--rm', '--name', name, '--network', 'host', *LIMITS,
            '--read-only', '--cap-drop', 'ALL',
            '--security-opt', 'no-new-privileges', *passed, *options, image,
            *words,
        )

    @contextlib.contextmanager
    def running(
        self,
        image: str,
        name: str,
        environ: collections.abc.Mapping[str, str],
        secrets: collections.abc.Mapping[str, str],
        output: typing.IO[typing.Any],
        options: collections.abc.Iterable[str] = (),
    ) -> collections.abc.Iterator[Container]:
        """Run a container in the background; see `run_command`.

        It is stopped, with time to drain, and removed at the end.

        :param secrets: settings that are given as files
        :param output: open file that gets what it prints
        :raises Failure: when it can't be made
        """
        with secret_files(secrets) as (mount, names):
            environ = {**environ, **names}
            options = (*mount, *options)
            if self.name == 'buildah':
                result = self._query('from', '--name', name, image)
                if result.returncode:
                    raise errors.Failure(
                        f'{self.name} could not make a container of {image}',
                        details=result.stderr,
                    )
            # A session of its own, so that Ctrl-C is for this program, which
            # then stops the container.
            call = subprocess.Popen(
                self.run_command(image, name, environ, options),
                stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )
            try:
                yield Container(self, name, call, environ, options)
            finally:
                if self.name == 'buildah':
                    process.end(call, group=True)
                    self._query('rm', name)
                else:
                    self._query('stop', '--time', '30', name)
                    call.wait()
                    self._query('rm', '--force', name)


@dataclasses.dataclass(frozen=True)
class Container:
    """A container that runs.

    :param process: the engine's, which ends when the container does
    """

    engine: Engine
    name: str
    process: subprocess.Popen[bytes]
    environ: dict[str, str]
    options: tuple[str, ...]

    def exec_command(self, *words: str) -> list[str]:
        """Return the call that runs a command in it."""
        if self.engine.name == 'buildah':
            return self.engine.run_command(
                '', self.name, self.environ, self.options, words
            )
        return self.engine.command('exec', self.name, 'keystone-crdb', *words)


@contextlib.contextmanager
def secret_files(
    secrets: collections.abc.Mapping[str, str],
) -> collections.abc.Iterator[tuple[tuple[str, ...], dict[str, str]]]:
    """Write secrets to files that a container can read and nobody else.

    :param secrets: settings by name
    :returns: as context: the options that mount them, and the settings
        (NAME_FILE) that say where
    """
    if not secrets:
        yield (), {}
        return
    # The outer folder keeps others of this machine out; the inner one is
    # what the container's own user, whoever that is here, can read.
    with tempfile.TemporaryDirectory(prefix='keystone-crdb-') as outer:
        inner = pathlib.Path(outer, 'secrets')
        inner.mkdir()
        inner.chmod(0o755)
        for name, value in secrets.items():
            (inner / name).write_text(value)
            (inner / name).chmod(0o444)
        yield (
            ('--volume', f'{inner}:/run/secrets:ro,Z'),
            {f'{name}_FILE': f'/run/secrets/{name}' for name in secrets},
        )


#: What is tried for each engine, in this order: options, build options.
_TRIES: dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]] = {
    'docker': [((), ())],
    'podman': [
        ((), ()),
        # crun refuses hybrid cgroups, where runc works.
        (('--runtime', 'runc'), ()),
        (('--runtime', 'runc'), ('--isolation', 'chroot')),
        ((), ('--isolation', 'chroot')),
    ],
    'buildah': [
        ((), ()),
        ((), ('--isolation', 'chroot')),
    ],
}


def _probe_context(folder: pathlib.Path) -> None:
    """Fill a build context with the smallest program and its libraries."""
    program = shutil.which('true') or '/bin/true'
    listed = subprocess.run(
        ['ldd', program], capture_output=True, text=True
    ).stdout
    libraries = re.findall(r'(/\S+) \(0x', listed)
    with tarfile.open(folder / 'root.tar', 'w', dereference=True) as archive:
        archive.add(program, '/bin/true')
        for library in libraries:
            archive.add(library)
    (folder / 'Dockerfile').write_text(
        'FROM scratch\n'
        'ADD root.tar /\n'
        'RUN ["/bin/true"]\n'
        'CMD ["/bin/true"]\n'
    )


def _attempt(command: list[str]) -> str | None:
    """Return None when a command works, else why not in one line."""
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors='replace',
            timeout=PROBE_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return f'no answer within {PROBE_TIMEOUT} s'
    if result.returncode == 0:
        return None
    lines = [line for line in result.stdout.splitlines() if line.strip()]
    # Log lines (time="...") come first where an engine prints any, and the
    # first word after them says most.
    said = [line for line in lines if not line.startswith('time=')]
    said = [line for line in said if 'rror' in line or 'annot' in line] or said
    return (said or lines or [f'ended with {result.returncode}'])[0].strip()


def probe(engine: Engine) -> str | None:
    """Build a trivial image and run it.

    :returns: None when the engine works, else why it does not, in one line
    """
    with tempfile.TemporaryDirectory() as folder:
        _probe_context(pathlib.Path(folder))
        why = _attempt(engine.build_command(folder, [_PROBE], cache=False))
    if why:
        return why
    if engine.name != 'buildah':
        # buildah's RUN has shown that it can run something.
        why = _attempt(
            engine.command('run', '--rm', '--network', 'host', *LIMITS, _PROBE)
        )
    engine.untag(_PROBE)
    return why


def _first_that_works(
    names: list[str], options: collections.abc.Iterable[str]
) -> tuple[Engine | None, list[str]]:
    """Return an engine, or None, and what was wrong with the others."""
    refused = []
    for name in names:
        if shutil.which(name) is None:
            refused.append(f'{name}: not installed')
            continue
        why = None
        for found_options, build_options in _TRIES[name]:
            engine = Engine(name, (*options, *found_options), build_options)
            failure = probe(engine)
            if failure is None:
                return engine, refused
            why = why or failure
        refused.append(f'{name}: {why}')
    return None, refused


def find(
    wanted: str | None = None, options: collections.abc.Iterable[str] = (),
    install: collections.abc.Callable[[], object] | None = None,
) -> Engine:
    """Find an engine that works.

    :param wanted: its name, or None for KEYSTONE_CRDB_ENGINE's value, or any
    :param install: called when no engine is installed at all; returns after
        it has installed one
    :raises Failure: with what was tried and why it did not do
    """
    wanted = wanted or os.environ.get(SETTING)
    if wanted and wanted not in _TRIES:
        raise errors.Failure(
            f'there is no container engine {wanted}',
            remedy=f'{SETTING} or --engine is one of {", ".join(_TRIES)}',
        )
    names = [wanted] if wanted else list(_TRIES)
    engine, refused = _first_that_works(names, options)
    if engine is None and install and not wanted:
        install()
        engine, refused = _first_that_works(names, options)
    for line in refused if engine else ():
        if not line.endswith('not installed'):
            console.note(f'passed over {line}')
    if engine is None:
        raise errors.Failure(
            'no container engine works',
            details='\n'.join(refused),
            remedy='install podman (or docker.io and start its daemon, or '
            'buildah); with a runtime of your own: --engine-option',
        )
    return engine
