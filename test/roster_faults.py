"""The faults of the test OneRoster server: what they are called, and what they do to requests, lists, rows and bytes.

A switch holds a value, an object or a list of objects; an object may name the path it is for (a regular expression) and
how many times it strikes. Switches combine. Must survive: a fault that is switched off while a request waits because of
it.
"""

import json
import re
import zlib

# The characters that stand for damaged bytes until the page is text, and what goes over the wire in their place.
DAMAGE = {"invalid_utf8": ("\ue000", b"\xff\xc3\x28"), "nul_escape": ("\ue001", b"\\u0000"),
    "lone_surrogate": ("\ue002", b"\\ud800")}
NESTED = "\ue003"
LOGIN_PAGE = (b"<!DOCTYPE html>\n<html><head><title>Campus: Login</title></head><body>"
    b"<form method=\"post\"></form></body></html>\n")
MEGABYTE = b" " * (1024 * 1024)
COOKIE = "JSESSIONID=roster-test"
NEXT_GRADE = {"09": "10", "10": "11", "11": "12", "12": "09"}
FAULTS = set("""status reset_connection delay_ms hang page_cap total link empty_object_at_end missing_envelope
rename_envelope html ignore_fields failure_status repeat_page empty invalid_utf8 nul_escape lone_surrogate
no_sourced_id drop_names status_value ignore_filter ignore_sort reverse_sort expire_token_after expires_in
token_fields redirect nesting truncated duplicate override add_rows remove_rows moving byte_order_mark padding gzip
drip cookie hide_school rollover revision clock_ahead null_list short_page round_offset filter_after_paging escapes
many_headers short_length encoding count_unfiltered campus_1_2 refuse paging auth client sent_as scope_wanted
scope_refused objects demographics_by_guid semesters today""".split())


class Answer(Exception):
    """Ends a request with this response."""

    def __init__(self, code, body, headers=(), content_type="application/json"):
        self.code, self.headers, self.content_type = code, dict(headers), content_type
        self.body = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()


def status_info(code, minor, text, severity="error", major="failure"):
    """An error as OneRoster 1.1 words it."""
    return Answer(code, {"statusInfoSet": [{"imsx_codeMajor": major, "imsx_severity": severity, "imsx_codeMinor": minor,
                                            "imsx_description": text}]})


def as_list(value):
    return [] if value is None else value if isinstance(value, list) else [value]


def check_faults(switches):
    """Raises ValueError, or re.error, for switches that are none."""
    unknown = set(switches) - FAULTS - {"reset"}
    if unknown:
        raise ValueError(f"unknown fault: {', '.join(sorted(unknown))}")
    for each in switches.values():
        for one in as_list(each):
            if isinstance(one, dict) and "path" in one:
                re.compile(one["path"])


# Requests

def early_faults(roster, target, cookies):
    """The faults that keep a request from its endpoint."""
    if roster.fault("hang", target):
        with roster.changed:
            while "hang" in roster.faults:
                roster.changed.wait(60)
        raise ConnectionResetError
    one = roster.fault("status", target)
    if one:
        code = int(one["code"])
        headers = {"Retry-After": str(one["retry_after"])} if one.get("retry_after") is not None else {}
        minor = {401: "unauthorized", 403: "forbidden", 404: "unknown object", 429: "server_busy"}.get(code,
            "internal_server_error")
        answer = status_info(code, minor, one.get("description", "switched on by a test"))
        answer.headers = headers
        raise answer
    one = roster.fault("html", target)
    if one:
        raise Answer(200, LOGIN_PAGE, content_type=one.get("content_type", "text/html;charset=UTF-8"))
    one = roster.fault("redirect", target)
    if one:
        raise Answer(int(one.get("code", 302)), b"", {"Location": one["location"]}, "text/plain")
    one = roster.fault("failure_status", target)
    if one:
        raise status_info(200, "invalid data", one.get("description", "the roster could not be read"))
    if roster.fault("cookie", target) and COOKIE not in (cookies or ""):
        raise status_info(401, "unauthorized", "no session")


def token_cookie(roster):
    """Headers of a token's answer: where cookies are demanded, this is where they come from."""
    return {"Set-Cookie": f"{COOKIE}; Path=/; Secure; HttpOnly"} if "cookie" in roster.faults else {}


# Lists and rows

def first_row(roster, target, offset):
    """Where a page begins that was asked for from offset."""
    if roster.fault("repeat_page", target):
        return 0
    moving = roster.fault("moving", target) if offset else None
    return max(0, offset + moving["by"]) if moving else offset


def refused(roster, target, query, limit, offset, total):
    """How a page is refused that was asked for so, or None: a status, or a word for a body. Each of "refuse" says
    where: inside (an offset in the list, no multiple of its step), past (an offset behind the last row), limit (above
    its cap), fields, sort, order (from the other end), any."""
    for one in as_list(roster.faults.get("refuse")):
        where = {"inside": 0 < offset < total and offset % one.get("step", total) != 0, "past": offset >= max(total, 1),
                 "limit": limit > one.get("cap", limit), "fields": "fields" in query, "sort": "sort" in query,
                 "order": query.get("orderBy") == "desc", "any": True}[one["where"]]
        if where and re.search(one.get("path", ""), target):
            return one["answer"]
    return None


