-- Which contact is chosen, and the rule that is stored with it: shared addresses, one guardian of many, many contacts
-- of one, cycles, and rows that cannot be used. Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
CREATE FUNCTION contacts() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(' | ', l.sourced_id, p.parent_name, coalesce(p.parent_email, '-'), coalesce(p.parent_phone, '-'),
        p.parent_rule)
    FROM links l JOIN people p ON p.site = l.site AND p.person_id = l.person_id WHERE l.connection = 'north'
    ORDER BY l.sourced_id
$$;
CREATE FUNCTION counted() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s %s %s', c.category, c.action, c.count), ', ' ORDER BY c.category, c.action)
        FROM run_counts c WHERE c.run = last_run()
$$;
\set ECHO all
SELECT FROM roster_configure('north', parent_contact => true);
SELECT toggle(auto_update => true);

-- Shared addresses: two guardians, a guardian and the student, a guardian and a teacher; siblings get the same. No one
-- is anyone else by them.
SELECT stage('g1', 'guardian', 'Gil', 'Day', email => 'home@x.example', phone => '1'),
    stage('g2', 'guardian', 'Gus', 'Day', email => 'home@x.example', phone => '1'),
    stage('s1', 'student', 'Ana', 'Day', email => 'home@x.example', agents => '{g1,g2}'),
    stage('s2', 'student', 'Bo', 'Day', email => 'bo@x.example', agents => '{g2,g1}'),
    stage('g3', 'guardian', 'Tea', 'Fox', email => 'tea@x.example'),
    stage('t1', 'teacher', 'Tea', 'Fox', email => 'tea@x.example', username => 'tea'),
    stage('s3', 'student', 'Cy', 'Fox', agents => '{g3}');
SELECT FROM run_merge();
SELECT contacts();
SELECT counted();
SELECT again();

-- A guardian of seven: all have this contact, and a new phone is an update of each.
SELECT clear();
SELECT FROM roster_configure('north', parent_contact => true);
SELECT toggle(auto_update => true);
SELECT stage('g1', 'guardian', 'Gil', 'One', phone => '1'), stage('r1', 'relative', 'Rio', 'One');
SELECT stage('s' || n, 'student', 'Kid' || n, 'One', agents => '{g1}') FROM generate_series(1, 7) n;
SELECT FROM run_merge();
SELECT contacts();
SELECT stage('g1', 'guardian', 'Gil', 'One', phone => '2');
SELECT FROM run_merge();
SELECT ids, before, after FROM shown();
SELECT counted();
SELECT again();
-- relatives beside the guardian are no matter
SELECT stage('s' || n, 'student', 'Kid' || n, 'One', agents => '{r1,g1,nobody}') FROM generate_series(1, 7) n;
SELECT again();

-- Six of one child: guardian and parent before relative, then the order; the rule tells whether the order decided.
SELECT clear();
SELECT FROM roster_configure('north', parent_contact => true);
SELECT toggle(auto_update => true);
SELECT stage('g' || n, 'guardian', 'Gil', 'No' || n) FROM generate_series(1, 6) n;
SELECT stage('p1', 'parent', 'Pat', 'One'), stage('r1', 'relative', 'Rio', 'One'),
    stage('r2', 'relative', 'Rio', 'Two');
SELECT stage('s1', 'student', 'Ana', 'Day', agents => '{g6,g2,g3,g4,g5,g1}'),
    stage('s2', 'student', 'Bo', 'Day', agents => '{g1,g6,g5,g4,g3,g2}'),
    stage('s3', 'student', 'Cy', 'Day', agents => '{r1,r2,p1,g1,g2,g3}'),
    stage('s4', 'student', 'Di', 'Day', agents => '{r1,r2,g1,p1}'),
    stage('s5', 'student', 'Ed', 'Day', agents => '{r2,r1}'), stage('s6', 'student', 'Flo', 'Day', agents => '{r1}'),
    stage('s7', 'student', 'Guy', 'Day', agents => '{r1,r2,g1}');
