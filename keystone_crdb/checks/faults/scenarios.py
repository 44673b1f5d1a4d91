# SPDX-License-Identifier: Apache-2.0
"""The faults: a function each, which takes a Stage and returns a Result."""

import collections.abc
import contextlib
import dataclasses
import os
import shutil
import signal
import time
import uuid

import psycopg

from keystone_crdb import errors
from keystone_crdb import process
from keystone_crdb.checks.faults import caches
from keystone_crdb.checks.faults import link as links
from keystone_crdb.checks.faults import namespace
from keystone_crdb.checks.faults import rolling
from keystone_crdb.checks.faults import stage as stages
from keystone_crdb.databases import cluster
from keystone_crdb.databases import database as databases
from keystone_crdb.keystone import container as keystones
from keystone_crdb.keystone import http

#: A fault, and what becomes of it.
Scenario = collections.abc.Callable[[stages.Stage], stages.Result]

#: Seconds that a database takes to start again.
_DOWN = 3
#: Cut every Nth COMMIT, until at least this many were cut.
_CUT_EVERY = 10
_CUTS = 6
#: Where a host is silent: how many logins are measured, the seconds that
#: each of them has to be faster than, and for which there may be no success.
_LOGINS = 8
_SLOWEST_LOGIN = 8
_LONGEST_GAP = 12
#: Seconds that a container may take to end by itself, or to get somewhere.
_LIMIT = 120


def _until(condition: collections.abc.Callable[[], object], what: str) -> None:
    """Wait for a condition.

    :raises Failure: when it does not come true
    """

    def met() -> None:
        if not condition():
            raise process.NotYet(f'{what}: not within {_LIMIT} s')

    process.wait_until(met, _LIMIT, 0.02)


def database_restarted(stage: stages.Stage) -> stages.Result:
    """The database crashes, and is back after some seconds."""
    if stage.database.product == 'CockroachDB':
        return _cluster_restarted(stage)
    victim = stage.server_processes()[1]
    keystone, link = stage.shared()
    with stage.load(keystone) as load:
        moment = time.monotonic()
        # A server process that is killed makes PostgreSQL end all others,
        # forget its shared memory, and recover from its log.
        os.kill(victim, signal.SIGKILL)
        link.refuse()
        time.sleep(_DOWN)
        link.restore()
    return stages.result(load, moment)


def _cluster_restarted(stage: stages.Stage) -> stages.Result:
    nodes, keystone, _ = stage.cluster()
    with stage.load(keystone) as load:
        moment = time.monotonic()
        for node in nodes.nodes:
            node.end(signal.SIGKILL)
        time.sleep(_DOWN)
        for node in nodes.nodes:
            node.start()
        for node in nodes.nodes:
            node.wait()
    return stages.result(load, moment)


def database_paused(stage: stages.Stage) -> stages.Result:
    """The database's processes stop (SIGSTOP) and go on (SIGCONT)."""
    stage.server_processes()
    keystone, _ = stage.shared()
    with stage.load(keystone) as load:
        # Those of the connections that the load has.
        processes = stage.server_processes()
        moment = time.monotonic()
        try:
            for process in processes:
                _signal(process, signal.SIGSTOP)
            time.sleep(stage.pause)
        finally:
            for process in processes:
                _signal(process, signal.SIGCONT)
    return stages.result(load, moment, note=f'{stage.pause:.0f} s long')


def _signal(process: int, number: signal.Signals) -> None:
    # It may have ended by itself.
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


def _to_leaseholder(
    stage: stages.Stage,
    act: collections.abc.Callable[[cluster.Node], object],
    note: str = '',
) -> stages.Result:
    """Let something happen to the node that serves a table.

    """
    nodes, keystone, name = stage.cluster()
    node = nodes.leaseholder(name, 'project')
    with stage.load(keystone) as load:
        moment = time.monotonic()
        act(node)
    if node.process.poll() is not None:
        node.start()
    node.wait()
    return stages.result(load, moment, note=note)


def node_killed(stage: stages.Stage) -> stages.Result:
    """A node of three is killed (SIGKILL), the leaseholder."""
    return _to_leaseholder(stage, lambda node: node.end(signal.SIGKILL))


def node_drained(stage: stages.Stage) -> stages.Result:
    """A node of three, the leaseholder, is drained (SIGTERM)."""
    return _to_leaseholder(stage, lambda node: node.end(signal.SIGTERM))


def node_paused(stage: stages.Stage) -> stages.Result:
    """A node of three, the leaseholder, stops (SIGSTOP) and goes on."""

    def pause(node: cluster.Node) -> None:
        node.process.send_signal(signal.SIGSTOP)
        time.sleep(stage.pause)
        node.process.send_signal(signal.SIGCONT)

    return _to_leaseholder(stage, pause, f'{stage.pause:.0f} s long')


