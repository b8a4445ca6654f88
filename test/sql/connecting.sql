-- roster_connect and roster_disconnect.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/refusal.sql'
\i :fixture
CREATE SCHEMA connect;
GRANT USAGE ON SCHEMA connect TO regress_people_owner;
SET search_path = connect, minga_roster, minga_roster_internal, public;
SELECT roster_create_people('people', owner => 'regress_people_owner');

-- As the guide says; the defaults are taken, the secret is sealed.
SELECT connection, site, district, sis, base_url, token_url, auth, client_id, app_name, school_id, people, time_zone,
    sync_at, window_end, automatic, parent_contact, guard_percent, guard_floor, page_size, max_requests, unproven,
    retired_at
FROM roster_connect('connect-high',
    url => 'https://campus.mingacityschools.us/campus/api/oneroster/v1p1/minga',
    client_id => ' client ', client_secret => 'a!b^c*d~e)', app_name => 'minga',
    school_id => ' {CE8DF1FC-3242-4716-A5F5-5A957F86DC36} ', people => 'people', site => 'mesa-high',
    district => 'mesa', time_zone => 'america/denver') \gx
SELECT category, roster, auto_update, archive FROM toggles WHERE connection = 'connect-high' ORDER BY category;
SELECT octet_length(sealed) - octet_length('a!b^c*d~e)') AS overhead, position('a!b'::bytea IN sealed) AS clear
    FROM secrets WHERE connection = 'connect-high';
SELECT unproven_since = now() OR now() - unproven_since < '1 hour' FROM connections WHERE connection = 'connect-high';

-- A plain OneRoster server needs its token URL; the site is named after the connection; the secret may follow; a
-- qualified relation, not attached yet.
CREATE TABLE "Other People" (LIKE people INCLUDING ALL);
ALTER TABLE "Other People" OWNER TO regress_people_owner;
SELECT site, district, sis, token_url, app_name, people, time_zone
FROM roster_connect('connect-plain', url => 'https://sis.example/ims/oneroster/v1p1', client_id => 'c',
    school_id => '1', people => 'connect."Other People"',
    sis => 'oneroster_1.1', token_url => ' https://login.example/token?x=1 ', time_zone => 'Europe/Vienna') \gx
SELECT count(*) FROM people_relations WHERE relation = '"Other People"'::regclass;
SELECT count(*) FROM secrets WHERE connection = 'connect-plain';

-- How requests are authorized: as the preset says, or as told; a token URL belongs to oauth2 alone, a client id to all
-- but bearer.
SELECT auth, token_url, client_id, scope, base_url
FROM roster_connect('connect-signed', url => 'https://mesa.oneroster.com', client_id => 'k', school_id => '1',
    people => 'people', sis => 'classlink', time_zone => 'Europe/Vienna') \gx
SELECT auth, token_url, client_id, app_name, base_url
FROM roster_connect('connect-static', url => 'https://oneroster-proxy.classlink.io/MoYPlyQWmG0%3D', school_id => '1',
    people => 'people', sis => 'classlink_proxy', time_zone => 'Europe/Vienna') \gx
SELECT auth, token_url, client_id FROM roster_connect('connect-told', url => 'https://sis.example/ims/oneroster/v1p1',
    client_id => 'k', school_id => '1', people => 'people',
    sis => 'oneroster_1.1', auth => 'oauth1_sha1', time_zone => 'Europe/Vienna') \gx
SELECT auth, token_url, scope
    FROM roster_connect('connect-scope', url => 'https://campus.mesa.example/campus/api/oneroster/v1p2/minga',
    client_id => 'k', school_id => '1',
    people => 'people', sis => 'infinite_campus_1.2',
    scope => ' a:b https://purl.imsglobal.org/spec/or/v1p2/scope/roster.readonly ', time_zone => 'Europe/Vienna') \gx
SELECT token_url
    FROM roster_connect('connect-elsewhere', url => 'https://api.sky.blackbaud.com/afe-rostr/ims/oneroster/v1p1/',
    client_id => 'k', school_id => '1', people => 'people',
    sis => 'blackbaud', token_url => 'https://oauth2.sky.blackbaud.com/token', time_zone => 'Europe/Vienna');
SELECT pg_temp.refusal($$SELECT roster_connect('bad', url => 'https://mesa.oneroster.com', school_id => '1',
    people => 'people', sis => 'classlink')$$);
SELECT pg_temp.refusal($$SELECT roster_connect('bad', url => 'https://api.sky.blackbaud.com', client_id => 'k',
    school_id => '1', people => 'people', sis => 'blackbaud')$$);
SELECT pg_temp.refusal($$SELECT roster_connect('bad', url => 'https://mesa.oneroster.com', client_id => 'k',
    school_id => '1', people => 'people', sis => 'classlink',
    token_url => 'https://login.example/token?secret=hidden')$$);
