# SPDX-License-Identifier: Apache-2.0
import sys

from keystone_crdb import cli

sys.exit(cli.main())
