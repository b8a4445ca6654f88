"""Who may ask the test OneRoster server: OAuth 2.0 client credentials, OAuth 1 signatures, a token that does not
expire.

Signatures are verified by oauthlib, which knows nothing of the client under test. Switches among the faults:
auth: "oauth1_sha256", "oauth1_sha1" or "bearer" (the client secret is the token) instead of OAuth 2.0; client: [id,
secret]; sent_as: the one way in which the token endpoint takes credentials, "basic", "body" or "encoded basic";
scope_wanted: it refuses a request without scope; scope_refused: and one with it. Of a clock that is off (clock_ahead)
signatures know too.
"""

import base64
import time
from urllib.parse import unquote_plus

from oauthlib.oauth1 import RequestValidator, SignatureOnlyEndpoint

from roster_faults import Answer, status_info

MOST_SKEW = 300


def client_of(context):
    return tuple(context.roster.faults.get("client") or (context.client_id, context.client_secret))


def check_client(context, headers, form, entry):
    """Raises unless the credentials are right and came in a way that is taken."""
    faults, given = context.roster.faults, (form.get("client_id"), form.get("client_secret"))
    ways = {"body": given} if given[0] is not None else {}
    if entry["authorization"] == "Basic":
        try:
            name, _, secret = base64.b64decode(headers["Authorization"][6:], validate=True).decode().partition(":")
        except ValueError:
            raise Answer(400, {"error": "invalid_request"}) from None
        ways = {"basic": (name, secret), "encoded basic": (unquote_plus(name), unquote_plus(secret))}
    elif ways:
        entry["authorization"] = "body"
    taken = [faults["sent_as"]] if "sent_as" in faults else ["basic", "body"]
    if client_of(context) not in [given for way, given in ways.items() if way in taken]:
        raise Answer(401, {"error": "invalid_client"}, {"WWW-Authenticate": "Basic"})
    if (faults.get("scope_wanted") and not entry["scope"]) or (faults.get("scope_refused") and entry["scope"]):
        raise Answer(400, {"error": "invalid_scope"})


class Validator(RequestValidator):
    """One client, nonces used once, a clock that may be off."""

    enforce_ssl = False
    timestamp_lifetime = 10 ** 9        # the clock is looked at below

    def __init__(self, context, method):
        super().__init__()
        self.context, self.method = context, method

    @property
    def allowed_signature_methods(self):
        return (self.method,)

    def check_client_key(self, client_key):
        return bool(client_key)

    def check_nonce(self, nonce):
        return len(nonce) >= 16

    @property
    def dummy_client(self):
        return "dummy"

    def validate_client_key(self, client_key, request):
        return client_key == client_of(self.context)[0]

    def get_client_secret(self, client_key, request):
        return client_of(self.context)[1]

    def validate_timestamp_and_nonce(self, client_key, timestamp, nonce, request, request_token=None,
            access_token=None):
        now = time.time() + self.context.roster.faults.get("clock_ahead", 0)
        with self.context.lock:
            known = nonce in self.context.nonces
            self.context.nonces.add(nonce)
        return not known and abs(int(timestamp) - now) <= MOST_SKEW


def check_request(context, method, uri, headers, entry):
    """Raises unless a request for the roster is authorized."""
    kind = context.roster.faults.get("auth", "oauth2")
    header = headers.get("Authorization") or ""
    scheme, _, token = header.partition(" ")
    if kind.startswith("oauth1"):
        validator = Validator(context, "HMAC-SHA1" if kind == "oauth1_sha1" else "HMAC-SHA256")
        allowed, _ = SignatureOnlyEndpoint(validator).validate_request(uri, method, None, {"Authorization": header})
    elif kind == "bearer":
        allowed = scheme.lower() == "bearer" and token == client_of(context)[1]
    else:
        allowed = scheme.lower() == "bearer" and context.tokens.use(token,
            context.roster.faults.get("expire_token_after"))
    if not allowed:
        answer = status_info(401, "unauthorized", "not authorized")
        answer.headers["WWW-Authenticate"] = "OAuth" if kind.startswith("oauth1") else "Bearer"
        raise answer
