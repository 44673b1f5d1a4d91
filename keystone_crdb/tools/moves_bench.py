# SPDX-License-Identifier: Apache-2.0
"""Measure a move of a large cloud from MariaDB: seconds and memory.

MariaDB gets --users users with passwords, a fifth as many projects and ten
times as many assignments. A dump that is loaded into MariaDB again shows for
scale what the server's own programs take, and pgloader, where it is installed,
what the usual program to PostgreSQL does. Then all rows are moved to the
database; a few are changed and brought by a second pass; and all are moved to
another database while the command is killed --kills times at random. The
result is in build/reports.

It fails if a digest differs at the end.
"""

import argparse
import contextlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import time

import sqlalchemy

from keystone_crdb import console
from keystone_crdb import databases
from keystone_crdb import errors
from keystone_crdb import scratch
from keystone_crdb.checks import evidence
from keystone_crdb.databases import plain
from keystone_crdb.keystone import programs
from keystone_crdb.keystone import served

#: Rows that MariaDB makes of its sequences, for so many USERS, PROJECTS and
#: ASSIGNMENTS.
_FILL = """
SET foreign_key_checks = 0;
INSERT INTO project (id, name, extra, enabled, domain_id, parent_id, is_domain)
    VALUES ('default', 'Default', '{}', 1, '<<keystone.domain.root>>', NULL,
    1);
INSERT INTO project (id, name, extra, enabled, domain_id, parent_id, is_domain)
    SELECT md5(concat('p', seq)), concat('project-', seq), '{}', 1, 'default',
    if(seq % 10 = 0 OR seq < 100, 'default', md5(concat('p', seq - seq % 10))),
    0 FROM seq_1_to_PROJECTS;
INSERT INTO role (id, name, extra, domain_id)
    SELECT md5(concat('r', seq)), concat('role-', seq), '{}', '<<null>>'
    FROM seq_1_to_10;
INSERT INTO user (id, extra, enabled, created_at, domain_id)
    SELECT md5(concat('u', seq)), '{"email": "someone@example.org"}', 1, now(),
    'default' FROM seq_1_to_USERS;
INSERT INTO local_user (id, user_id, domain_id, name)
    SELECT seq, md5(concat('u', seq)), 'default', concat('user-', seq)
    FROM seq_1_to_USERS;
INSERT INTO password (local_user_id, self_service, password_hash,
    created_at_int, created_at)
    SELECT seq, 0, concat('$2b$12$', left(sha2(seq, 256), 53)),
    1700000000000000 + seq, now() FROM seq_1_to_USERS;
INSERT INTO assignment (type, actor_id, target_id, role_id, inherited)
    SELECT 'UserProject', md5(concat('u', (seq - 1) DIV 10 + 1)),
    md5(concat('p', seq % PROJECTS + 1)), md5(concat('r', seq % 10 + 1)), 0
    FROM seq_1_to_ASSIGNMENTS;
"""

_CHANGE = """
DELETE FROM assignment WHERE actor_id = md5('u77');
UPDATE user SET enabled = 0 WHERE id IN (md5('u1'), md5('u2'), md5('u3'));
INSERT INTO project (id, name, extra, enabled, domain_id, parent_id, is_domain)
    VALUES ('new', 'new', '{}', 1, 'default', 'default', 0);
"""


def _execute(url: str, script: str) -> None:
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        for statement in script.split(';'):
            if statement.strip():
                connection.exec_driver_sql(statement.replace('%', '%%'))
    engine.dispose()


class _Mover:
    """The command, measured.

    :param source: URL of MariaDB's database
    """

    def __init__(self, folder: pathlib.Path, source: str) -> None:
        self._trees = served.ours()
        self._folder = folder
        self._source = source
        #: What was done, and its seconds, seconds of processors, and MiB.
        self.measured: list[tuple[str, float, float, float]] = []

    def start(self, target: str, *words: str) -> subprocess.Popen[str]:
        """Start an import."""
        return programs.entrypoint(
            self._trees, self._folder, target, 'import', self._source, *words
        )

    def run(self, what: str, target: str, *words: str) -> bool:
        """Run an import to its end, and measure it.

        :returns: whether all digests are equal
        """
        report = self._folder / 'report.json'
        began = time.monotonic()
        process = self.start(target, '--report', str(report), *words)
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
        if process.returncode not in (0, 4):
            raise errors.Failure(f'{what} failed', details=output)
        self.measured.append((
            what, seconds, usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss / 1024,
        ))
        found = json.loads(report.read_text())
        return all(line['equal'] for line in found['tables'])

    def kill(self, target: str, times: int, seconds: float) -> None:
        """Kill an import again and again.

        :param seconds: after which it is killed at the latest
        """
        chance = random.Random(21)  # noqa: S311
        for _ in range(times):
            process = self.start(target)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=chance.uniform(1, seconds))
            process.kill()
            process.communicate()


