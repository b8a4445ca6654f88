#!/usr/bin/python3
"""What a careful person would write without the extension: urllib and json, rows into the same table by psycopg2's
COPY.

Arguments: URL of a collection without offset, connection string, table.
"""

import io
import json
import sys
import urllib.request

import psycopg2

COLUMNS = ["sourcedId", "status", "dateLastModified", "enabledUser", "role", "givenName", "familyName", "middleName",
    "username",
           "identifier", "email", "phone", "sms"]


def field(value):
    return "\\N" if value in ("", None) else str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def array(values):
    return "{" + ",".join('"' + v.replace("\\", "\\\\\\\\").replace('"', '\\\\"') + '"' for v in values) + "}"


database = psycopg2.connect(sys.argv[2])
cursor = database.cursor()
for collection in sys.argv[4:]:
    offset = 0
    while True:
        with urllib.request.urlopen(f"{sys.argv[1]}/{collection}?limit=1000&offset={offset}") as response:
            users = json.load(response)["users"]
        if not users:
            break
        page = io.StringIO()
        for user in users:
            cells = [field(user.get(column)) for column in COLUMNS]
            cells += [array(user["grades"]), array([o["sourcedId"] for o in user["orgs"]]),
                array([a["sourcedId"] for a in user["agents"]])]
            page.write("\t".join(cells) + "\n")
        page.seek(0)
        cursor.copy_expert(f"COPY {sys.argv[3]} FROM STDIN", page)
        offset += len(users)
database.commit()
