"""The second factor: a code of an authenticator app (TOTP, RFC 6238), or a recovery code in its place."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime

import pyotp
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import Unauthenticated
from app.core.sealing import unseal
from app.identity.people.models import Person
from app.identity.second_factor.models import RecoveryCode, SecondFactor

STEP = 30  # seconds
DRIFT = 1  # steps that the authenticator's clock may be off


class TotpRequired(Unauthenticated):
    """The password was right, and is not enough."""

    code = "totp_required"
    title = "Send the code of your authenticator as `totp` as well, or a recovery code as `recoveryCode`."


class WrongCode(Unauthenticated):
    """The code is not the present one, or was used before."""

    code = "totp_invalid"
    title = "The code is wrong, or was used before."


@dataclass(frozen=True)
class Proof:
    """What somebody sends besides their password."""

    totp: str | None = None
    recovery_code: str | None = None


async def prove(db: AsyncSession, secret_key: str, person: Person, proof: Proof, now: datetime) -> None:
    """Check and use up a code. Of two requests with the same code, one is refused.

    Raises:
        TotpRequired: there is none.
        WrongCode
    """
    if proof.totp is not None:
        await _use_totp(db, secret_key, person, proof.totp, now)
    elif proof.recovery_code is not None:
        await _use_recovery_code(db, secret_key, person, proof.recovery_code)
    else:
        raise TotpRequired


async def _use_totp(db: AsyncSession, secret_key: str, person: Person, code: str, now: datetime) -> None:
    factor = await db.scalar(
        select(SecondFactor)
        .where(SecondFactor.org_id == person.org_id, SecondFactor.person_id == person.id)
        .with_for_update(key_share=True)
    )
    step = None if factor is None else matching_step(secret_of(secret_key, factor), code, now)
    if factor is None or step is None or step <= factor.last_step:
        raise WrongCode
    await db.execute(
        update(SecondFactor)
        .where(SecondFactor.org_id == person.org_id, SecondFactor.person_id == person.id)
        .values(last_step=step)
    )


async def _use_recovery_code(db: AsyncSession, secret_key: str, person: Person, code: str) -> None:
    used = await db.scalar(
        delete(RecoveryCode)
        .where(
            RecoveryCode.org_id == person.org_id,
            RecoveryCode.person_id == person.id,
            RecoveryCode.hash == recovery_hash(secret_key, code),
        )
        .returning(RecoveryCode.hash)
    )
    if used is None:
        raise WrongCode


def matching_step(secret: str, code: str, now: datetime) -> int | None:
    """The time step that a code belongs to, of those that may be meant at `now` (real time)."""
    totp = pyotp.TOTP(secret, interval=STEP)
    present = int(now.timestamp()) // STEP
    steps = range(present - DRIFT, present + DRIFT + 1)
    return next((step for step in steps if hmac.compare_digest(totp.at(step * STEP), code)), None)


def secret_of(secret_key: str, factor: SecondFactor) -> str:
    """The secret that the authenticator has, in base 32."""
    return unseal(secret_key, purpose_of(factor.person_id), factor.secret).decode()


def purpose_of(person_id: object) -> str:
    """What a secret is sealed for."""
    return f"totp {person_id}"


def recovery_hash(secret_key: str, code: str) -> bytes:
    """What is stored of a recovery code, however it is typed: it has too few bits for a plain hash."""
    typed = "".join(character for character in code.upper() if character.isalnum())
    return hmac.new(secret_key.encode(), b"recovery\0" + typed.encode(), hashlib.sha256).digest()
