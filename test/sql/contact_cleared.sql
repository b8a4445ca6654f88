-- A contact that went away in the SIS: cleared as one with clear_parent_contact alone, after a read that proves it, and
-- only where a roster wrote it. Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
-- Ten students with a guardian each, and one guardian and one relative who stay.
CREATE FUNCTION begin_school() RETURNS SETOF void LANGUAGE sql AS $$
    SELECT clear();
    DELETE FROM column_owners;
    SELECT FROM roster_configure('north', parent_contact => true, clear_parent_contact => true);
    SELECT toggle(auto_update => true);
    SELECT stage('g' || n, 'guardian', 'Gil', 'No' || n, email => 'g' || n || '@x.example', phone => n::text)
        FROM generate_series(0, 9) n;
    SELECT stage('r0', 'relative', 'Rio', 'Zero');
    SELECT stage('s' || n, 'student', 'Kid', 'No' || n, agents => ARRAY['g' || n, 'r0']) FROM generate_series(0, 0) n;
    SELECT stage('s' || n, 'student', 'Kid', 'No' || n, agents => ARRAY['g' || n]) FROM generate_series(1, 9) n;
    SELECT run_merge();
    SELECT;
$$;
-- The SIS no longer names a contact for these students.
CREATE FUNCTION leave_alone(VARIADIC ids text[]) RETURNS SETOF void LANGUAGE sql AS $$ UPDATE staged_users
    SET agent_ids = NULL WHERE sourced_id = ANY (ids) $$;
CREATE FUNCTION empty() RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(l.sourced_id, ' ' ORDER BY l.sourced_id), 'none') FROM links l
        JOIN people p USING (person_id)
    WHERE l.category = 'student' AND num_nonnulls(p.parent_name, p.parent_email, p.parent_phone, p.parent_rule) = 0
$$;
\set ECHO all
SELECT begin_school();
SELECT empty();
-- off: nothing is cleared
SELECT FROM roster_configure('north', clear_parent_contact => false);
SELECT leave_alone('s1');
SELECT again();
-- on: a preview shows it, a sync does it, once, with other values or without
SELECT FROM roster_configure('north', clear_parent_contact => true);
SELECT stage('s2', 'student', 'Kid', 'New', agents => '{}');
SELECT FROM run_merge('preview');
SELECT action, ids, before, after, rule, state FROM shown();
SELECT reason FROM changes WHERE run = last_run() ORDER BY change;
SELECT empty();
SELECT FROM run_merge('apply', last_run());
SELECT empty();
SELECT again();
SELECT sourced_id, agents FROM roster_students_without_guardian WHERE connection = 'north' ORDER BY sourced_id;
SELECT string_agg(format('%s %s %s', category, action, count), ', ' ORDER BY category, action) FROM run_counts
    WHERE run = last_run();
-- undo brings it back, whole; a contact who comes back is written again
SELECT leave_alone('s3');
SELECT FROM run_merge();
SELECT empty();
SELECT FROM run_merge('undo', last_run());
SELECT empty(), parent_name, parent_email, parent_phone, parent_rule FROM people WHERE family_name = 'No3';
SELECT FROM run_merge();
SELECT stage('s3', 'student', 'Kid', 'No3', agents => '{g3}');
SELECT FROM run_merge();
SELECT ids, before, after FROM shown();
-- without auto update it is skipped
SELECT toggle(auto_update => false);
SELECT leave_alone('s4');
SELECT again();
SELECT outcome FROM staged_users WHERE sourced_id = 's4';
SELECT toggle(auto_update => true);
-- as it is for the archived, and at their return
UPDATE people SET archived_at = '2026-01-01' WHERE family_name = 'No4';
SELECT toggle(auto_update => false);
SELECT FROM run_merge();
SELECT action, ids, before, after FROM shown();
SELECT empty();
UPDATE people SET archived_at = '2026-01-01' WHERE family_name = 'No4';
SELECT toggle(auto_update => true);
SELECT FROM run_merge();
SELECT action, ids, before, after FROM shown();
SELECT again();

-- Gone is who is not named, or is named and tobedeleted. Nothing is certain where someone is named who is not listed,
-- cannot be read, has no name, or is no contact.
SELECT begin_school();
SELECT stage('g' || n, 'guardian', 'Gil', 'No' || n, status => 'tobedeleted') FROM generate_series(1, 3) n;
SELECT stage('g4', 'guardian', NULL, NULL), stage('g5', 'guardian', 'Gil', 'No5', damaged => true),
    stage('g6', 'guardian', 'Gil', 'No6', status => 'tobedeleted', damaged => true);
SELECT unstage('g7');
SELECT stage('s2', 'student', 'Kid', 'No2', agents => '{g1,g2,g2}'),
    stage('s3', 'student', 'Kid', 'No3', agents => '{g3,nobody}'),
    stage('s8', 'student', 'Kid', 'No8', agents => '{s8}'), stage('s9', 'student', 'Kid', 'No9', agents => '{s8,g1}');
