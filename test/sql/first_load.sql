-- A first load creates the people of rows that are only new at once, without the plan's tables. The same roster goes
-- through all steps where people have a trigger of inserts, if it does nothing: whatever the rows are, both give the
-- same people, changes, links, counts and outcomes, and the same undo and next night.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$;
CREATE FUNCTION through_all_steps(wanted boolean) RETURNS SETOF void LANGUAGE plpgsql AS $$
BEGIN
    DROP TRIGGER IF EXISTS nothing ON people;
    IF wanted THEN
        CREATE TRIGGER nothing BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION nothing();
    END IF;
END
$$;
CREATE FUNCTION fill() RETURNS SETOF void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM clear();
    DELETE FROM match_decisions WHERE connection = 'north';
    PERFORM roster_configure('north', parent_contact => true);
    -- only new
    PERFORM stage('n' || n, CASE WHEN n % 7 = 0 THEN 'teacher' WHEN n % 11 = 0 THEN 'administrator' ELSE 'student' END,
        'Sam' || n, 'Day', CASE WHEN n % 2 = 0 THEN '5' || n END, CASE WHEN n % 3 = 0 THEN 'sam' || n END,
        CASE WHEN n % 5 = 0 THEN 'Sam' || n || '@x.example' END, CASE WHEN n % 4 = 0 THEN '5' END,
        CASE WHEN n % 6 = 0 THEN '555-01' || n END,
        agents => CASE WHEN n % 8 = 0 THEN ARRAY['g' || n] END) FROM generate_series(10, 59) n;
    PERFORM stage('g' || n, 'guardian', 'Gil' || n, 'Day', phone => '555-02' || n) FROM generate_series(16, 56, 8) n;
    -- rows that share keys: one person, and a conflict
    PERFORM stage('t1', 'teacher', 'Tea', 'Poe', '70', 'tea'), stage('a1', 'administrator', 'Tea', 'Poe', '70', 'tea'),
        stage('s1', 'student', 'Ann', 'Lee', '80'), stage('s2', 'student', 'Bob', 'Roe', '80');
    -- rows that no one is created for
    PERFORM stage('s3', 'student', 'Only'), stage('s4', 'student', 'Ina', 'Ray', enabled => false),
        stage('s5', 'student', 'Ira', 'Ray', status => 'inactive'),
        stage('s6', 'student', 'Tod', 'Ray', status => 'tobedeleted'),
        stage('s7', 'student', 'Una', 'Ray', status => 'odd'),
        stage('s8', 'student', 'Dan', 'Ray', damaged => true), stage('o1', 'proctor', 'Pro', 'Ray'),
        stage('s9', 'student', 'Dec', 'Ided');
END
$$;
CREATE TABLE loaded (way text, at text, what text, seen text);
CREATE FUNCTION note(way text, at text) RETURNS SETOF void LANGUAGE plpgsql AS $$
DECLARE
    this bigint := last_run();
BEGIN
    INSERT INTO loaded
    SELECT way, at, 'change ' || c.change,
        regexp_replace((to_jsonb(c) - '{run,state_at,done_by,seen}'::text[])::text, 'run \d+', 'run N')
        || (c.done_by = this)::text || (c.seen IS NULL)::text
        || coalesce((c.after ->> 'archived_at') || 'archived', '')
    FROM changes c WHERE c.run IN (this, (SELECT of_run FROM runs WHERE run = this))
    UNION ALL
    SELECT way, at, 'seen ' || c.change, c.seen::text FROM changes c WHERE c.run = this AND c.action = 'create'
    UNION ALL
    SELECT way, at, 'link ' || l.sourced_id, (to_jsonb(l) - '{linked_run,missed_run,archived_run}'::text[])::text
        || (l.linked_run = this)::text FROM links l WHERE connection = 'north'
    UNION ALL
    SELECT way, at, 'person ' || concat_ws(' ', p.given_name, p.family_name, p.identifier),
        (to_jsonb(p) - '{updated_at,archived_at}'::text[])::text || (p.archived_at IS NULL)::text FROM people p
    UNION ALL
    SELECT way, at, 'count ' || n.category || n.action, n.count::text FROM run_counts n WHERE n.run = this
    UNION ALL
    SELECT way, at, 'finding ' || f.position, concat(f.finding, f.category, f.amount, f.detail) FROM run_findings f
        WHERE f.run = this
    UNION ALL
    SELECT way, at, 'run', concat_ws(' ', r.created, r.linked, r.updated, r.restored, r.archived, r.held, r.unchanged,
        r.skipped, r.conflicts, r.rejects) FROM runs r WHERE r.run = this
    UNION ALL
    SELECT way, at, 'outcomes', outcomes()
    UNION ALL
    SELECT way, at, 'pair', string_agg((to_jsonb(p) - 'run')::text, ' ' ORDER BY to_jsonb(p)::text)
    FROM conflict_pairs p WHERE p.run = this;
END
$$;
CREATE FUNCTION make_tables_as_worker() RETURNS void LANGUAGE plpgsql SET role = minga_roster_dba AS $$
BEGIN
    PERFORM minga_roster_internal.make_plan_tables(g) FROM unnest('{plan,rows,write}'::text[]) g;
END
$$;
-- The load, the next night and the undo of the load, one way and the other; how many creates were written at once, how
-- much was noted, and what of it differs.
CREATE FUNCTION load_both_ways(preparation text DEFAULT NULL, same_ids boolean DEFAULT true)
RETURNS TABLE (at_once bigint, noted bigint, differ text) LANGUAGE plpgsql AS $$
DECLARE
    way text;
