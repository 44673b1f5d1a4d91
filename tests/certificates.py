# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests, as `cockroach cert` makes and names them."""

import datetime
import ipaddress
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid

from keystone_crdb.checks.faults import certificates

_DAY = datetime.timedelta(days=1)


def _name(common_name):
    return x509.Name(
        [
            x509.NameAttribute(oid.NameOID.ORGANIZATION_NAME, 'Cockroach'),
            x509.NameAttribute(oid.NameOID.COMMON_NAME, common_name),
        ]
    )


class Authority:
    """A CA, and what it signs.

    :param folder: where files go
    :param name: of the CA's own certificate, without suffix
    """

    def __init__(self, folder: pathlib.Path, name: str = 'ca'):
        self.folder = pathlib.Path(folder)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._issuer = _name(name)
        self._sign(name, self._issuer, self._key, 1, [])

    def _sign(self, name, subject, key, days, extensions):
        end = datetime.datetime.now(datetime.UTC) + days * _DAY
        (self.folder / f'{name}.crt').write_bytes(
            certificates.sign(
                subject, key, self._issuer, self._key, end, extensions
            )
        )

    def create(
        self,
        name: str,
        common_name: str,
        address: str | None = None,
        days: int = 1,
    ):
        """Make a key and its certificate, NAME.key and NAME.crt.

        :param common_name: the user, or node
        :param address: IP address of a node
        :param days: until it expires; negative when it has
        """
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [oid.ExtendedKeyUsageOID.CLIENT_AUTH]
        extensions = []
        if address:
            usages.append(oid.ExtendedKeyUsageOID.SERVER_AUTH)
            extensions.append(
                x509.SubjectAlternativeName(
                    [x509.IPAddress(ipaddress.ip_address(address))]
                )
            )
        self._sign(
            name,
            _name(common_name),
            key,
            days,
            [*extensions, x509.ExtendedKeyUsage(usages)],
        )
        certificates.write_key(self.folder / f'{name}.key', key)


def server(folder: pathlib.Path) -> Authority:
    """Make what a server on 127.0.0.1 and its administrator need.

    :returns: the CA, for clients' certificates
    """
    authority = Authority(folder)
    authority.create('node', 'node', address='127.0.0.1')
    authority.create('client.root', 'root')
    return authority
