# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests, as `cockroach cert` makes and names them."""

import datetime
import ipaddress
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid

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
    :type folder: pathlib.Path
    :param name: of the CA's own certificate, without suffix
    :type name: str
    """

    def __init__(self, folder, name='ca'):
        self.folder = pathlib.Path(folder)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._issuer = _name(name)
        certificate = self._builder(self._issuer, self._key, 1).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self._write(name, certificate)

    def _builder(self, subject, key, days):
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * _DAY)
            .not_valid_after(now + days * _DAY)
        )

    def _write(self, name, builder):
        certificate = builder.sign(self._key, hashes.SHA256())
        (self.folder / f'{name}.crt').write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
        )

    def create(self, name, common_name, address=None, days=1):
        """Make a key and its certificate, NAME.key and NAME.crt.

        :type name: str
        :param common_name: the user, or node
        :type common_name: str
        :param address: IP address of a node
        :type address: str
        :param days: until it expires; negative when it has
        :type days: int
        """
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [oid.ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = self._builder(_name(common_name), key, days)
        if address:
            usages.append(oid.ExtendedKeyUsageOID.SERVER_AUTH)
            builder = builder.add_extension(
                x509.SubjectAlternativeName(
                    [x509.IPAddress(ipaddress.ip_address(address))]
                ),
                critical=False,
            )
        self._write(
            name,
            builder.add_extension(
                x509.ExtendedKeyUsage(usages), critical=False
            ),
        )
        file = self.folder / f'{name}.key'
        file.touch(0o600)
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


def server(folder):
    """Make what a server on 127.0.0.1 and its administrator need.

    :type folder: pathlib.Path
    :returns: the CA, for clients' certificates
    :rtype: Authority
    """
    authority = Authority(folder)
    authority.create('node', 'node', address='127.0.0.1')
    authority.create('client.root', 'root')
    return authority
