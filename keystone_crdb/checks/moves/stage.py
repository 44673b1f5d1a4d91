# SPDX-License-Identifier: Apache-2.0
"""What the scenes of the check share: commands, Keystones, what is wrong."""

import collections.abc
import contextlib
import dataclasses
import itertools
import json
import pathlib
import subprocess
import typing

import sqlalchemy

from keystone_crdb import console
from keystone_crdb.checks import workers
from keystone_crdb.checks.moves import answers
from keystone_crdb.checks.moves import rows
from keystone_crdb.keystone import programs
from keystone_crdb.keystone import stestr_run

_WORKER = 'keystone_crdb.checks.moves.worker'

#: Exit statuses of import and export.
DONE, REFUSED, FOUND = 0, 1, 3


def _folders(tree: stestr_run.Tree) -> tuple[pathlib.Path, ...]:
    return tree.folder, *tree.path


@dataclasses.dataclass
class Stage:
    """What the scenes share.

    :param folder: a new one for each scene
    :param wrong: what was not as wanted, a line each
    """

    folder: pathlib.Path
    stock: stestr_run.Tree
    ours: stestr_run.Tree
    wrong: list[str] = dataclasses.field(default_factory=list)

    def start(self, url: str, *words: str) -> subprocess.Popen[str]:
        """Start a verb of the image's entrypoint."""
        return programs.entrypoint(
            _folders(self.ours), self.folder, url, *words
        )

    def keystone(
        self, tree: stestr_run.Tree, url: str, *steps: str,
        **more: typing.Any,
    ) -> list[answers.Answers]:
        """Serve a tree in a process, which does the steps of the worker.

        :returns: what it answered
        """
        options = {'shared': str(self.folder), 'steps': steps, **more}
        task = workers.Task(tree, options, url)
        found: list[answers.Answers] = workers.run(
            _WORKER, {'keystone': task}
        )['keystone']
        return found

    def compare(
        self, what: str, before: answers.Answers, after: answers.Answers,
        spell: dict[str, str],
    ) -> None:
        """Take down the requests that two Keystones answer otherwise."""
        console.note(f'{what}: {len(before)} requests')
        for name in answers.differing(before, after, spell):
            self.wrong.append(
                f'{what}: {name}:\n{before.get(name)}\n{after.get(name)}'
            )

    def expect(self, is_right: bool, text: str) -> None:
        """Take down what is not as wanted."""
        if not is_right:
            self.wrong.append(text)

    def run(
        self, url: str, *words: str, status: int = DONE
    ) -> dict[str, typing.Any]:
        """Run import or export.

        :param url: of the database that is configured
        :param status: the exit status that is wanted
        :returns: the report; without lines where there is none
        """
        report = self.folder / 'report.json'
        report.unlink(missing_ok=True)
        process = self.start(url, *words, '--report', str(report))
        output, _ = process.communicate()
        name = ' '.join(word for word in words if ':/' not in word)
        self.expect(
            process.returncode == status,
            f'{name} ended with {process.returncode} and not {status}:\n'
            f'{output}',
        )
        text = report.read_text() if report.exists() else '{}'
        for secret in rows.SECRETS:
            self.expect(
                secret not in output and secret not in text,
                f'{name}: the output or the report has {secret}',
            )
        found = {'found': [], 'tables': [], **json.loads(text)}
        if status == DONE and '--check' not in words:
            self.expect(
                bool(found['tables'])
                and all(line['equal'] for line in found['tables']),
                f'{name}: tables differ:\n{output}',
            )
        return found

    def sync(self, tree: stestr_run.Tree, *urls: str) -> None:
        """Bring schemas up, all at once."""
        started = [
            programs.db_sync(_folders(tree), self.folder, url) for url in urls
        ]
        for process in started:
            programs.finish(process, 'keystone-manage db_sync')

    def upgrade(
        self, tree: stestr_run.Tree, url: str,
        revisions: collections.abc.Iterable[str],
    ) -> None:
        """Bring a schema to revisions of a tree's migrations."""
        programs.finish(
            programs.upgrade(_folders(tree), self.folder, url, revisions),
            'alembic upgrade',
        )

    def killed(self, url: str, *words: str) -> None:
        """Kill a command again and again, later each time, until it ends."""
        for number in itertools.count():
            process = self.start(url, *words)
            try:
                output, _ = process.communicate(timeout=1.15**number)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                continue
            # The one before may have been killed after its work.
            is_done = not process.returncode or 'were moved' in output
            self.expect(is_done, output)
            return


@contextlib.contextmanager
def connecting(url: str) -> collections.abc.Iterator[sqlalchemy.Engine]:
    """Return, as context, an engine of a database."""
    engine = sqlalchemy.create_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()
