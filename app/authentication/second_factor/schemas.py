"""Define the requests and responses about the second factor."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import MISSING, AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from app.authentication.second_factor import rules
from app.authentication.second_factor.codes import SubmittedCode
from app.authentication.second_factor.service import AuthenticatorSecret
from app.core.fields import RequestModel, ResponseModel
from app.core.patterns import Matches

_SECRET = "EXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAM"  # noqa: S105 - an example for the documentation
_URI = f"otpauth://totp/Growfin:ada%40growfin.com?secret={_SECRET}&issuer=Growfin"


def _normalise(value: object) -> object:
    return rules.normalise_totp(value) if isinstance(value, str) else value


Code = Annotated[
    str,
    BeforeValidator(_normalise),
    Matches(r"^([0-9][ -]*){6}$", "This must be the six digits that the authenticator shows, such as 492039."),
    Field(
        description="The six digits that your authenticator shows now; spaces and dashes are ignored.",
        examples=["492039"],
    ),
]
# Longer than a code, for separators.
RecoveryCode = Annotated[str, Field(min_length=1, max_length=100)]


def _refuse_both(value: str | None, info: ValidationInfo) -> str | None:
    if value is not None and info.data.get("totp") is not None:
        raise ValueError("Send either `totp` or `recoveryCode`.")
    return value


# Users without a second factor send neither when they sign in.
Totp = Annotated[
    Code | None,
    Field(
        description="The six digits that your authenticator shows now, if you have a second factor; spaces and dashes "
        "are ignored."
    ),
]
OptionalRecoveryCode = Annotated[
    RecoveryCode | None,
    AfterValidator(_refuse_both),
    Field(description="One of the recovery codes, instead of `totp`."),
]
RecoveryCodeList = Annotated[
    list[str],
    Field(
        description="Each replaces the authenticator's code once. They are shown only once.",
        examples=[["7KQ2M-X9FPT", "HW3NE-6RZB4"]],
    ),
]


class SecondFactorSetup(ResponseModel):
    """The secret for your authenticator in three forms. It is shown only once."""

    secret: Annotated[str, Field(description="The secret to type in, in base 32.", examples=[_SECRET])]
    otpauth_uri: Annotated[str, Field(description="The secret as a link to open on the same device.", examples=[_URI])]
    qr_svg: Annotated[
        str,
        Field(
            description="The secret as a QR code to scan: an SVG image.",
            examples=['<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"></svg>'],
        ),
    ]

    @classmethod
    def of(cls, secret: AuthenticatorSecret, qr_svg: str) -> Self:
        """Make the response from the secret and its QR code."""
        return cls(secret=secret.secret, otpauth_uri=secret.uri, qr_svg=qr_svg)


class SecondFactorCode(RequestModel):
    """The code of your authenticator."""

    code: Code


class SecondFactorProof(RequestModel):
    """The code of your authenticator, or a recovery code."""

    code: Code | MISSING = MISSING
    recovery_code: Annotated[
        RecoveryCode | MISSING,
        Field(description="One of the recovery codes, instead of `code`.", validate_default=True),
    ] = MISSING

    @field_validator("recovery_code")
    @classmethod
    def _require_one(cls, recovery_code: str | MISSING, info: ValidationInfo) -> str | MISSING:
        # A code that is not valid is a fault of its own.
        if "code" in info.data and (info.data["code"] is MISSING) == (recovery_code is MISSING):
            raise ValueError("Send either `code` or `recoveryCode`.")
        return recovery_code

    def submitted_code(self) -> SubmittedCode:
        """Return the code that was sent, in the form that the service takes."""
        return SubmittedCode(
            totp=None if self.code is MISSING else self.code,
            recovery_code=None if self.recovery_code is MISSING else self.recovery_code,
        )


class RecoveryCodes(ResponseModel):
    """Your recovery codes. Keep them where you can reach them without your authenticator."""

    recovery_codes: RecoveryCodeList
