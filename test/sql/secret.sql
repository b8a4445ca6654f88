-- Sealing and roster_set_secret. Key files, and opening what is sealed: test/t/031_secret.pl.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/refusal.sql'
\i :fixture
CREATE SCHEMA secret;
GRANT USAGE ON SCHEMA secret TO regress_people_owner;
SET search_path = secret, minga_roster, minga_roster_internal, public;
SELECT roster_create_people('people', owner => 'regress_people_owner');
SELECT connection FROM roster_connect('secretive', 'https://sis.example/campus/api/oneroster/v1p1/minga', 'c',
    school_id => '1', people => 'people', time_zone => 'America/Denver');

-- A sealed value: one version, one key id, a nonce and a text that never come twice, as long as the secret.
SELECT count(DISTINCT substring(s FOR 9)), count(DISTINCT substring(s FROM 10 FOR 12)),
    count(DISTINCT substring(s FROM 22)), min(length(s)), max(length(s)), bool_or(position('hush'::bytea IN s) > 0)
FROM generate_series(1, 100) i,
    LATERAL seal('00000000-0000-0000-0000-000000000001', 'c', 'o', 'hush' || left(i::text, 0)) s;
SELECT length(seal(gen_random_uuid(), 'c', 'o', '')), length(seal(gen_random_uuid(), 'c', 'o', repeat('x', 100000))),
    seal(NULL, 'c', 'o', 'x') IS NULL;

-- Set, set again: another binding, the token is forgotten. The mail password has a name of its own.
SELECT roster_set_secret('secretive', 'first');
CREATE TEMP TABLE former AS SELECT * FROM secrets WHERE connection = 'secretive';
INSERT INTO tokens VALUES ('secretive', gen_random_uuid(), '\x00', 'infinity');
SELECT roster_set_secret('secretive', 'inner blanks and ! ^ * ~ ) ä');
SELECT s.binding <> f.binding, s.sealed <> f.sealed FROM secrets s JOIN former f USING (connection);
SELECT count(*) FROM tokens WHERE connection = 'secretive';
SELECT roster_set_secret('smtp', 'password');
SELECT connection FROM secrets WHERE connection IN ('secretive', 'smtp') ORDER BY 1;

SELECT pg_temp.refusal(format('SELECT roster_set_secret(''secretive'', %L)', secret))
    FROM (VALUES (''), (NULL), (' x'), ('x '), (E'x\n'), (E'x\x07y')) s (secret);
SELECT pg_temp.refusal($$SELECT roster_set_secret('nobody', 'x')$$);
SELECT pg_temp.refusal($$SELECT roster_set_secret(NULL, 'x')$$);

-- The statement is not to be seen while it runs; later ones are.
SELECT roster_set_secret('secretive', 'confidential'),
    (SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid());
SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid();

-- A setting of the server's, never of a session's.
SELECT pg_temp.refusal($$SET minga_roster.key_file = '/tmp/x'$$);

DELETE FROM connections WHERE connection = 'secretive';
DELETE FROM secrets WHERE connection IN ('secretive', 'smtp');
DELETE FROM people_relations WHERE relation = 'people'::regclass;
SET client_min_messages = warning;
DROP SCHEMA secret CASCADE;
