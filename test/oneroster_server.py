#!/usr/bin/python3
"""A OneRoster 1.1 server for tests, shaped like Infinite Campus: TLS, tokens, paging, filters, days and faults.

It serves the district of roster_data.py on one port and takes orders (day, faults, log, expected plan) on a second one,
plain HTTP; both listen on 127.0.0.1 only. Must survive: clients that break off, faults switched while requests run, and
200,000 people at any offset.
"""

import argparse
import json
import os
import re
import secrets
import signal
import socket
import ssl
import struct
import sys
import threading
import time
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

from roster_auth import check_client, check_request
from roster_classes import ENVELOPES, FIELDS as OBJECT_FIELDS, objects
from roster_data import COLLECTION_LETTERS, ROLES, District, mix, with_href
from roster_export import COPY_COLUMNS, export
from roster_faults import (Answer, as_list, bend_row, check_faults, early_faults, encode, first_row, page_bounds,
    refusal, refused, status_info, token_cookie, wire)
from roster_plan import expected_plan

PREDICATE = re.compile(r"\s*([A-Za-z.]+)\s*(!=|>=|<=|=|>|<|~)\s*'([^']*)'\s*")
TOKEN_PATHS = ("/campus/oauth2/token", "/oauth/token", "/oauth/access_token", "/aeries/token")
ROOT = re.compile(
    r"(?:/campus/api/oneroster/v1p[12]/(?P<app>[^/]+)|/campus/oneroster/(?P<legacy>[^/]+)"
    r"|(?:/proxy/v1p0)?/(?P<proxied>minga)|/(?:aeries|api|afe-rostr)|)"
    r"/ims/oneroster/(?:v1p1|rostering/v1p2)(?P<rest>/.*)?")
USER_FIELDS = set("sourcedId status dateLastModified metadata username userIds enabledUser givenName familyName "
    "middleName role identifier email sms phone agents orgs grades password".split())


class Roster:
    """The district on its day, with the faults applied: gives lists of rows and the rows themselves."""

    def __init__(self, district, day):
        self.district = district
        self.lock = threading.RLock()
        self.changed = threading.Condition()
        self.faults, self.generation, self.selections = {}, 0, {}
        self.set_day(day)

    def set_day(self, day):
        with self.lock:
            self.day, self.state = day, self.district.state(day)
            self.by_letter, self.by_school = self.state.lists()
            self.users = sorted(ref for refs in self.by_letter.values() for ref in refs)
            self.forget()

    def forget(self):
        with self.lock:
            self.generation += 1
            self.selections = {}
        with self.changed:
            self.changed.notify_all()

    def set_faults(self, switches):
        check_faults(switches)
        with self.lock:
            if switches.pop("reset", False):
                self.faults = {}
            self.faults.update(switches)
            self.faults = {k: v for k, v in self.faults.items() if v is not None}
            self.forget()

    def fault(self, name, target):
        """The switch of this name for this request, if it is on; one that counts down is counted here."""
        with self.lock:
            for one in as_list(self.faults.get(name)):
                if not isinstance(one, dict) or not re.search(one.get("path", ""), target):
                    continue
                if one.get("times") is None:
                    return one
                if one["times"] > 0:
                    one["times"] -= 1
                    return one
        return None

    # Lists

    def listing(self, school, letter):
        """The refs of a collection, sorted by sourcedId. letter None is every user; school None every school."""
        if letter is None:
            refs = self.users
        else:
            refs = self.by_letter[letter] if school is None else self.by_school[school, letter]
        faults = self.faults
        if faults.get("remove_rows"):
            gone = set(faults["remove_rows"])
            refs = [r for r in refs if r[0] not in gone]
        if faults.get("add_rows"):
            refs = sorted(refs + [(str(row.get("sourcedId", "")), "+", n, 0, 0)
                                  for n, row in enumerate(faults["add_rows"]) if self.belongs(row, school, letter)])
        for one in as_list(faults.get("duplicate")):
            at = next((n for n, r in enumerate(refs) if r[0] == one["sourced_id"]), None)
            if at is not None:
                refs = refs + [refs[at]] if one.get("at") == "end" else refs[:at + 1] + refs[at:]
        return refs

    def belongs(self, row, school, letter):
        if letter is not None and row.get("role") != ROLES[letter]:
            return False
        orgs = [o.get("sourcedId") if isinstance(o, dict) else o for o in row.get("orgs")
            or [self.district.school_ids[0]]]
        return school is None or self.district.school_ids[school] in orgs

    def selection(self, school, letter, sort, order, predicate):
        """A collection sorted and filtered as asked, kept until the day or the faults change."""
        key = (school, letter, sort, order, predicate and predicate.text)
        with self.lock:
            if key not in self.selections:
                refs = self.listing(school, letter)
                if predicate and not {"ignore_filter", "filter_after_paging"} & set(self.faults):
                    refs = [r for r in refs if predicate.accepts(self.row(r, "", predicate.fields))]
                if "ignore_sort" in self.faults:
                    refs = sorted(refs, key=lambda r: mix(int.from_bytes(r[0].encode()[-8:], "big")))
                else:
                    if sort not in (None, "sourcedId"):
                        refs = sorted(refs, key=lambda r: str(self.row(r, "").get(sort) or ""))
                    if (order == "desc") != ("reverse_sort" in self.faults):
                        refs = refs[::-1]
                if len(self.selections) > 16:
                    self.selections.clear()
                self.selections[key] = refs
            return self.selections[key]

    # Rows

    def row(self, ref, base_url, only=None):
        """One user with its faults. only: the fields that are needed, to save the work where role or
        id will do."""
        faults = self.faults
        sid, letter = ref[0], ref[1]
        override = faults.get("override") or {}
        if only and only <= {"role", "sourcedId"} and letter != "+" and sid not in override:
            return {"sourcedId": sid, "role": ROLES[letter]}
        row = dict(faults["add_rows"][ref[2]]) if letter == "+" else self.state.row(ref, base_url)
        return bend_row(faults, row)


