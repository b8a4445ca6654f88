-- What Infinite Campus 1.2 says of how users are related comes before the role of a contact and the order of agents;
-- what it says of no one, twice or both ways changes nothing. Planted: states that only a SIS, an earlier night or time
-- would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
CREATE FUNCTION contacts() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(' | ', l.sourced_id, p.parent_name, p.parent_rule)
    FROM links l JOIN people p ON p.site = l.site AND p.person_id = l.person_id WHERE l.connection = 'north'
    ORDER BY l.sourced_id
$$;
-- "id guardian type", with "-" for what is not said, of one user.
CREATE FUNCTION relates(sourced_id text, VARIADIC said text[]) RETURNS SETOF void LANGUAGE sql AS $$
    UPDATE staged_users s SET relationships = (
        SELECT jsonb_agg(jsonb_build_object('id', w[1], 'guardian', nullif(w[2], '-')::boolean, 'type',
        nullif(w[3], '-')) ORDER BY nth)
        FROM unnest(said) WITH ORDINALITY AS e (entry, nth) CROSS JOIN LATERAL string_to_array(e.entry, ' ') AS w)
    WHERE s.sourced_id = relates.sourced_id
$$;
\set ECHO all
SELECT FROM roster_configure('north', parent_contact => true);
UPDATE sis SET campus_metadata = true WHERE sis = 'infinite_campus';
SELECT toggle(auto_update => true);
SELECT stage('father', 'guardian', 'Step', 'Father'), stage('mother', 'guardian', 'Ma', 'Day'),
    stage('aunt', 'relative', 'Aunt', 'Day'), stage('uncle', 'relative', 'Uncle', 'Day');
SELECT stage('s' || lpad(n::text, 2, '0'), 'student', 'Kid' || n, 'Day', agents => '{father,mother,aunt}')
    FROM generate_series(1, 16) n;

SELECT relates('s01', 'mother true Mother');
SELECT relates('s02', 'father false Stepfather', 'mother true Mother');
-- only that one is none
SELECT relates('s03', 'father false Stepfather');
SELECT relates('s04', 'father false -', 'mother false -');
-- several: the role and the order of agents decide among them
SELECT relates('s05', 'mother true Mother', 'father true Father');
SELECT relates('s06', 'aunt true Aunt', 'mother true Mother');
-- one who is called a relative is the guardian
SELECT relates('s07', 'aunt true Aunt');
-- without a type; without a word on guardianship; of no one, of oneself, of a student, of someone who is no agent
SELECT relates('s08', 'mother true -');
SELECT relates('s09', 'mother - Mother', 'father - Stepfather');
SELECT relates('s10', 'unknown true Mother', 's10 true Self', 's01 true Brother', 'uncle true Uncle');
-- twice, and both ways
SELECT relates('s11', 'mother true Mother', 'mother true Mother');
SELECT relates('s12', 'mother true Mother', 'mother false Mother', 'father false Father');
SELECT relates('s13', 'mother true Mother', 'mother true Guardian');
-- said with the contact, not the student; said of another student
SELECT relates('mother', 's14 true Mother', 's15 false Mother');
SELECT relates('s15', 'mother true Mother');
-- one who is deleted is none
SELECT stage('gone', 'guardian', 'Gone', 'Day', status => 'tobedeleted'),
    stage('s17', 'student', 'Kid17', 'Day', agents => '{father,gone}');
SELECT relates('s17', 'gone true Mother');
-- one that cannot be read might be the contact who comes first, unless the SIS says who does
SELECT stage('bad', 'guardian', 'Bad', 'Row', damaged => true),
    stage('s18', 'student', 'Kid18', 'Day', agents => '{bad,mother}'),
    stage('s19', 'student', 'Kid19', 'Day', agents => '{bad,mother}');
SELECT relates('s18', 'mother true Mother');
SELECT relates('s19', 'bad true Mother');
SELECT FROM run_merge();
SELECT contacts();
SELECT again();

-- the order of agents is no matter where the SIS says who it is, and a change of what it says is one of the contact
SELECT stage('s01', 'student', 'Kid1', 'Day', agents => '{aunt,mother,father}'),
    stage('s02', 'student', 'Kid2', 'Day', agents => '{mother,father}');
SELECT relates('s01', 'mother true Mother'), relates('s02', 'mother false Mother', 'father true Stepfather');
SELECT FROM run_merge();
SELECT ids, after FROM shown();

-- Of another SIS nothing of it counts.
UPDATE sis SET campus_metadata = false WHERE sis = 'infinite_campus';
SELECT FROM run_merge();
SELECT contacts();
\set ECHO none
\i :fixture_end
