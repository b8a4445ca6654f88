"""A school's roster as static pages for nginx, with the same rows as a file for COPY: what benchmarks read.

A page lies in COLLECTION_OFFSET.json; the empty page that ends a collection is there too. nginx.conf is for inclusion
in a server block and maps a request's offset to the file, whatever limit it asks for.
"""

import json
import os

from roster_data import COLLECTION_LETTERS, with_href

COPY_COLUMNS = ["sourcedId", "status", "dateLastModified", "enabledUser", "role", "givenName", "familyName",
    "middleName", "username",
                "identifier", "email", "phone", "sms", "grades", "orgs", "agents"]


def export(district, day, directory, size, with_guardians):
    """Static pages of the first school for nginx, its configuration, and the same users as a file for COPY."""
    os.makedirs(directory, exist_ok=True)
    state = district.state(day)
    by_letter, by_school = state.lists()
    root = "https://localhost/campus/api/oneroster/v1p1/minga/ims/oneroster/v1p1"
    orgs = [with_href(o, root) for o in district.orgs()]
    schools = [o for o in orgs if o["type"] == "school"]

    def write(name, value):
        with open(os.path.join(directory, name), "w", encoding="utf-8") as f:
            json.dump(value, f, ensure_ascii=False)
    write("orgs_0.json", {"orgs": orgs})
    write("schools_0.json", {"orgs": schools})
    write("school.json", {"org": schools[0]})
    token = {"access_token": "static", "token_type": "bearer", "expires_in": 86400}
    write("token.json", token)
    config = [f"location = /campus/oauth2/token {{ default_type application/json; return 200 '{json.dumps(token)}'; }}"]

    def location(path, name, total):
        write(f"{name}_{total}.json", {"orgs" if name in ("orgs", "schools") else "users": []})
        config.append(f"""location ~ ^/campus/api/oneroster/v1p1/[^/]+/ims/oneroster/v1p1{path}$ {{
    default_type application/json;
    root {os.path.abspath(directory)};
    add_header X-Total-Count {total};
    if ($arg_offset = "") {{ rewrite ^ /{name}_0.json break; }}
    rewrite ^ /{name}_$arg_offset.json break;
}}""")
    location("/orgs", "orgs", len(orgs))
    location("/schools", "schools", len(schools))
    config.append(f"""location ~ ^/campus/api/oneroster/v1p1/[^/]+/ims/oneroster/v1p1/(schools|orgs)/[^/]+$ {{
    default_type application/json;
    root {os.path.abspath(directory)};
    try_files /school.json =404;
}}""")
    text = lambda v: "\\N" if v in ("", None) else str(v).replace("\\", "\\\\").replace("\t", "\\t") \
        .replace("\n", "\\n")
    array = lambda values: "{" + ",".join('"' + v.replace("\\", "\\\\\\\\").replace('"', '\\\\"') + '"'
        for v in values) + "}"
    with open(os.path.join(directory, "users.copy"), "w", encoding="utf-8") as copy:
        for name in ("students", "teachers", "administrators") + (("guardians",) if with_guardians else ()):
            refs = by_school[0, COLLECTION_LETTERS[name]]
            for offset in range(0, len(refs), size):
                rows = [state.row(r, root) for r in refs[offset:offset + size]]
                write(f"{name}_{offset}.json", {"users": rows})
                for row in rows:
                    plain = [text(row[k]) for k in COPY_COLUMNS[:-3]]
                    arrays = [array([g for g in row["grades"] if g]), array([o["sourcedId"] for o in row["orgs"]]),
                              array([a["sourcedId"] for a in row["agents"]])]
                    copy.write("\t".join(plain + arrays) + "\n")
            location("/guardians" if name == "guardians" else f"/schools/[^/]+/{name}", name, len(refs))
    with open(os.path.join(directory, "nginx.conf"), "w", encoding="utf-8") as f:
        f.write("\n".join(config) + "\n")