class Predicate:
    """A filter: one comparison, or two joined by AND or OR. Values are compared as text, as given."""

    def __init__(self, text, known=frozenset(USER_FIELDS)):
        self.text = text
        first = PREDICATE.match(text)
        if not first:
            raise status_info(400, "invalid_filter_field", f"filter not understood: {text}")
        self.parts, self.join, rest = [first.groups()], None, text[first.end():]
        if rest:
            joined = re.match(r"(AND|OR)\s", rest)
            second = PREDICATE.fullmatch(rest[joined.end():]) if joined else None
            if not second:
                raise status_info(400, "invalid_filter_field", f"filter not understood: {text}")
            self.join = joined[1]
            self.parts.append(second.groups())
        self.fields = {field for field, _, _ in self.parts}
        for field in self.fields - known:
            raise status_info(400, "invalid_filter_field", f"unknown filter field: {field}")

    def accepts(self, row):
        results = [any(self.compare(str(v), op, value) for v in (as_list(row.get(field)) or [""]))
                   for field, op, value in self.parts]
        return any(results) if self.join == "OR" else all(results)

    @staticmethod
    def compare(has, op, value):
        return {"=": has == value, "!=": has != value, ">": has > value, ">=": has >= value, "<": has < value,
            "<=": has <= value,
                "~": value in has}[op]


class Tokens:
    """Tokens given out, with the time and the number of requests that they are good for."""

    def __init__(self):
        self.lock, self.given = threading.Lock(), {}

    def give(self, seconds):
        token = secrets.token_urlsafe(32)
        with self.lock:
            self.given[token] = [time.monotonic() + seconds, 0]
        return token

    def all_given(self):
        with self.lock:
            return list(self.given)

    def use(self, token, most):
        with self.lock:
            known = self.given.get(token)
            if not known or known[0] < time.monotonic() or (most is not None and known[1] >= most):
                return False
            known[1] += 1
            return True


