# SPDX-License-Identifier: Apache-2.0
"""Three or nine nodes of CockroachDB, which can be killed, drained and paused.

They are processes of a cockroach program. With their stores in a scratch
folder, a node that was killed comes back with its data. They say that they
are in three regions, each in a zone of its own. See
https://www.cockroachlabs.com/docs/stable/cockroach-start
"""

import collections.abc
import contextlib
import dataclasses
import pathlib
import signal
import subprocess
import typing

import psycopg
import sqlalchemy

from keystone_crdb import errors
from keystone_crdb import process
from keystone_crdb import scratch
from keystone_crdb.databases import database as databases

NODES = 3
#: How many there may be: one or three in each region.
COUNTS = (NODES, 9)
REGIONS = ('eu', 'us', 'ap')
_ZONES = 'abc'
_MEMORY = 'type=mem,size=640MiB'
#: Seconds until a node answers, and until it has drained and ended.
START_LIMIT = 120
DRAIN_LIMIT = 120


class Node:
    """A node.

    :param number: from 1
    :param port: of 127.0.0.1, for SQL and for the other nodes
    """

    def __init__(
        self, number: int, port: int, command: list[str], folder: pathlib.Path
    ) -> None:
        self.number = number
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._command = command
        self._folder = folder

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """Return the node's process, once it was started."""
        if self._process is None:
            raise errors.Failure(f'node {self.number} has not been started')
        return self._process

    def start(self) -> None:
        """Start it, also again."""
        log = self._folder / f'node{self.number}.log'
        with open(log, 'ab') as output:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, cwd=self._folder, env=environ(),
                start_new_session=True,
            )
        scratch.remember_process(self._folder, self.process.pid)

    def url(self) -> sqlalchemy.URL:
        """Return the URL of this node alone."""
        return _url(host='127.0.0.1', port=self.port)

    def wait(self) -> None:
        """Wait until it answers.

        :raises Failure: when it does not
        """
        def answer() -> None:
            try:
                self.ask('SELECT 1')
            except psycopg.Error as exc:
                if self.process.poll() is not None:
                    raise errors.Failure(
                        f'node {self.number} of CockroachDB ended with '
                        f'{self.process.returncode}',
                        remedy=f'see node{self.number}.log',
                    ) from exc
                raise process.NotYet(
                    f'node {self.number} of CockroachDB does not answer '
                    f'within {START_LIMIT} s: {exc}'
                ) from exc

        process.wait_until(answer, START_LIMIT)

    def ask(self, statement: str) -> typing.Any:
        """Ask this node, and return the first column of the first row."""
        with databases.connect(self.url()) as connection:
            row = connection.execute(statement).fetchone()
        return row[0] if row else None

    def kill(self) -> None:
        """End it at once, if it runs."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()

    def end(self, number: signal.Signals) -> None:
        """Send it a signal, and wait until it has ended.

        :param number: SIGKILL, or SIGTERM, which drains it
        """
        self.process.send_signal(number)
        self.process.wait(DRAIN_LIMIT)


def _url(
    query: dict[str, typing.Any] | None = None, **where: typing.Any
) -> sqlalchemy.URL:
    return sqlalchemy.URL.create(
        databases.DIALECT, 'root', database='defaultdb', **where,
        query={'sslmode': 'disable', **(query or {})},
    )


def environ() -> dict[str, str]:
    """Return the environment of a cockroach program."""
    return process.environ('COCKROACH_') | {
        'COCKROACH_SKIP_ENABLING_DIAGNOSTIC_REPORTING': 'true',
    }


def locality(number: int) -> str:
    """Return where a node says that it is.

    :param number: from 1
    """
    zone, region = divmod(number - 1, len(REGIONS))
    return f'region={REGIONS[region]},zone={_ZONES[zone]}'


class Cluster:
    """The nodes.

    :param memory: whether the stores are in memory, and end with their nodes
    :param count: one of COUNTS
    """

    def __init__(
        self, program: str, folder: pathlib.Path, memory: bool = False,
        count: int = NODES,
    ) -> None:
        self._program = program
        ports = [process.free_port() for _ in range(count)]
        join = ','.join(f'127.0.0.1:{port}' for port in ports)
        self.nodes = [
            Node(
                number, port,
                [
                    program, 'start', '--insecure', f'--join={join}',
                    f'--store={_MEMORY if memory else folder / str(number)}',
                    f'--listen-addr=127.0.0.1:{port}',
                    '--http-addr=127.0.0.1:0',
                    f'--locality={locality(number)}',
                    '--cache=128MiB', '--max-sql-memory=128MiB',
                ],
                folder,
            )
            for number, port in enumerate(ports, 1)
        ]

    def start(self) -> None:
        """Start all nodes, and make them a cluster.

        :raises Failure: when that fails
        """
        for node in self.nodes:
            node.start()
        process.wait_until(self._initialize, START_LIMIT)
        for node in self.nodes:
            node.wait()

    def _initialize(self) -> None:
        result = subprocess.run(
            [
                self._program, 'init', '--insecure',
                f'--host=127.0.0.1:{self.nodes[0].port}',
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environ(),
        )
        if result.returncode and 'initialized' not in result.stderr:
            raise process.NotYet(
                'the cluster could not be initialized',
                details=result.stderr.strip(),
            )

    def stop(self) -> None:
        """End all nodes at once; their data goes with the folder."""
        for node in self.nodes:
            node.kill()

    def url(self) -> sqlalchemy.URL:
        """Return a URL that names all nodes."""
        return _url(
            {
                'host': tuple(f'127.0.0.1:{node.port}' for node in self.nodes),
                'load_balance_hosts': 'random',
                'connect_timeout': '5',
            }
        )

    def database(self) -> databases.Database:
        """Return it as a database."""
        found = databases.identify(
            'binary', self.nodes[0].url(), self._program, self._program
        )
        return dataclasses.replace(
            found, url=self.url().render_as_string(hide_password=False),
            source=f'{len(self.nodes)} nodes of {self._program}',
        )

    def leaseholder(self, database: str, table: str) -> Node:
        """Return the node that serves a table's first range."""
        holder = self.nodes[0].ask(
            'SELECT lease_holder FROM [SHOW RANGES FROM TABLE '  # noqa: S608
            f'{database}.public.{table} WITH DETAILS]'
        )
        for node in self.nodes:
            # The session variable is text.
            if int(node.ask('SHOW node_id')) == int(holder):
                return node
        raise errors.Failure(f'there is no node {holder}')


@contextlib.contextmanager
def running(
    program: str, memory: bool = False, count: int = NODES
) -> collections.abc.Iterator[Cluster]:
    """Run a cluster.

    :param memory: whether the stores are in memory
    :param count: of its nodes, one of COUNTS
    :raises Failure: when it does not start
    """
    with scratch.folder('cluster') as folder:
        made = Cluster(program, folder, memory, count)
        try:
            made.start()
            yield made
        finally:
            made.stop()
