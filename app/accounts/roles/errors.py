"""What can go wrong with roles."""

from __future__ import annotations

from app.accounts.roles.rules import MAX_ROLES
from app.core.errors import BadInput, Conflict, FieldError, NotFound


class RoleNotFound(NotFound):
    """Neither a built-in role nor a custom role of the caller's organisation has this id."""

    code = "role_not_found"
    title = "There is no such role."


class UnknownRole(BadInput):
    """The role to assign does not exist in the organisation."""

    def __init__(self) -> None:
        super().__init__(errors=[FieldError("roleId", "There is no role with this id.")])


class BuiltInRoleChanged(Conflict):
    """Built-in roles cannot be changed."""

    code = "built_in_role"
    title = "A built-in role cannot be changed or deleted: copy it, and change the copy."


class RoleNameTaken(Conflict):
    """Another role has this name."""

    code = "role_name_taken"
    title = "Another role of the organisation, or a built-in role, has this name."


class RoleInUse(Conflict):
    """The role is assigned to users."""

    code = "role_in_use"
    title = "The role is assigned to users: assign another role to them first."


class TooManyRoles(Conflict):
    """The organisation has `MAX_ROLES` custom roles already."""

    code = "too_many_roles"
    title = f"An organisation can have at most {MAX_ROLES} custom roles."
