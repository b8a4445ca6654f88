-- One bad person does not stop the school: what collides in a unique index is a conflict, what people refuse stands
-- alone as a reject.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

CREATE FUNCTION noted() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws('|', action, person_id, array_to_string(sourced_ids, ' '), rule, reason, state, state_reason,
        (before - 'archived_at')::text, (after - 'archived_at')::text)
    FROM changes WHERE run = last_run() AND state NOT IN ('applied') ORDER BY change
$$;
CREATE FUNCTION counts() RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', 'created', created, 'updated', updated, 'restored', restored, 'archived', archived,
        'conflicts', conflicts, 'rejects', rejects) FROM runs WHERE run = last_run()
$$;
-- each staged user has one outcome still, and run_counts says the same
CREATE FUNCTION sums() RETURNS text LANGUAGE sql AS $$
    SELECT (SELECT sum(count) FROM run_counts WHERE run = last_run() AND action NOT IN ('archive', 'held',
        'refused archive'))::int = (SELECT count(*) FROM staged_users WHERE connection = 'north')
        AND NOT EXISTS (SELECT FROM (SELECT outcome, count(*) AS n FROM staged_users WHERE connection = 'north'
        GROUP BY 1) s
            FULL JOIN (SELECT action AS outcome, sum(count) AS n FROM run_counts WHERE run = last_run() AND count > 0
            AND action NOT IN ('archive', 'held', 'refused archive') GROUP BY 1) c USING (outcome) WHERE s.n IS DISTINCT
            FROM c.n)
$$;

-- unique indexes: of a column, of an expression, over sites, with the site; not for ids, NULLs
CREATE UNIQUE INDEX people_email ON people (site, lower(email));
CREATE UNIQUE INDEX people_username ON people (username);
SELECT toggle(auto_update => true, archive => true);
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', email => 'sam' || n || '@x.example') FROM generate_series(1, 5) n;
SELECT FROM run_merge();
INSERT INTO people (site, role, given_name, family_name, email, username)
    VALUES ('north', 'staff', 'Local', 'Lee', 'local@x.example', 'local'),
    ('south', 'staff', 'Other', 'Lee', 'other@x.example', 'other');
-- the first: an e-mail of someone of another family; two new with one e-mail in other letters; another site's user
-- name; an update; the same e-mail at another site
SELECT stage('n1', 'student', 'Nia', 'Fox', email => 'LOCAL@x.example'),
    stage('n2', 'student', 'Noa', 'Fox', email => 'noa@x.example'),
    stage('n3', 'student', 'Ned', 'Cole', email => 'Noa@x.example'),
    stage('n4', 'student', 'Nat', 'Cole', username => 'other'),
    stage('n5', 'student', 'Nic', 'Cole', email => 'other@x.example'), stage('n6', 'student', 'Nan', 'Cole'),
    stage('n7', 'student', 'Nut', 'Cole'),
    stage('s1', 'student', 'Sam1', 'Day', email => 'Local@x.example', grade => '4'),
    stage('s2', 'student', 'Sam2', 'Day', email => 'SAM2@x.example', grade => '4');
SELECT FROM run_merge('preview');
SELECT noted();
SELECT FROM run_merge();
SELECT noted();
SELECT counts(), sums();
SELECT sourced_ids, person_id, found_by FROM roster_conflicts WHERE connection = 'north' ORDER BY 1, 2;
SELECT roster_report(last_run()) ~ 'unique\s+index\s+"people_email"',
    roster_report(last_run()) !~ '@|Local|Nia|P\d|Person';
SELECT given_name, email, grade FROM people WHERE given_name ~ '^(N|Sam[12])' ORDER BY given_name;
SELECT outcomes();
SELECT linked();
SELECT again();
-- a value that does not fit its column does not keep the others from being checked at apply
ALTER TABLE people ALTER grade TYPE smallint USING grade::smallint;
CREATE UNIQUE INDEX people_grade ON people (site, grade, family_name);
SELECT stage('g1', 'student', 'Gil', 'Ash', grade => 'KG'), stage('g2', 'student', 'Gus', 'Ash', grade => '3'),
    stage('g3', 'student', 'Guy', 'Ash', grade => '3');
SELECT FROM run_merge();
SELECT action, ids, state FROM shown() WHERE ids LIKE 'g%' ORDER BY ids;
SELECT reason FROM changes WHERE run = last_run() AND sourced_ids[1] LIKE 'g%' AND state = 'noted' ORDER BY sourced_ids;
SELECT counts(), sums();
SELECT unstage('g1', 'g2', 'g3', 'n1', 'n2', 'n3', 'n4');
DROP INDEX people_grade, people_email, people_username;
ALTER TABLE people ALTER grade TYPE text;

-- exclusion constraints, checks, triggers: found by halving, and everyone else is written
SELECT clear();
SELECT toggle(auto_update => true, archive => true);
SELECT FROM roster_configure('north', guard_percent => 100, guard_floor => 1000);
ALTER TABLE people ADD CONSTRAINT people_active EXCLUDE USING btree (email WITH =) WHERE (archived_at IS NULL);
ALTER TABLE people ADD CONSTRAINT short_phone CHECK (length(phone) < 9);
ALTER TABLE people ALTER middle_name TYPE varchar(3);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.family_name = 'Refused' OR (NEW.archived_at IS NOT NULL AND NEW.family_name = 'Stays') THEN
        RAISE EXCEPTION 'not %', NEW.given_name;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT stage('s' || n, 'student', 'Sam' || n, CASE n WHEN 7 THEN 'Stays' ELSE 'Day' END) FROM generate_series(1, 300) n;
