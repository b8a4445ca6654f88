-- The SIS list. Each row says where it was read and what of it could not be confirmed.

-- What a standard server offers. 1.1 has no endpoint for the staff of one school, so that they are asked for by role.
-- In 1.2 a user has several roles, for which there is no filter that servers agree on: users are read whole, and those
-- of the school and of these roles are kept. Some servers lack the lists of one school: those of the district take
-- their place, of which the same is kept.
WITH standard (api_version, collections, scope) AS (VALUES
('1.1',
 '[{"collection": "students", "family": "student", "categories": ["student"], "path": "/schools/{school}/students",
    "fallback": ["/students", "/users?filter=role=''student''"], "roles": ["student"]},
   {"collection": "teachers", "family": "staff", "categories": ["teacher"], "path": "/schools/{school}/teachers",
    "fallback": ["/teachers", "/users?filter=role=''teacher''"], "roles": ["teacher"]},
   {"collection": "administrators", "family": "staff", "categories": ["staff", "admin"],
       "path": "/users?filter=role=''administrator''",
    "roles": ["administrator"]},
   {"collection": "aides", "family": "staff", "categories": ["staff"], "path": "/users?filter=role=''aide''",
       "roles": ["aide"]},
   {"collection": "proctors", "family": "staff", "categories": ["staff"], "path": "/users?filter=role=''proctor''",
       "roles": ["proctor"]},
   {"collection": "guardians", "family": "contact", "categories": ["student"],
       "path": "/users?filter=role=''guardian''", "roles": ["guardian"]},
   {"collection": "parents", "family": "contact", "categories": ["student"], "path": "/users?filter=role=''parent''",
       "roles": ["parent"]},
   {"collection": "relatives", "family": "contact", "categories": ["student"],
       "path": "/users?filter=role=''relative''", "roles": ["relative"]}]'::jsonb,
 'https://purl.imsglobal.org/spec/or/v1p1/scope/roster-core.readonly '
     'https://purl.imsglobal.org/spec/or/v1p1/scope/roster.readonly'),
('1.2',
 '[{"collection": "students", "family": "student", "categories": ["student"], "path": "/schools/{school}/students",
    "fallback": ["/students", "/users"], "roles": ["student"]},
   {"collection": "teachers", "family": "staff", "categories": ["teacher"], "path": "/schools/{school}/teachers",
    "fallback": ["/teachers", "/users"], "roles": ["teacher"]},
   {"collection": "staff", "family": "staff", "categories": ["staff", "admin"], "path": "/users",
    "roles": ["aide", "counselor", "proctor", "principal", "siteAdministrator", "districtAdministrator",
        "systemAdministrator", "administrator"]},
   {"collection": "contacts", "family": "contact", "categories": ["student"], "path": "/users",
       "roles": ["guardian", "parent", "relative"]}]',
 'https://purl.imsglobal.org/spec/or/v1p2/scope/roster-core.readonly '
     'https://purl.imsglobal.org/spec/or/v1p2/scope/roster.readonly'))
INSERT INTO sis (sis, title, api_version, auth, base_paths, token_path, scope, collections, page_size, max_requests,
    page_size_limit, max_requests_limit,
    source, builtin, campus_metadata)
SELECT p.sis, p.title, p.api_version, p.auth, p.base_paths, p.token_path, CASE WHEN p.asks_scope THEN s.scope END,
    coalesce(p.collections, s.collections),
    p.page_size, 1, p.page_size_limit, p.max_requests_limit, p.source, true,
    p.sis = 'infinite_campus_1.2'
