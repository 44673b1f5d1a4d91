# SPDX-License-Identifier: Apache-2.0
"""What gates a change: each check is a module of one shape.

Its docstring says what it checks, `add_arguments(parser)` declares its
options, and `run(args)` returns whether the check has passed; a Failure is
what stops it. CHECKS has all of them, and TOOLS what has the same shape but
gates nothing.
"""

import argparse
import dataclasses
import importlib
import shlex
import types

from keystone_crdb import commands


@dataclasses.dataclass(frozen=True)
class Check:
    """A check, or a tool, and its tox environment of the same name.

    :param module: its module in this package; None for the programs of
        others, which tox.ini calls
    :param needs: what has to be made before, names of gate.NEEDS
    :param given: options that it always has
    :param gates: whether each change has to pass it
    :param beside: whether the gate runs others at the same time: it measures
        no time, leaves CPUs idle, and writes nothing that another one reads
    :param summary: where it is not the first line of its module's docstring
    :param takes: which options the programs of others have
    :param verb: of ./build.sh
    """

    name: str
    module: str | None = None
    needs: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    gates: bool = False
    beside: bool = False
    summary: str = ''
    takes: str = 'nothing'
    verb: str = 'check'

    def load(self) -> types.ModuleType:
        """Import its module."""
        return importlib.import_module(f'keystone_crdb.{self.module}')

    def title(self) -> str:
        """Return in a line what it checks."""
        return self.summary or (self.load().__doc__ or '').splitlines()[0]

    def typed(self) -> str:
        """Return what is typed to run it without options."""
        return f'./build.sh {self.verb} {self.name}'

    def parser(self) -> argparse.ArgumentParser:
        """Return a parser of its options."""
        if self.module:
            module = self.load()
            parser = commands.parser(self.typed(), module.__doc__)
            module.add_arguments(parser)
            return parser
        return commands.parser(
            self.typed(), f'{self.summary} It takes {self.takes}.'
        )

    def parse(self, words: list[str]) -> argparse.Namespace:
        """Read its options.

        :returns: the options; as `check` its name, and as `command` what was
            typed
        """
        parser = self.parser()
        args, others = parser.parse_known_args([*self.given, *words])
        if others and (self.module or self.takes == 'nothing'):
            parser.error(f'it has no {" ".join(others)}')
        args.check = self.name
        args.command = ' '.join([self.typed(), *map(shlex.quote, words)])
        return args


_STESTR = 'the options of `stestr run`, and a REGEX that selects tests'

#: In the order in which CI's are started.
CHECKS = (
    Check(
        'pep8', gates=True, beside=True,
        summary='Style of code, types, shell and documents.',
    ),
    Check(
        'docs', gates=True, beside=True,
        summary='Build the documents in build/docs; a warning is an error.',
    ),
    Check(
        'unit', needs=('source', 'tools of alerts'), gates=True, beside=True,
        takes=_STESTR,
        summary='Test the tools, without a database or a container engine.',
    ),
    Check('series', 'checks.series', ('source',), gates=True, beside=True),
    Check(
        'statements', 'checks.statements', ('source', 'database'),
        gates=True, beside=True,
    ),
    Check(
        'oslo.db', 'checks.oslo_db', ('source', 'database'),
        gates=True, beside=True,
    ),
    Check(
        'postgresql', 'checks.postgresql', ('source', 'database'),
        gates=True, beside=True,
    ),
    Check(
        'moves', 'checks.moves.check', ('source', 'database', 'MariaDB'),
        gates=True, beside=True,
    ),
    Check(
        'migrations-short', 'checks.migrations', ('source', 'database'),
        given=('--short',), gates=True, beside=True,
        summary="Run Keystone's quick tests of db_sync on the oldest release.",
    ),
    Check(
        'retries-short', 'checks.retries.check', ('source',),
        given=('--short',), gates=True,
        summary='Run the tests of the SQL backends while transactions fail.',
    ),
    Check(
        'functional',
        needs=('image', 'database', 'tools of faults', 'tools of federation'),
        gates=True, takes=_STESTR,
        summary='Test the stand-in, the image and the served token.',
    ),
    Check(
        'keystone-image', 'checks.suite_image', ('test image', 'database'),
        gates=True,
    ),
    Check(
        'faults', 'checks.faults.check',
        ('image', 'database', 'tools of faults'), gates=True,
    ),
    Check(
        'attack-short', 'checks.attack.check',
        ('image', 'database', 'tools of faults'),
        given=('--short',), gates=True,
        summary='Attack the image in the form that CI has the time for.',
    ),
    Check(
        'tempest-short', 'checks.tempest', ('image', 'database'),
        given=('--short',), gates=True,
        summary="Run those of Tempest's tests that CI has the time for.",
    ),
    Check(
        'rally-short', 'checks.rally', ('image', 'database'),
        given=('--short', '--times', '2'), gates=True,
        summary="Run those of Rally's scenarios that CI has the time for.",
    ),
    Check('keystone', 'checks.suite', ('source', 'database')),
    Check('migrations', 'checks.migrations', ('source', 'database')),
    Check('retries', 'checks.retries.check', ('source',)),
    Check('proof', 'checks.proof', ('source',)),
    Check('tempest', 'checks.tempest', ('image', 'database')),
    Check('rally', 'checks.rally', ('image', 'database')),
    Check(
        'attack', 'checks.attack.check',
        ('image', 'database', 'tools of faults'),
    ),
    Check('contention', 'checks.contention', ('source', 'database')),
    Check('cold-starts', 'checks.cold_starts', ('source', 'database')),
    Check('revocations', 'checks.revocations', ('source', 'database')),
    Check('regions', 'checks.regions', ('source', 'database')),
    Check('listings', 'checks.listings', ('source', 'database')),
    Check('wan', 'checks.wan', ('source', 'database', 'MariaDB')),
    Check('soak', 'checks.soak', ('source', 'database')),
    Check('answers', 'checks.answers.check', ('source',)),
    Check(
        'services', 'checks.services.check', ('source', 'database', 'MariaDB')
    ),
    Check('reproducible', 'checks.reproducible', ('image',)),
)

#: What measures once, and gates nothing.
TOOLS = (
    Check(
        'contended-counter', 'tools.contended_counter',
        ('source', 'database'), verb='tool',
    ),
    Check(
        'moves-bench', 'tools.moves_bench',
        ('source', 'database', 'MariaDB', 'tools of moves-bench'),
        verb='tool',
    ),
    Check('waits', 'tools.waits', ('source',), verb='tool'),
    Check(
        'suite-bench', 'tools.suite_bench', ('source', 'database'),
        verb='tool',
    ),
    Check(
        'throughput', 'tools.throughput',
        ('source', 'database', 'tools of faults'), verb='tool',
    ),
)


def find(name: str) -> Check:
    """Return the check or the tool of a name."""
    return next(each for each in (*CHECKS, *TOOLS) if each.name == name)
