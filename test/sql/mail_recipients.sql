-- Which runs send mail to which recipients; and that classes and the like on hold are told wherever people on hold are.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set set_clock :abs_srcdir '/fixtures/set_clock.sql'
\set runs :abs_srcdir '/fixtures/mail_runs.sql'
\set SHOW_CONTEXT never
\pset format unaligned
\pset tuples_only on
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
\set clock '2026-09-02 01:10:00+00'
\i :set_clock
BEGIN;
\o /dev/null
\i :runs
\o
INSERT INTO minga_roster.recipients (connection, email, send, manual)
SELECT 'mesa-high', send || CASE WHEN manual THEN '+manual' ELSE '' END || '@mesa.example', send, manual
FROM unnest(ARRAY['always', 'changes', 'problems', 'decisions', 'failures', 'never']) send,
    unnest(ARRAY[false, true]) manual;

-- Has the mail of the newest run written, and forgets both; to whom it goes. Those of "never" get none.
CREATE FUNCTION told(number bigint) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    words text;
BEGIN
    PERFORM minga_roster_internal.post_report(number);
    SELECT coalesce(string_agg(split_part(o.email, '@', 1), ' ' ORDER BY array_position(ARRAY['always', 'changes',
        'problems', 'decisions', 'failures'], split_part(split_part(o.email, '@', 1), '+', 1)), o.email), 'no one')
    INTO words FROM minga_roster.outbox o WHERE o.run = number;
    words := minga_roster_internal.report_subject(number) || E'\n  ' || words;
    DELETE FROM minga_roster.outbox WHERE run = number;
    DELETE FROM minga_roster.changes WHERE run = number;
    DELETE FROM minga_roster.collections WHERE run = number;
    DELETE FROM minga_roster.run_findings WHERE run = number;
    DELETE FROM minga_roster.run_objects WHERE run = number;
    DELETE FROM minga_roster.held_objects WHERE run = number;
    DELETE FROM minga_roster.runs WHERE run = number;
    RETURN words;
END
$$;
CREATE FUNCTION evening(counts jsonb DEFAULT '{}', state text DEFAULT 'succeeded', code text DEFAULT NULL,
    cause text DEFAULT NULL) RETURNS bigint
LANGUAGE sql AS $$
    SELECT make_run(950000200, evening => '2026-09-01', counts => counts, state => state, phase => 'fetch',
        code => code, cause => cause, error => CASE WHEN state = 'failed' THEN 'it failed' END)
$$;

-- Evenings: nothing to do, changes, each kind of decision, each kind of failure, both.
SELECT told(evening('{"unchanged": 1241}'));
SELECT told(evening('{"created": 3, "unchanged": 1241}'));
SELECT evening('{"held": 20}'), change_run(950000200, 'archive', 'held', 'student', 20, 'gone');
SELECT told(950000200);
SELECT evening('{"held": 20}'), change_run(950000200, 'update', 'held', 'student', 20, 'other values');
SELECT told(950000200);
SELECT evening('{"held": 20}'), change_run(950000200, 'link', 'held', 'student', 20, 'moved');
SELECT told(950000200);
SELECT told(evening('{"conflicts": 2}'));
SELECT told(evening('{"rejects": 2}'));
SELECT evening();
INSERT INTO minga_roster.run_findings (run, position, finding, category, amount, "of", detail, needs_look)
VALUES (950000200, 1, 'inactive_all', 'student', 20, 20, '{"accounts": 20}', true);
SELECT told(950000200);
SELECT evening();
INSERT INTO minga_roster.run_findings (run, position, finding, category, amount, "of", detail, needs_look)
VALUES (950000200, 1, 'unknown_role', NULL, 21, NULL, '{"subject": "aide"}', false);
SELECT told(950000200);
SELECT evening('{"created": 1}');
INSERT INTO minga_roster.collections (run, collection, family, complete, proof, detail)
VALUES (950000200, 'administrators', 'staff', false, NULL, 'The server answered 403 Forbidden');
SELECT told(950000200);
SELECT told(evening(state => 'failed', code => '55000', cause => 'evening_missed'));
SELECT told(evening(state => 'canceled', code => '57014'));
SELECT evening('{"conflicts": 2}');
INSERT INTO minga_roster.collections (run, collection, family, complete, proof, detail)
VALUES (950000200, 'administrators', 'staff', false, NULL, 'The server answered 403 Forbidden');
SELECT told(950000200);
-- A failure that another try may mend is told after the last one, any other at once; and then the evening after it, to
-- those who were told.
SELECT told(evening(state => 'failed', code => '28P01'));
SELECT told(evening(state => 'failed', code => '08006'));
SELECT make_run(950000198, evening => '2026-09-01', state => 'failed', phase => 'fetch', code => '08006');
SELECT told(evening(state => 'failed', code => '08006'));
SELECT make_run(950000199, evening => '2026-09-01', state => 'failed', phase => 'fetch', code => '08006');
SELECT told(evening(state => 'failed', code => '08006'));
DELETE FROM minga_roster.runs WHERE run IN (950000198, 950000199);
UPDATE minga_roster.runs SET state = 'failed' WHERE run = 950000013;
SELECT told(evening('{"unchanged": 1241}'));
UPDATE minga_roster.runs SET state = 'succeeded' WHERE run = 950000013;
-- By hand: to those alone who asked for that.
SELECT told(make_run(950000200, counts => '{"created": 3}'));
SELECT told(make_run(950000200, state => 'failed', phase => 'fetch', code => '28P01', error => 'it failed'));
SELECT make_run(950000199, counts => '{"held": 20}');
SELECT told(make_run(950000200, kind => 'approve', counts => '{"archived": 20}', of_run => 950000199));
SELECT told(make_run(950000200, kind => 'undo', counts => '{"archived": 20}', of_run => 950000199));
SELECT told(make_run(950000200, kind => 'fetch'));
SELECT told(make_run(950000200, kind => 'preview', counts => '{"created": 3}'));
-- On a copy of the database, to no one.
UPDATE minga_roster.connections SET enabled_origin = '1/1';
SELECT told(evening('{"conflicts": 2}'));
UPDATE minga_roster.connections SET enabled_origin = minga_roster_internal.server_origin();