SELECT FROM run_merge();
SELECT contacts();
SELECT counted();
SELECT again();
-- more or fewer of those who come after change no one, as long as there is another
SELECT stage('s1', 'student', 'Ana', 'Day', agents => '{g6,g5}'),
    stage('s3', 'student', 'Cy', 'Day', agents => '{p1,g1}'), stage('s7', 'student', 'Guy', 'Day', agents => '{g1}'),
    stage('s5', 'student', 'Ed', 'Day', agents => '{r2,r1,nobody}');
SELECT again();
-- another order is another contact; a guardian comes before the relative who was chosen; the last of several is the
-- only one
SELECT stage('s2', 'student', 'Bo', 'Day', agents => '{g2,g1}'),
    stage('s6', 'student', 'Flo', 'Day', agents => '{r1,g4}'), stage('s1', 'student', 'Ana', 'Day', agents => '{g6}');
SELECT FROM run_merge();
SELECT ids, before, after FROM shown();
SELECT again();
-- named twice is one
SELECT stage('s1', 'student', 'Ana', 'Day', agents => '{g6,g6}'),
    stage('s6', 'student', 'Flo', 'Day', agents => '{g4,r1,g4,r1}');
SELECT again();
SELECT stage('s1', 'student', 'Ana', 'Day', agents => '{g6,g6,g1}');
SELECT FROM run_merge();
SELECT ids, after FROM shown();
-- a kind of contact that the school added to the rules
INSERT INTO role_rules (sis, roster_role, category, rank) VALUES ('infinite_campus', 'ext:neighbor', 'contact', 3);
SELECT stage('n1', 'ext:neighbor', 'Ned', 'One'), stage('s8', 'student', 'Hal', 'Day', agents => '{n1}'),
    stage('s5', 'student', 'Ed', 'Day', agents => '{n1,r1}');
SELECT FROM run_merge();
SELECT ids, after FROM shown();
DELETE FROM role_rules WHERE roster_role = 'ext:neighbor';

-- Cycles: a student who names their own id, another student, a teacher; guardians who name the child or each other.
-- Only contacts whom the student names count, once.
SELECT clear();
SELECT FROM roster_configure('north', parent_contact => true);
SELECT toggle(auto_update => true);
SELECT stage('s1', 'student', 'Ana', 'Day', phone => '1', agents => '{s1}'),
    stage('s2', 'student', 'Bo', 'Day', phone => '2', agents => '{s1,t1,g1}'),
    stage('s3', 'student', 'Cy', 'Day', agents => '{t1,s2}'),
    stage('t1', 'teacher', 'Tea', 'Fox', agents => '{s3}'),
    stage('g1', 'guardian', 'Gil', 'One', agents => '{s2,s3,g2}'),
    stage('g2', 'guardian', 'Gus', 'Two', agents => '{g1,g2}'), stage('s4', 'student', 'Di', 'Day', agents => '{g2}');
SELECT FROM run_merge();
SELECT contacts();
SELECT counted();
SELECT again();

-- Rows that cannot be used: not listed, deleted, without a name; a damaged one might be the contact who comes first.
-- Inactive contacts are contacts: they have no account.
SELECT clear();
SELECT FROM roster_configure('north', parent_contact => true);
SELECT toggle(auto_update => true);
SELECT stage('g1', 'guardian', 'Gil', 'One', phone => '1'), stage('g2', 'guardian', email => 'no@name.example',
    phone => '2'), stage('g3', 'guardian', 'Del', 'Eted', phone => '3', status => 'tobedeleted'),
    stage('g4', 'guardian', 'Bad', 'Row', damaged => true), stage('g5', 'guardian', damaged => true),
    stage('g6', NULL, 'Bad', 'Role', damaged => true),
    stage('g7', 'guardian', 'In', 'Active', status => 'inactive'),
    stage('g8', 'guardian', 'Off', 'Line', enabled => false), stage('g9', 'guardian', 'No', 'Way'),
    stage('r1', 'relative', 'Rio', 'One'), stage('r2', 'relative', 'Bad', 'Aunt', damaged => true),
    stage('t2', 'teacher', 'Bad', 'Teacher', damaged => true),
    stage('p1', 'guardian', 'Gil', NULL);