SELECT FROM run_merge();
SELECT counts(), sums();
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', grade => '5') FROM generate_series(10, 300) n;
SELECT unstage('s6', 's7');
SELECT stage('s11', 'student', 'Sam11', 'Day', phone => '1234567890'),
    stage('s12', 'student', 'Sam12', 'Day', middle_name => 'long'), stage('s13', 'student', 'Sam13', 'Refused'),
    stage('s14', 'student', 'Sam14', 'Day', email => 'one@x.example'),
    stage('s15', 'student', 'Sam15', 'Day', email => 'one@x.example'),
    stage('n' || n, 'student', 'New' || n, CASE WHEN n % 100 = 0 THEN 'Refused' ELSE 'Fox' END)
    FROM generate_series(1, 500) n;
SELECT FROM run_merge();
SELECT noted();
SELECT counts(), sums();
SELECT count(*) FILTER (WHERE grade = '5'), count(*) FILTER (WHERE family_name = 'Fox'),
    count(*) FILTER (WHERE archived_at IS NOT NULL) FROM people;
SELECT count(*) FROM links WHERE sourced_id IN ('n100', 'n200', 'n300', 'n400', 'n500');
SELECT missed_since IS NOT NULL, archived_run IS NOT NULL FROM links WHERE sourced_id = 's7';
SELECT roster_report(last_run()) ~ 'SQLSTATE 23514,\s+constraint\s+"short_phone"',
    roster_report(last_run()) !~ 'Sam|New\d';
-- they are tried again each night, and no one else is written
SELECT again();
-- an apply does the same
DELETE FROM people WHERE given_name LIKE 'New%';
DELETE FROM links WHERE sourced_id LIKE 'n%';
SELECT FROM run_merge('preview');
SELECT last_run() AS preview \gset
SELECT FROM run_merge('apply', :preview);
SELECT counts();
SELECT state, action, count(*) FROM changes WHERE run = :preview GROUP BY 1, 2 ORDER BY 1, 2;
-- an undo whose opposite is refused keeps the person
SELECT last_run() AS apply \gset
UPDATE people SET roster_managed = roster_managed WHERE given_name = 'New1';
CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.given_name = 'New1'
    THEN RAISE EXCEPTION 'not %', NEW.given_name; END IF; RETURN NEW; END $$;
SELECT FROM run_merge('undo', :apply);
SELECT state, state_reason, count(*) FROM (SELECT state, CASE state WHEN 'kept' THEN state_reason END AS state_reason
    FROM changes WHERE run = :preview AND state <> 'noted') c GROUP BY 1, 2 ORDER BY 1, 2;
SELECT archived FROM runs WHERE run = last_run();

-- more than a hundred: no one is changed, and the error is the relation's
SELECT clear();
CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.family_name = 'Refused'
    THEN RAISE EXCEPTION 'not %', NEW.given_name; END IF; RETURN NEW; END $$;
SELECT unstage(VARIADIC ARRAY(SELECT sourced_id FROM staged_users WHERE connection = 'north'));
SELECT stage('s' || n, 'student', 'Sam' || n, CASE WHEN n <= 100 THEN 'Refused' ELSE 'Day' END)
    FROM generate_series(1, 150) n;
SELECT FROM run_merge();
SELECT counts(), sums();
SELECT stage('s101', 'student', 'Sam101', 'Refused'), stage('s' || n, 'student', 'Sam' || n, 'Refused')
    FROM generate_series(151, 152) n;
SELECT toggle(auto_update => true);
SELECT refused('SELECT run_merge()');
SELECT count(*) FROM people;
-- what is no fault of a person fails the run at once
CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM 1 FROM nowhere; RETURN NEW;
    END $$;
SELECT stage('s1', 'student', 'Sam1', 'Fine');
SELECT refused('SELECT run_merge()');

-- of many, only the batch of an offender is written again, row by row where the setting names the row; a trigger that
-- names others costs no more than halving
SELECT clear();
CREATE SEQUENCE school.attempts;
ALTER SEQUENCE school.attempts OWNER TO regress_people_owner;
CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('school.attempts');
    IF NEW.family_name = 'Refused' THEN RAISE EXCEPTION 'not %', NEW.given_name; END IF; RETURN NEW; END $$;
SELECT stage('s' || n, 'student', 'Sam' || n, CASE WHEN n % 500 = 0 THEN 'Refused' ELSE 'Day' END)
    FROM generate_series(1, 3000) n;
SELECT FROM run_merge();
SELECT counts(), sums();
SELECT count(*), count(*) FILTER (WHERE family_name = 'Refused') FROM people;
SELECT last_value < 3 * 3000 FROM school.attempts;
SELECT clear();
ALTER SEQUENCE school.attempts RESTART;
CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('school.attempts');
    IF NEW.family_name = 'Refused' THEN
        PERFORM set_config('roster_write.change', (ARRAY['1', '0', '2500', '-', '2147483648'])[1 + random() * 4], true);
        RAISE EXCEPTION 'not %', NEW.given_name;
    END IF; RETURN NEW; END $$;
SELECT stage('s' || n, 'student', 'Sam' || n, CASE WHEN n % 500 = 0 THEN 'Refused' ELSE 'Day' END)
    FROM generate_series(1, 3000) n;
SELECT FROM run_merge();
SELECT counts(), sums();
SELECT count(*), count(*) FILTER (WHERE family_name = 'Refused') FROM people;
SELECT last_value < 5 * 3000 FROM school.attempts;
\set ECHO none
\i :fixture_end
