"""Errors about roles."""

from __future__ import annotations

from app.accounts.roles.rules import MAX_ROLES
from app.core.errors import Conflict, NotFound


class RoleNotFound(NotFound):
    """Your organisation has no role with this id."""

    code = "role_not_found"
    title = "There is no such role."
    advice = "`GET /roles` lists the roles."


class BuiltInRoleChanged(Conflict):
    """A built-in role cannot be changed or deleted."""

    code = "built_in_role"
    title = "A built-in role cannot be changed or deleted: copy it, and change the copy."


class RoleNameTaken(Conflict):
    """Another role of the organisation, or a built-in role, has this name."""

    code = "role_name_taken"
    title = "Another role of the organisation, or a built-in role, has this name. Choose another name."


class RoleInUse(Conflict):
    """The role is assigned to users."""

    code = "role_in_use"
    title = "The role is assigned to users: assign another role to them first."


class TooManyRoles(Conflict):
    """Your organisation has as many roles as it can have."""

    code = "too_many_roles"
    title = f"An organisation can have at most {MAX_ROLES} custom roles: delete one first."
