# SPDX-License-Identifier: Apache-2.0
"""Whether Keystone can serve with its configuration: names and values."""

import collections.abc
import copy
import dataclasses
import importlib.metadata
import pathlib
import re
import typing

from oslo_config import cfg

from keystone_crdb_image import errors
from keystone_crdb_image import log
from keystone_crdb_image import names
from keystone_crdb_image import parsing

#: The namespaces of upstream's sample of keystone.conf.
NAMESPACES = (
    'keystone',
    'oslo.cache',
    'oslo.db',
    'oslo.log',
    'oslo.messaging',
    'oslo.middleware',
    'oslo.policy',
    'osprofiler',
)

_VARIABLE = re.compile(r'OS_\w+?__\w+')

#: The variables of OpenStack's clients, which may be there by chance.
_OF_CLIENTS = ('OS_AUTH_', 'OS_BOOTSTRAP_')

#: A group has this option when a protocol of federation is called like it.
_OF_PROTOCOLS = 'remote_id_attribute'


@dataclasses.dataclass(frozen=True)
class Findings:
    """What is wrong with a configuration, one line each.

    :param wrong: what Keystone can't serve with, and variables that nothing
        reads
    :param unknown: options of a file that nothing reads
    """

    wrong: list[str]
    unknown: list[str]


class _Options:
    """All options of Keystone and its libraries, parsed.

    :param environ: where variables are looked up
    :raises Problem: when a file can't be read
    """

    def __init__(self, environ: dict[str, str]) -> None:
        self._conf = cfg.ConfigOpts()
        self._environ = environ
        #: The options by group and name, and the names that they had before.
        self.known: dict[tuple[str, str], cfg.Opt] = {}
        self._old: set[tuple[str, str]] = set()
        for namespace in NAMESPACES:
            for entry in importlib.metadata.entry_points(
                group='oslo.config.opts', name=namespace
            ):
                for group, options in entry.load()():
                    for option in options:
                        self._register(group, option)
        parsing.parse(self._conf, environ)
        try:
            self._methods = self.value('auth', 'methods')
        except cfg.Error:
            self._methods = []

    def _register(
        self,
        group: cfg.OptGroup | str | None,
        option: cfg.Opt,
    ) -> None:
        option = copy.copy(option)
        # Who reads an option knows whether it has to be there.
        option.required = False
        name = str(getattr(group, 'name', group) or 'DEFAULT')
        self._conf.register_opt(option, None if name == 'DEFAULT' else group)
        self.known[name, option.dest] = option
        self._old.update(
            (old.group or name, (old.name or option.name).replace('-', '_'))
            for old in option.deprecated_opts
        )

    def value(self, group: str, name: str) -> typing.Any:
        """Return a value.

        :raises cfg.Error: when it is not of the option's type
        """
        if group == 'DEFAULT':
            return getattr(self._conf, name)
        return getattr(getattr(self._conf, group), name)

    def place(self, group: str, name: str) -> str:
        """Say where an option is set."""
        variable = _variable(group, name)
        if variable in self._environ:
            return variable
        return f'[{group}] {name} in keystone.conf'

    def is_dynamic(self, group: str, name: str) -> bool:
        """Find out whether an option is there because of another's value."""
        return name == _OF_PROTOCOLS or (
            group == 'auth' and name in self._methods
        )

    def in_files(self) -> collections.abc.Iterator[tuple[str, str]]:
        """Yield the group and the name of each option that a file sets."""
        files = list(self._conf.config_file or ())
        for folder in self._conf.config_dir or ():
            files += sorted(map(str, pathlib.Path(folder).glob('*.conf')))
        for file in dict.fromkeys(files):
            sections: dict[str, dict[str, list[str]]] = {}
            cfg.ConfigParser(file, sections).parse()
            for section, options in sections.items():
                group = section if section == 'DEFAULT' else section.lower()
                for name in options:
                    yield group, name.replace('-', '_')

    def is_known(self, group: str, name: str) -> bool:
        """Find out whether anything reads an option of a file."""
        place = (group, name)
        return (
            place in self.known
            or place in self._old
            or self.is_dynamic(group, name)
        )