def refusal(answer):
    """The answer of a refusal that is no page."""
    if answer in ("nothing", 204):
        return Answer(200 if answer == "nothing" else 204, b"", content_type="text/plain")
    if answer == "html":
        return Answer(200, LOGIN_PAGE, content_type="text/html;charset=UTF-8")
    if 300 <= answer < 400:
        return Answer(answer, b"", {"Location": "https://login.example.org/"}, "text/plain")
    return status_info(answer, "invalid data", "refused by a test")


def page_bounds(roster, target, items, limit, offset):
    """The list and where its page begins and ends, for a server that takes limit and offset in its own way."""
    one = roster.fault("paging", target)
    mode = one["mode"] if one else None
    if mode == "limit as end":
        return items, offset, limit
    if mode == "offset as page":
        at = max(0, offset - one.get("first", 0)) * limit
        return items, at, at + limit
    if mode == "none":
        return items, 0, len(items)
    if mode == "ignores offset":
        return items, 0, limit
    if mode == "window":
        return items[:one["rows"]], offset, offset + limit
    return items, offset, offset + limit


def bend_row(faults, row):
    """Does to a row what the faults that concern it say; it is known by its sourcedId."""
    sid = row.get("sourcedId")
    row.update((faults.get("override") or {}).get(sid, {}))
    for one in as_list(faults.get("status_value")):
        if one["sourced_id"] == sid:
            row["status"] = one["value"]
    for one in as_list(faults.get("drop_names")):
        if one["sourced_id"] == sid:
            row.update(givenName="", familyName="")
    for name, (mark, _) in DAMAGE.items():
        for one in as_list(faults.get(name)):
            if one["sourced_id"] == sid:
                row["givenName"] = f"Da{mark}mage"
    for one in as_list(faults.get("nesting")):
        if one["sourced_id"] == sid:
            row["metadata"] = NESTED + str(one["depth"]) + NESTED
    if faults.get("campus_1_2"):
        campus_1_2(row)
    rollover = faults.get("rollover")
    if rollover:
        row["sourcedId"] = rollover["prefix"] + row["sourcedId"]
        row["grades"] = [NEXT_GRADE.get(grade, grade) for grade in row.get("grades") or []]
        if rollover.get("strangers"):
            row.update(identifier="", email="", userIds=[], username=row["sourcedId"])
    return row


def campus_1_2(row):
    """The row as Campus lists it in OneRoster 1.2: under an id of another kind, with its former one and its
    relationships as metadata.

    The last contact of a student is the mother and guardian; of others, listed before, the first is the
    stepfather, and no guardian."""
    agents = [f"p-{agent['sourcedId']}" for agent in row.get("agents") or []]
    row["metadata"] = {"ic.legacySourcedId": row["sourcedId"][1:], "ic_indexSuffix": "private", "note": "private"}
    if row["role"] == "student" and agents:
        row["metadata"]["ic_relationships"] = [
            {"sourcedId": agent, "guardian": agent == agents[-1], "relationshipType": "Mother" if agent == agents[-1]
                else "Stepfather"}
            for agent in agents]
    row["agents"] = [{"sourcedId": agent, "type": "user"} for agent in agents]
    row["sourcedId"] = f"p-{row['sourcedId']}"


# Bytes

def encode(answer, escapes=False):
    """JSON as bytes, with the damage that was asked for. escapes: all but ASCII goes as \\uXXXX."""
    body = json.dumps(answer, ensure_ascii=escapes).encode()
    for mark, wire in DAMAGE.values():
        body = body.replace(mark.encode(), wire)
    mark = NESTED.encode()
    return re.sub(b'"' + mark + rb"(\d+)" + mark + b'"', lambda m: b'{"a":' * int(m[1]) + b"1" + b"}" * int(m[1]), body)


def padded(body, megabytes):
    """A JSON object with so many megabytes of blanks in it, piece by piece."""
    yield body[:-1]
    for _ in range(megabytes):
        yield MEGABYTE
    yield body[-1:]


def gzipped(pieces):
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()


def dripped(roster, pieces, bytes_each, pause_ms):
    """Some bytes at a time, until the fault is switched off."""
    for piece in pieces:
        for at in range(0, len(piece), bytes_each):
            with roster.changed:
                roster.changed.wait_for(lambda: "drip" not in roster.faults, pause_ms / 1000)
            yield piece[at:at + bytes_each]


def wire(roster, target, answer):
    """The body of an answer as it goes out: (its length, headers, pieces). The pieces are made while they are sent."""
    body, headers = answer.body, {}
    if answer.code == 200 and roster.fault("truncated", target):
        body = body[:len(body) // 2]
    if roster.fault("byte_order_mark", target):
        body = b"\xef\xbb\xbf" + body
    one = roster.fault("encoding", target)
    if one:
        body = (("\ufeff" if one.get("mark") else "") + body.decode("utf-8")).encode(one["name"])
    length, pieces = len(body), (body,)
    one = roster.fault("short_length", target)
    if one:
        length -= one["by"]
    one = roster.fault("padding", target)
    if one:
        length, pieces = length + one["megabytes"] * len(MEGABYTE), padded(body, one["megabytes"])
    if roster.fault("gzip", target):
        packed = b"".join(gzipped(pieces))
        length, pieces, headers = len(packed), (packed,), {"Content-Encoding": "gzip"}
    one = roster.fault("revision", target)
    if one:
        headers["x-perm-rev"] = one["value"]
    one = roster.fault("many_headers", target)
    if one:
        headers.update({f"X-Many-{number}": "x" * 1000 for number in range(one["count"])})
    one = roster.fault("drip", target)
    if one:
        pieces = dripped(roster, pieces, one["bytes"], one["pause_ms"])
    return length, headers, pieces
