"""The gateway's keys on disk: the one that signs nodes' tokens, and the earlier ones that still check them.

``gateway_key.pem`` signs.  Of a key that was replaced only the public half is kept, in ``retired_keys.json``, until the
last token that it signed has ended.  Both files are written beside their places and renamed, so that a crash leaves one
state or the other; a rotation that is cut short between the two keeps a retired key too many, which does no harm.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import attrs

from edgeagent.errors import EdgeAgentError
from edgeagent.wire import identity
from edgeagent.wire.identity import TOKEN_LIFE_S, InvalidKeyError

SIGNING, RETIRED = "gateway_key.pem", "retired_keys.json"
#: Seconds that a retired key outlives its last token: a running gateway signs with it until it hears of the rotation.
MARGIN_S = 3600.0


@attrs.frozen
class Retired:
    """A key that signs no more."""

    public_pem: str
    until: float  # seconds since the epoch, gateway's clock


@attrs.frozen
class Keyring:
    """The keys of one gateway."""

    signing: bytes = attrs.field(repr=False)  # private, PKCS#8 PEM
    retired: tuple[Retired, ...] = ()

    def checking(self, now: float) -> dict[str, str]:
        """Return each public key that checks tokens now, by its ``kid``; the signing key's first."""
        keys = [identity.public_key_of(self.signing), *(one.public_pem for one in self.retired if one.until > now)]
        return {identity.key_id(pem): pem for pem in keys}


def load(data_dir: Path) -> Keyring:
    """Return the gateway's keys; the signing one is made on first use, and readable by its owner alone.

    Raises:
        EdgeAgentError: a file cannot be read or made, or holds something else.
    """
    signing, retired = data_dir / SIGNING, data_dir / RETIRED
    try:
        if signing.exists():
            key = signing.read_bytes()
            identity.public_key_of(key)
        else:
            key = identity.new_private_key()
            _write(signing, key)
        return Keyring(key, _read_retired(retired))
    except OSError as error:
        raise EdgeAgentError(f"cannot use the gateway's key {error.filename or signing}: {error.strerror}") from None
    except InvalidKeyError as error:
        raise EdgeAgentError(
            f"{signing} is {error}; restore it from a backup, or remove it to make a new one"
        ) from None
    except (ValueError, TypeError, KeyError):
        raise EdgeAgentError(
            f"{retired} is damaged; restore it from a backup, or remove it: older tokens are then refused"
        ) from None


def rotate(data_dir: Path, now: float, *, drop: bool) -> Keyring:
    """Make a new signing key; the old one checks tokens until its last one has ended, or with ``drop`` not at all.

    Raises:
        EdgeAgentError: as ``load``.
    """
    old = load(data_dir)
    kept = tuple(one for one in old.retired if one.until > now)
    last = Retired(identity.public_key_of(old.signing), now + TOKEN_LIFE_S + MARGIN_S)
    new = Keyring(identity.new_private_key(), () if drop else (*kept, last))
    documents = [attrs.asdict(one) for one in new.retired]
    try:
        _write(data_dir / RETIRED, (json.dumps(documents, indent=2) + "\n").encode())
        _write(data_dir / SIGNING, new.signing)
    except OSError as error:
        raise EdgeAgentError(f"cannot write the gateway's keys in {data_dir}: {error.strerror}") from None
    return new


def _read_retired(path: Path) -> tuple[Retired, ...]:
    if not path.exists():
        return ()
    documents = json.loads(path.read_bytes())
    return tuple(Retired(identity.normalise_public_key(one["public_pem"]), float(one["until"])) for one in documents)


def _write(path: Path, data: bytes) -> None:
    """Write a file that nobody else may read, at no moment, and that is whole or not there."""
    partial = path.with_suffix(".part")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