def commit_cut(stage: stages.Stage) -> stages.Result:
    """Connections end in the middle of COMMIT.

    In turns the COMMIT does not arrive, and its answer does not.
    """
    keystone, link = stage.shared()
    with stage.load(keystone) as load:
        moment = time.monotonic()
        link.commits_cut = 0
        link.cut_every = _CUT_EVERY
        _until(lambda: link.commits_cut >= _CUTS, 'commits to cut')
        link.cut_every = 0
    return stages.result(load, moment, note=f'{link.commits_cut} commits cut')


@contextlib.contextmanager
def _on_two_hosts(
    stage: stages.Stage,
) -> collections.abc.Iterator[tuple[keystones.Keystone, links.Link]]:
    """Make a Keystone whose URL has two hosts.

    :returns: as context: the Keystone, which is not started yet, and the link
        that is its first host
    """
    with (
        stage.new_database() as url,
        stage.link() as first,
        stage.link() as second,
        keystones.volume(stage.engine) as volume,
    ):
        text = stage.url_by_several((first, second), url)
        yield stage.keystone(text, volume), first


def host_silent_at_start(stage: stages.Stage) -> stages.Result:
    """The first of two hosts accepts connections and never answers."""
    with _on_two_hosts(stage) as (keystone, first):
        first.silent = True
        keystone.start()
        try:
            _until(
                lambda: http.request(keystone.url, 'GET', '/').status,
                'Keystone serves',
            )
            moment = time.monotonic()
            logins = [
                http.issue_token(keystone.url, keystone.password)
                for _ in range(_LOGINS)
            ]
            slowest = max(login.end - login.start for login in logins)
            with stage.load(keystone) as load:
                pass
            found = stages.result(
                load, moment, note=f'slowest login {slowest:.1f} s'
            )
        finally:
            keystone.stop()
    wrong = [login.why for login in logins if login.why]
    if slowest >= _SLOWEST_LOGIN:
        wrong.append(f'a login takes {_SLOWEST_LOGIN} s or more')
    return dataclasses.replace(found, wrong=wrong)


def host_silent_under_load(stage: stages.Stage) -> stages.Result:
    """The host of two that has all connections falls silent and stays so."""
    with _on_two_hosts(stage) as (keystone, first), keystone:
        with stage.load(keystone) as load:
            moment = time.monotonic()
            first.silent = True
            _until(
                lambda: load.record.first_success(moment) is not None,
                'a write that succeeds',
            )
            again = time.monotonic()
            time.sleep(stage.pause)
        gap = load.record.longest_gap(moment)
        rest = load.record.since(again)
        found = stages.result(
            load, moment,
            note=f'{gap:.1f} s without a success, '
            f'p99 of the rest {rest.p99:.2f} s',
        )
    wrong = []
    if gap > _LONGEST_GAP:
        wrong.append(f'more than {_LONGEST_GAP} s without a success')
    return dataclasses.replace(found, wrong=wrong)


def network_cut(stage: stages.Stage) -> stages.Result:
    """The cable to the database is pulled, and plugged in again."""
    why = namespace.why_not()
    if stage.engine.name != 'podman':
        why = 'needs podman, which runs in a network namespace'
    if why:
        raise stages.NotRun(why)
    name = f'kcrdb-{uuid.uuid4().hex[:8]}'
    with (
        namespace.namespace(name) as cable,
        stage.link(listen=namespace.DATABASE_OUTSIDE) as link,
        stage.new_database() as url,
        keystones.volume(stage.engine) as volume,
    ):
        keystone = stage.keystone(
            stage.url_by(link, url, namespace.DATABASE_OUTSIDE), volume,
            engine=keystones.InNamespace(stage.engine, name),
            host=namespace.CLIENTS_INSIDE,
        )
        with keystone:
            with stage.load(keystone) as load:
                moment = time.monotonic()
                cable.cut()
                time.sleep(stage.pause)
                cable.heal()
            return stages.result(
                load, moment, note=f'{stage.pause:.0f} s long'
            )


def keystone_killed(stage: stages.Stage) -> stages.Result:
    """A Keystone is killed under load and started again."""
    keystone, _ = stage.shared()
    with stage.load(keystone) as load:
        moment = time.monotonic()
        keystone.kill()
        keystone.start()
        keystone.wait()
    return stages.result(load, moment)


def _same_admin(keystone: keystones.Keystone) -> dict[str, str]:
    """Return the settings by which another one knows the admin."""
    return {'KEYSTONE_ADMIN_PASSWORD': keystone.password}


