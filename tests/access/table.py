"""Which caller may use which operation: for every operation and kind of caller, the exact status of the response.

Each column is a caller who sends a valid request about resources of one organisation:

- `anonymous`: without a credential
- `product`: with the organisation's secret key
- `revoked`: with a secret key that was revoked
- `ADMIN`, `ENGINEER`, `CUSTOMER`: a user of the organisation with that built-in role
- `stale`: an admin who signed in more than five minutes ago, as a stolen access token would be
- `auditor`: a user with a role of the organisation's own, which can view everything and change nothing
- `foreign_admin`: an admin of another organisation
"""

from __future__ import annotations

COLUMNS = ("anonymous", "product", "revoked", "ADMIN", "stale", "ENGINEER", "CUSTOMER", "auditor", "foreign_admin")

_TABLE = """
                       anonymous product revoked ADMIN stale ENGINEER CUSTOMER auditor foreign_admin

signUpOrganisation           201     201     201   201   201      201      201     201      201
getOrganisation              401     200     401   200   200      200      200     200      200
changeOrganisation           401     403     401   200   200      403      403     403      200
advanceClock                 401     200     401   200   200      403      403     403      200
getOrganisationDomain        401     403     401   200   200      403      403     403      200
verifyOrganisationDomain     401     403     401   200   403      403      403     403      200
confirmOrganisationDomain    200     200     200   200   200      200      200     200      200

signUp                       201     201     201   201   201      201      201     201      201
signUpAdmin                  401     201     401   403   403      403      403     403      403
signIn                       200     200     200   200   200      200      200     200      200
signInAdmin                  200     200     200   200   200      200      200     200      200
signInEngineer               200     200     200   200   200      200      200     200      200
signInCustomer               200     200     200   200   200      200      200     200      200
startSocialSignIn            404     404     404   404   404      404      404     404      404
finishSocialSignIn           404     404     404   404   404      404      404     404      404
exchangeSocialSignIn         200     200     200   200   200      200      200     200      200
refreshSession               200     200     200   200   200      200      200     200      200
signOut                      401     403     401   204   204      204      204     204      204
reauthenticate               401     403     401   200   200      200      200     200      200
signOutEverywhere            401     403     401   204   204      204      204     204      204
verifyToken                  200     200     200   200   200      200      200     200      200
listMySessions               401     403     401   200   200      200      200     200      200
endMySession                 401     403     401   204   204      204      204     204      204
forgotPassword               202     202     202   202   202      202      202     202      202
resetPassword                204     204     204   204   204      204      204     204      204
changePassword               401     403     401   204   204      204      204     204      204
verifyEmail                  200     200     200   200   200      200      200     200      200
lookUpEmailLink              200     200     200   200   200      200      200     200      200
disownEmail                  204     204     204   204   204      204      204     204      204
resendVerification           202     202     202   202   202      202      202     202      202
changeEmail                  401     403     401   202   202      202      202     202      202
setUpSecondFactor            401     403     401   200   403      200      200     200      200
confirmSecondFactor          401     403     401   200   200      200      200     200      200
disableSecondFactor          401     403     401   204   403      204      204     204      204
renewRecoveryCodes           401     403     401   200   403      200      200     200      200
acceptInvitation             200     200     200   200   200      200      200     200      200

getMe                        401     403     401   200   200      200      200     200      200
changeMe                     401     403     401   200   200      200      200     200      200
setPicture                   401     403     401   200   200      200      200     200      200
deletePicture                401     403     401   204   204      204      204     204      204
getPicture                   401     403     401   200   200      200      200     200      404
getMyMenu                    401     403     401   200   200      200      200     200      200

listRequesters               401     200     401   200   200      200      403     200      200
createRequester              401     201     401   201   201      201      403     403      201
getRequester                 401     200     401   200   200      200      403     200      404
changeRequester              401     200     401   200   200      200      403     403      404
mergeRequester               401     200     401   200   200      200      403     403      404
eraseRequester               401     204     401   204   204      403      403     403      404

listUsers                    401     403     401   200   200      200      403     200      200
getUser                      401     403     401   200   200      200      403     200      404
inviteUser                   401     403     401   201   201      403      403     403      201
resendInvitation             401     403     401   200   200      403      403     403      404
cancelInvitation             401     403     401   204   204      403      403     403      404
changeUser                   401     403     401   200   200      403      403     403      404
eraseUser                    401     403     401   204   403      403      403     403      404
approveUser                  401     403     401   200   200      403      403     403      404
rejectUser                   401     403     401   200   200      403      403     403      404
setUserRole                  401     403     401   200   200      403      403     403      404
resetUserSecondFactor        401     403     401   204   403      403      403     403      404
getUserPermissions           401     403     401   200   200      200      403     200      404
setUserPermissions           401     403     401   200   200      403      403     403      404

listRoles                    401     403     401   200   200      403      403     200      200
createRole                   401     403     401   201   201      403      403     403      201
getRole                      401     403     401   200   200      403      403     200      404
changeRole                   401     403     401   200   200      403      403     403      404
deleteRole                   401     403     401   204   204      403      403     403      404

listMenus                    401     403     401   200   200      403      403     200      200
createMenu                   401     403     401   201   201      403      403     403      201
getMenu                      401     403     401   200   200      403      403     200      404
changeMenu                   401     403     401   200   200      403      403     403      404
deleteMenu                   401     403     401   204   204      403      403     403      404

openTicket                   401     201     401   201   201      201      201     403      201
listTickets                  401     200     401   200   200      200      200     200      200
getTicket                    401     200     401   200   200      200      404     200      404
changeTicket                 401     403     401   200   200      200      404     403      404
changeTicketByPost           401     403     401   200   200      200      404     403      404
changeTicketStatus           401     403     401   200   200      200      403     403      404
acceptTicket                 401     403     401   200   200      200      403     403      404
respondToTicket              401     403     401   201   201      201      403     403      404
getTicketHistory             401     200     401   200   200      200      404     200      404
getTicketSchedule            401     200     401   200   200      200      404     200      404

listNotifications            401     403     401   200   200      403      403     200      200
getNotification              401     403     401   200   200      403      403     200      404
getJobs                      401     403     401   200   200      403      403     200      200

getIndex                     200     200     200   200   200      200      200     200      200
isLive                       200     200     200   200   200      200      200     200      200
isReady                      200     200     200   200   200      200      200     200      200
getMetrics                   200     200     200   200   200      200      200     200      200
"""


def parse_table(table: str) -> dict[str, dict[str, int]]:
    """Parse the table: operation → kind of caller → status."""
    head, *rows = (line.split() for line in table.splitlines() if line.strip())
    assert tuple(head) == COLUMNS
    found = {name: dict(zip(COLUMNS, map(int, statuses), strict=True)) for name, *statuses in rows}
    assert len(found) == len(rows), "an operation is listed twice"
    return found


STATUSES = parse_table(_TABLE)
