# SPDX-License-Identifier: Apache-2.0
"""The settings of the container, from its environment.

What upstream has no name for is called KEYSTONE_*, see `NAMES`; every option
of Keystone is oslo.config's OS_<GROUP>__<OPTION>, which goes before a mounted
/etc/keystone/keystone.conf. A secret may come from a file instead: the name
with _FILE behind it holds the file's path.

The result is handed to Keystone by os.environ, so that no file and no command
line holds a secret.
"""

import dataclasses
import ipaddress
import os
import pathlib
import re
import typing
import urllib.parse

from oslo_config import cfg
import sqlalchemy
from sqlalchemy import exc

from keystone_crdb_image import errors
from keystone_crdb_image import limits
from keystone_crdb_image import listen
from keystone_crdb_image import log
from keystone_crdb_image import names
from keystone_crdb_image import parsing
from keystone_crdb_image import regions as regions_module
from keystone_crdb_image import urls

#: The volume: keys, and what an evaluation on SQLite leaves.
STATE = pathlib.Path('/var/lib/keystone')

#: Setting and default; None is "not set".
NAMES = {
    'KEYSTONE_ADMIN_PASSWORD': None,
    'KEYSTONE_ADMIN_PROJECT': 'admin',
    'KEYSTONE_ADMIN_USERNAME': 'admin',
    'KEYSTONE_DATABASE_PASSWORD': None,
    'KEYSTONE_DATABASE_URL': None,
    'KEYSTONE_DATABASE_WAIT': '60',
    'KEYSTONE_DB_SYNC': 'true',
    'KEYSTONE_DB_SYNC_PASSWORD': None,
    'KEYSTONE_DB_SYNC_URL': None,
    'KEYSTONE_DRAIN': '30',
    'KEYSTONE_INTERNAL_URL': None,
    'KEYSTONE_LISTEN': listen.DEFAULT,
    'KEYSTONE_LOG_FORMAT': 'text',
    'KEYSTONE_METRICS_LISTEN': None,
    'KEYSTONE_NEW_KEYS': 'false',
    'KEYSTONE_NOTICE': '5',
    'KEYSTONE_PROCESSES': None,
    'KEYSTONE_PUBLIC_URL': None,
    'KEYSTONE_REGION': 'RegionOne',
    'KEYSTONE_REQUEST_LIMIT': '60',
    'KEYSTONE_STATEMENT_COMMENTS': 'false',
    'KEYSTONE_THREADS': '1',
    'KEYSTONE_TRUSTED_PROXIES': None,
    **regions_module.NAMES,
}

#: The settings of the bootstrap by keystone-manage's names of them.
_BOOTSTRAP = {
    'OS_BOOTSTRAP_USERNAME': 'KEYSTONE_ADMIN_USERNAME',
    'OS_BOOTSTRAP_PROJECT_NAME': 'KEYSTONE_ADMIN_PROJECT',
    'OS_BOOTSTRAP_REGION_ID': 'KEYSTONE_REGION',
    'OS_BOOTSTRAP_PASSWORD': 'KEYSTONE_ADMIN_PASSWORD',
}

#: Names that may have _FILE behind them. Options as [DEFAULT]log_file end in
#: "file" themselves, so of oslo.config's only secrets are looked for.
_SECRET = re.compile(
    r'KEYSTONE_(ADMIN_PASSWORD|(DATABASE|DB_SYNC)_(PASSWORD|URL))'
    r'|OS_\w+__\w*(CONNECTION|PASSWORD|SECRET|TRANSPORT_URL)'
)

#: The largest of all numbers; more seconds or processes are a mistake.
_MOST = 100_000

#: Names that say where a database is; an evaluation has none of them.
_DATABASE = re.compile(r'KEYSTONE_(DATABASE|DB)_\w+|OS_DATABASE__\w+')

