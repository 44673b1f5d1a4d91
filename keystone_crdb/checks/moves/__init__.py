# SPDX-License-Identifier: Apache-2.0
"""Moving Keystone's rows from one database to another, on real ones."""
