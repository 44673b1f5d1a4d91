# SPDX-License-Identifier: Apache-2.0
"""What the API of an image has: its routes, with their schemas."""

from __future__ import annotations

import dataclasses
import json
import re
import typing

from keystone_crdb.images import engine as engines

#: JSON Schema, as Keystone has it.
Schema = dict[str, typing.Any]

# Run in the image. A handler's decorators keep the schemas, one each.
_EXPORT = """
import json
from keystone.server.flask import application

found = []
app = application.application_factory()
for rule in app.url_map.iter_rules():
    view = getattr(app.view_functions[rule.endpoint], 'view_class', None)
    for method in sorted(rule.methods - {'HEAD', 'OPTIONS'}):
        handler = getattr(view, method.lower(), None)
        schemas = {}
        while handler is not None:
            for part in ('body', 'query'):
                schema = getattr(handler, f'_request_{part}_schema', None)
                if schema is not None:
                    schemas[part] = schema
            handler = getattr(handler, '__wrapped__', None)
        found.append({'method': method, 'rule': rule.rule, **schemas})
print(json.dumps(found))
"""

_PARAMETER = re.compile(r'<(?:\w+:)?(\w+)>')


@dataclasses.dataclass(frozen=True)
class Route:
    """A method of a path.

    :param rule: the path, with its parameters as <string:NAME>
    :param body: schema of the request's body, where Keystone declares one
    :param query: likewise of the query
    """

    method: str
    rule: str
    body: Schema = dataclasses.field(default_factory=dict)
    query: Schema = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return it as one writes it, such as GET /v3/users/<user_id>."""
        rule = _PARAMETER.sub(r'<\1>', self.rule)
        return f'{self.method} {rule}'

    @property
    def parameters(self) -> list[str]:
        """Return the names of what the path has."""
        return _PARAMETER.findall(self.rule)

    def path(self, values: dict[str, str]) -> str:
        """Return the path with values, which are quoted already."""
        return _PARAMETER.sub(lambda found: values[found[1]], self.rule)


def read(engine: engines.Engine, image: str) -> list[Route]:
    """Ask an image which routes it has.

    :param image: its reference
    :raises Failure: when the image can't say
    """
    text = engine.call(
        'run', '--rm', '--network', 'none', *engines.LIMITS,
        '--entrypoint', 'python3', image, '-c', _EXPORT,
    )  # fmt: skip
    return [Route(**each) for each in json.loads(text)]