def _variable(group: str, name: str) -> str:
    return f'OS_{group}__{name}'.upper()


def _wrong_values(options: _Options) -> collections.abc.Iterator[str]:
    for (group, name), option in options.known.items():
        place = options.place(group, name)
        if option.multi and place == _variable(group, name):
            yield (
                f'{place} would be read as one value for each character: set '
                f'[{group}] {name} in keystone.conf'
            )
            continue
        try:
            options.value(group, name)
        except (cfg.Error, ValueError) as error:
            _, _, reason = str(error).partition('is not valid: ')
            if option.secret or not reason:
                reason = 'it is not of the type of this option'
            yield f'{place} has a wrong value: {reason}'


def _unknown_variables(
    options: _Options,
    environ: dict[str, str],
) -> collections.abc.Iterator[str]:
    known = {_variable(*place) for place in options.known}
    single = {variable.replace('__', '_'): variable for variable in known}
    for name in sorted(environ):
        if name.startswith(_OF_CLIENTS) and '__' not in name:
            continue
        if name in single:
            yield f'{name} is no option: did you mean {single[name]}?'
        elif _VARIABLE.fullmatch(name) and name not in known:
            group, _, option = name[3:].lower().partition('__')
            if not options.is_dynamic(group, option):
                yield (
                    f'{name} is no option'
                    f'{names.nearest(name.upper(), known)}'
                )


def _unknown_options(options: _Options) -> collections.abc.Iterator[str]:
    for group, name in options.in_files():
        if options.is_known(group, name):
            continue
        hint = names.nearest(
            name, [other for of, other in options.known if of == group]
        ) or names.nearest(group, {of for of, _ in options.known} - {group})
        yield f'[{group}] {name} in keystone.conf is no option{hint}'


def look(environ: dict[str, str]) -> Findings:
    """Look for wrong values and unknown names.

    :param environ: of the processes that serve
    :raises Problem: when a file can't be read
    """
    with parsing.environment(environ):
        options = _Options(environ)
        return Findings(
            [*_wrong_values(options), *_unknown_variables(options, environ)],
            [*_unknown_options(options)],
        )


def values(
    environ: dict[str, str],
    places: collections.abc.Iterable[tuple[str, str]],
) -> dict[tuple[str, str], typing.Any]:
    """Return the values of options by their groups and names.

    :param environ: of the processes that serve
    :raises Problem: when a file can't be read, or a value is wrong
    """
    with parsing.environment(environ):
        options = _Options(environ)
        try:
            return {place: options.value(*place) for place in places}
        except cfg.Error as error:
            raise errors.Problem(f'keystone.conf: {error}') from error


def that_names(file: str, environ: dict[str, str]) -> str | None:
    """Say which option a file was named by.

    :param file: its path
    :param environ: of the processes that serve
    :returns: the variable, or the option of keystone.conf, if there is one
    """
    with parsing.environment(environ):
        options = _Options(environ)
        found = [
            (len(value), options.place(group, name))
            for group, name in options.known
            if isinstance(value := options.value(group, name), str)
            and value.strip('/')
            and (file.endswith(value) or file.startswith(f'{value}/'))
        ]
    return max(found)[1] if found else None


def refuse(environ: dict[str, str]) -> None:
    """End when Keystone could not serve.

    What nothing reads is an error in the environment, which is the
    container's own, and a warning in keystone.conf, which may be shared with
    other programs and releases.

    :param environ: of the processes that serve
    :raises Problem: naming all that is wrong
    """
    findings = look(environ)
    for line in findings.unknown:
        log.say(line)
    if findings.wrong:
        raise errors.Problem('; '.join(findings.wrong))