FROM (VALUES
('infinite_campus', 'Infinite Campus, OneRoster 1.1 with OAuth 2.0', '1.1', 'oauth2',
 ARRAY['/campus/api/oneroster/v1p1/{app}/ims/oneroster/v1p1', '/campus/oneroster/{app}/ims/oneroster/v1p1'],
 '/campus/oauth2/token?appName={app}', false,
 '[{"collection": "students", "family": "student", "categories": ["student"], "path": "/schools/{school}/students"},
   {"collection": "teachers", "family": "staff", "categories": ["teacher"], "path": "/schools/{school}/teachers"},
   {"collection": "administrators", "family": "staff", "categories": ["staff", "admin"],
       "path": "/schools/{school}/administrators",
    "fallback": "/users?filter=role=''administrator''", "roles": ["administrator"]},
   {"collection": "guardians", "family": "contact", "categories": ["student"], "path": "/guardians",
    "fallback": "/users?filter=role=''guardian''", "roles": ["guardian"]},
   {"collection": "relatives", "family": "contact", "categories": ["student"], "path": "/relatives",
    "fallback": "/users?filter=role=''relative''", "roles": ["relative"]}]'::jsonb,
 5000, 50000, 5,
 'support.minga.io "Setting up OneRoster with Infinite Campus" (URL, App Name, School ID); kb.infinitecampus.com '
     '"Guidelines for OneRoster API Consumers" (page size up to 50,000; one request at a time in peak hours, five at '
     'the most), "OneRoster 1.1 Data Models" (roles), "Troubleshooting OneRoster Connections" (credentials of 1.1 '
     'expire after a year); base URLs changed with Campus.2235. Not confirmed: whether totals are sent, which filters '
     'are honored.'),
('infinite_campus_1.2', 'Infinite Campus, OneRoster 1.2', '1.2', 'oauth2',
 ARRAY['/campus/api/oneroster/v1p2/{app}/ims/oneroster/rostering/v1p2', '/campus/api/ims/oneroster/rostering/v1p2'],
 '/campus/oauth2/token?appName={app}', false, NULL,
 5000, 50000, 5,
 'kb.infinitecampus.com "OneRoster - What''s New in 1.2" (one record for each person, ids other than in 1.1, roles), '
     '"Guidelines for OneRoster API Consumers", "Troubleshooting OneRoster Connections" (connections of 1.2 do not '
     'expire); public clients of it (both base URLs). Not confirmed: endpoints of its own beyond the standard, whether '
     'a scope is needed (none is sent).'),
('classlink', 'ClassLink Roster Server, directly, with OAuth 1', '1.1', 'oauth1_sha256',
 ARRAY['{prefix}/ims/oneroster/v1p1'], NULL, false, NULL,
 10000, 10000, 16,
 'developer.classlink.com "Accessing Data" (direct access signed with OAuth 1; client id, secret and server URL from '
     'the developer console); public clients (HMAC-SHA256 and HMAC-SHA1 are both taken; pages of 10,000). Its "1.2 '
     'format" is served under the path of 1.1. Not confirmed: how many requests at a time it bears.'),
('classlink_proxy', 'ClassLink OneRoster proxy, with a token that does not expire', '1.1', 'bearer',
 ARRAY['/{app}/ims/oneroster/v1p1', '/proxy/v1p0/{app}/ims/oneroster/v1p1'], NULL, false, NULL,
 10000, 10000, 16,
 'developer.classlink.com "Accessing Data" (https://oneroster-proxy.classlink.io/{application id}/ims/oneroster/v1p1, '
     'the access token of the developer console as Bearer); public clients (the newer host '
     'oneroster-proxy.apis.classlink.com/proxy/v1p0, x-perm-rev, 429 and 502 under load). Not confirmed: how many '
     'requests at a time it bears.'),
('powerschool', 'PowerSchool SIS, OneRoster 1.1', '1.1', 'oauth2',
 ARRAY['{prefix}/ims/oneroster/v1p1'], '/oauth/access_token', false, NULL,
 1000, 50000, 16,
 'support.classlink.com "PowerSchool API Activation" (credentials from the plugin''s Data Provider Configuration, '
     'whose Maximum Page Size caps pages in silence); public clients (/oauth/access_token with HTTP Basic). Not '
     'confirmed: the path of OneRoster below the host, so compare it with what the school shows; whether a scope is '
     'needed (none is sent). PowerSchool Unified Classroom takes token_url '
     'https://accounts.powerschool.com/as/token.oauth2.'),
('aeries', 'Aeries, OneRoster 1.1', '1.1', 'oauth2',
 ARRAY['{prefix}/ims/oneroster/v1p1'], '{prefix}/token', true, NULL,
 1000, 50000, 16,
 'support.aeries.com "OneRoster API Authentication Process" (base URL such as https://district.aeries.net/aeries, '
     'token at /token below it, formerly /v2/oauth/token; a scope must be sent; HTTP Basic preferred; cookies of the '
     'token''s answer must be kept; 6 hours). Not confirmed: page cap, requests at a time.'),