def _dump(server: plain.Server) -> float:
    """Dump the database into another one, and return the seconds."""
    server.create('copy')
    url = sqlalchemy.make_url(server.url)
    options = [
        '--no-defaults', f'--user={url.username}',
        f'--socket={url.query["unix_socket"]}',
    ]
    began = time.monotonic()
    with subprocess.Popen(
        ['mariadb-dump', *options, str(url.database)],
        stdout=subprocess.PIPE,
    ) as dump:
        subprocess.run(
            ['mariadb', *options, 'copy'], stdin=dump.stdout, check=True,
        )
    return time.monotonic() - began


def _pgloader(source: str, target: str) -> float:
    """Let pgloader copy the database to PostgreSQL; return the seconds."""
    theirs, ours = map(sqlalchemy.make_url, (source, target))
    began = time.monotonic()
    subprocess.run(
        [
            'pgloader', '--quiet',
            f'mysql://{theirs.username}@unix:{theirs.query["unix_socket"]}:/'
            f'{theirs.database}',
            f'postgresql://{ours.username}@unix:{ours.query["host"]}:/'
            f'{ours.database}',
        ],
        stdout=subprocess.DEVNULL, check=True,
    )
    return time.monotonic() - began


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this tool."""
    databases.add_argument(parser)
    parser.add_argument(
        '--users', type=int, default=100_000,
        help='that there are (default: %(default)s)',
    )
    parser.add_argument(
        '--kills', type=int, default=50,
        help='of the second move (default: %(default)s)',
    )


def run(args: argparse.Namespace) -> bool:
    """Run this tool."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch.folder('moves-bench'))
        (folder / 'credential-keys').mkdir(mode=0o700)
        server = stack.enter_context(databases.start(args.provider))
        maria = stack.enter_context(plain.mariadb())
        source = maria.url
        targets = [
            stack.enter_context(server.temporary('moves')) for _ in range(2)
        ]
        with console.step('Rows'):
            for url in (source, *targets):
                programs.finish(
                    programs.db_sync(served.ours(), folder, url), 'db_sync'
                )
            script = _FILL
            for name, number in (
                ('USERS', args.users), ('PROJECTS', args.users // 5),
                ('ASSIGNMENTS', args.users * 10),
            ):
                script = script.replace(name, str(number))
            _execute(source, script)
        mover = _Mover(folder, source)
        with console.step('Dump'):
            mover.measured.append(
                ('mariadb-dump | mariadb', _dump(maria), 0, 0)
            )
        if shutil.which('pgloader'):
            with console.step('pgloader'), plain.postgresql() as other:
                mover.measured.append(
                    ('pgloader', _pgloader(source, other.url), 0, 0)
                )
        with console.step('First pass'):
            equal = mover.run('import', targets[0])
        first = mover.measured[-1][1]
        with console.step('Second pass'):
            equal &= mover.run('import --changes, no change', targets[0],
                               '--changes')
            _execute(source, _CHANGE)
            equal &= mover.run('import --changes', targets[0], '--changes')
        target = targets[0]
        if args.kills:
            target = targets[1]
            with console.step(f'{args.kills} kills'):
                mover.kill(target, args.kills, 2 * first / args.kills + 3)
                mover.start(target).communicate()
        with console.step('Comparison'):
            equal &= mover.run('import --verify', target, '--verify')
    console.table(
        ('what', 'seconds', 'of the first', 'CPU seconds', 'MiB'),
        [
            (
                what, f'{seconds:.1f}', f'{seconds / first:.2f}',
                *(f'{one:.0f}' if one else '-' for one in (cpu, memory)),
            )
            for what, seconds, cpu, memory in mover.measured
        ],
    )
    found = {
        'digests of all tables': 'equal' if equal else 'NOT equal',
        **{
            f'{what}, seconds': f'{seconds:.1f} ({seconds / first:.2f})'
            for what, seconds, *_ in mover.measured
        },
        'MiB': f'{max(memory for *_, memory in mover.measured):.0f}',
    }
    for what, told in found.items():
        console.say(f'{what}: {told}')
    evidence.write(
        'moves-bench', f'{maria.name} to {server.name()}', found, args.command,
    )
    return equal