def _killed_at_start(
    stage: stages.Stage,
    reached: collections.abc.Callable[[psycopg.Connection], object],
) -> stages.Result:
    """Kill a Keystone that starts on an empty database, and start another.

    :param reached: called with a connection; whether to kill it now
    """
    with (
        stage.new_database() as url,
        keystones.volume(stage.engine) as volume,
    ):
        text = url.render_as_string(hide_password=False)
        first = stage.keystone(text, volume)
        first.start()
        with databases.connect(url) as connection:
            _until(lambda: reached(connection), 'the moment to kill')
        moment = time.monotonic()
        first.kill()
        with stage.keystone(
            text, volume, settings=_same_admin(first)
        ) as second:
            up = time.monotonic() - moment
            with stage.load(second) as load:
                pass
            found = stages.result(
                load, moment, note=f'served {up:.0f} s after the kill'
            )
        return dataclasses.replace(found, seconds=up)


def _count(connection: psycopg.Connection, statement: str) -> int:
    """Return a number, 0 while its table is not there."""
    try:
        row = connection.execute(statement).fetchone()
        return row[0] if row else 0
    except psycopg.errors.UndefinedTable:
        return 0


def killed_in_db_sync(stage: stages.Stage) -> stages.Result:
    """A Keystone is killed while it makes the schema; the next goes on."""
    return _killed_at_start(
        stage,
        lambda connection: _count(
            connection,
            'SELECT count(*) FROM information_schema.tables '
            "WHERE table_name IN ('credential', 'group', 'policy')",
        ),
    )


def killed_in_bootstrap(stage: stages.Stage) -> stages.Result:
    """A Keystone is killed while it bootstraps; the next goes on."""
    return _killed_at_start(
        stage,
        lambda connection: _count(connection, 'SELECT count(*) FROM role'),
    )


def key_volume_full(stage: stages.Stage) -> stages.Result:
    """The disk of the keys is full: at the start, and at a rotation."""
    wrong = []
    with stage.new_database() as url:
        text = url.render_as_string(hide_password=False)
        # One page: there is room for one key, and none for the second.
        start = _on_small_disk(stage, text, '4k')
        start.start()
        status = start.ended(_LIMIT)
        start.stop()
        if status == 0 or 'No space left' not in start.output():
            wrong.append('a start on a full disk does not say so')
        # Room for the four keys that there are, and no more.
        with _on_small_disk(stage, text, '16k') as keystone:
            moment = time.monotonic()
            with stage.load(keystone) as load:
                try:
                    keystone.run('rotate-keys')
                    wrong.append('a rotation on a full disk succeeds')
                except errors.Failure:
                    pass
            return stages.result(load, moment, wrong)


def _on_small_disk(
    stage: stages.Stage, url: str, size: str
) -> keystones.Keystone:
    options = ['--tmpfs', f'/keys:rw,size={size},mode=0777']
    for group, folder in (
        ('FERNET_TOKENS', 'fernet'),
        ('FERNET_RECEIPTS', 'fernet'),
        ('CREDENTIAL', 'credential'),
    ):
        options += ['--env', f'OS_{group}__KEY_REPOSITORY=/keys/{folder}']
    return stage.container(url, options=options)


def certificates_expired(stage: stages.Stage) -> stages.Result:
    """The database's certificate expires under load, and is renewed."""
    wrong = []
    # The front door has no cryptography, and names the scenarios.
    from keystone_crdb.checks.faults import certificates

    folder = stage.folder / 'certificates'
    folder.mkdir()
    authority = certificates.Authority(folder)
    shared = folder / 'shared'
    shared.mkdir()
    shutil.copy(authority.certificate, shared)
    for path in (folder, shared):
        path.chmod(0o755)
    query = {'sslmode': 'verify-full', 'sslrootcert': '/certs/ca.crt'}
    mount = ('--volume', f'{shared}:/certs:ro,Z')
    with (
        stage.new_database() as url,
        stage.link(tls=authority.context(5)) as link,
    ):
        text = stage.url_by(link, url, **query)
        with keystones.volume(stage.engine) as volume:
            options = (*mount, *keystones.mounted(volume))
            keystone = stage.container(text, options=options)
            with keystone:
                with stage.load(keystone) as load:
                    moment = time.monotonic()
                    link.tls = authority.context(-1)
                    link.drop()
                    late = stage.container(text, options=options)
                    late.start()
                    status = late.ended(_LIMIT)
                    late.stop()
                    if status == 0 or 'expired' not in late.output():
                        wrong.append(
                            'a start with an expired certificate does not '
                            'say so'
                        )
                    link.tls = authority.context(6)
                return stages.result(load, moment, wrong)


#: In the order of a run; those that share a Keystone come first.
ALL: tuple[Scenario, ...] = (
    database_restarted,
    database_paused,
    commit_cut,
    keystone_killed,
    rolling.replicas_replaced,
    killed_in_db_sync,
    killed_in_bootstrap,
    key_volume_full,
    certificates_expired,
    host_silent_at_start,
    host_silent_under_load,
    caches.cache_killed,
    caches.cache_frozen,
    caches.cache_cut,
    network_cut,
    node_killed,
    node_drained,
    node_paused,
)


def name(scenario: Scenario) -> str:
    """Return a scenario's name, as one types it."""
    return scenario.__name__.replace('_', '-')
