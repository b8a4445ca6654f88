#!/usr/bin/python3
"""An SMTP server for tests (aiosmtpd): STARTTLS and AUTH are demanded, each mail is kept.

A mail is DIR/NNNN.eml, its envelope DIR/NNNN.json; the sidecar is written last, so a mail with a sidecar is whole. Must
survive: being stopped and started again at the same port and directory.
"""

import argparse
import asyncio
import json
import os
import signal
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class Keeper:
    """Takes the mails and keeps them in a directory."""

    def __init__(self, directory, rejected):
        self.directory, self.rejected = directory, {r.lower() for r in rejected}
        os.makedirs(directory, exist_ok=True)
        self.count = max([int(name[:4]) for name in os.listdir(directory) if name.endswith(".eml")], default=0)

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.lower() in self.rejected:
            return "550 5.1.1 \x1b[31mno such mailbox\x07 here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        name = os.path.join(self.directory, f"{self.count:04d}")
        with open(name + ".eml", "wb") as mail:
            mail.write(envelope.content)
        user = session.auth_data.login.decode() if session.auth_data else None
        with open(name + ".tmp", "w", encoding="utf-8") as sidecar:
            json.dump({"from": envelope.mail_from, "to": envelope.rcpt_tos, "user": user,
                "tls": session.ssl is not None}, sidecar)
        os.rename(name + ".tmp", name + ".json")
        return "250 2.0.0 kept"


async def serve(args):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(os.path.join(args.certs, "server.crt"), os.path.join(args.certs, "server.key"))
    keeper = Keeper(args.dir, args.reject_recipient)

    def authenticate(server, session, envelope, mechanism, data):
        known = isinstance(data, LoginPassword) and (data.login.decode(), data.password.decode()) == (args.user,
            args.password)
        return AuthResult(success=known, handled=False, auth_data=data)

    def session():
        auth = {} if args.no_auth else {"authenticator": authenticate, "auth_required": True,
            "auth_require_tls": not args.no_starttls}
        return SMTP(keeper, hostname="localhost", tls_context=None if args.no_starttls else tls,
            require_starttls=not args.no_starttls, enable_SMTPUTF8=True,
                    auth_exclude_mechanism=["LOGIN", "PLAIN"] if args.no_auth else [], **auth)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(session, "127.0.0.1", args.port)
    print(f"port {server.sockets[0].getsockname()[1]}", flush=True)
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    if not args.no_stdin:
        loop.run_in_executor(None, lambda: (sys.stdin.buffer.read(), loop.call_soon_threadsafe(ended.set)))
    await ended.wait()
    os._exit(0)


def main():
    parser = argparse.ArgumentParser(description="SMTP test server that keeps mails")
    parser.add_argument("--dir", required=True, help="where mails are kept")
    parser.add_argument("--certs", required=True, help="directory with server.crt and server.key (make_certs.sh)")
    parser.add_argument("--port", type=int, default=0, help="default: any free one")
    parser.add_argument("--user", default="roster")
    parser.add_argument("--password", default="mail+S3cret")
    parser.add_argument("--reject-recipient", action="append", default=[], metavar="ADDRESS",
        help="answer 550 to this recipient")
    parser.add_argument("--no-auth", action="store_true", help="neither offer nor demand AUTH")
    parser.add_argument("--no-starttls", action="store_true", help="do not offer STARTTLS, and take AUTH without it")
    parser.add_argument("--no-stdin", action="store_true", help="serve until SIGTERM, whatever happens to stdin")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
