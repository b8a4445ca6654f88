-- roster_configure: each setting, its range, and what a change brings with it.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/refusal.sql'
\i :fixture
CREATE SCHEMA configure;
GRANT USAGE ON SCHEMA configure TO regress_people_owner;
SET search_path = configure, minga_roster, minga_roster_internal, public;
SELECT roster_create_people('people', owner => 'regress_people_owner');
SELECT roster_create_people('others', owner => 'regress_people_owner');
SELECT connection FROM roster_connect('configured', 'https://sis.example/campus/api/oneroster/v1p1/minga', 'client',
    'secret', school_id => 'S1',
    people => 'people', site => 'mesa', district => 'north', time_zone => 'America/Denver');

-- NULL leaves everything.
CREATE TEMP TABLE before AS SELECT * FROM connections WHERE connection = 'configured';
SELECT b = c AS same FROM before b, roster_configure('configured') c;

-- Everything that has nothing to do with the way to the SIS.
UPDATE connections SET unproven = false, unproven_since = '2026-01-01' WHERE connection = 'configured';
INSERT INTO tokens VALUES ('configured', gen_random_uuid(), '\x00', 'infinity');
SELECT site, district, people, time_zone, sync_at, window_end, parent_contact, guard_percent, guard_floor,
    guard_update_percent, page_size, max_requests, credentials_expire, unproven
FROM roster_configure('configured', site => 'mesa-2', district => 'south', people => 'others',
    time_zone => 'europe/vienna', sync_at => '19:30', window_end => '05:00',
    parent_contact => true, guard_percent => 0, guard_floor => 0, guard_update_percent => 60, page_size => 50000,
    max_requests => 5, credentials_expire => '2027-01-31') \gx
SELECT count(*) AS tokens FROM tokens WHERE connection = 'configured';
SELECT district FROM roster_configure('configured', district => '');

-- A changed url, school_id or sis: no token, unproven. What comes to the same is no change.
CREATE FUNCTION pg_temp.prove() RETURNS void LANGUAGE sql AS $$
    UPDATE minga_roster.connections SET unproven = false, unproven_since = '2026-01-01' WHERE connection = 'configured';
    DELETE FROM minga_roster.tokens WHERE connection = 'configured';
    INSERT INTO minga_roster.tokens VALUES ('configured', gen_random_uuid(), '\x00', 'infinity');
$$;
CREATE FUNCTION pg_temp.state_of() RETURNS text LANGUAGE sql AS $$
    SELECT format('%s, %s since then, %s token', CASE WHEN unproven THEN 'unproven' ELSE 'proven' END,
        CASE WHEN unproven_since = '2026-01-01' THEN 'not' ELSE 'new' END,
        (SELECT count(*) FROM minga_roster.tokens WHERE connection = 'configured'))
    FROM minga_roster.connections WHERE connection = 'configured'
$$;
SELECT pg_temp.prove();
SELECT school_id, pg_temp.state_of()
    FROM roster_configure('configured', url => ' https://SIS.example/campus/api/oneroster/v1p1/minga/ ',
    school_id => ' S1 ', sis => 'infinite_campus', client_id => 'client');
SELECT base_url, token_url
    FROM roster_configure('configured', url => 'https://new.example/campus/api/oneroster/v1p1/minga');
SELECT pg_temp.state_of(), pg_temp.prove();
SELECT school_id FROM roster_configure('configured', school_id => 'S2');
SELECT pg_temp.state_of(), pg_temp.prove();
SELECT sis, token_url FROM roster_configure('configured', sis => 'oneroster_1.1',
    url => 'https://new.example/ims/oneroster/v1p1', token_url => 'https://login.example/token');
SELECT pg_temp.state_of(), pg_temp.prove();
-- A client id or a token URL brings a new token only.
SELECT client_id FROM roster_configure('configured', client_id => 'client2');
SELECT pg_temp.state_of(), pg_temp.prove();
SELECT token_url FROM roster_configure('configured', token_url => 'https://login.example/token2');
SELECT pg_temp.state_of(), pg_temp.prove();
-- A token URL that someone gave stays when the URL changes, until it is given up.
SELECT sis, token_url FROM roster_configure('configured', sis => 'infinite_campus',
    url => 'https://new.example/campus/api/oneroster/v1p1/minga');
SELECT token_url FROM roster_configure('configured', url => 'https://newer.example/campus/api/oneroster/v1p1/minga');
SELECT token_url FROM roster_configure('configured', token_url => '');
SELECT base_url, token_url
    FROM roster_configure('configured', url => 'https://newest.example/campus/api/oneroster/v1p1/minga');

-- A season, a freeze and grace; 'empty' takes a range away.
SELECT guard_grace, season_dates, season_percent, freeze_dates FROM roster_configure('configured', guard_grace => 3,
    season_dates => '[2026-08-01,2026-09-15]', season_percent => 40, freeze_dates => '[2026-06-15,2026-08-10]');
SELECT guard_grace, season_dates, season_percent, freeze_dates
    FROM roster_configure('configured', guard_grace => 1, freeze_dates => 'empty');
SELECT season_dates, season_percent FROM roster_configure('configured', season_dates => 'empty', season_percent => 60);

-- Out of range, unknown, empty.
CREATE TEMP TABLE before_refusals AS SELECT * FROM connections WHERE connection = 'configured';
SELECT pg_temp.refusal(format('SELECT roster_configure(''configured'', %s)', setting)) FROM (VALUES
    ('guard_percent => -1'), ('guard_percent => 101'), ('guard_update_percent => 101'), ('guard_update_percent => -1'),
    ('guard_floor => -1'), ('page_size => 0'), ('page_size => -5000'), ('page_size => 50001'),
    ('max_requests => 0'), ('max_requests => 6'), ('window_end => ''19:30'''), ('sync_at => ''05:00'''),
    ('sync_at => ''25:00'''),
    ('credentials_expire => ''-infinity'''), ('time_zone => ''Mountain'''), ('sis => ''sasi'''), ('auth => ''oauth1'''),
    ('school_id => '' '''), ('client_id => '''''), ('scope => ''a"b'''),
    ('site => '''''), ('url => ''mesa'''), ('url => '''''), ('token_url => ''x'''), ('people => ''nobody'''),
    ('people => ''before'''),
    ('guard_grace => 0'), ('guard_grace => 31'), ('season_percent => 100'), ('season_dates => ''[2026-08-01,)'''),
    ('freeze_dates => ''(,2026-08-10]''')) AS s (setting);
SELECT pg_temp.refusal($$SELECT roster_configure('nobody', guard_floor => 1)$$);
SELECT pg_temp.refusal($$SELECT roster_configure(NULL)$$);
SELECT b = c AS same FROM before_refusals b, connections c WHERE c.connection = 'configured';

-- People are linked: the connection stays where it is.
INSERT INTO links (connection, sourced_id, site, person_id, category, rule, linked_run)
    VALUES ('configured', 's1', 'mesa-2', 'x', 'student', 'created', 1);
SELECT pg_temp.refusal($$SELECT roster_configure('configured', site => 'mesa-3')$$);
SELECT pg_temp.refusal($$SELECT roster_configure('configured', people => 'people')$$);
SELECT site, people, district
    FROM roster_configure('configured', site => 'mesa-2', people => 'others', district => 'east');

DELETE FROM connections WHERE connection = 'configured';
DELETE FROM secrets WHERE connection = 'configured';
DELETE FROM people_relations WHERE relation IN ('people'::regclass, 'others');
SET client_min_messages = warning;
DROP SCHEMA configure CASCADE;