SELECT FROM run_merge();
SELECT empty();
SELECT string_agg(format('%s %s %s', category, action, count), ', ' ORDER BY category, action) FROM run_counts
    WHERE run = last_run();
SELECT again();
-- one who is left is the contact
SELECT stage('s8', 'student', 'Kid', 'No8', agents => '{g1,r0}');
SELECT FROM run_merge();
SELECT ids, after FROM shown();

-- Reads that prove nothing: a delta; a list of contacts or students that was not read whole, is empty that was not, or
-- has a row without a sourcedId.
SELECT begin_school();
SELECT leave_alone('s1', 's2', 's3');
SELECT FROM run_merge(is_full => false);
SELECT empty();
INSERT INTO unread VALUES ('relatives');
SELECT again();
UPDATE unread SET collection = 'guardians';
SELECT again();
UPDATE unread SET collection = 'students';
SELECT again();
DELETE FROM unread;
SELECT unstage('r0');
SELECT again();
SELECT stage('r0', 'relative', 'Rio', 'Zero');
UPDATE staged_users SET agent_ids = NULL WHERE role = 'student';
SELECT unstage('g0', 'g1', 'g2', 'g3', 'g4', 'g5', 'g6', 'g7', 'g8', 'g9');
SELECT again();
SELECT stage('g0', 'guardian', 'Gil', 'Zero');
CREATE FUNCTION lose_id() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.without_id := 1; RETURN NEW; END $$;
CREATE TRIGGER lose_id BEFORE INSERT ON collections FOR EACH ROW WHEN (NEW.collection = 'guardians')
    EXECUTE FUNCTION lose_id();
SELECT again();
DROP TRIGGER lose_id ON collections;
SELECT FROM run_merge();
SELECT empty();

-- Only what a roster wrote: a contact without a rule beside it is the school's own; a local unit, one edited here, and
-- people whom no roster may touch are left alone.
SELECT begin_school();
UPDATE people SET parent_name = 'By Hand', parent_email = NULL, parent_rule = NULL WHERE family_name = 'No1';
UPDATE people SET roster_managed = false WHERE family_name = 'No2';
UPDATE people SET role = 'owner' WHERE family_name = 'No3';
SELECT leave_alone('s1', 's2', 's3', 's4');
SELECT FROM run_merge();
SELECT empty();
SELECT parent_name FROM people WHERE family_name = 'No1';
SELECT again();
-- nor where the student has other new values
SELECT stage('s1', 'student', 'Kit', 'No1');
SELECT FROM run_merge();
SELECT ids, before, after FROM shown();
SELECT roster_set_column_owner('north', 'parent_contact', 'local');
SELECT leave_alone('s5');
SELECT again();
SELECT roster_set_column_owner('north', 'parent_contact', 'sis unless edited');
SELECT FROM roster_configure('north', clear_parent_contact => false);
SELECT FROM run_merge();
SELECT FROM roster_configure('north', clear_parent_contact => true);
UPDATE people SET parent_phone = 'by hand' WHERE family_name = 'No6';
SELECT leave_alone('s6');
SELECT FROM run_merge();
SELECT empty();
SELECT again();
-- typed where a contact was cleared
UPDATE people SET parent_name = 'By Hand' WHERE family_name = 'No5';
SELECT again();
SELECT parent_name FROM people WHERE family_name = 'No5';

-- A row that is linked tonight: its person was written by another connection, or under another id, and is cleared
-- tonight, not the night after.
SELECT begin_school();
UPDATE people SET identifier = '77' WHERE family_name = 'No7';
SELECT unstage('s7', 'g7');
SELECT stage('s7-new', 'student', 'Kid', 'No7', identifier => '77');
SELECT FROM run_merge();
SELECT action, ids, after FROM shown();
SELECT again();
-- people without parent_rule tell nothing
SELECT begin_school();
ALTER TABLE people DROP COLUMN parent_rule;
SELECT roster_attach_people('people');
SELECT leave_alone('s1');
SELECT again();
SELECT refused($$SELECT roster_configure('north', clear_parent_contact => true)$$);
SELECT refused($$SELECT roster_configure('north', parent_contact => false)$$);
SELECT parent_contact, clear_parent_contact
    FROM roster_configure('north', parent_contact => false, clear_parent_contact => false);
SELECT refused($$SELECT roster_configure('north', clear_parent_contact => true)$$);
-- with delta, the setting is a full read next
ALTER TABLE people ADD COLUMN parent_rule text;
SELECT roster_attach_people('people');
SELECT FROM roster_configure('north', parent_contact => true, delta => true);
UPDATE connections SET newest_modified = '2026-01-01' WHERE connection = 'north';
SELECT clear_parent_contact, newest_modified FROM roster_configure('north', clear_parent_contact => true);
\set ECHO none
\i :fixture_end