BEGIN
    TRUNCATE loaded;
    PERFORM make_tables_as_worker();
    FOREACH way IN ARRAY '{at once,all steps}'::text[] LOOP
        PERFORM fill();
        IF preparation IS NOT NULL THEN
            EXECUTE preparation;
        END IF;
        PERFORM through_all_steps(way = 'all steps');
        PERFORM run_merge();
        at_once := coalesce(at_once, 0) + (SELECT count(*) FROM plan_writes w WHERE w.action = 'new');
        PERFORM note(way, 'load');
        PERFORM empty_plan();
        PERFORM run_merge();
        PERFORM note(way, 'next night');
        PERFORM empty_plan();
        PERFORM run_merge('undo', r.run) FROM runs r WHERE r.connection = 'north' AND r.created > 0;
        PERFORM note(way, 'undo');
        PERFORM empty_plan();
    END LOOP;
    IF NOT same_ids THEN
        UPDATE loaded SET seen = regexp_replace(seen, '"P\d+"', '"P"', 'g');
    END IF;
    RETURN QUERY
    SELECT load_both_ways.at_once, (SELECT count(*) FROM loaded),
        string_agg(concat_ws('|', o.at, a.at, o.what, a.what), E'\n' ORDER BY o.at, o.what)
    FROM (SELECT * FROM loaded l WHERE l.way = 'at once') o
    FULL JOIN (SELECT * FROM loaded l WHERE l.way = 'all steps') a ON a.at = o.at AND a.what = o.what
    WHERE o.seen IS DISTINCT FROM a.seen OR o.what IS NULL OR a.what IS NULL;
END
$$;
-- A transaction merges one run: another one begins with empty tables.
CREATE FUNCTION empty_plan() RETURNS SETOF void LANGUAGE plpgsql AS $$
DECLARE
    made text;
BEGIN
    FOR made IN SELECT c.relname FROM pg_class c WHERE c.relnamespace = pg_my_temp_schema() AND c.relname LIKE 'plan\_%'
        AND c.relkind = 'r' LOOP
        EXECUTE format('TRUNCATE pg_temp.%I', made);
    END LOOP;
END
$$;

-- a school without anyone
SELECT * FROM load_both_ways();
-- people who are there: with a key of a row, with the names of a row and no keys, and others
SELECT * FROM load_both_ways($$INSERT INTO people (site, role, given_name, family_name, identifier, email)
    VALUES ('north', 'student', 'Sam10', 'Day', '510', NULL), ('north', 'student', 'Sam12', 'Day', '', NULL),
        ('north', 'student', 'Sam13', 'Other', '513', 'SAM15@x.example'),
        ('north', 'parent', 'Gil', 'Day', NULL, NULL)$$);
-- people of another site alone: the creates are held, and go through all steps
SELECT * FROM load_both_ways($$INSERT INTO people (site, role, given_name, family_name)
    VALUES ('south', 'student', 'Sam10', 'Day')$$);
-- a decision
SELECT * FROM load_both_ways($$INSERT INTO match_decisions (connection, sourced_id, decision, decided_by, decided_at)
    VALUES ('north', 's9', 'skip', 'test', now())$$);
-- rows that a constraint refuses, one by one: a row that is only new, the first and the last of all, and a joint row
SELECT * FROM load_both_ways($$ALTER TABLE people DROP CONSTRAINT IF EXISTS refused;
    ALTER TABLE people ADD CONSTRAINT refused CHECK (given_name NOT IN ('Sam22', 'Sam10', 'Sam56', 'Tea', 'Sam59'))$$,
    same_ids => false);
ALTER TABLE people DROP CONSTRAINT refused;
-- defaults of columns that some rows have a value for
SELECT * FROM load_both_ways($$ALTER TABLE people ALTER phone SET DEFAULT '-', ALTER grade SET DEFAULT 'K'$$);
ALTER TABLE people ALTER phone DROP DEFAULT, ALTER grade DROP DEFAULT;
-- a unique index of what a roster writes, or columns of a type with another form: all steps
CREATE UNIQUE INDEX ON people (site, lower(email));
SELECT at_once FROM load_both_ways();
DROP INDEX people_site_lower_idx;
ALTER TABLE people ALTER grade TYPE char(4);
SELECT minga_roster_internal.keeps_values('people');
ALTER TABLE people ALTER grade TYPE varchar(2);
SELECT * FROM load_both_ways();
ALTER TABLE people ALTER grade TYPE text;
-- IDs that are not one person's alone: no one is taken for such a person
SELECT through_all_steps(false);
CREATE TABLE ids (LIKE people INCLUDING DEFAULTS);
ALTER TABLE ids ALTER person_id SET DEFAULT 'X' || nextval('school.person') % 5, OWNER TO regress_people_owner;
SELECT roster_attach_people('ids');
SELECT fill();
SELECT use_people('ids');
SELECT refused('SELECT run_merge()');
SELECT count(*), count(DISTINCT l.person_id), count(i.person_id)
FROM links l LEFT JOIN ids i ON i.person_id = l.person_id WHERE connection = 'north';
SELECT action, rule, state, state_cause, count(*) FROM changes
WHERE run = last_run() AND after ->> 'given_name' LIKE 'Sam%'
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2;
SELECT use_people('people');
\set ECHO none
\i :fixture_end
