# SPDX-License-Identifier: Apache-2.0
"""What the scenarios share, and the load under which a fault happens."""

import collections.abc
import contextlib
import dataclasses
import pathlib
import time
import typing
import uuid

import sqlalchemy

from keystone_crdb import console
from keystone_crdb import process
from keystone_crdb.checks.faults import link as links
from keystone_crdb.databases import cluster as clusters
from keystone_crdb.databases import database as databases
from keystone_crdb.databases import providers
from keystone_crdb.images import engine as engines
from keystone_crdb.keystone import container as keystones
from keystone_crdb.load import clients

#: Seconds of load before a fault, and after the first success.
CALM = 2
#: Seconds until a write has to succeed after what was cut is mended.
RECOVERY_LIMIT = 120

_SETTINGS = {
    'KEYSTONE_PROCESSES': '2',
    'KEYSTONE_THREADS': '4',
    'OS_IDENTITY__PASSWORD_HASH_ALGORITHM': 'bcrypt',
    'OS_IDENTITY__PASSWORD_HASH_ROUNDS': '4',
}


class NotRun(Exception):
    """A scenario can't be run here; the text says why."""


@dataclasses.dataclass(frozen=True)
class Result:
    """What a scenario found.

    :param acknowledged: number of writes, all of which were looked for
    :param lost: a line for each of them that was not there
    :param errors: number of calls that failed
    :param seconds: from the fault to the first success, None without one
    :param wrong: what else is not as it should be, a line each
    :param note: a remark for people
    """

    acknowledged: int
    lost: list[str]
    errors: int
    seconds: float | None
    wrong: list[str] = dataclasses.field(default_factory=list)
    note: str = ''


def result(
    load: clients.Load,
    moment: float,
    wrong: collections.abc.Iterable[str] = (),
    note: str = '',
) -> Result:
    """Check a load's writes, and sum it up.

    :param moment: of the fault, by time.monotonic()
    """
    for reason, number in load.record.reasons()[:4]:
        console.note(f'{number} times {reason}')
    lost = load.lost()
    return Result(
        load.register.looked_for,
        lost,
        load.record.total().errors(),
        load.record.first_success(moment),
        list(wrong),
        note,
    )


