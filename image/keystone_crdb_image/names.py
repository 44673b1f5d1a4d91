# SPDX-License-Identifier: Apache-2.0
"""Variables that are no settings of the image, though their names say so."""

import collections.abc
import difflib
import re

from keystone_crdb_image import errors

#: What Kubernetes sets by itself for services whose names begin with
#: "keystone".
_SERVICE_LINK = re.compile(
    r'KEYSTONE_(\w+_)?'
    r'(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)'
)
_SERVICE_PORT = re.compile(r'KEYSTONE_(\w+_)?PORT')

#: How alike two names are, of which one may be meant by the other.
_NEAR = 0.75

#: What this project's own programs pass to one another.
_INTERNAL = 'KEYSTONE_CRDB_'


def _is_service_link(name: str, value: str) -> bool:
    if _SERVICE_LINK.fullmatch(name):
        return True
    return bool(_SERVICE_PORT.fullmatch(name)) and '://' in value


def nearest(name: str, known: collections.abc.Iterable[str]) -> str:
    """Ask whether another name was meant, or return ''."""
    near = difflib.get_close_matches(name, list(known), 1, _NEAR)
    return f': did you mean {near[0]}?' if near else ''


def check(
    environ: dict[str, str],
    known: collections.abc.Iterable[str],
) -> None:
    """Refuse what looks like a setting of the image and is none.

    :param known: the names of the settings
    :raises Problem: naming it, and the setting whose name is nearest
    """
    for name, value in sorted(environ.items()):
        if (
            name.startswith('KEYSTONE_')
            and not name.startswith(_INTERNAL)
            and name not in known
            and not _is_service_link(name, value)
        ):
            raise errors.Problem(
                f'{name} is no setting of this image{nearest(name, known)}'
            )