('skyward', 'Skyward SMS 2.0 and Qmlativ, OneRoster 1.1', '1.1', 'oauth2',
 ARRAY['{prefix}/ims/oneroster/v1p1'], NULL, false, NULL,
 1000, 50000, 16,
 'help.otus.com "Skyward OneRoster API Configuration" (key and secret of a Secured User; OneRoster API URL under API '
     'Configuration), support.classlink.com "Skyward API Activation" (often https://skyward.district.org/api); public '
     'clients (HTTP Basic; the token URL does not follow from the base URL). Not confirmed: token URL, scope (none is '
     'sent), which filters are honored. Teachers without identifier and users without names have been seen.'),
('synergy', 'Edupoint Synergy, OneRoster 1.1', '1.1', 'oauth2',
 ARRAY['{prefix}/ims/oneroster/v1p1'], NULL, true, NULL,
 1000, 50000, 16,
 'ed.link/docs/providers/synergy (server URL and token URL as Synergy shows them; OAuth 2.0, OAuth 1 deprecated; '
     'scopes); public clients (credentials in the form body). Not confirmed: paths, page cap, requests at a time.'),
('blackbaud', 'Blackbaud Education Management, OneRoster 1.1', '1.1', 'oauth2',
 ARRAY['/afe-rostr/ims/oneroster/v1p1', '/ims/oneroster/v1p1'], NULL, true, NULL,
 1000, 50000, 16,
 'developer.blackbaud.com "Integrate with third-party web apps" and "Generate OneRoster OAuth 2.0 Bearer token" '
     '(https://api.sky.blackbaud.com/afe-rostr/ims/oneroster/v1p1, token_url https://oauth2.sky.blackbaud.com/token, '
     'HTTP Basic, scope in the body; 1.1 alone); help.formative.com (older: '
     'https://school.myschoolapp.com/ims/oneroster/v1p1 with consumer key and secret). Not confirmed: whether the '
     'older address takes OAuth 1 or 2, page cap, requests at a time.'),
('oneroster_1.1', 'OneRoster 1.1 with OAuth 2.0', '1.1', 'oauth2',
 ARRAY['{prefix}/ims/oneroster/v1p1'], NULL, true, NULL,
 1000, 50000, 16,
 'IMS OneRoster 1.1: root /ims/oneroster/v1p1, scopes roster-core and roster, roles, no endpoint for the staff of one '
     'school.'),
('oneroster_1.2', 'OneRoster 1.2 with OAuth 2.0', '1.2', 'oauth2',
 ARRAY['{prefix}/ims/oneroster/rostering/v1p2'], NULL, true, NULL,
 1000, 50000, 16,
 '1EdTech OneRoster 1.2 Rostering Service: root /ims/oneroster/rostering/v1p2, OAuth 2.0 alone, scopes roster-core and '
     'roster, roles. Not confirmed: that a server filters users by roles.role, so users are read whole.')
) AS p (sis, title, api_version, auth, base_paths, token_path, asks_scope, collections, page_size, page_size_limit,
    max_requests_limit, source)
JOIN standard s USING (api_version);

-- The roles of both versions for each SIS: a server has been seen to send the one's objects under the other's path.
-- None makes an owner or manager.
INSERT INTO role_rules (sis, roster_role, category, role, rank, builtin)
SELECT s.sis, r.roster_role, r.category, r.role, r.rank, true
FROM sis s
CROSS JOIN (VALUES
    ('student', 'student', 'student', 1),
    ('teacher', 'teacher', 'teacher', 1),
    ('administrator', 'admin', 'staff', 2),
    ('principal', 'admin', 'staff', 2),
    ('siteadministrator', 'admin', 'staff', 2),
    ('districtadministrator', 'admin', 'staff', 2),
    ('systemadministrator', 'admin', 'staff', 2),
    ('counselor', 'staff', 'staff', 3),
    ('aide', 'staff', 'staff', 3),
    ('proctor', 'staff', 'staff', 3),
    ('guardian', 'contact', NULL, 1),
    ('parent', 'contact', NULL, 1),
    ('relative', 'contact', NULL, 2)) AS r (roster_role, category, role, rank);