class Stage:
    """Where scenarios happen.

    :param reference: of the image
    :param folder: for what scenarios need
    :param clients: of the load
    :param pause: seconds that a fault lasts which is a pause
    """

    def __init__(
        self,
        database: databases.Database,
        engine: engines.Engine,
        reference: str,
        folder: pathlib.Path,
        clients: int,
        pause: float,
    ) -> None:
        self.database = database
        self.engine = engine
        self.reference = reference
        self.folder = folder
        self.pause = pause
        self._clients = clients
        self._address = sqlalchemy.make_url(database.url)
        self._stack = contextlib.ExitStack()
        self._shared: tuple[keystones.Keystone, links.Link] | None = None
        self._cluster: (
            tuple[clusters.Cluster, keystones.Keystone, str] | None
        ) = None

    def __enter__(self) -> typing.Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def link(self, **kwargs: typing.Any) -> links.Link:
        """Return a new way to the database; see link.Link."""
        return links.Link(
            self._address.host or '127.0.0.1',
            self._address.port or 26257,
            **kwargs,
        )

    @contextlib.contextmanager
    def new_database(self) -> collections.abc.Iterator[sqlalchemy.URL]:
        """Make a database whose acknowledged commits outlive a crash.

        :returns: as context: its SQLAlchemy URL
        """
        with self.database.temporary('faults') as text:
            url = sqlalchemy.make_url(text)
            if self.database.provider == 'standin':
                with databases.connect(url) as connection:
                    connection.execute(
                        f'ALTER DATABASE {url.database} '
                        'SET synchronous_commit TO on'
                    )
            yield url

    def url_by(
        self,
        link: links.Link,
        url: sqlalchemy.URL,
        host: str = '127.0.0.1',
        **query: str,
    ) -> str:
        """Return the URL of a database by a link."""
        by_link = url.set(host=host, port=link.port)
        by_link = by_link.update_query_dict(query)
        return by_link.render_as_string(hide_password=False)

    def url_by_several(
        self, several: collections.abc.Iterable[links.Link],
        url: sqlalchemy.URL,
    ) -> str:
        """Return the URL of a database by links, each of which is a host."""
        hosts = [f'127.0.0.1:{link.port}' for link in several]
        by_links = url.set(host=None, port=None)
        by_links = by_links.update_query_dict({'host': hosts})
        return by_links.render_as_string(hide_password=False)

    def keystone(
        self, url: str, volume: str, **kwargs: typing.Any
    ) -> keystones.Keystone:
        """Return a container that is not started yet.

        :param url: of its database
        :param volume: of its keys
        """
        return self.container(
            url, options=keystones.mounted(volume), **kwargs
        )

    def container(
        self,
        url: str,
        engine: engines.Engine | None = None,
        settings: collections.abc.Mapping[str, str] | None = None,
        **kwargs: typing.Any,
    ) -> keystones.Keystone:
        """Return a container that is not started yet, with its own options.

        :param url: of its database
        :param settings: further ones
        """
        return keystones.Keystone(
            engine or self.engine, self.reference,
            {'KEYSTONE_DATABASE_URL': url, **_SETTINGS, **(settings or {})},
            **kwargs,
        )  # fmt: skip

    def shared(self) -> tuple[keystones.Keystone, links.Link]:
        """Return the Keystone and the link that many scenarios use.

        It is started by the first one.
        """
        if self._shared is None:
            enter = self._stack.enter_context
            url = enter(self.new_database())
            link = enter(self.link())
            volume = enter(keystones.volume(self.engine))
            keystone = enter(self.keystone(self.url_by(link, url), volume))
            self._shared = keystone, link
        return self._shared

    def cluster(self) -> tuple[clusters.Cluster, keystones.Keystone, str]:
        """Return three nodes, a Keystone on them, and its database's name.

        They are started by the first scenario that wants them.

        :raises NotRun: where there is no CockroachDB
        """
        if self.database.product != 'CockroachDB':
            raise NotRun('needs CockroachDB')
        if self.database.provider != 'binary':
            raise NotRun('needs the program cockroach: provider binary')
        if self._cluster is None:
            enter = self._stack.enter_context
            nodes = enter(clusters.running(providers.find_binary()))
            name = f'faults_{uuid.uuid4().hex[:12]}'
            url = nodes.database().create_database(name)
            volume = enter(keystones.volume(self.engine))
            keystone = enter(self.keystone(url, volume))
            self._cluster = nodes, keystone, name
        return self._cluster

    @contextlib.contextmanager
    def load(
        self, keystone: keystones.Keystone, url: str | None = None
    ) -> collections.abc.Iterator[clients.Load]:
        """Load a Keystone before, while and after something happens.

        At the end a write has to succeed that was sent after the context's
        body; then the load goes on for a moment.

        :param url: of the balancer before it
        :raises Failure: when no write succeeds any more
        """
        load = clients.Load(
            url or keystone.url, keystone.password, self._clients
        )
        load.prepare()
        with load.running():
            time.sleep(CALM)
            yield load
            mended = time.monotonic()

            def written() -> None:
                if load.record.first_success(mended) is None:
                    raise process.NotYet(
                        f'no write succeeds within {RECOVERY_LIMIT} s after '
                        'the fault has ended',
                        details='\n'.join(
                            f'{number} times {reason}'
                            for reason, number in load.record.reasons()[:5]
                        ),
                    )

            process.wait_until(written, RECOVERY_LIMIT, 0.05)
            time.sleep(CALM)

    def server_processes(self) -> list[int]:
        """Return the ids of the stand-in's PostgreSQL processes.

        :returns: the postmaster's, which is the first, and its children's
        :raises NotRun: on another database
        """
        if self.database.provider != 'standin':
            raise NotRun('needs the processes of the stand-in')
        with databases.connect(self._address) as connection:
            ((folder,),) = connection.execute('SHOW data_directory')
        lines = pathlib.Path(folder, 'postmaster.pid').read_text().split()
        postmaster = int(lines[0])
        children = pathlib.Path(
            f'/proc/{postmaster}/task/{postmaster}/children'
        ).read_text()
        return [postmaster, *map(int, children.split())]