-- Changed from one to another, there and back.
SELECT auth, token_url FROM roster_configure('connect-scope', auth => 'oauth1_sha256');
SELECT auth, token_url FROM roster_configure('connect-scope', auth => 'oauth2');
SELECT auth, token_url, scope = '' FROM roster_configure('connect-scope', auth => 'bearer', scope => '');
SELECT sis, auth, token_url FROM roster_configure('connect-told', sis => 'powerschool', token_url => '');
SELECT sis, auth, token_url FROM roster_configure('connect-told', sis => 'classlink');
SELECT pg_temp.refusal($$SELECT roster_configure('connect-static', auth => 'oauth1_sha1')$$);
SELECT pg_temp.refusal($$SELECT roster_configure('connect-static', auth => 'oauth2', client_id => 'k')$$);
SELECT auth, client_id FROM roster_configure('connect-static', auth => 'oauth1_sha1', client_id => 'k');

-- The server's time zone where none is given, also when the session goes by another; a warning where it is no one's.
\getenv server_zone PGTZ
SET TimeZone = 'Asia/Tokyo';
SELECT time_zone = lasting_zone(:'server_zone')
    FROM roster_connect('connect-zone', 'https://sis.example/campus/api/oneroster/v1p1/minga', 'c', school_id => '1',
    people => 'people');
RESET TimeZone;
\setenv PGTZ UTC
\c -
\i :fixture
SET search_path = connect, minga_roster, minga_roster_internal, public;
SELECT time_zone FROM roster_connect('connect-utc', 'https://sis.example/campus/api/oneroster/v1p1/minga', 'c',
    school_id => '1', people => 'people');
SELECT time_zone FROM roster_connect('connect-utc-meant', 'https://sis.example/campus/api/oneroster/v1p1/minga', 'c',
    school_id => '1', people => 'people', time_zone => 'UTC');
-- Fixed offsets are no school's clock; places are, those without daylight-saving time too.
SELECT time_zone FROM roster_configure('connect-utc-meant', time_zone => 'mst');
SELECT time_zone FROM roster_configure('connect-utc-meant', time_zone => 'EST');
SELECT time_zone FROM roster_configure('connect-utc-meant', time_zone => 'Etc/GMT+7');
SELECT time_zone FROM roster_configure('connect-utc-meant', time_zone => 'America/Phoenix');
SELECT time_zone FROM roster_configure('connect-utc-meant', time_zone => 'MST7MDT');
SELECT time_zone FROM roster_connect('connect-mst', 'https://sis.example/campus/api/oneroster/v1p1/minga', 'c',
    school_id => '1',
    people => 'people', time_zone => 'MST');
\setenv PGTZ :server_zone
\c -
\i :fixture
SET search_path = connect, minga_roster, minga_roster_internal, public;

-- What is missing is named, all of it.
SELECT pg_temp.refusal($$SELECT roster_connect('bad')$$);
SELECT pg_temp.refusal($$SELECT roster_connect(NULL, url => ' ', client_id => 'c', school_id => '1',
    people => 'people')$$);
-- Names
SELECT pg_temp.refusal(
    format('SELECT roster_connect(%L, '
        'url => ''https://sis.example/campus/api/oneroster/v1p1/minga'', client_id => ''c'', '
        'school_id => ''1'', people => ''people'')', name))
FROM (VALUES (repeat('ä', 32)), ('smtp'), (E'a\nb'), (' a'), ('connect-high')) AS n (name);
SELECT connection
    FROM roster_connect(repeat('ä', 31) || 'b', url => 'https://sis.example/campus/api/oneroster/v1p1/minga',
    client_id => 'c', school_id => '1', people => 'people', time_zone => 'Europe/Vienna');
-- Each other parameter
CREATE FUNCTION pg_temp.refused_with(arguments text) RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.refusal(format('SELECT minga_roster.roster_connect(''bad'', %s)', (
        SELECT string_agg(format('%I => %L', coalesce(g.key, d.key), CASE WHEN g.key IS NULL THEN d.value ELSE g.value
        END), ', ' ORDER BY coalesce(g.key, d.key))
        FROM jsonb_each_text(
        '{"url": "https://sis.example/campus/api/oneroster/v1p1/minga", "client_id": "c",
        "school_id": "1", "people": "people"}') d
        FULL JOIN jsonb_each_text(arguments::jsonb) g USING (key))))