-- Classes and the like: changed, on hold, in a preview, approved, undone.
CREATE FUNCTION objects(number bigint, added bigint, ended bigint, held bigint) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO minga_roster.run_objects (run, object, complete, listed, added, ended, held)
    VALUES (number, 'class', true, 28, objects.added, 0, 0),
        (number, 'enrollment', true, 840, objects.added * 30, objects.ended, objects.held),
        (number, 'user', true, 200, objects.added, 0, 0);
    INSERT INTO minga_roster.held_objects (run, object, sourced_id)
    SELECT objects.number, 'enrollment', 'e' || n FROM generate_series(1, objects.held) n
    WHERE (SELECT r.kind FROM minga_roster.runs r WHERE r.run = objects.number) = 'sync';
$$;
CREATE FUNCTION first_words(number bigint) RETURNS text
LANGUAGE sql AS $$ SELECT replace(split_part(minga_roster.roster_report(number), E'\n\n', 1), E'\n', ' ') $$;
SELECT evening('{"unchanged": 1241}'), objects(950000200, 0, 0, 0);
SELECT first_words(950000200), told(950000200);
SELECT evening('{"unchanged": 1241}'), objects(950000200, 1, 12, 0);
SELECT first_words(950000200), told(950000200);
SELECT evening('{"created": 2}'), objects(950000200, 1, 12, 0);
SELECT first_words(950000200), told(950000200);
SELECT make_run(950000200, kind => 'preview'), objects(950000200, 1, 12, 300);
SELECT first_words(950000200), told(950000200);
SELECT make_run(950000200, kind => 'approve', of_run => 950000013);
INSERT INTO minga_roster.run_objects (run, object, complete, listed, ended)
VALUES (950000200, 'enrollment', true, 0, 300);
SELECT content FROM minga_roster_internal.report_parts(950000200) WHERE part = 'counts';
SELECT first_words(950000200), told(950000200);
SELECT evening('{"unchanged": 1241}'), objects(950000200, 0, 12, 0);
SELECT first_words(950000200), told(950000200);
-- No class is chosen, in a delta.
UPDATE minga_roster.connections SET class_grades = '{13}';
SELECT evening('{"unchanged": 1241}');
INSERT INTO minga_roster.run_objects (run, object, complete, listed, ended, not_chosen)
VALUES (950000200, 'class', true, 0, 28, 28);
UPDATE minga_roster.runs SET is_full = false, modified_since = '2026-08-31 12:00-06' WHERE run = 950000200;
SELECT line FROM string_to_table(minga_roster.roster_report(950000200), E'\n') AS line
WHERE line ~ 'chosen|Asked|Classes';
SELECT first_words(950000200), told(950000200);
UPDATE minga_roster.connections SET class_grades = NULL;
SELECT make_run(950000200, kind => 'undo', of_run => 950000013);
INSERT INTO minga_roster.run_objects (run, object, complete, listed, changed)
VALUES (950000200, 'class', true, 0, 1);
SELECT first_words(950000200), told(950000200);
SELECT evening('{"unchanged": 1241}'), objects(950000200, 0, 0, 300);
SELECT first_words(950000200);
SELECT p.content ->> 'title' FROM minga_roster_internal.report_parts(950000200) p WHERE p.part = 'decision';
SELECT held FROM minga_roster.roster_status WHERE connection = 'mesa-high';
SELECT h.held, h.words FROM minga_roster_internal.newest_held() h;
SELECT figure, value FROM minga_roster.roster_metrics
WHERE label = 'mesa-high' AND (figure = 'held' OR figure LIKE 'last_sync_objects%') ORDER BY figure;
SELECT jsonb_pretty(minga_roster_internal.end_of_run(r, true) -> 'objects' -> 'enrollment')
FROM minga_roster.runs r WHERE run = 950000200;
UPDATE minga_roster.connections SET district = 'mesa';
SELECT needs_someone, words FROM minga_roster_internal.digest_lines('mesa', '2026-09-01');
SELECT told(950000200);
SELECT count(*) FROM minga_roster.roster_metrics WHERE label = 'mesa-high' AND figure LIKE 'last_sync_objects%';
\set ECHO none
ROLLBACK;
\set ECHO all
\set clock ''
\i :set_clock
