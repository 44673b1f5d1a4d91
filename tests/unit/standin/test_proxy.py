# SPDX-License-Identifier: Apache-2.0
import asyncio
import struct
from unittest import mock

import testtools

from keystone_crdb.standin import proxy
from keystone_crdb.standin import releases
from keystone_crdb.standin import tls
from keystone_crdb.standin import wire

SSL_REQUEST = struct.pack('!II', 8, wire.SSL_REQUEST)


class StartupTest(testtools.TestCase):
    def setUp(self):
        super().setUp()
        self.context = mock.Mock()
        self.client = proxy.Client(
            proxy.Proxy(
                '/socket', mock.Mock(), releases.ALL[releases.OLDEST],
                self.context,
            )
        )
        self.transport = mock.Mock(spec=asyncio.Transport)
        self.client.connection_made(self.transport)

    def test_tls(self):
        self.client.receive(SSL_REQUEST)
        self.transport.write.assert_called_once_with(b'S')
        self.assertIsInstance(self.client.transport, tls.Transport)

    def test_tls_within_tls_is_refused(self):
        self.client.receive(SSL_REQUEST)
        with mock.patch.object(tls.Transport, 'write') as write:
            self.client.receive(SSL_REQUEST)
        write.assert_called_once_with(b'N')
        self.context.wrap_bio.assert_called_once()
