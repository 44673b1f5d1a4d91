# SPDX-License-Identifier: Apache-2.0
"""What measures once: nothing gates by these, and no other room has them."""
