-- roster_toggle
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/refusal.sql'
\i :fixture
CREATE SCHEMA toggle;
GRANT USAGE ON SCHEMA toggle TO regress_people_owner;
SET search_path = toggle, minga_roster, minga_roster_internal, public;
SELECT roster_create_people('people', owner => 'regress_people_owner');
SELECT connection FROM roster_connect('toggled', 'https://sis.example/campus/api/oneroster/v1p1/minga', 'c',
    school_id => '1', people => 'people', time_zone => 'America/Denver');
SELECT connection FROM roster_connect('untouched', 'https://sis.example/campus/api/oneroster/v1p1/minga', 'c',
    school_id => '1', people => 'people', time_zone => 'America/Denver');

SELECT * FROM roster_toggle('toggled');
SELECT * FROM roster_toggle('toggled', auto_update => true, archive => true);
SELECT * FROM roster_toggle('toggled', 'teacher', auto_update => false);
-- Archive without roster does nothing, which is said when one of the two is turned.
SELECT * FROM roster_toggle('toggled', 'admin', roster => false);
SELECT * FROM roster_toggle('toggled', 'admin', archive => false);
SELECT * FROM roster_toggle('toggled', archive => true);
SELECT * FROM roster_toggle('toggled', 'student', archive => true);
SELECT * FROM roster_toggle('toggled', 'admin', auto_update => false);
SELECT * FROM roster_toggle('toggled', 'admin', roster => true);
SELECT category, roster, auto_update, archive FROM toggles WHERE connection = 'untouched' ORDER BY 1;

SELECT pg_temp.refusal($$SELECT roster_toggle('toggled', 'students', roster => false)$$);
SELECT pg_temp.refusal($$SELECT roster_toggle('toggled', '', roster => false)$$);
SELECT pg_temp.refusal($$SELECT roster_toggle('nobody', 'student', roster => false)$$);
SELECT bool_and(roster) FROM toggles WHERE connection = 'toggled';

DELETE FROM connections WHERE connection IN ('toggled', 'untouched');
DELETE FROM people_relations WHERE relation = 'people'::regclass;
SET client_min_messages = warning;
DROP SCHEMA toggle CASCADE;
