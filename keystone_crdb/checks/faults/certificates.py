# SPDX-License-Identifier: Apache-2.0
"""A CA and a certificate of the database, valid or expired."""

import datetime
import ipaddress
import pathlib
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid

_DAY = datetime.timedelta(days=1)
_SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def name(text: str) -> x509.Name:
    """Return a distinguished name that is but a common name."""
    return x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, text)])


def sign(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    end: datetime.datetime,
    extensions: list[x509.ExtensionType],
) -> bytes:
    """Sign a certificate that X509_V_FLAG_X509_STRICT takes, too.

    :param key: of the subject
    :param issuer: the subject, for a CA
    :param issuer_key: of the issuer
    :param end: until when it is valid
    :param extensions: further ones
    :returns: the certificate in PEM
    """
    all_of_them: list[x509.ExtensionType] = [
        *extensions,
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(
            issuer_key.public_key()
        ),
    ]
    if subject == issuer:
        all_of_them += [
            x509.BasicConstraints(ca=True, path_length=None),
            _SIGNS,
        ]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - 30 * _DAY)
        .not_valid_after(end)
    )
    for extension in all_of_them:
        critical = isinstance(
            extension, x509.BasicConstraints | x509.KeyUsage
        )
        builder = builder.add_extension(extension, critical=critical)
    certificate = builder.sign(issuer_key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM)


def write_key(
    path: pathlib.Path, key: ec.EllipticCurvePrivateKey, *certificates: bytes
) -> None:
    """Write a key, and certificates after it, for its owner only.

    :param certificates: in PEM
    """
    path.touch(0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + b''.join(certificates)
    )


class Authority:
    """A CA, and the certificates that it makes for 127.0.0.1.

    :param folder: for its files
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.certificate = folder / 'ca.crt'
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = name('CA')
        now = datetime.datetime.now(datetime.UTC)
        self.certificate.write_bytes(
            sign(
                self._name, self._key, self._name, self._key,
                now + 10 * _DAY, [],
            )
        )  # fmt: skip

    def context(self, days: int) -> ssl.SSLContext:
        """Make a certificate.

        :param days: until it expires; negative ones since then
        :returns: what a server needs to use it
        """
        key = ec.generate_private_key(ec.SECP256R1())
        address = x509.IPAddress(ipaddress.ip_address('127.0.0.1'))
        end = datetime.datetime.now(datetime.UTC) + days * _DAY
        certificate = sign(
            name('database'), key, self._name, self._key, end,
            [x509.SubjectAlternativeName([address])],
        )  # fmt: skip
        file = self._folder / f'database{days}.pem'
        write_key(file, key, certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context
