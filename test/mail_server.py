#!/usr/bin/python3
"""A mail server for tests that speaks its protocol by hand, and the token endpoint of its accounts.

What it does is said by orders: PUT / of JSON on the control port sets them, GET / tells what was seen. Must survive:
clients that go away at any step.

Orders: mechanisms (of AUTH, in the order of EHLO), answers {step: [line, …]} in place of the usual ones, recipients
{address: [line, …]} for RCPT, silent_at (the step at which nothing is answered), close_at (hang up there), delay_at
{step: seconds}, which another order ends, close_after (mails of a session), refuse_tokens (all that were given so far),
once (a token logs in once), expires_in, token_error [status, JSON]. Steps: greeting, ehlo, auth, token (behind the
first 334), mail, rcpt, data, dot.
"""

import argparse
import base64
import http.server
import json
import os
import socketserver
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

STATE = {"orders": {}, "tokens": [], "refused": [], "seen": [], "mails": [], "requests": [], "connections": 0}
LOCK = threading.Lock()


def order(name, default=None):
    return STATE["orders"].get(name, default)


def see(what):
    with LOCK:
        STATE["seen"].append(what)


class Session(socketserver.BaseRequestHandler):
    def say(self, step, *lines):
        see(step)
        began = time.monotonic()
        while time.monotonic() - began < order("delay_at", {}).get(step, 0):
            time.sleep(0.02)
        if order("silent_at") == step:
            while self.channel.recv(1000):
                pass
            raise ConnectionError
        if order("close_at") == step:
            raise ConnectionError
        for line in order("answers", {}).get(step, lines):
            self.channel.sendall(line.encode() + b"\r\n")

    def read(self):
        while b"\n" not in self.pending:
            got = self.channel.recv(65536)
            if not got:
                raise ConnectionError
            self.pending += got
        line, self.pending = self.pending.split(b"\n", 1)
        return line.decode().rstrip("\r")

    def handle(self):
        self.channel, self.pending = self.request, b""
        with LOCK:
            STATE["connections"] += 1
        try:
            self.talk()
        except (OSError, ConnectionError):
            pass

    def talk(self):
        mails = 0
        self.say("greeting", "220 mail.mesa.example ready")
        while True:
            line = self.read()
            verb = line[:4].upper()
            if verb == "EHLO":
                is_tls = isinstance(self.channel, ssl.SSLSocket)
                self.say("ehlo", "250-mail.mesa.example", *(["250-AUTH " + " ".join(order("mechanisms", ["XOAUTH2"]))]
                    if is_tls else ["250-STARTTLS"]), "250 SIZE 35882577")
            elif verb == "STAR":
                self.channel.sendall(b"220 go ahead\r\n")
                self.channel = TLS.wrap_socket(self.channel, server_side=True)
            elif verb == "AUTH":
                self.authenticate(line)
            elif verb == "MAIL":
                if order("close_after") is not None and mails >= order("close_after"):
                    self.say("mail", "421 4.4.2 enough mail on this connection")
                    return
                self.say("mail", "250 2.1.0 fine")
            elif verb == "RCPT":
                recipient = line[9:-1]
                self.say("rcpt", *order("recipients", {}).get(recipient, ["250 2.1.5 fine"]))
            elif verb == "DATA":
                self.say("data", "354 go on")
                if not order("answers", {}).get("data"):
                    content = []
                    while (got := self.read()) != ".":
                        content.append(got)
                    self.say("dot", f"250 2.0.0 Ok: queued as {len(STATE['mails']) + 1}")
                    mails += 1
                    with LOCK:
                        STATE["mails"].append({"to": recipient, "content": "\n".join(content)})
            elif verb == "QUIT":
                return
            else:
                self.channel.sendall(b"250 2.0.0 fine\r\n")

    def authenticate(self, line):
        mechanism = line.split()[1]
        self.say("auth", "334 ")
        response = base64.b64decode(self.read()).decode()
        see(mechanism + " " + response.replace("\x01", "^"))
        token = response.split("auth=Bearer ")[1].split("\x01")[0]
        if token in STATE["tokens"] and token not in STATE["refused"]:
            if order("once"):
                STATE["refused"].append(token)
            self.say("token", "235 2.7.0 Accepted")
            return
        if order("says_why", True):
            why = b'{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}'
            self.channel.sendall(b"334 " + base64.b64encode(why) + b"\r\n")
            see("answer " + repr(self.read()))
        self.say("token", "535-5.7.8 Username and Password not accepted. For more information, go to",
            "535 5.7.8  https://support.mail.example/?p=BadCredentials")


def claims_of(assertion):
    """The claims of an assertion whose signature is that of the key of --certs."""
    head, claims, signature = assertion.split(".")

    def decoded(text):
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    with tempfile.NamedTemporaryFile() as file:
        file.write(decoded(signature))
        file.flush()
        subprocess.run(["openssl", "dgst", "-sha256", "-verify", PUBLIC_KEY, "-signature", file.name],
            input=f"{head}.{claims}".encode(), check=True, stdout=subprocess.DEVNULL)
    return json.loads(decoded(head)), json.loads(decoded(claims))


class TokenEndpoint(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        answer, status = {"token_type": "Bearer", "expires_in": order("expires_in", 3599)}, 200
        if "assertion" in form:
            try:
                form["header"], form["claims"] = claims_of(form.pop("assertion"))
            except (subprocess.CalledProcessError, ValueError):
                answer, status = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, 400
        if order("token_error"):
            status, answer = order("token_error")
        with LOCK:
            STATE["requests"].append({"path": self.path, "form": form})
            if status == 200:
                if "access_token" not in answer:
                    STATE["tokens"].append(f"token-{len(STATE['tokens']) + 1}-" + "x" * 1500)
                answer = {"access_token": STATE["tokens"][-1], **answer}
        respond(self, status, answer)

    def log_message(self, *args):
        pass


class Control(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        orders = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with LOCK:
            STATE["orders"] = orders
            if orders.get("refuse_tokens"):
                STATE["refused"] = list(STATE["tokens"])
        respond(self, 200, {})

    def do_GET(self):
        with LOCK:
            respond(self, 200, {k: STATE[k] for k in ("seen", "mails", "requests", "connections")})

    def log_message(self, *args):
        pass


def respond(handler, status, answer):
    body = json.dumps(answer).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def start(handler, port=0, tls=None):
    server = Server(("127.0.0.1", port), handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


parser = argparse.ArgumentParser(description="SMTP test server with OAuth 2.0, and its token endpoint")
parser.add_argument("--certs", required=True, help="directory with server.crt and server.key (make_certs.sh)")
arguments = parser.parse_args()
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
TLS.load_cert_chain(os.path.join(arguments.certs, "server.crt"), os.path.join(arguments.certs, "server.key"))
PUBLIC_KEY = os.path.join(arguments.certs, "account.pub")
print(f"port {start(Session)}\ntokens {start(TokenEndpoint, tls=TLS)}\ncontrol {start(Control)}", flush=True)
sys.stdin.buffer.read()
os._exit(0)