#: The options that are looked up before Keystone itself is loaded: the
#: group, the option, and what it is when neither the environment nor a
#: keystone.conf says.
_OPTIONS = (
    ('database', 'connection', None),
    ('fernet_tokens', 'key_repository', str(STATE / 'fernet-keys')),
    ('fernet_tokens', 'max_active_keys', '3'),
    ('fernet_receipts', 'key_repository', str(STATE / 'fernet-keys')),
    ('credential', 'key_repository', str(STATE / 'credential-keys')),
    ('federation', 'assertion_prefix', 'HTTP_OIDC_'),
)

#: What the variables of WSGI that have a federated user's attributes begin
#: with: headers of some name, as nothing else comes through the front.
_ASSERTIONS = re.compile('HTTP_([A-Z0-9_]+)')


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the entrypoint goes by.

    :param environ: the environment that Keystone's processes get; without
        the admin's password
    :param bootstrap: what `keystone-manage bootstrap` gets besides
    :param database: the database's URL
    :param db_sync_database: the same database's, as who may change its schema
    :param regions: those of the database, None where none are set
    :param database_wait: seconds to wait for the database
    :param evaluation: whether no database was given
    :param db_sync: whether `serve` brings the schema up
    :param new_keys: whether keys may be made for a database that was
        bootstrapped with others
    :param drain: seconds that requests get to finish in
    :param notice: seconds to go on for after SIGTERM, for balancers
    :param host: address to listen on
    :param port: port to listen on
    :param json_logs: whether each line of the log is JSON
    :param metrics: address and port of the metrics, None without them
    :param processes: processes that serve
    :param threads: threads in each of them
    :param request_limit: seconds after which a request is ended
    :param statement_comments: whether statements name their request
    :param trusted_proxies: networks whose X-Forwarded-* headers count, and
        those of federated users
    :param assertions: how the headers of federated users begin
    :param fernet_keys: folder of the keys of tokens
    :param receipt_keys: folder of the keys of receipts
    :param credential_keys: folder of the keys of stored credentials
    """

    environ: dict[str, str] = dataclasses.field(repr=False)
    bootstrap: dict[str, str] = dataclasses.field(repr=False)
    database: sqlalchemy.engine.URL
    db_sync_database: sqlalchemy.engine.URL
    regions: regions_module.Wanted | None
    database_wait: int
    evaluation: bool
    db_sync: bool
    new_keys: bool
    drain: int
    notice: int
    host: str
    port: int
    json_logs: bool
    metrics: tuple[str, int] | None
    processes: int
    threads: int
    request_limit: int
    statement_comments: bool
    trusted_proxies: tuple[str, ...]
    assertions: str
    fernet_keys: pathlib.Path
    receipt_keys: pathlib.Path
    credential_keys: pathlib.Path


def read_secret_files(environ: dict[str, str]) -> dict[str, str]:
    """Replace every secret's NAME_FILE by NAME and the file's content.

    :raises Problem: naming the setting
    """
    result = {}
    for name, value in environ.items():
        secret = name.removesuffix('_FILE')
        if secret == name or not _SECRET.fullmatch(secret):
            result[name] = value
            continue
        if secret in environ:
            raise errors.Problem(f'set {secret} or {name}, not both')
        try:
            content = pathlib.Path(value).read_text().rstrip('\r\n')
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, 'strerror', None) or 'not text'
            raise errors.Problem(f'{name}: {value}: {reason}') from error
        if not content.strip():
            raise errors.Problem(f'{name}: {value} is empty')
        if '\0' in content:
            raise errors.Problem(f'{name}: {value} has a NUL character')
        # oslo.config substitutes $name in values.
        result[secret] = (
            content.replace('$', '$$') if secret[:3] == 'OS_' else content
        )
    return result


def separate(environ: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Tell the secrets of an environment from the rest.

    :returns: those that are secret by their names, and the others
    """
    secret = {name for name in environ if _SECRET.fullmatch(name)}
    return (
        {name: environ[name] for name in secret},
        {name: environ[name] for name in environ.keys() - secret},
    )


