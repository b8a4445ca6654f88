-- The mail of each kind of run: subject, first sentence, what needs a decision; in words of an owner, with SQL in the
-- last section alone.
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
-- What the owner reads, without the last section.
CREATE FUNCTION of_owner(number bigint) RETURNS text
LANGUAGE sql AS $$ SELECT split_part(minga_roster.roster_report(number), 'For the database administrator', 1) $$;

-- Subject, first paragraph, and the title, the last line and the items of each decision; and what must not be there.
CREATE FUNCTION mail(number bigint) RETURNS SETOF text
LANGUAGE sql AS $$
    SELECT minga_roster_internal.report_subject(number)
    UNION ALL
    SELECT '| ' || replace(split_part(minga_roster.roster_report(number), E'\n\n', 1), E'\n', ' ')
    UNION ALL
    SELECT CASE p.part WHEN 'decision' THEN format(E'* %s\n  %s%s', p.content ->> 'title', p.content #>> '{lines,2,1}',
            (SELECT string_agg(E'\n  - ' || i, '') FROM jsonb_array_elements_text(p.content -> 'items') i))
        ELSE '# ' || (p.content #>> '{}') END
    FROM (SELECT * FROM minga_roster_internal.report_parts(number) WHERE part IN ('decision', 'heading') ORDER BY nth) p
    UNION ALL
    SELECT '! speaks SQL to the owner' WHERE of_owner(number) ~ 'SELECT|SQLSTATE|minga_roster|roster_|try again later'
    UNION ALL
    SELECT '! names someone' WHERE minga_roster.roster_report(number)
        || minga_roster.roster_report_html(number) ~ 'secret-|Secretia|secret@'
$$;
-- A quiet evening; the first sync; one with changes.
SELECT make_run(950000101, evening => '2026-09-01', counts => '{"unchanged": 1241}');
SELECT count_run(950000101, '{"student": {"unchanged": 1150}, "teacher": {"unchanged": 91}, "none": {"ignore": 21}}');
SELECT mail(950000101);
SELECT minga_roster.roster_report(950000101);
SAVEPOINT before;
DELETE FROM minga_roster.runs WHERE run < 950000101;
UPDATE minga_roster.runs SET created = 12, linked = 400, unchanged = 0 WHERE run = 950000101;
SELECT mail(950000101);
ROLLBACK TO before;
UPDATE minga_roster.runs SET created = 30, updated = 11, archived = 9 WHERE run = 950000101;
SELECT mail(950000101);
UPDATE minga_roster.runs SET created = 1, updated = 0, archived = 0, restored = 2 WHERE run = 950000101;
SELECT mail(950000101);
UPDATE minga_roster.runs SET created = 5000, restored = 0 WHERE run = 950000101;
SELECT mail(950000101);
DELETE FROM minga_roster.runs WHERE run = 950000101;

-- Archives and updates on hold, conflicts, rejects and lists that were not read completely, each in subject and first
-- sentence.
SELECT make_run(950000102, evening => '2026-09-01', counts => '{"held": 204, "unchanged": 610}');
SELECT change_run(950000102, 'archive', 'held', 'student', 200, 'gone',
    '200 of 812 would leave within a week: more than 5, and more than 10 percent.');
SELECT change_run(950000102, 'archive', 'held', 'teacher', 4, 'gone',
    '4 of 8 would leave within a week: half or more.');
SELECT mail(950000102);
UPDATE minga_roster.runs SET created = 3, updated = 2, conflicts = 34, rejects = 2 WHERE run = 950000102;
SELECT change_run(950000102, 'update', 'held', 'student', 30, 'other values',
    'family_name would change for 30 of 36: more than 75 percent.');
SELECT change_run(950000102, 'conflict', 'noted', 'student', 34, 'Several people could be meant by the same e-mail.');
SELECT change_run(950000102, 'reject', 'noted', NULL, 1, 'The roster gives no given name or no family name.');
INSERT INTO minga_roster.changes (run, change, site, category, sourced_ids, action, rule, reason, state, state_at)
VALUES (950000102, 999, 'mesa-high', 'student', '{secret}', 'reject', 'refused by people',
    'The people relation rejected the change with SQLSTATE 23514, constraint "short_phone".', 'noted', now());
INSERT INTO minga_roster.collections (run, collection, family, complete, proof, detail)
VALUES (950000102, 'students', 'student', true, 'total', NULL),
    (950000102, 'administrators', 'staff', false, NULL, 'The server answered 403 Forbidden'),
    (950000102, 'guardians', 'contact', true, 'weak', NULL);
SELECT mail(950000102);
SELECT minga_roster.roster_report(950000102);
-- The counts in plain words.
SAVEPOINT counts;
SELECT count_run(950000102, '{"student": {"merged": 2, "skip": 3, "protect": 1}, "teacher": {"merged": 1}}');
SELECT line FROM string_to_table(minga_roster.roster_report(950000102), E'\n') AS line
    WHERE line ~ '^(On hold|Duplicate|Inactive|Protected) ';
ROLLBACK TO counts;
-- What the people table does not take is the database administrator's matter, and not about who is who.
UPDATE minga_roster.changes
    SET conflict = (ARRAY['not_stored', 'not_unique', 'names_differ'])[least(change % 30 + 1, 3)],
    reason = CASE WHEN change % 30 = 1 THEN 'Clear it there.' ELSE reason END WHERE run = 950000102
    AND action = 'conflict';
SELECT p.content ->> 'title', p.content -> 'lines', p.content -> 'items'
FROM minga_roster_internal.report_parts(950000102) p WHERE p.content ->> 'title' ~ 'conflict';
UPDATE minga_roster.changes SET conflict = 'not_stored' WHERE run = 950000102 AND action = 'conflict';
SELECT p.content ->> 'title' FROM minga_roster_internal.report_parts(950000102) p
    WHERE p.content ->> 'title' ~ 'conflict';
UPDATE minga_roster.changes SET conflict = NULL WHERE run = 950000102 AND action = 'conflict';
-- Without a next evening, and with deltas, there is no date to decide by.
UPDATE minga_roster.connections SET automatic = false;
SELECT of_owner(950000102) ~ 'decide\s+until\s+the\s+next\s+sync\.';
UPDATE minga_roster.connections SET automatic = true, delta = true;
SELECT of_owner(950000102) ~ 'decide\s+until\s+the\s+next\s+sync\s+that\s+reads\s+the\s+full\s+roster\.';
UPDATE minga_roster.connections SET delta = false;

-- The approval, and one of which some were refused; the undo, with Automatic Rostering paused, and with people who
-- were kept.
SELECT make_run(950000103, 'approve', counts => '{"archived": 204}', of_run => 950000102);
SELECT mail(950000103);
UPDATE minga_roster.runs SET archived = 199, updated = 30 WHERE run = 950000103;
UPDATE minga_roster.changes SET state = 'refused', state_reason = 'The roster lists the person again.',
    state_at = '2026-09-02 03:00+00' WHERE run = 950000102 AND change < 6;
SELECT mail(950000103);
SELECT of_owner(950000103) ~ '- 5 students: The roster lists the person again\.';
UPDATE minga_roster.runs SET archived = 0, updated = 0 WHERE run = 950000103;
SELECT mail(950000103);
UPDATE minga_roster.connections SET paused_cause = 'run_undone', paused_reason = 'run 950000102 was undone';
SELECT make_run(950000104, 'undo', counts => '{"restored": 9, "updated": 11, "archived": 30, "linked": 2}',
    of_run => 950000102);
SELECT mail(950000104);
SELECT count_run(950000104, '{"student": {"kept": 2}}');
UPDATE minga_roster.changes SET state = 'kept', state_reason = 'The person was changed in the meantime.'
    WHERE run = 950000102
    AND change < 3;
SELECT mail(950000104);
UPDATE minga_roster.connections SET paused_cause = NULL, paused_reason = NULL;

-- A reviewed preview carried out; many ids that changed.
SELECT make_run(950000105, 'preview', counts => '{"created": 3, "held": 1, "conflicts": 2}');
SELECT change_run(950000105, 'archive', 'held', 'student', 1, 'gone', '1 of 2 would leave within a week.');
SELECT mail(950000105);
SELECT make_run(950000106, 'apply', counts => '{"created": 3, "held": 1}', of_run => 950000105);
SELECT mail(950000106);
SELECT make_run(950000107, counts => '{"held": 0}');
SELECT change_run(950000107, 'link', 'held', 'student', 13, 'moved',
    'Many ids of the SIS changed tonight: 13 of 20 people have another one.');
SELECT mail(950000107);
DELETE FROM minga_roster.runs WHERE run BETWEEN 950000102 AND 950000107;

-- Failures, after three tries: what the SIS did, what happened in the database. Hints stay in the last section.
SELECT make_run(n, evening => '2026-09-01', state => 'failed', phase => 'fetch',
    error => 'the SIS refused the credentials of connection "mesa-high"',
    detail => 'The path was /campus/oauth2/token.', hint => 'SELECT 1, or try again later.')
        FROM generate_series(950000108, 950000110) n;
CREATE FUNCTION failure_mail(code text, phase text, OUT subject text, OUT happened text, OUT next_step text)
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE minga_roster.runs r SET sqlstate = code, phase = failure_mail.phase WHERE r.run = 950000110;
    subject := minga_roster_internal.report_subject(950000110);
    SELECT p.content #>> '{lines,0,1}', p.content #>> '{lines,2,1}' INTO happened, next_step
    FROM minga_roster_internal.report_parts(950000110) p WHERE p.part = 'decision';
END
$$;
SELECT f.code, m.subject, m.happened, m.next_step
FROM (VALUES ('28P01', 'fetch'), ('08001', 'fetch'), ('08004', 'fetch'), ('08006', 'fetch'), ('08P01', 'fetch'),
    ('53400', 'fetch'), ('54000', 'fetch'),
    ('42501', 'fetch'), ('42704', 'fetch'), ('22023', 'fetch'), ('55000', 'fetch'), ('F0000', 'fetch'),
        ('55P03', 'plan'), ('57P02', 'apply'), ('57014', 'plan'),
    ('23505', 'apply'), ('XX000', 'plan'), (NULL, NULL)) f (code, phase)
CROSS JOIN LATERAL failure_mail(f.code, f.phase) m;
SELECT FROM failure_mail('28P01', 'fetch');
SELECT minga_roster.roster_report(950000110);
-- Without a next evening; before the last try; by hand; missed, and canceled.
UPDATE minga_roster.connections SET automatic = false;
SELECT mail(950000110);
UPDATE minga_roster.connections SET automatic = true;
DELETE FROM minga_roster.runs WHERE run IN (950000108, 950000109);
SELECT FROM failure_mail('08006', 'fetch');
SELECT mail(950000110);
UPDATE minga_roster.runs SET evening = NULL, trigger = 'manual' WHERE run = 950000110;
SELECT mail(950000110);
UPDATE minga_roster.runs SET evening = '2026-09-01', trigger = 'evening', error = 'evening missed', sqlstate = '55000',
    state_cause = 'evening_missed', phase = NULL WHERE run = 950000110;
SELECT mail(950000110);
UPDATE minga_roster.runs SET state = 'canceled', sqlstate = '57014' WHERE run = 950000110;
SELECT mail(950000110);
UPDATE minga_roster.runs SET error = 'canceled while running', state_cause = NULL WHERE run = 950000110;
SELECT mail(950000110);
DELETE FROM minga_roster.runs WHERE run = 950000110;
-- An undo that is refused is no fault of the database, and one that fails read no roster.
SELECT make_run(950000110, kind => 'undo', state => 'failed', of_run => 950000013, code => '55000', phase => 'apply',
    error => 'run 13 cannot be undone', detail => 'It was undone by run 15.');
SELECT mail(950000110);
SELECT content -> 'lines' -> 0 FROM minga_roster_internal.report_parts(950000110) WHERE part = 'decision';
UPDATE minga_roster.runs SET sqlstate = 'XX000' WHERE run = 950000110;
SELECT content -> 'lines' -> 0 FROM minga_roster_internal.report_parts(950000110) WHERE part = 'decision';
DELETE FROM minga_roster.runs WHERE run = 950000110;
-- The evening after a failed one.
UPDATE minga_roster.runs SET state = 'failed' WHERE run = 950000013;
SELECT make_run(950000111, evening => '2026-09-01', counts => '{"created": 3, "unchanged": 1241}');
SELECT mail(950000111);
UPDATE minga_roster.runs SET state = 'succeeded' WHERE run = 950000013;

-- What a run noticed in the SIS: in subject and first sentence where someone has to look, else in its section alone;
-- lists that are not read completely as before.
SELECT make_run(950000120, evening => '2026-09-02', counts => '{"unchanged": 20}');
INSERT INTO minga_roster.run_findings (run, position, finding, category, amount, "of", detail, needs_look)
VALUES (950000120, 1, 'unknown_role', NULL, 21, NULL, '{"subject": "aide <b>"}', false);
SELECT mail(950000120);
SELECT jsonb_array_elements_text(content) FROM minga_roster_internal.report_parts(950000120) WHERE part = 'items';
INSERT INTO minga_roster.run_findings (run, position, finding, category, amount, "of", detail, needs_look)
VALUES (950000120, 2, 'inactive_all', 'student', 20, 20, '{"accounts": 20}', true);
SELECT mail(950000120);
INSERT INTO minga_roster.run_findings (run, position, finding, category, amount, "of", detail, needs_look)
VALUES (950000120, 3, 'category_empty', 'teacher', 0, 8, '{}', true);
SELECT mail(950000120);
SELECT jsonb_array_elements_text(content) FROM minga_roster_internal.report_parts(950000120) WHERE part = 'items';
UPDATE minga_roster.run_findings SET needs_look = finding = 'field_vanished', finding = CASE finding WHEN 'inactive_all'
    THEN 'field_vanished' ELSE finding END WHERE run = 950000120;
UPDATE minga_roster.run_findings SET amount = 0, "of" = 812,
    detail = '{"subject": "identifier", "before": 812, "before_of": 812}', needs_look = true WHERE run = 950000120
    AND finding = 'field_vanished';
SELECT mail(950000120);
SELECT content FROM minga_roster_internal.report_parts(950000120) WHERE part = 'statements';
DELETE FROM minga_roster.run_findings WHERE run = 950000120;
INSERT INTO minga_roster.collections (run, collection, family, complete, proof, detail) VALUES (950000120, 'guardians',
    'contact', true, 'weak', NULL);
INSERT INTO minga_roster.run_findings (run, position, finding, category, amount, "of", detail, needs_look)
VALUES (950000120, 1, 'incomplete', NULL, 5, 8, '{"subject": "guardians", "family": "contact"}', false);
SELECT mail(950000120);
SELECT jsonb_array_elements_text(content) FROM minga_roster_internal.report_parts(950000120) WHERE part = 'items';
UPDATE minga_roster.runs SET created = 3 WHERE run = 950000120;
SELECT mail(950000120);
UPDATE minga_roster.run_findings SET needs_look = true WHERE run = 950000120;
SELECT mail(950000120);
DELETE FROM minga_roster.runs WHERE run = 950000120;

-- Lists that the SIS does not share, beside one whose end was not seen: each has its own fact and action.
SELECT make_run(950000121, evening => '2026-09-02', counts => '{"unchanged": 20}');
INSERT INTO minga_roster.collections (run, collection, family, complete, weak_cause)
VALUES (950000121, 'teachers', 'staff', false, 'denied');
SELECT content -> 'lines' -> 0, content -> 'lines' -> 2
FROM minga_roster_internal.report_parts(950000121) WHERE part = 'decision';
INSERT INTO minga_roster.collections (run, collection, family, complete, proof, weak_cause)
VALUES (950000121, 'students', 'student', true, 'weak', 'total_larger');
SELECT content -> 'lines' -> 0, content -> 'lines' -> 2
FROM minga_roster_internal.report_parts(950000121) WHERE part = 'decision';
DELETE FROM minga_roster.runs WHERE run = 950000121;

-- People on hold are not told a second time as left as they are.
SELECT make_run(950000121, evening => '2026-09-02', counts => '{"unchanged": 20, "held": 5}');
SELECT change_run(950000121, 'update', 'held', 'student', 5, 'other values');
UPDATE minga_roster.changes SET state_cause = 'mass_update' WHERE run = 950000121;
SELECT count_run(950000121, '{"student": {"held": 5, "skip": 7, "unchanged": 20}}');
SELECT content FROM minga_roster_internal.report_parts(950000121) WHERE part = 'counts';
DELETE FROM minga_roster.runs WHERE run = 950000121;

-- New people with the same name as someone already here.
SELECT make_run(950000121, evening => '2026-09-02', counts => '{"created": 2}');
SELECT change_run(950000121, 'create', 'applied', 'student', 2, 'new');
UPDATE minga_roster.changes SET same_name = '{secret-7}' WHERE run = 950000121 AND change = 1;
SELECT jsonb_array_elements_text(content) FROM minga_roster_internal.report_parts(950000121) WHERE part = 'items';
SELECT content FROM minga_roster_internal.report_parts(950000121) WHERE part = 'statements';
UPDATE minga_roster.changes SET same_name = '{secret-7}' WHERE run = 950000121;
SELECT jsonb_array_elements_text(content) FROM minga_roster_internal.report_parts(950000121) WHERE part = 'items';
DELETE FROM minga_roster.runs WHERE run = 950000121;

-- One person in a finding.
SELECT minga_roster_internal.finding_text('inactive_some', 'teacher', 1, 41, '{"accounts": 0}');
SELECT minga_roster_internal.finding_text('inactive_some', 'teacher', 1, 41, '{"accounts": 1}');
SELECT minga_roster_internal.finding_text('inactive_some', 'student', 3, 41, '{"accounts": 1}');

-- What is good to know: credentials, a connection that is unproven, a copy of the database, deltas and filters.
UPDATE minga_roster.connections SET unproven = true, credentials_expire = '2026-08-31', delta = true,
    filter_unusable = true;
UPDATE minga_roster.runs SET is_full = false, modified_since = '2026-08-31 12:00+00' WHERE run = 950000111;
SELECT jsonb_array_elements_text(content) FROM minga_roster_internal.report_parts(950000111) WHERE part = 'items';
UPDATE minga_roster.connections SET unproven = false, credentials_expire = '2026-10-01', delta = false,
    enabled_origin = '1/1';
SELECT jsonb_array_elements_text(content) FROM minga_roster_internal.report_parts(950000111) WHERE part = 'items';
UPDATE minga_roster.connections SET credentials_expire = '2026-10-03',
    enabled_origin = minga_roster_internal.server_origin();
UPDATE minga_roster.runs SET is_full = true WHERE run = 950000111;
SELECT count(*) FROM minga_roster_internal.report_parts(950000111) WHERE part = 'items';

-- The footer says who is told and why. Who wants to hear of problems alone also hears when they are over.
INSERT INTO minga_roster.recipients (connection, email, send, manual)
VALUES ('mesa-high', 'always@mesa.example', 'always', true), ('mesa-high', 'changes@mesa.example', 'changes', false),
    ('mesa-high', 'problems@mesa.example', 'problems', false);
SELECT minga_roster_internal.post_report(950000111);
SELECT email, regexp_replace(body_text, '.*\n-- \n', '') FROM minga_roster.outbox WHERE run = 950000111 ORDER BY email;
SELECT bool_and(body_html LIKE '%You get this mail because ' || email || ' is a recipient for Mesa High: %')
    FROM minga_roster.outbox WHERE run = 950000111;
UPDATE minga_roster.runs SET state = 'failed' WHERE run = 950000013;
UPDATE minga_roster.runs SET reported = false WHERE run = 950000111;
SELECT minga_roster_internal.post_report(950000111);
SELECT email, subject FROM minga_roster.outbox WHERE run = 950000111 ORDER BY mail;

-- Names that hold more than a name: one line, no tag, no hole of a template; the subject at most 150 characters.
UPDATE minga_roster.connections SET school_name = E'Mesa\r\nBcc: all@mesa.example <b>{footer}{title}</b> "&'
    || repeat('x', 300);
SELECT report_subject, length(report_subject) FROM minga_roster_internal.report_subject(950000111);
SELECT regexp_matches(minga_roster.roster_report_html(950000111), '<title>(.*)</title>');
SELECT minga_roster.roster_report_html(950000111) LIKE '%<b>%' AS has_tag;
UPDATE minga_roster.connections
SET school_name = U&'\05D9\05E9\05D9\05D1\05D4 \202E\05EA\05D9\05DB\05D5\05E0\05D9\05EA';
SELECT report_subject FROM minga_roster_internal.report_subject(950000111);
SELECT minga_roster_internal.filled('<{a}|{b}|{c}>', '{"a": "{b}", "b": "2"}');
UPDATE minga_roster.runs SET held = 123456, created = 123456, restored = 123456, updated = 123456, linked = 123456,
    archived = 123456, conflicts = 123456, rejects = 123456 WHERE run = 950000111;
INSERT INTO minga_roster.collections (run, collection, family, complete) SELECT 950000111, repeat('c', 100) || n,
    'staff', false FROM generate_series(1, 40) n;
SELECT change_run(950000111, action, 'held', 'student', 12, 'x') FROM unnest(ARRAY['archive', 'update', 'link']) action;
SELECT report_subject, length(report_subject) FROM minga_roster_internal.report_subject(950000111);

-- However much there is to tell, reports stay short: 40 reasons of conflicts, 40 lists, long errors in any script.
INSERT INTO minga_roster.changes (run, change, site, category, sourced_ids, action, rule, reason, state, state_at)
SELECT 950000111, 1000 + n, 'mesa-high', 'student', '{x}', 'conflict', 'identifier', 'Reason ' || n % 40
    || repeat(U&' \+01F600', 500), 'noted', now() FROM generate_series(1, 5000) n;
SELECT jsonb_array_length(content -> 'items') AS items, content -> 'items' ->> -1 AS last_item
FROM minga_roster_internal.report_parts(950000111) WHERE content ->> 'title' LIKE '%conflicts';
UPDATE minga_roster.connections SET school_name = repeat(U&'\+01F600', 300);
UPDATE minga_roster.runs SET site = repeat(U&'\+01F600', 300) WHERE run = 950000111;
SELECT octet_length(minga_roster.roster_report(950000111)) < 30000 AS short_text,
    octet_length(minga_roster.roster_report_html(950000111)) < 50000 AS short_html;
SELECT make_run(950000112, evening => '2026-09-02', state => 'failed', phase => 'fetch', code => '08P01',
    error => repeat(U&'\+01F600', 3000), detail => repeat(U&'\+01F600', 3000), hint => repeat(U&'\+01F600', 3000));
SELECT octet_length(minga_roster.roster_report(950000112)) < 15000 AS short_text,
    octet_length(minga_roster.roster_report_html(950000112)) < 25000 AS short_html;
\set ECHO none
ROLLBACK;
\set ECHO all
\set clock ''
\i :set_clock
