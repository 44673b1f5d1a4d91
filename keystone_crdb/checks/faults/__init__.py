# SPDX-License-Identifier: Apache-2.0
"""Faults under load: no acknowledged write may be lost.

link
    the way to the database, which can be cut
namespace
    a network namespace whose cable can be pulled
certificates
    certificates of the database, also expired ones
keystone
    containers of the image, which can be killed
balancer
    haproxy before several of them
caches
    servers of a cache, which can be killed or stopped, and two scenarios
stage
    what the scenarios share: database, link, image, and the load under which
    a fault happens
scenarios
    the faults, one function each
"""
