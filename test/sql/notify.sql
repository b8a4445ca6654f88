-- roster_notify
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/refusal.sql'
\set set_setting :abs_srcdir '/fixtures/set_setting.sql'
\i :fixture
CREATE SCHEMA notify;
GRANT USAGE ON SCHEMA notify TO regress_people_owner;
SET search_path = notify, minga_roster, minga_roster_internal, public;
SELECT roster_create_people('people', owner => 'regress_people_owner');
SELECT connection FROM roster_connect('notified', 'https://sis.example/campus/api/oneroster/v1p1/minga', 'c',
    school_id => '1', people => 'people', time_zone => 'America/Denver');

-- No mail server yet; then none but the sender is missing; then all is there.
SELECT roster_notify('notified', 'it@mesa.example');
\set setting smtp_url
\set value 'smtp://mail.mesa.example:587'
\i :set_setting
SELECT roster_notify('notified', 'it@mesa.example');
\set setting smtp_from
\set value 'roster@mesa.example'
\i :set_setting
SELECT roster_notify('notified', 'it@mesa.example');
SELECT roster_notify('notified', 'Principal@Mesa.example', 'problems', manual => true);
SELECT roster_notify('notified', 'o''brien+roster@mesa.example', send => 'changes');
SELECT email, send, manual FROM recipients WHERE connection = 'notified' ORDER BY email;
-- Again: changed, not added, whatever the case; never keeps the row.
SELECT roster_notify('notified', 'principal@mesa.example', 'never');
SELECT email, send, manual FROM recipients WHERE connection = 'notified' ORDER BY email;

SELECT pg_temp.refusal(format('SELECT roster_notify(''notified'', %L)', email)) FROM (VALUES
    ('it.mesa.example'), ('@mesa.example'), ('it@'), ('it@mesa@example'), ('it@mesa'), ('it@.mesa.example'),
    ('it@mesa..example'), ('it@mesa.example.'), ('it @mesa.example'), (E'it@mesa.example\nBcc: x@y'),
    (E'it@mesa.example\r'), (''),
    ('a@b.example,c@d.example'), ('IT <it@mesa.example>'), (repeat('a', 250) || '@b.example'), (E'it\x01@mesa.example'),
    (E'it\u202e@mesa.example'), (NULL)) AS e (email);
SELECT pg_temp.refusal($$SELECT roster_notify('notified', 'x@mesa.example', 'sometimes')$$);
SELECT pg_temp.refusal($$SELECT roster_notify('notified', 'x@mesa.example', NULL)$$);
SELECT pg_temp.refusal($$SELECT roster_notify('nobody', 'x@mesa.example')$$);
SELECT count(*) FROM recipients WHERE connection = 'notified';

-- A recipient is removed, with the mail that waits for it and no other.
INSERT INTO outbox (run, connection, site, email, subject, body_text, body_html, state, next_attempt_at, created_at,
    origin)
SELECT -n, 'notified', 'notified', e, '', '', '', s, now(), now(), ''
FROM (VALUES (1, 'it@mesa.example', 'waiting'), (2, 'it@mesa.example', 'sent'),
    (3, 'principal@mesa.example', 'waiting')) AS v (n, e, s);
SELECT roster_remove_recipient('notified', 'IT@mesa.example');
SELECT email FROM recipients WHERE connection = 'notified' ORDER BY email;
SELECT email, state FROM outbox WHERE connection = 'notified' ORDER BY run DESC;
SELECT pg_temp.refusal($$SELECT roster_remove_recipient('notified', 'it@mesa.example')$$);
SELECT pg_temp.refusal($$SELECT roster_remove_recipient('notified', NULL)$$);
SELECT pg_temp.refusal($$SELECT roster_remove_recipient('nobody', 'it@mesa.example')$$);
DELETE FROM outbox WHERE connection = 'notified';

ALTER SYSTEM RESET minga_roster.smtp_url;
ALTER SYSTEM RESET minga_roster.smtp_from;
SELECT pg_reload_conf();
DELETE FROM connections WHERE connection = 'notified';
DELETE FROM people_relations WHERE relation = 'people'::regclass;
SET client_min_messages = warning;
DROP SCHEMA notify CASCADE;
