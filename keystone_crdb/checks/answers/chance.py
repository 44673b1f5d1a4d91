# SPDX-License-Identifier: Apache-2.0
"""Chance that two processes share."""

import collections.abc
import hashlib
import itertools
import sys

_OF_REQUEST_IDS = 'oslo_context.context'


class Derived:
    """Random bytes that are the same whenever the request is.

    Who asks counts too: a module that asks once more than it did changes only
    what it gets itself.
    """

    def __init__(self) -> None:
        self.begin('start')

    def begin(self, request: str) -> None:
        """Go on to a request."""
        self._request = request
        self._counters: dict[str, collections.abc.Iterator[int]] = (
            collections.defaultdict(itertools.count)
        )

    def urandom(self, size: int) -> bytes:
        """Return bytes."""
        module = self._module()
        number = next(self._counters[module])
        text = f'{self._request} {module} {number}'
        return hashlib.shake_256(text.encode()).digest(size)

    def _module(self) -> str:
        """Name the module of Keystone that asks, or the outermost one.

        oslo.context asks for the ID of a request, which modules of Keystone
        may be on the way to and need not be.
        """
        frame = sys._getframe(2)
        while frame.f_back:
            name = frame.f_globals['__name__']
            if name.startswith('keystone.') or name == _OF_REQUEST_IDS:
                return name
            frame = frame.f_back
        return frame.f_globals['__name__']
