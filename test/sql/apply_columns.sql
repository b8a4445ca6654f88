-- Each write sets the columns that it changes and no others; what a trigger says in its own words stays inside.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

SELECT toggle(auto_update => true, archive => true);
SELECT FROM roster_configure('north', guard_percent => 100, guard_floor => 100);
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day') FROM generate_series(1, 5) n;
SELECT FROM run_merge();
CREATE TABLE seen (tag text, given_name text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO school.seen
    VALUES (TG_NAME, NEW.given_name); RETURN NEW; END $$;
CREATE TRIGGER sets_archived_at BEFORE UPDATE OF archived_at ON people FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER sets_role BEFORE UPDATE OF role ON people FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER sets_grade BEFORE UPDATE OF grade ON people FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER sets_email BEFORE UPDATE OF email ON people FOR EACH ROW EXECUTE FUNCTION note();
SELECT stage('s1', 'student', 'Sam1', 'Day', grade => '9'), unstage('s2');
SELECT FROM run_merge();
SELECT action, ids FROM shown();
SELECT * FROM seen ORDER BY tag, given_name;
TRUNCATE seen;
SELECT stage('s2', 'student', 'Sam2', 'Day', email => 'sam2@x.example'),
    stage('s3', 'student', 'Sam3', 'Day', grade => '9');
SELECT FROM run_merge();
SELECT action, ids FROM shown();
SELECT * FROM seen ORDER BY tag, given_name;

-- an SQLSTATE of the trigger's own, or one of the server's: the words are the trigger's
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no % here',
    NEW.given_name USING ERRCODE = TG_ARGV[0]; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION refuse('ZX001');
SELECT stage('s4', 'student', 'Sam4', 'Day', grade => '9');
SELECT FROM run_merge();
SELECT action, state, reason FROM changes WHERE run = last_run() AND rule = 'refused by people';
DROP TRIGGER refuse ON people;
CREATE TRIGGER refuse BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION refuse('insufficient_privilege');
SELECT FROM run_merge();
SELECT action, state, reason FROM changes WHERE run = last_run() AND rule = 'refused by people';
DROP TRIGGER refuse ON people;

-- a new person has the column's default where the roster has no value, whatever others have; the owner's rights draw it
SELECT clear();
DROP TRIGGER sets_email ON people;
CREATE SEQUENCE lockers;
CREATE DOMAIN wing AS text DEFAULT 'west';
ALTER TABLE people ALTER grade SET DEFAULT 'none', ALTER phone SET DEFAULT 'ext. ' || nextval('school.lockers'),
    ALTER middle_name TYPE wing,
    ALTER email TYPE varchar(30), ALTER email SET DEFAULT 'nobody@x.example';
SELECT stage('s1', 'student', 'Sam1', 'Day', grade => '9', phone => '555', middle_name => 'Lee',
    email => 'sam1@x.example'), stage('s2', 'student', 'Sam2', 'Day', grade => '8'),
    stage('s3', 'student', 'Sam3', 'Day');
SELECT FROM roster_set_column_owner('north', 'grade', 'sis unless edited');
SELECT FROM run_merge();
SELECT given_name, grade, phone, middle_name, email, username FROM people ORDER BY 1;
SELECT ids, after FROM shown();
SELECT again();
-- a default is no one's edit
SELECT toggle(auto_update => true);
SELECT stage('s2', 'student', 'Sam2', 'Day', grade => '9'), stage('s3', 'student', 'Sam3', 'Day', grade => '9');
UPDATE people SET grade = '1' WHERE given_name = 'Sam2';
SELECT FROM run_merge();
SELECT ids, before, after FROM shown();
SELECT stage('s3', 'student', 'Sam3', 'Day');
-- of a view its own default; where it has none, nothing tells that of the table below
CREATE TABLE base (site text, person_id text DEFAULT 'none', role text, given_name text, family_name text,
    archived_at timestamptz, grade text DEFAULT 'none', phone text DEFAULT 'none');
CREATE VIEW viewed AS SELECT * FROM base;
ALTER VIEW viewed ALTER person_id SET DEFAULT gen_random_uuid()::text, ALTER grade SET DEFAULT 'some';
ALTER VIEW viewed OWNER TO regress_people_owner;
SELECT roster_attach_people('viewed');
SELECT use_people('viewed');
DELETE FROM links WHERE connection = 'north';
SELECT FROM run_merge();
SELECT given_name, grade, phone FROM base ORDER BY 1;
\set ECHO none
\i :fixture_end
