# SPDX-License-Identifier: Apache-2.0
"""How long a Keystone may go on with what another region has changed.

A Keystone that revokes a token, disables a user or removes a role invalidates
its own cache. If another region has a cache of its own, that one keeps what it
has until it expires. Entries are made from others, so that the times add up.
"""

import typing

#: Seconds after which each region has to refuse what another one has removed.
BOUND = 60

#: What may be in the cache and decides about a token or a login, each with how
#: many entries of it may be made from one another. Other groups, such as the
#: catalog, decide nothing.
DEPTHS = {
    'token': 1,
    'identity': 1,
    'resource': 2,
    'role': 2,
    'application_credential': 1,
    'credential': 1,
}

#: It keeps nothing from one request to the next.
_NULL = 'dogpile.cache.null'


class Lag(typing.NamedTuple):
    """What a configuration leads to.

    :param revocation: seconds until a revoked token is refused, and each token
        that a user got before he was disabled or deleted or changed his
        password
    :param other: seconds until all others are: those whose role, project or
        domain was removed or disabled, and those that a user got from this
        region after another one had disabled him
    """

    revocation: float
    other: float


def lag(environ: dict[str, str]) -> Lag:
    """Work out for how long the caches of regions may differ.

    :param environ: of the processes that serve
    :raises Problem: when the configuration can't be read
    """
    # Who reads DEPTHS alone has no oslo.config.
    from keystone_crdb_image import configuration

    values = configuration.values(
        environ,
        [('cache', 'enabled'), ('cache', 'backend'),
         ('cache', 'expiration_time'), ('revoke', 'caching'),
         *((group, 'caching') for group in DEPTHS),
         *((group, 'cache_time') for group in DEPTHS)],
    )  # fmt: skip
    if not values['cache', 'enabled'] or values['cache', 'backend'] == _NULL:
        return Lag(0, 0)

    def seconds(group: str) -> float:
        if not values[group, 'caching']:
            return 0
        time = values[group, 'cache_time']
        if time is None:
            time = values['cache', 'expiration_time']
        return float(time) if time >= 0 else float('inf')

    return Lag(
        seconds('token') if values['revoke', 'caching'] else 0,
        sum(seconds(group) * depth for group, depth in DEPTHS.items()),
    )


def finding(environ: dict[str, str]) -> tuple[str, str]:
    """Judge a configuration of several regions with caches of their own.

    :returns: ok or FAILED, and a line
    :raises Problem: when the configuration can't be read
    """
    found = lag(environ)
    if found.revocation:
        return 'FAILED', (
            'a token that another region has revoked is accepted for '
            f'{found.revocation:g} s more: set OS_REVOKE__CACHING=false'
        )
    if found.other > BOUND:
        return 'FAILED', (
            'a role that another region has removed counts for up to '
            f'{found.other:g} s more, and {BOUND} s are the most: set '
            'OS_CACHE__EXPIRATION_TIME and the cache_time of '
            f'{", ".join(f"[{group}]" for group in DEPTHS)} to less'
        )
    return 'ok', (
        'a token that another region has revoked is refused at once, and one '
        f'whose role was removed there within {found.other:g} s'
    )