$$;
SELECT pg_temp.refused_with('{"time_zone": "Mountain"}');
SELECT pg_temp.refused_with('{"time_zone": "UTC-7"}');
SELECT pg_temp.refused_with('{"sis": "sasi"}');
SELECT pg_temp.refused_with('{"auth": "oauth1"}');
SELECT pg_temp.refused_with('{"school_id": "{ }"}');
SELECT pg_temp.refused_with('{"site": " "}');
SELECT pg_temp.refused_with('{"client_id": "a\u0007b"}');
SELECT pg_temp.refused_with('{"token_url": "http://login.example/token"}');
SELECT pg_temp.refused_with('{"token_url": "https://user:word@login.example/token"}');
SELECT pg_temp.refused_with('{"token_url": "ftp"}');
SELECT pg_temp.refused_with('{"sis": "oneroster_1.1", "url": "https://sis.example/ims/oneroster/v1p1"}');
SELECT pg_temp.refused_with('{"people": "connect.nobody"}');
SELECT pg_temp.refused_with('{"people": "pg_stat_activity"}');
-- 42602, and 42P01 since PostgreSQL 16
SELECT left(pg_temp.refused_with('{"people": "a b"}'), 2);
SELECT pg_temp.refused_with('{"client_secret": ""}');
SELECT pg_temp.refused_with('{"client_secret": "pasted\n"}');
SELECT pg_temp.refused_with('{"client_secret": " pasted"}');
-- A relation that does not fit, and one of someone else's.
CREATE TABLE unfit (id integer);
ALTER TABLE unfit OWNER TO regress_people_owner;
SELECT pg_temp.refused_with('{"people": "unfit"}');
-- Of all that nothing was stored.
SELECT connection FROM connections WHERE connection = 'bad' OR (connection LIKE 'connect%') ORDER BY 1;
SELECT connection FROM toggles WHERE connection = 'bad' UNION SELECT connection FROM secrets WHERE connection = 'bad';
SELECT count(*) FROM people_relations WHERE relation IN ('unfit'::regclass, 'pg_stat_activity');

-- The relation is found by the path of the caller, and what the caller puts first in it is not run.
CREATE SCHEMA connect_hostile;
CREATE FUNCTION connect_hostile.never(text, text) RETURNS boolean
    LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''run''; END';
CREATE OPERATOR connect_hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = connect_hostile.never);
CREATE FUNCTION connect_hostile.format(text, text) RETURNS text
    LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''run''; END';
SET search_path = connect_hostile, connect, pg_catalog;
SELECT people FROM minga_roster.roster_connect('connect-hostile', 'https://sis.example/campus/api/oneroster/v1p1/minga',
    'c', school_id => '1', people => 'people', time_zone => 'Europe/Vienna');
SELECT people FROM minga_roster.roster_configure('connect-hostile', people => '"Other People"');
SET search_path = connect, minga_roster, minga_roster_internal, public;

-- known_connection
SELECT (known_connection('connect-high')).site;
SELECT pg_temp.refusal($$SELECT known_connection('nobody')$$);
SELECT pg_temp.refusal($$SELECT known_connection(NULL)$$);

-- Retired: what was its own goes, people stay; the name may be taken again.
SELECT site, count(*) FROM people GROUP BY site;
INSERT INTO people (site, role, given_name, family_name) VALUES ('mesa-high', 'student', 'Ada', 'L');
INSERT INTO links (connection, sourced_id, site, person_id, category, rule, linked_run)
SELECT 'connect-high', 's1', site, person_id, 'student', 'created', 1 FROM people;
INSERT INTO recipients (connection, email) VALUES ('connect-high', 'it@mesa.example');
INSERT INTO tokens (connection, binding, sealed, expires_at) VALUES ('connect-high', gen_random_uuid(), '', now());
INSERT INTO runs (connection, site, kind, trigger, state, requested_by)
    VALUES ('connect-high', 'mesa-high', 'sync', 'manual', 'queued', 'x') RETURNING state;
SELECT number AS former_number FROM connections WHERE connection = 'connect-high' \gset
SELECT roster_disconnect('connect-high');
SELECT automatic, retired_at IS NOT NULL FROM connections WHERE connection = 'connect-high';
SELECT state, sqlstate, error, detail, hint FROM runs WHERE connection = 'connect-high';
SELECT count(*) FROM recipients WHERE connection = 'connect-high';
SELECT count(*) FROM tokens WHERE connection = 'connect-high';
SELECT count(*) FROM secrets WHERE connection = 'connect-high';
SELECT count(*) FROM links WHERE connection = 'connect-high';
SELECT count(*) FROM people WHERE archived_at IS NULL;
SELECT regexp_replace(pg_temp.refusal($$SELECT roster_disconnect('connect-high')$$), 'at [^\n]*\.', 'at (time).');
SELECT pg_temp.refusal($$SELECT roster_disconnect('nobody')$$);
SELECT site, number <> :former_number AS numbered_anew, retired_at
FROM roster_connect('connect-high', 'https://sis.example/campus/api/oneroster/v1p1/minga', 'c', school_id => '1',
    people => 'people', time_zone => 'Europe/Vienna');
SELECT count(*) FROM links WHERE connection = 'connect-high';
SELECT count(*) FROM toggles WHERE connection = 'connect-high';

DELETE FROM connections WHERE connection LIKE 'connect-%' OR connection LIKE 'ä%';
DELETE FROM secrets WHERE connection LIKE 'connect-%';
DELETE FROM people_relations WHERE relation IN ('people'::regclass, '"Other People"');
SET client_min_messages = warning;
DROP SCHEMA connect, connect_hostile CASCADE;