def _refuse_no_text(environ: dict[str, str]) -> None:
    """Refuse settings without a value, and what is not text.

    :raises Problem: naming the setting
    """
    for name, value in sorted(environ.items()):
        if name.startswith(('KEYSTONE_', 'OS_')) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise errors.Problem(f'{name} is not UTF-8 text') from error
        setting = name.removesuffix('_FILE')
        if not value.strip() and (
            setting in NAMES or _SECRET.fullmatch(setting)
        ):
            raise errors.Problem(
                f'{name} is empty: give it a value, or do not set it'
            )


def _number(values: dict[str, str | None], name: str, least: int) -> int:
    number: int | None
    try:
        number = int(values[name] or '')
    except ValueError:
        number = None
    if number is None or not least <= number <= _MOST:
        raise errors.Problem(
            f'{name} is a whole number from {least} to {_MOST}, not '
            f'{values[name]!r}'
        )
    return number


def _flag(values: dict[str, str | None], name: str) -> bool:
    words = {
        '1': True, 'true': True, 'yes': True, 'on': True,
        '0': False, 'false': False, 'no': False, 'off': False,
    }
    try:
        return words[(values[name] or '').lower()]
    except KeyError as error:
        raise errors.Problem(
            f'{name} is true or false, not {values[name]!r}'
        ) from error


def _listen(values: dict[str, str | None], name: str) -> tuple[str, int]:
    try:
        return listen.parse(values[name] or '')
    except ValueError as error:
        raise errors.Problem(
            f'{name} is ADDRESS:PORT such as 0.0.0.0:5000 or '
            f'[::]:5000, not {values[name]!r}'
        ) from error


def _metrics(
    values: dict[str, str | None], port: int
) -> tuple[str, int] | None:
    """Return where to serve metrics.

    :param port: the one that clients use
    :raises Problem: when it is no address, or the clients' port
    """
    name = 'KEYSTONE_METRICS_LISTEN'
    if values[name] is None:
        return None
    found = _listen(values, name)
    if found[1] == port:
        raise errors.Problem(
            f'{name} has the port of KEYSTONE_LISTEN: metrics need one of '
            'their own, as clients must not read them'
        )
    return found


def _has_json_logs(values: dict[str, str | None]) -> bool:
    name = 'KEYSTONE_LOG_FORMAT'
    if values[name] not in ('json', 'text'):
        raise errors.Problem(f'{name} is text or json, not {values[name]!r}')
    return values[name] == 'json'


def _endpoint(values: dict[str, str | None], name: str, default: str) -> str:
    """Return a URL for the catalog, where a client would find it wrong."""
    url = values[name] or default
    try:
        parts = urllib.parse.urlsplit(url)
        right = (
            parts.scheme in ('http', 'https')
            and bool(parts.hostname)
            and parts.port != 0
            and not re.search(r'[\s@?#]', url)
        )
    except ValueError:
        right = False
    if not right:
        raise errors.Problem(
            f'{name} is a URL such as https://keystone.example.org/v3, not '
            f'{url!r}'
        )
    return url


def database_url(
    text: str,
    password: str | None = None,
) -> sqlalchemy.engine.URL:
    """Return the URL of the database, with a driver that the image has.

    :param text: an SQLAlchemy URL
    :param password: one that is not in the URL
    :raises Problem: without quoting the URL, as it may hold a password
    """
    try:
        url = sqlalchemy.make_url(text)
    except (exc.ArgumentError, ValueError) as error:
        raise errors.Problem(
            'the database URL is not of the form cockroachdb+psycopg://'
            'USER:PASSWORD@HOST:26257/DATABASE (characters such as @ : / % '
            'in the password are percent-encoded; several hosts are written '
            '.../DATABASE?host=A:26257&host=B:26257)'
        ) from error
    dialect, _, driver = url.drivername.partition('+')
    if dialect == 'cockroachdb':
        if driver != 'psycopg':
            log.say(
                f'{url.drivername}:// is read as cockroachdb+psycopg://: '
                'psycopg is the driver in this image'
            )
        url = url.set(drivername='cockroachdb+psycopg')
    elif url.drivername in ('postgres', 'postgresql'):
        raise errors.Problem(
            f'the database URL begins with {url.drivername}://, which would '
            'speak to CockroachDB as if it were PostgreSQL: write '
            'cockroachdb+psycopg:// (or postgresql+psycopg:// for a '
            'PostgreSQL server)'
        )
    elif url.drivername not in ('postgresql+psycopg', 'sqlite'):
        raise errors.Problem(
            f'this image does not serve from {url.drivername}://: write '
            'cockroachdb+psycopg:// (the verb import moves the rows)'
        )
    urls.check(url)
    if password is not None:
        url = url.set(password=password)
    return url


