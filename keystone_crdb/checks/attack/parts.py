# SPDX-License-Identifier: Apache-2.0
"""What each part of the attack gets."""

import dataclasses
import pathlib

from keystone_crdb.databases import database as databases
from keystone_crdb.images import engine as engines


@dataclasses.dataclass(frozen=True)
class Context:
    """What is attacked, and how much.

    :param image: reference of the image
    :param database: the server, where a part makes databases of its own
    :param folder: scratch, which is removed at the end
    :param short: whether it is the form that fits into CI's time
    """

    engine: engines.Engine
    image: str
    database: databases.Database
    folder: pathlib.Path
    short: bool