SELECT stage('s01', 'student', 'Ana', 'Day', agents => '{nobody,g1}'),
    stage('s02', 'student', 'Bo', 'Day', agents => '{g2,g1}'),
    stage('s03', 'student', 'Cy', 'Day', agents => '{g3,g1}'),
    stage('s04', 'student', 'Di', 'Day', agents => '{g4,g1}'),
    stage('s05', 'student', 'Ed', 'Day', agents => '{g5,g1}'),
    stage('s06', 'student', 'Flo', 'Day', agents => '{g6,g1}'),
    stage('s07', 'student', 'Guy', 'Day', agents => '{g7,g1}'),
    stage('s08', 'student', 'Hal', 'Day', agents => '{g8,g1}'), stage('s09', 'student', 'Ira', 'Day', agents => '{g9}'),
    stage('s10', 'student', 'Jo', 'Day', agents => '{g1,g4}'),
    stage('s11', 'student', 'Kim', 'Day', agents => '{r2,g1}'),
    stage('s12', 'student', 'Lou', 'Day', agents => '{r1,g4}'),
    stage('s13', 'student', 'Mo', 'Day', agents => '{t2,g1}'), stage('s14', 'student', 'Ned', 'Day', agents => '{p1}'),
    stage('s15', 'student', 'Ole', 'Day', agents => '{nobody}'),
    stage('s16', 'student', 'Pia', 'Day', agents => '{g2}'), stage('s17', 'student', 'Quin', 'Day', agents => '{g3}');
SELECT FROM run_merge();
SELECT contacts();
SELECT counted();
SELECT again();
SELECT sourced_id, agents FROM roster_students_without_guardian WHERE connection = 'north' ORDER BY sourced_id;

-- A list that was refused, or has a row without a sourcedId: an agent who is not listed might be on it.
SELECT stage('g1', 'guardian', 'Gil', 'New', phone => '1');
INSERT INTO unread VALUES ('relatives');
SELECT FROM run_merge();
SELECT count(*) FILTER (WHERE ids IN ('s01', 's15')) AS of_unread, count(*) AS all_updates FROM shown()
    WHERE action = 'update';
DELETE FROM unread;
SELECT FROM run_merge();
SELECT ids, after FROM shown() WHERE action = 'update';
SELECT stage('g1', 'guardian', 'Gil', 'Newer', phone => '1');
CREATE FUNCTION lose_id() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.without_id := 1; RETURN NEW; END $$;
CREATE TRIGGER lose_id BEFORE INSERT ON collections FOR EACH ROW WHEN (NEW.collection = 'guardians')
    EXECUTE FUNCTION lose_id();
SELECT FROM run_merge();
SELECT count(*) FILTER (WHERE ids IN ('s01', 's15')) AS of_unread, count(*) > 3 AS others FROM shown()
    WHERE action = 'update';
DROP TRIGGER lose_id ON collections;

-- People that have some of the columns, or none: those are written.
SELECT clear();
SELECT FROM roster_configure('north', parent_contact => true);
SELECT toggle(auto_update => true);
ALTER TABLE people DROP COLUMN parent_email, DROP COLUMN parent_rule;
SELECT roster_attach_people('people');
SELECT stage('g1', 'guardian', 'Gil', 'One', email => 'gil@x.example', phone => '1'),
    stage('g2', 'guardian', 'Gil', 'One', email => 'gus@x.example', phone => '1'),
    stage('s1', 'student', 'Ana', 'Day', agents => '{g1}');
SELECT FROM run_merge();
SELECT after FROM shown();
SELECT stage('s1', 'student', 'Ana', 'Day', agents => '{g2,g1}');
SELECT again();
ALTER TABLE people DROP COLUMN parent_name, DROP COLUMN parent_phone;
SELECT roster_attach_people('people');
SELECT stage('s1', 'student', 'Ana', 'Day', agents => '{g1}'), stage('s2', 'student', 'Bo', 'Day', agents => '{g1}');
SELECT FROM run_merge();
SELECT after FROM shown();
SELECT again();
\set ECHO none
\i :fixture_end
