# SPDX-License-Identifier: Apache-2.0
"""Whether two Keystones give the same answers."""

import collections.abc
import json
import typing

#: Status and text of answers, by the names of the requests.
Answers = collections.abc.Mapping[str, tuple[int, str]]

#: What is another in each token that is issued.
_OF_TOKENS = frozenset({'audit_ids', 'expires_at', 'issued_at'})


def _plain(value: typing.Any, left_out: frozenset[str]) -> typing.Any:
    """Return a value whose lists are sorted, as Keystone sorts none."""
    if isinstance(value, dict):
        return {
            key: _plain(one, left_out)
            for key, one in value.items()
            if key not in left_out
        }
    if isinstance(value, list):
        return sorted(
            (_plain(one, left_out) for one in value),
            key=lambda one: json.dumps(one, sort_keys=True),
        )
    return value


def plain(
    name: str, text: str, spell: collections.abc.Mapping[str, str]
) -> typing.Any:
    """Return a body as it compares.

    :param name: of the request; `token:` begins that of a login
    :param spell: spellings of references, by those of their parents
    """
    for parent, reference in spell.items():
        text = text.replace(f'"{reference}"', f'"{parent}"')
    left_out = _OF_TOKENS if name.startswith('token:') else frozenset()
    return _plain(json.loads(text), left_out) if text.strip() else None


def differing(
    before: Answers, after: Answers, spell: collections.abc.Mapping[str, str],
) -> list[str]:
    """Return the names of the requests that were answered otherwise.

    :param spell: see plain()
    """
    return sorted(
        name
        for name in before.keys() | after.keys()
        if name not in before
        or name not in after
        or before[name][0] != after[name][0]
        or plain(name, before[name][1], spell)
        != plain(name, after[name][1], spell)
    )
