# SPDX-License-Identifier: Apache-2.0
"""Attacks on the image: each part is a module with a function `attack`."""