def _db_sync_url(
    values: dict[str, str | None],
    url: sqlalchemy.URL,
) -> sqlalchemy.URL:
    """Return the URL that changes of the schema go by.

    :raises Problem: naming the setting
    """
    text = values['KEYSTONE_DB_SYNC_URL']
    password = values['KEYSTONE_DB_SYNC_PASSWORD']
    if text is None:
        if password is not None:
            raise errors.Problem(
                'KEYSTONE_DB_SYNC_PASSWORD is set and KEYSTONE_DB_SYNC_URL '
                'is not: whose password is it?'
            )
        return url
    return database_url(text, password)


def _networks(values: dict[str, str | None], name: str) -> tuple[str, ...]:
    """Return a setting's list of addresses and networks.

    :raises Problem: naming the setting
    """
    found = []
    for word in (values[name] or '').replace(',', ' ').split():
        try:
            found.append(str(ipaddress.ip_network(word)))
        except ValueError as error:
            raise errors.Problem(
                f'{name} has {word}, which is no address and no network '
                'such as 10.0.0.0/8'
            ) from error
    return tuple(found)


def _assertions(prefix: str) -> str:
    """Return how the headers begin that have a federated user's attributes.

    :param prefix: [federation] assertion_prefix
    :raises Problem: when any client's headers would be taken for such
    """
    found = _ASSERTIONS.fullmatch(prefix)
    if found is None:
        raise errors.Problem(
            '[federation] assertion_prefix (OS_FEDERATION__ASSERTION_PREFIX) '
            'is HTTP_ and how the headers begin, such as HTTP_OIDC_, not '
            f'{prefix!r}'
        )
    return found[1].replace('_', '-').lower()


def connection(url: sqlalchemy.engine.URL) -> str:
    """Return a URL as [database]connection has it.

    :returns: with the password; oslo.config substitutes $name in values
    """
    return url.render_as_string(hide_password=False).replace('$', '$$')


def _configured(
    environ: dict[str, str],
) -> tuple[dict[tuple[str, str], typing.Any], bool]:
    """Look up `_OPTIONS`.

    :returns: their values by group and option, and whether there is a
        keystone.conf
    """
    conf = cfg.ConfigOpts()
    for group, name, default in _OPTIONS:
        conf.register_opt(cfg.StrOpt(name, default=default), group)
    with parsing.environment(environ):
        parsing.parse(conf, environ)
        try:
            values = {
                (group, name): getattr(conf[group], name)
                for group, name, _ in _OPTIONS
            }
        except cfg.Error as error:
            raise errors.Problem(f'keystone.conf: {error}') from error
    for (group, name), value in values.items():
        if name == 'key_repository' and not os.path.isabs(value):
            raise errors.Problem(
                f'[{group}] {name} (OS_{group.upper()}__{name.upper()}) is '
                f'the path of a folder from /, not {value!r}'
            )
    return values, bool(conf.config_file or conf.config_dir)


