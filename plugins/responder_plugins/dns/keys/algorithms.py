"""The algorithms that zones are signed with: RSA (RFC 3110, 5702), ECDSA (RFC 6605) and Ed25519 (RFC 8080).

Private keys are read from and written to the fields of BIND's private-key format v1.3.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import attrs
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

RSASHA256, ECDSAP256SHA256, ECDSAP384SHA384, ED25519 = 8, 13, 14, 15

NAMES: Final = {
    RSASHA256: "RSASHA256",
    ECDSAP256SHA256: "ECDSAP256SHA256",
    ECDSAP384SHA384: "ECDSAP384SHA384",
    ED25519: "ED25519",
}
NUMBERS: Final = {name: number for number, name in NAMES.items()}

RSA_BITS: Final = 2048
"""Of a key that is made here (RFC 8624 leaves it to the operator; NIST SP 800-57 has 2048 as the least)."""

_CURVES: Final[dict[int, tuple[ec.EllipticCurve, hashes.HashAlgorithm, int]]] = {
    ECDSAP256SHA256: (ec.SECP256R1(), hashes.SHA256(), 32),
    ECDSAP384SHA384: (ec.SECP384R1(), hashes.SHA384(), 48),
}
"""Curve, hash, and bytes of a number."""

_RSA_FIELDS: Final = (
    "Modulus",
    "PublicExponent",
    "PrivateExponent",
    "Prime1",
    "Prime2",
    "Exponent1",
    "Exponent2",
    "Coefficient",
)

_Private: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class Unusable(ValueError):
    """This is no private key of the algorithm; the message repeats nothing of it."""


@attrs.frozen(eq=False)
class SigningKey:
    """A private key.

    public  the public key as a DNSKEY record has it
    sign    makes the signature of bytes as an RRSIG record has it
    bits    its length
    """

    algorithm: int
    public: bytes
    bits: int
    sign: Callable[[bytes], bytes] = attrs.field(repr=False)
    _private: _Private = attrs.field(repr=False)

    def fields(self) -> dict[str, str]:
        """What its file says of it, numbers in base64."""
        private = self._private
        if isinstance(private, rsa.RSAPrivateKey):
            numbers = private.private_numbers()
            public = numbers.public_numbers
            values = (
                *(public.n, public.e, numbers.d, numbers.p, numbers.q),
                *(numbers.dmp1, numbers.dmq1, numbers.iqmp),
            )
            return {name: _text(_bytes(value)) for name, value in zip(_RSA_FIELDS, values, strict=True)}
        if isinstance(private, ec.EllipticCurvePrivateKey):
            size = _CURVES[self.algorithm][2]
            return {"PrivateKey": _text(private.private_numbers().private_value.to_bytes(size))}
        return {"PrivateKey": _text(private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))}


def generate(algorithm: int) -> SigningKey:
    if algorithm == RSASHA256:
        return _key(algorithm, rsa.generate_private_key(65537, RSA_BITS))
    if algorithm == ED25519:
        return _key(algorithm, ed25519.Ed25519PrivateKey.generate())
    return _key(algorithm, ec.generate_private_key(_CURVES[algorithm][0]))


def read(algorithm: int, fields: Mapping[str, str]) -> SigningKey:
    """Raises Unusable."""
    try:
        if algorithm == RSASHA256:
            n, e, d, p, q, dmp1, dmq1, iqmp = (int.from_bytes(_value(fields[name])) for name in _RSA_FIELDS)
            numbers = rsa.RSAPrivateNumbers(p, q, d, dmp1, dmq1, iqmp, rsa.RSAPublicNumbers(e, n))
            return _key(algorithm, numbers.private_key())
        value = _value(fields["PrivateKey"])
        if algorithm == ED25519:
            return _key(algorithm, ed25519.Ed25519PrivateKey.from_private_bytes(value))
        curve, _, size = _CURVES[algorithm]
        if len(value) != size:
            raise Unusable(f"a private key of {len(value)} bytes, where this algorithm has {size}")  # noqa: TRY301 - as others, below
        return _key(algorithm, ec.derive_private_key(int.from_bytes(value), curve))
    except KeyError as error:
        what = (
            f"no field {error}" if algorithm in NAMES else f"algorithm {algorithm}, with which nothing is signed here"
        )
        raise Unusable(what) from None
    except Unusable:
        raise
    except (ValueError, UnsupportedAlgorithm):
        raise Unusable("the numbers are no private key of its algorithm") from None


def _key(algorithm: int, private: _Private) -> SigningKey:
    if isinstance(private, rsa.RSAPrivateKey):
        numbers = private.public_key().public_numbers()
        exponent = _bytes(numbers.e)
        # RFC 3110 section 2: an exponent of more than 255 bytes has its length in three.
        length = bytes((len(exponent),)) if len(exponent) < 256 else b"\0" + len(exponent).to_bytes(2)
        public = length + exponent + _bytes(numbers.n)
        return SigningKey(algorithm, public, private.key_size, _rsa_sign(private), private)
    if isinstance(private, ec.EllipticCurvePrivateKey):
        size = _CURVES[algorithm][2]
        point = private.public_key().public_numbers()
        public = point.x.to_bytes(size) + point.y.to_bytes(size)  # RFC 6605 section 4
        return SigningKey(algorithm, public, 8 * size, _ecdsa_sign(private, algorithm), private)
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return SigningKey(algorithm, public, 256, private.sign, private)


def _rsa_sign(private: rsa.RSAPrivateKey) -> Callable[[bytes], bytes]:
    scheme, algorithm = padding.PKCS1v15(), hashes.SHA256()
    return lambda data: private.sign(data, scheme, algorithm)


def _ecdsa_sign(private: ec.EllipticCurvePrivateKey, number: int) -> Callable[[bytes], bytes]:
    _, algorithm, size = _CURVES[number]
    scheme = ec.ECDSA(algorithm)

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(data, scheme))
        return r.to_bytes(size) + s.to_bytes(size)

    return sign


def _bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8)


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _value(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
