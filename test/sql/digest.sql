-- The digest of a district: who gets it, when it is written, and what it says.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set set_clock :abs_srcdir '/fixtures/set_clock.sql'
\set fixture :abs_srcdir '/fixtures/refusal.sql'
\set SHOW_CONTEXT never
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
\i :fixture
CREATE ROLE regress_digest_manager;
CREATE ROLE regress_digest_owner;
CREATE TABLE digest_people (site text, person_id text, role text, given_name text, family_name text,
    archived_at timestamptz);
INSERT INTO minga_roster.people_relations (relation, columns) VALUES ('digest_people', '{}');
INSERT INTO minga_roster.connections (connection, site, district, sis, base_url, token_url, auth, client_id, school_id,
    people, time_zone, sync_at, window_end, automatic, enabled_at, enabled_origin, school_name)
SELECT 'd-' || site, 'd-' || site, district, 'infinite_campus', 'https://sis.example', 'https://sis.example/token',
    'oauth2', 'id', 'school-1', 'digest_people', 'America/Denver', sync_at::time, '23:00', automatic, '2026-08-01',
    minga_roster_internal.server_origin(), name
FROM (VALUES ('high', 'digest', '19:00', true, 'Mesa <High> & Co'), ('low', 'digest', '21:00', true, NULL),
    ('new', 'digest', '19:00', false, 'New School'), ('far', 'far', '19:00', true, 'Far Away'))
    AS s (site, district, sync_at, automatic, name);
\set clock '2026-09-01 20:00:00-06'
\i :set_clock
SELECT minga_roster.roster_grant('regress_digest_manager', 'district_manager', district => 'digest'),
    minga_roster.roster_grant('regress_digest_owner', 'owner', site => 'd-high');

-- The manager of a district names who gets it; no one else but the DBA does.
SET client_min_messages = error;
SET ROLE regress_digest_manager;
SELECT minga_roster.roster_notify_district('digest', 'Manager@mesa.example');
SELECT minga_roster.roster_notify_district('digest', 'manager@mesa.example');
SELECT minga_roster.roster_notify_district('digest', 'worried@mesa.example', 'problems');
SELECT minga_roster.roster_notify_district('digest', 'off@mesa.example', send => 'never');
SELECT * FROM minga_roster.district_recipients ORDER BY email;
SELECT pg_temp.refusal($$SELECT minga_roster.roster_notify_district('far', 'x@mesa.example')$$);
SELECT pg_temp.refusal($$SELECT minga_roster.roster_notify_district('nowhere', 'x@mesa.example')$$);
SELECT pg_temp.refusal($$SELECT minga_roster.roster_notify_district(NULL, 'x@mesa.example')$$);
SELECT pg_temp.refusal($$SELECT minga_roster.roster_notify_district('digest', 'x@mesa')$$);
SELECT pg_temp.refusal($$SELECT minga_roster.roster_notify_district('digest', 'x@mesa.example', 'changes')$$);
SELECT pg_temp.refusal($$SELECT minga_roster.roster_remove_district_recipient('digest', 'x@mesa.example')$$);
SELECT pg_temp.refusal($$SELECT minga_roster.roster_remove_district_recipient('far', 'x@mesa.example')$$);
SET ROLE regress_digest_owner;
SELECT pg_temp.refusal($$SELECT minga_roster.roster_notify_district('digest', 'x@mesa.example')$$);
SELECT count(*) FROM minga_roster.district_recipients;
RESET ROLE;
SELECT pg_temp.refusal($$SELECT minga_roster.roster_notify_district('nowhere', 'x@mesa.example')$$);
RESET client_min_messages;
SELECT minga_roster.roster_notify_district('digest', 'dba@mesa.example', 'never');
SELECT minga_roster.roster_remove_district_recipient('digest', 'DBA@mesa.example');

CREATE FUNCTION pg_temp.ran(site text, evening date, state text, counts jsonb DEFAULT '{}', code text DEFAULT NULL,
    cause text DEFAULT NULL) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO minga_roster.runs (connection, site, district, kind, trigger, evening, state, phase, requested_by,
        queued_at, started_at, finished_at, created, updated, archived, held, conflicts, rejects, sqlstate,
        state_cause, error)
    SELECT 'd-' || ran.site, 'd-' || ran.site, 'digest', 'sync', 'evening', ran.evening, ran.state, 'fetch', 'dba', n,
        n, CASE WHEN ran.state NOT IN ('queued', 'running') THEN n END, c.created, c.updated, c.archived, c.held,
        c.conflicts, c.rejects, code, cause, 'Ann Secretia'
    FROM minga_roster_internal.clock() n, jsonb_to_record(counts) AS c (created int, updated int, archived int,
        held int, conflicts int, rejects int)