def _database_text(
    given: str | None,
    configured: str | None,
    environ: dict[str, str],
    has_file: bool,
) -> str | None:
    """Return the text of the database's URL.

    :param given: KEYSTONE_DATABASE_URL
    :param configured: [database] connection
    :param environ: the container's
    :param has_file: whether there is a keystone.conf
    :returns: None for an evaluation
    :raises Problem: when a database is meant, and nothing says which
    """
    if text := given or configured:
        return text
    others = sorted(name for name in environ if _DATABASE.fullmatch(name))
    if others or has_file:
        what = f'{others[0]} is set' if others else 'there is a keystone.conf'
        raise errors.Problem(
            f'{what}, but no database: set KEYSTONE_DATABASE_URL (an '
            'evaluation on SQLite has no keystone.conf and no variable of a '
            'database)'
        )
    return None


def read(environ: dict[str, str]) -> Settings:
    """Work out the settings.

    :param environ: the container's environment
    :raises Problem: naming the setting that is wrong
    """
    _refuse_no_text(environ)
    environ = read_secret_files(environ)
    names.check(environ, NAMES)
    values = {
        name: environ.get(name, default) for name, default in NAMES.items()
    }
    configured, has_file = _configured(environ)
    text = _database_text(
        values['KEYSTONE_DATABASE_URL'], configured['database', 'connection'],
        environ, has_file,
    )
    environ = {
        name: value
        for name, value in environ.items()
        if not (name.startswith('KEYSTONE_') and _SECRET.fullmatch(name))
    }
    evaluation = text is None
    if text is None:
        text = f'sqlite:///{STATE / "keystone.sqlite"}'
    url = database_url(text, values['KEYSTONE_DATABASE_PASSWORD'])
    db_sync_url = _db_sync_url(values, url)

    for (group, name), value in configured.items():
        if value is not None:
            environ[f'OS_{group}__{name}'.upper()] = value.replace('$', '$$')
    environ['OS_DATABASE__CONNECTION'] = connection(url)

    json_logs = _has_json_logs(values)
    if json_logs:
        environ.setdefault('OS_DEFAULT__USE_JSON', 'true')
    host, port = _listen(values, 'KEYSTONE_LISTEN')
    public = _endpoint(
        values, 'KEYSTONE_PUBLIC_URL', f'http://localhost:{port}/v3'
    )
    internal = _endpoint(values, 'KEYSTONE_INTERNAL_URL', public)
    bootstrap = {
        'OS_BOOTSTRAP_PUBLIC_URL': public,
        'OS_BOOTSTRAP_INTERNAL_URL': internal,
        'OS_BOOTSTRAP_ADMIN_URL': internal,
    }
    for option, name in _BOOTSTRAP.items():
        if value := values[name]:
            bootstrap[option] = value
    if values['KEYSTONE_PROCESSES'] is None:
        values['KEYSTONE_PROCESSES'] = str(limits.processes())

    return Settings(
        environ=environ,
        bootstrap=bootstrap,
        database=url,
        db_sync_database=db_sync_url,
        regions=regions_module.read(values),
        database_wait=_number(values, 'KEYSTONE_DATABASE_WAIT', 0),
        evaluation=evaluation,
        db_sync=_flag(values, 'KEYSTONE_DB_SYNC'),
        new_keys=_flag(values, 'KEYSTONE_NEW_KEYS'),
        drain=_number(values, 'KEYSTONE_DRAIN', 1),
        notice=_number(values, 'KEYSTONE_NOTICE', 0),
        host=host,
        port=port,
        json_logs=json_logs,
        metrics=_metrics(values, port),
        processes=_number(values, 'KEYSTONE_PROCESSES', 1),
        threads=_number(values, 'KEYSTONE_THREADS', 1),
        request_limit=_number(values, 'KEYSTONE_REQUEST_LIMIT', 1),
        statement_comments=_flag(values, 'KEYSTONE_STATEMENT_COMMENTS'),
        trusted_proxies=_networks(values, 'KEYSTONE_TRUSTED_PROXIES'),
        assertions=_assertions(configured['federation', 'assertion_prefix']),
        fernet_keys=pathlib.Path(
            configured['fernet_tokens', 'key_repository']
        ),
        receipt_keys=pathlib.Path(
            configured['fernet_receipts', 'key_repository']
        ),
        credential_keys=pathlib.Path(
            configured['credential', 'key_repository']
        ),
    )
