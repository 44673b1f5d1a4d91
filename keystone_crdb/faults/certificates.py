# SPDX-License-Identifier: Apache-2.0
"""A CA and a certificate of the database, valid or expired."""

import datetime
import ipaddress
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid

_DAY = datetime.timedelta(days=1)


def _name(text):
    return x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, text)])


def _certificate(subject, key, issuer, issuer_key, end, extensions):
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - 30 * _DAY)
        .not_valid_after(end)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


class Authority:
    """A CA, and the certificates that it makes for 127.0.0.1.

    :param folder: for its files
    :type folder: pathlib.Path
    """

    def __init__(self, folder):
        self.certificate = folder / 'ca.crt'
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        certificate = _certificate(
            'CA', self._key, 'CA', self._key, now + 10 * _DAY,
            [x509.BasicConstraints(ca=True, path_length=None)],
        )
        self.certificate.write_bytes(_pem(certificate))

    def context(self, days):
        """Make a certificate.

        :param days: until it expires; negative ones since then
        :type days: int
        :returns: what a server needs to use it
        :rtype: ssl.SSLContext
        """
        key = ec.generate_private_key(ec.SECP256R1())
        address = x509.IPAddress(ipaddress.ip_address('127.0.0.1'))
        end = datetime.datetime.now(datetime.UTC) + days * _DAY
        certificate = _certificate(
            'database', key, 'CA', self._key, end,
            [x509.SubjectAlternativeName([address])],
        )
        file = self._folder / f'database{days}.pem'
        file.touch(0o600)
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + _pem(certificate)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)
