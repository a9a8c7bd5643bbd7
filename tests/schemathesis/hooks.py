"""Keeps the one who asks from shutting itself out: ids are taken from answers too, and its own would be among them.

After such a request everything would be answered 401, and nothing would be tried any more."""

from urllib.parse import unquote

import schemathesis

# The user and the organization of run.sh's token.
OWN = {"root", "default"}
GUARDED = ("/api/v1/admin/users/", "/api/v1/admin/organizations/")


@schemathesis.hook
def before_call(context, case, kwargs):
    parameters = case.path_parameters or {}
    if case.operation.path.startswith(GUARDED) and unquote(str(parameters.get("id"))) in OWN:
        parameters["id"] = "second"
