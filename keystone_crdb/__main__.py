# SPDX-License-Identifier: Apache-2.0
import os
import sys

from keystone_crdb import cli
from keystone_crdb import commands

try:
    ended = cli.main()
    sys.stdout.flush()
except BrokenPipeError:
    # Or else the interpreter would try to write the rest when it ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    ended = commands.UNREAD
sys.exit(ended)