class Server(ThreadingHTTPServer):
    """A listener on 127.0.0.1. The TLS handshake is made in the connection's own thread, so that no one waits for
    it."""

    daemon_threads, request_queue_size = True, 128

    def __init__(self, handler, port, tls=None):
        self.tls = tls
        super().__init__(("127.0.0.1", port), handler)

    def finish_request(self, request, address):
        if not self.tls:
            return super().finish_request(request, address)
        request.settimeout(30)
        with self.tls.wrap_socket(request, server_side=True) as wrapped:
            wrapped.settimeout(None)
            super().finish_request(wrapped, address)

    def handle_error(self, request, address):
        """Clients that break off are what tests do; anything else is a fault of this server and is shown."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, address)


class Handler(BaseHTTPRequestHandler):
    protocol_version, server_version = "HTTP/1.1", "TestCampus"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        """Requests are kept in the log of the control port, not printed."""

    def send(self, code, length, pieces, content_type="application/json", headers=None, broken=False):
        """Sends a response; broken: half of its first piece, then the connection is reset."""
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        for piece in pieces:
            if broken:
                self.wfile.write(piece[:len(piece) // 2])
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                os.close(self.connection.detach())
                self.close_connection = True
                raise ConnectionResetError
            self.wfile.write(piece)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))


class RosterHandler(Handler):
    """The OneRoster side: tokens, orgs, users, classes."""

    def date_time_string(self, timestamp=None):
        """The time of the header Date, by a clock that may be wrong."""
        return super().date_time_string((timestamp or time.time())
            + self.server.context.roster.faults.get("clock_ahead", 0))

    def do_GET(self):
        self.serve("GET")

    def do_POST(self):
        self.serve("POST")

    def serve(self, method):
        context, body = self.server.context, self.body()
        url = urlsplit(self.path)
        query = {k: v[-1] for k, v in parse_qs(url.query, keep_blank_values=True).items()}
        scheme = (self.headers.get("Authorization") or "").split(" ")[0] or None
        with context.lock:
            context.active += 1
            context.most = max(context.most, context.active)
            entry = {"method": method, "path": url.path, "query": query, "authorization": scheme, "time": time.time(),
                "code": None}
            context.log.append(entry)
        try:
            answer = self.answer(context, method, url, query, body, entry)
        finally:
            # before the answer goes out, or a client's next request could be counted beside this one
            with context.lock:
                context.active -= 1
        entry["code"] = answer.code
        broken = context.roster.fault("reset_connection", self.path)
        length, headers, pieces = wire(context.roster, self.path, answer)
        self.send(answer.code, length, pieces, answer.content_type, {**answer.headers, **headers}, broken)

    def answer(self, context, method, url, query, body, entry):
        """The answer to a request; what is wrong with it comes as an answer too."""
        roster = context.roster
        try:
            early_faults(roster, self.path, self.headers.get("Cookie"))
            if url.path in TOKEN_PATHS:
                raise self.token(context, method, url.path, query, body, entry)
            found = ROOT.fullmatch(url.path)
            if not found:
                raise Answer(404, b"<html><body><h1>404 Not Found</h1></body></html>\n", content_type="text/html")
            app = found["app"] or found["legacy"]
            if app is not None and unquote(app) != context.app:
                raise status_info(404, "unknown object", "unknown application")
            scheme = "https" if self.server.tls else "http"
            check_request(context, method, f"{scheme}://{self.headers.get('Host')}{self.path}", self.headers, entry)
            if method != "GET":
                raise status_info(405, "unsupported", "only GET is supported")
            delay = roster.faults.get("delay_ms")
            if delay:
                with roster.changed:
                    roster.changed.wait_for(lambda: "delay_ms" not in roster.faults, delay / 1000)
            root_path = url.path[:found.start('rest')] if found['rest'] else url.path
            root = f"{scheme}://{self.headers.get('Host')}{root_path}"
            self.endpoint(roster, [unquote(p) for p in (found["rest"] or "/").strip("/").split("/")], query, root,
                app is not None)
        except Answer as answer:
            return answer

    def token(self, context, method, path, query, body, entry):
        """The token endpoint: client credentials by Basic or in the body."""
        if method != "POST":
            return Answer(405, {"error": "invalid_request"})
        if path.startswith("/campus/") and query.get("appName") != context.app:
            return Answer(400, b"No Campus Application selected", content_type="text/plain")
        form = {k: v[-1] for k, v in parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True).items()}
        entry["scope"] = form.get("scope", query.get("scope"))
        check_client(context, self.headers, form, entry)
        if form.get("grant_type", query.get("grant_type")) != "client_credentials":
            return Answer(400, {"error": "unsupported_grant_type"})
        seconds = context.roster.faults.get("expires_in", context.expires_in)
        answer = {"access_token": context.tokens.give(seconds), "token_type": "bearer", "expires_in": seconds,
                  "scope": entry["scope"] or "https://purl.imsglobal.org/spec/or/v1p1/scope/roster-core.readonly"}
        answer.update(context.roster.faults.get("token_fields", {}))
        return Answer(200, {k: v for k, v in answer.items() if v is not None},
            {"Cache-Control": "no-store", **token_cookie(context.roster)})

    def endpoint(self, roster, parts, query, root, is_campus):
        """Finds the endpoint of a path and ends in its answer."""
        district = roster.district
        if parts[0] in ("orgs", "schools"):
            hidden = district.school_ids[0] if roster.faults.get("hide_school") else None
            orgs = [with_href(o, root) for o in district.orgs() if (parts[0] == "orgs" or o["type"] == "school")
                and o["sourcedId"] != hidden]
            if len(parts) == 1:
                bent = roster.faults.get("override") or {}
                raise self.page(roster, "orgs", orgs, query, root,
                    lambda org: {**org, **bent.get(org["sourcedId"], {})})
            known = next((o for o in orgs if o["sourcedId"] == parts[1]), None)
            if not known:
                raise status_info(404, "unknown object", f"no org {parts[1]}")
            if len(parts) == 2:
                raise Answer(200, {"org": known})
            if parts[0] == "schools" and len(parts) == 3 and parts[2] in ENVELOPES:
                self.objects(roster, district.school_ids.index(parts[1]), parts[2], query, root, is_campus)
            allowed = ("students", "teachers") + (("administrators",) if is_campus else ())
            if parts[0] == "schools" and len(parts) == 3 and parts[2] in allowed:
                self.users(roster, district.school_ids.index(parts[1]), COLLECTION_LETTERS[parts[2]], query, root)
        allowed = ("users", "students", "teachers") + (("administrators", "guardians", "relatives") if is_campus
            else ())
        if parts[0] in allowed:
            letter = COLLECTION_LETTERS.get(parts[0])
            if len(parts) == 1:
                self.users(roster, None, letter, query, root)
            if len(parts) == 2:
                known = next((r for r in roster.listing(None, letter) if r[0] == parts[1]), None)
                if known:
                    raise Answer(200, encode({"user": roster.row(known, root)}, "escapes" in roster.faults))
        if len(parts) == 1 and parts[0] in ENVELOPES:
            self.objects(roster, None, parts[0], query, root, is_campus)
        raise status_info(404, "unknown object", "no such endpoint or object")

    def objects(self, roster, school, name, query, root, is_campus):
        """A collection of terms, courses, classes, enrollments or demographics."""
        if (name.endswith("tEnrollments") or name.endswith("rEnrollments")) and not is_campus:
            raise status_info(404, "unknown object", "no such endpoint or object")
        key = (name, school, query.get("filter"), query.get("orderBy"))
        with roster.lock:
            if key not in roster.selections:
                predicate = Predicate(query["filter"], OBJECT_FIELDS) if query.get("filter") else None
                today = date.fromisoformat(roster.faults.get("today") or str(date.today()))
                rows = [r for r in objects(roster, name, school, today)
                    if predicate is None or "ignore_filter" in roster.faults or predicate.accepts(r)]
                roster.selections[key] = rows[::-1] if query.get("orderBy") == "desc" else rows
            rows = roster.selections[key]
        fields = query["fields"].split(",") if query.get("fields") and "ignore_fields" not in roster.faults else None
        raise self.page(roster, ENVELOPES[name], rows, query, root,
            lambda row: {k: row[k] for k in fields if k in row} if fields else row)

    def users(self, roster, school, letter, query, root):
        """A collection of users: sorted, filtered, cut to fields."""
        predicate = Predicate(query["filter"]) if query.get("filter") else None
        sort = query.get("sort")
        warnings = [f"invalid_sort_field:{sort}"] if sort and sort not in USER_FIELDS else []
        fields = None
        if "fields" in query and "ignore_fields" not in roster.faults:
            fields = query["fields"].split(",")
            if not query["fields"].strip():
                raise status_info(400, "invalid_blank_selection_field", "fields is empty")
            if set(fields) - USER_FIELDS:
                warnings.append(f"invalid_selection_field:{','.join(sorted(set(fields) - USER_FIELDS))}")
                fields = None
        refs = roster.selection(school, letter, None if warnings and sort not in USER_FIELDS else sort,
            query.get("orderBy"), predicate)

        def make(ref):
            row = roster.row(ref, root)
            return {k: row[k] for k in fields if k in row} if fields else row
        keep = None
        if predicate and "filter_after_paging" in roster.faults:
            def keep(ref):
                return predicate.accepts(roster.row(ref, "", predicate.fields))
        raise self.page(roster, "users", refs, query, root, make, warnings, keep, len(roster.listing(school, letter)))

    def page(self, roster, envelope, items, query, root, make, warnings=(), keep=None, counted=None):
        """One page of a collection as an answer, with the faults that bend pages."""
        faults, target = roster.faults, self.path
        try:
            limit, offset = int(query.get("limit", 100)), int(query.get("offset", 0))
            if limit < 0 or offset < 0:
                raise ValueError
        except ValueError:
            raise status_info(400, "invalid data", "limit and offset must be whole numbers") from None
        asked = limit
        limit = min(limit, faults.get("page_cap", limit))
        total = len({i[0] for i in items}) if faults.get("duplicate") and envelope == "users" else len(items)
        if counted is not None and roster.fault("count_unfiltered", target):
            total = counted
        offset = first_row(roster, target, offset)
        if limit and roster.fault("round_offset", target):
            offset -= offset % limit
        short = roster.fault("short_page", target)
        if short:
            limit = min(limit, short["rows"])
        empty = roster.fault("empty", target)
        if empty:
            items, total = [], empty.get("total", 0)
        answered = refused(roster, target, query, asked, offset, total)
        if isinstance(answered, int) or answered in ("nothing", "html"):
            raise refusal(answered)
        if answered in ("first", "last"):
            offset = 0 if answered == "first" else max(0, total - limit)
        items, start, end = page_bounds(roster, target, [] if answered == "empty" else items, limit, offset)
        rows = [make(item) for item in items[start:end] if keep is None or keep(item)]
        for one in as_list(faults.get("no_sourced_id")):
            if re.search(one.get("path", "students"), target) and offset <= one["index"] < offset + len(rows):
                rows[one["index"] - offset].pop("sourcedId", None)
        answer = {envelope: rows}
        if warnings:
            answer["statusInfoSet"] = [{"imsx_codeMajor": "success", "imsx_severity": "warning",
                "imsx_codeMinor": w.split(":")[0],
                                        "imsx_description": w} for w in warnings]
        renamed = roster.fault("rename_envelope", target)
        if renamed:
            answer[renamed["key"]] = answer.pop(envelope)
        if roster.fault("missing_envelope", target) or (faults.get("empty_object_at_end") and not rows):
            answer.pop(renamed["key"] if renamed else envelope)
        if roster.fault("null_list", target) or answered == "null":
            answer = {envelope: None}
        if answered == "{}":
            answer = {}
        total = len(rows) if faults.get("total") == "of page" else total
        return Answer(200, encode(answer, "escapes" in faults), self.page_headers(roster, total, limit, offset, query,
            root))

    def page_headers(self, roster, total, limit, offset, query, root):
        headers, context = {}, self.server.context
        mode, only = roster.faults.get("total", "right" if context.totals else "none"), ""
        if isinstance(mode, dict):
            mode, only = mode["mode"], mode.get("path", "")
        if not re.search(only, self.path):
            mode = "right" if context.totals else "none"
        if mode == "wrong":
            total += 7
        elif mode == "changing":
            with context.lock:
                context.drift += 1
                total += context.drift
        if mode != "none":
            headers["X-Total-Count"] = str(total)
        if roster.faults.get("link", "right" if context.links else "none") != "none" and limit:
            url = f"{root.split('/ims/')[0]}/ims/{urlsplit(self.path).path.split('/ims/')[1]}"
            kept = "".join(f"&{k}={quote(v, safe='')}" for k, v in query.items() if k not in ("limit", "offset"))
            links = [("first", 0), ("last", max(0, (total - 1) // limit * limit))]
            links += [("next", offset + limit)] if offset + limit < total else []
            links += [("prev", max(0, offset - limit))] if offset else []
            headers["Link"] = ", ".join(f'<{url}?limit={limit}&offset={at}{kept}>; rel="{rel}"' for rel, at in links)
        return headers


class ControlHandler(Handler):
    """The orders of a test: day, faults, log, state, expected plan."""

    def do_GET(self):
        context, url = self.server.context, urlsplit(self.path)
        args = {k: v[-1] for k, v in parse_qs(url.query).items()}
        with context.lock:
            if url.path == "/log":
                return self.reply(200, list(context.log))
            if url.path == "/state":
                return self.reply(200, {"day": context.roster.day, "concurrent_max": context.most,
                    "concurrent": context.active, "tokens": context.tokens.all_given(),
                                        "requests": len(context.log), "faults": context.roster.faults})
        if url.path == "/expected":
            return self.attempt(lambda: expected_plan(context.roster.district, args))
        if url.path == "/changes":
            return self.attempt(lambda: context.roster.district.changes(int(args["day"]), int(args.get("school", 0))))
        self.reply(404, {"error": "unknown"})

    def do_POST(self):
        context, body = self.server.context, self.body()

        def day():
            wanted = int(json.loads(body)["day"])
            if wanted < 0:
                raise ValueError("day must not be negative")
            context.roster.set_day(wanted)
            return {"day": wanted}

        def faults():
            context.roster.set_faults(json.loads(body))
            return context.roster.faults
        work = {"/day": day, "/faults": faults}.get(self.path)
        return self.attempt(work) if work else self.reply(404, {"error": "unknown"})

    def do_DELETE(self):
        context = self.server.context
        with context.lock:
            context.log.clear()
            context.most = context.active
        self.reply(200, {})

    def attempt(self, work):
        try:
            with self.server.context.roster.lock:
                found = work()
        except (ValueError, KeyError, TypeError, AttributeError, re.error) as e:
            return self.reply(400, {"error": f"{type(e).__name__}: {e}"})
        self.reply(200, found)

    def reply(self, code, value):
        body = json.dumps(value, ensure_ascii=False).encode()
        self.send(code, len(body), (body,))


class Context:
    """What both listeners share."""

    def __init__(self, args, roster):
        self.roster, self.tokens, self.lock = roster, Tokens(), threading.Lock()
        self.client_id, self.client_secret, self.app = args.client_id, args.client_secret, args.app
        self.expires_in, self.totals, self.links = args.expires_in, not args.no_total, not args.no_link
        self.log, self.active, self.most, self.drift, self.nonces = [], 0, 0, 0, set()


def plan_arguments(text):
    """from=0,to=1,roster=student,teacher: a word without = belongs to the value before it."""
    args, name = {}, None
    for word in text.split(","):
        if "=" in word:
            name, value = word.split("=", 1)
            args[name] = value
        elif name:
            args[name] += "," + word
    return args


def main():
    parser = argparse.ArgumentParser(description="OneRoster 1.1 test server in the shape of Infinite Campus")
    parser.add_argument("--people", type=int, default=500,
        help="people of the first school, 10 to 1000000; each other school has a tenth")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--schools", type=int, default=3, help="schools of the district")
    parser.add_argument("--day", type=int, default=0, help="the day to start at")
    parser.add_argument("--certs", help="directory with server.crt and server.key (make_certs.sh)")
    parser.add_argument("--certificate", default="server",
        help="which of the certificates there: server, expired, self_signed, other_host")
    parser.add_argument("--plain-http", action="store_true", help="no TLS")
    parser.add_argument("--port", type=int, default=0, help="port of the roster; default: any free one")
    parser.add_argument("--control-port", type=int, default=0)
    parser.add_argument("--client-id", default="minga-client")
    parser.add_argument("--client-secret", default="S3cret!^*~)+&%")
    parser.add_argument("--app", default="minga", help="the application's name")
    parser.add_argument("--expires-in", type=int, default=3600, help="life of a token in seconds")
    parser.add_argument("--no-total", action="store_true", help="send no X-Total-Count")
    parser.add_argument("--no-link", action="store_true", help="send no Link")
    parser.add_argument("--no-stdin", action="store_true", help="serve until SIGTERM, whatever happens to stdin")
    parser.add_argument("--print-plan", metavar="ARGS",
        help="print the expected plan (from=0,to=1,auto_update=1,archive=1) and exit")
    parser.add_argument("--export", metavar="DIR", help="write static pages, nginx.conf and users.copy (columns: "
                        + ", ".join(COPY_COLUMNS) + ") and exit")
    parser.add_argument("--page-size", type=int, default=1000, help="rows of an exported page")
    parser.add_argument("--guardians", action="store_true", help="export guardians too")
    args = parser.parse_args()
    if not (10 <= args.people <= 1000000 and args.schools >= 1 and args.day >= 0 and args.page_size >= 1):
        parser.error("--people goes from 10 to 1000000, --schools and --page-size from 1, --day from 0")
    district = District(args.people, args.seed, args.schools)
    if args.print_plan is not None:
        json.dump(expected_plan(district, plan_arguments(args.print_plan)), sys.stdout, ensure_ascii=False, indent=1)
        print()
        return
    if args.export:
        export(district, args.day, args.export, args.page_size, args.guardians)
        return
    if not args.certs and not args.plain_http:
        parser.error("--certs DIR or --plain-http is needed")
    tls = None
    if not args.plain_http:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(os.path.join(args.certs, f"{args.certificate}.crt"), os.path.join(args.certs, "server.key"))
    context = Context(args, Roster(district, args.day))
    servers = [Server(RosterHandler, args.port, tls), Server(ControlHandler, args.control_port)]
    for server in servers:
        server.context = context
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"port {servers[0].server_address[1]}\ncontrol {servers[1].server_address[1]}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if args.no_stdin:
        threading.Event().wait()
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
