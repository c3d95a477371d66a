"""What crosses the wire about the second factor."""

from __future__ import annotations

import io
from typing import Annotated, Self

import segno
from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from app.authentication.second_factor.service import Proof, Setup
from app.core.fields import In, Out

_SECRET = "EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAM"  # noqa: S105 - of the documentation
_URI = f"otpauth://totp/Growfin:ada%40growfin.com?secret={_SECRET}&issuer=Growfin"

Code = Annotated[
    str,
    Field(pattern=r"^[0-9]{6}$", description="The six digits that your authenticator shows.", examples=["492039"]),
]
RecoveryCode = Annotated[str, Field(min_length=1, max_length=40)]


def _is_instead(value: str | None, others: ValidationInfo) -> str | None:
    if value is not None and others.data.get("totp") is not None:
        raise ValueError("Send either `totp` or `recoveryCode`.")
    return value


# Of a sign-in, which needs neither of whoever has no second factor.
Totp = Annotated[
    Code | None, Field(description="The six digits that your authenticator shows, if you have a second factor.")
]
OrRecoveryCode = Annotated[
    RecoveryCode | None,
    AfterValidator(_is_instead),
    Field(description="One of the recovery codes, instead of `totp`."),
]
RecoveryCodes = Annotated[
    list[str],
    Field(
        description="Each does for one sign-in without the authenticator. They are shown this once.",
        examples=[["7KQ2M-X9FPT", "HW3NE-6RZB4"]],
    ),
]


class SecondFactorSetup(Out):
    """What your authenticator needs to know, in three forms; shown this once."""

    secret: Annotated[str, Field(description="To be typed: base 32.", examples=[_SECRET])]
    otpauth_uri: Annotated[str, Field(description="To be opened on the same device.", examples=[_URI])]
    qr_svg: Annotated[
        str,
        Field(
            description="To be scanned: an image for a page.",
            examples=['<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"></svg>'],
        ),
    ]

    @classmethod
    def of(cls, setup: Setup) -> Self:
        """The answer with this secret."""
        code = segno.make(setup.uri, error="m", micro=False)
        drawn = io.BytesIO()  # with its namespace: it may be a page's `img` as well as part of the page
        code.save(drawn, kind="svg", xmldecl=False, nl=False, scale=4, dark="#000", light="#fff")
        return cls(secret=setup.secret, otpauth_uri=setup.uri, qr_svg=drawn.getvalue().decode())


class SecondFactorCode(In):
    """The present code of your authenticator."""

    code: Code


class SecondFactorProof(In):
    """The present code of your authenticator, or a recovery code in its place."""

    code: Code = None  # type: ignore[assignment]
    recovery_code: Annotated[RecoveryCode, Field(description="One of the recovery codes, instead of `code`.")] = None  # type: ignore[assignment]

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("Send either `code` or `recoveryCode`.")
        return self

    def proof(self) -> Proof:
        """The same, as the service takes it."""
        return Proof(totp=self.code, recovery_code=self.recovery_code)


class RecoveryCodesOut(Out):
    """Your recovery codes, for the only time: keep them where you do not need your authenticator to get at them."""

    recovery_codes: RecoveryCodes