$$;
CREATE FUNCTION pg_temp.digests() RETURNS SETOF text
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM minga_roster.outbox;
    PERFORM minga_roster_internal.write_digests();
    RETURN QUERY SELECT format('%s: %s', o.email, o.subject) FROM minga_roster.outbox o ORDER BY o.email;
END
$$;
-- Not before the last site is done.
SELECT pg_temp.ran('high', '2026-09-01', 'succeeded', '{"created": 3, "updated": 11}');
SELECT pg_temp.digests();
\set clock '2026-09-01 21:30:00-06'
\i :set_clock
SELECT pg_temp.digests();
SELECT pg_temp.ran('low', '2026-09-01', 'failed', code => '08006');
SELECT pg_temp.digests();
SELECT pg_temp.ran('low', '2026-09-01', 'running');
SELECT pg_temp.digests();
UPDATE minga_roster.runs SET state = 'succeeded', finished_at = now() WHERE state = 'running' AND site = 'd-low';
SELECT pg_temp.digests();
\pset format unaligned
\pset tuples_only on
SELECT body_text FROM minga_roster.outbox;
SELECT run IS NULL AND connection IS NULL AND site IS NULL, district, state FROM minga_roster.outbox;
SELECT split_part(split_part(body_html, '<td class="sheet"', 2), '</td>', 1) FROM minga_roster.outbox;
\pset format aligned
\pset tuples_only off
-- Once.
SELECT pg_temp.digests();
-- An evening with trouble: one failed for good, the other was missed, which is known when its time is up.
\set clock '2026-09-02 22:00:00-06'
\i :set_clock
SELECT pg_temp.ran('high', '2026-09-02', 'failed', code => '28P01');
SELECT pg_temp.digests();
\set clock '2026-09-02 23:04:00-06'
\i :set_clock
SELECT pg_temp.digests();
SELECT pg_temp.ran('low', '2026-09-02', 'failed', code => '55000', cause => 'evening_missed');
SELECT pg_temp.digests();
SELECT split_part(body_text, '-- ', 1) AS body FROM minga_roster.outbox WHERE email = 'worried@mesa.example';
SELECT count(*) AS names_someone FROM minga_roster.outbox WHERE body_text || body_html ~ 'Secretia';
-- The mail of a removed recipient goes, and is of no one's else.
SELECT minga_roster.roster_remove_district_recipient('digest', 'worried@mesa.example');
SELECT email FROM minga_roster.outbox;
SET ROLE regress_digest_owner;
SELECT count(*) FROM minga_roster.outbox;
RESET ROLE;
-- What waits for a decision; a site that is paused.
\set clock '2026-09-03 22:00:00-06'
\i :set_clock
UPDATE minga_roster.connections SET automatic = true, paused_cause = 'restored' WHERE site = 'd-new';
SELECT pg_temp.ran('high', '2026-09-03', 'succeeded', '{"held": 1204, "conflicts": 1, "rejects": 2, "archived": 4}'),
    pg_temp.ran('low', '2026-09-03', 'canceled');
SELECT pg_temp.digests();
SELECT split_part(body_text, '-- ', 1) AS body FROM minga_roster.outbox;
SELECT district, evening FROM minga_roster.district_digests ORDER BY evening;

\set clock ''
\i :set_clock
DELETE FROM minga_roster.outbox;
DELETE FROM minga_roster.district_recipients;
DELETE FROM minga_roster.district_digests;
DELETE FROM minga_roster.runs WHERE site LIKE 'd-%';
DELETE FROM minga_roster.connections WHERE site LIKE 'd-%';
DELETE FROM minga_roster.people_relations WHERE relation = 'digest_people'::regclass;
DROP TABLE digest_people;
SELECT minga_roster.roster_revoke('regress_digest_manager', 'district_manager', district => 'digest'),
    minga_roster.roster_revoke('regress_digest_owner', 'owner', site => 'd-high');
DROP ROLE regress_digest_manager, regress_digest_owner;
