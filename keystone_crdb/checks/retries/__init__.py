# SPDX-License-Identifier: Apache-2.0
"""Proofs that Keystone survives serialization failures."""
