-- What a roster has besides people: academic sessions, courses, classes, enrollments, contacts, and what the SIS said
-- about users. A row is kept for each sourcedId, with "valid", the time for which its values hold; what it was before
-- stands in the table of the same name with "_versions". A row that ended has a "valid" with an end.

CREATE TABLE academic_sessions (
    connection text NOT NULL,
    sourced_id text COLLATE "C" NOT NULL,
    site text NOT NULL,
    title text,
    type text,
    start_date date,
    end_date date,
    school_year integer,
    parent_id text COLLATE "C",
    valid tstzrange NOT NULL,
    written_run bigint NOT NULL,
    ended_cause text CHECK (ended_cause IN ('absent', 'term_over', 'not_chosen', 'undone')),
    ended_at timestamptz GENERATED ALWAYS AS (upper(valid)) STORED,
    PRIMARY KEY (connection, sourced_id),
    CHECK ((ended_cause IS NULL) = upper_inf(valid))
);
COMMENT ON TABLE academic_sessions IS
'Terms, semesters, grading periods and school years of a connection''s school, as the SIS lists them.';
COMMENT ON COLUMN academic_sessions.type IS 'In lower case: term, semester, gradingperiod or schoolyear.';
COMMENT ON COLUMN academic_sessions.school_year IS 'The year in which the school year ends.';

CREATE TABLE courses (
    connection text NOT NULL,
    sourced_id text COLLATE "C" NOT NULL,
    site text NOT NULL,
    title text,
    course_code text,
    grades text[],
    subjects text[],
    valid tstzrange NOT NULL,
    written_run bigint NOT NULL,
    ended_cause text CHECK (ended_cause IN ('absent', 'term_over', 'not_chosen', 'undone')),
    ended_at timestamptz GENERATED ALWAYS AS (upper(valid)) STORED,
    PRIMARY KEY (connection, sourced_id),
    CHECK ((ended_cause IS NULL) = upper_inf(valid))
);
COMMENT ON TABLE courses IS 'Courses that the chosen classes of a connection''s school belong to.';

CREATE TABLE classes (
    connection text NOT NULL,
    sourced_id text COLLATE "C" NOT NULL,
    site text NOT NULL,
    title text,
    class_code text,
    class_type text,
    location text,
    grades text[],
    subjects text[],
    periods text[],
    course_id text COLLATE "C",
    term_ids text[] COLLATE "C",
    valid tstzrange NOT NULL,
    written_run bigint NOT NULL,
    ended_cause text CHECK (ended_cause IN ('absent', 'term_over', 'not_chosen', 'undone')),
    ended_at timestamptz GENERATED ALWAYS AS (upper(valid)) STORED,
    PRIMARY KEY (connection, sourced_id),
    CHECK ((ended_cause IS NULL) = upper_inf(valid))
);
COMMENT ON TABLE classes IS 'Classes (sections) of the chosen terms and grades of a connection''s school.';
COMMENT ON COLUMN classes.class_type IS 'In lower case: homeroom or scheduled.';
COMMENT ON COLUMN classes.location IS 'The room.';

CREATE TABLE enrollment_rows (
    connection text NOT NULL,
    sourced_id text COLLATE "C" NOT NULL,
    site text NOT NULL,
    user_id text COLLATE "C",
    class_id text COLLATE "C",
    role text,
    is_primary boolean,
    begin_date date,
    end_date date,
    valid tstzrange NOT NULL,
    written_run bigint NOT NULL,
    ended_cause text CHECK (ended_cause IN ('absent', 'term_over', 'not_chosen', 'undone')),
    ended_at timestamptz GENERATED ALWAYS AS (upper(valid)) STORED,
    PRIMARY KEY (connection, sourced_id),
    CHECK ((ended_cause IS NULL) = upper_inf(valid))
);
CREATE INDEX enrollment_rows_class ON enrollment_rows (connection, class_id);
CREATE INDEX enrollment_rows_user ON enrollment_rows (connection, user_id);
COMMENT ON TABLE enrollment_rows IS
'Who is in which class, as the SIS says it, by sourcedId; the view enrollments adds who the user is here.';
COMMENT ON COLUMN enrollment_rows.role IS 'In lower case: student, teacher, aide, administrator or proctor.';
COMMENT ON COLUMN enrollment_rows.is_primary IS
'Of teachers, whether they lead the class; NULL if the SIS says nothing.';

CREATE TABLE contact_rows (
    connection text NOT NULL,
    student_id text COLLATE "C" NOT NULL,
    sourced_id text COLLATE "C" NOT NULL,
    site text NOT NULL,
    position integer,
    role text,
    given_name text,
    family_name text,
    email text,
    phone text,
    sms text,
    relationship text,
    is_guardian boolean,
    is_chosen boolean NOT NULL,
    valid tstzrange NOT NULL,
    written_run bigint NOT NULL,
    ended_cause text CHECK (ended_cause IN ('absent', 'term_over', 'not_chosen', 'undone')),
    ended_at timestamptz GENERATED ALWAYS AS (upper(valid)) STORED,
    PRIMARY KEY (connection, student_id, sourced_id),
    CHECK ((ended_cause IS NULL) = upper_inf(valid))
);
COMMENT ON TABLE contact_rows IS
'The guardians, parents and relatives of each student, as the SIS says it, by sourcedId; the view contacts adds who '
'the student is here.';
COMMENT ON COLUMN contact_rows.position IS
'Their place among the student''s contacts, from 1, in the order of the SIS.';
COMMENT ON COLUMN contact_rows.is_guardian IS
'Whether the SIS calls them the student''s guardian; NULL if it says nothing about it.';
COMMENT ON COLUMN contact_rows.is_chosen IS 'The primary contact that the roster chooses for the student.';

CREATE TABLE user_rows (
    connection text NOT NULL,
    sourced_id text COLLATE "C" NOT NULL,
    site text NOT NULL,
    role text,
    status text,
    enabled boolean,
    given_name text,
    family_name text,
    middle_name text,
    preferred_name text,
    username text,
    identifier text,
    email text,
    phone text,
    grade text,
    valid tstzrange NOT NULL,
    written_run bigint NOT NULL,
    ended_cause text CHECK (ended_cause IN ('absent', 'term_over', 'not_chosen', 'undone')),
    ended_at timestamptz GENERATED ALWAYS AS (upper(valid)) STORED,
    PRIMARY KEY (connection, sourced_id),
    CHECK ((ended_cause IS NULL) = upper_inf(valid))
);
COMMENT ON TABLE user_rows IS
'What the SIS says about each user of a rostered category, for roster_people_as_of. What is written to people is '
'decided elsewhere.';

-- What a row was before, with the run that replaced it.
DO $$
DECLARE
    current text;
BEGIN
    FOREACH current IN ARRAY ARRAY['academic_sessions', 'courses', 'classes', 'enrollment_rows', 'contact_rows',
        'user_rows']
    LOOP
        EXECUTE pg_catalog.format('CREATE TABLE minga_roster.%I (LIKE minga_roster.%I INCLUDING GENERATED, '
            'replaced_run bigint NOT NULL, PRIMARY KEY (connection, %ssourced_id, valid))', current || '_versions',
            current, CASE current WHEN 'contact_rows' THEN 'student_id, ' ELSE '' END);
        EXECUTE pg_catalog.format('CREATE INDEX %I ON minga_roster.%I (replaced_run)',
            current || '_versions_replaced', current || '_versions');
        EXECUTE pg_catalog.format('CREATE INDEX %I ON minga_roster.%I (ended_at)', current || '_versions_ended',
            current || '_versions');
        EXECUTE pg_catalog.format('CREATE INDEX %I ON minga_roster.%I (ended_at) WHERE ended_at IS NOT NULL',
            current || '_ended', current);
        EXECUTE pg_catalog.format('CREATE INDEX %I ON minga_roster.%I (connection, written_run)',
            current || '_written', current);
        EXECUTE pg_catalog.format('COMMENT ON TABLE minga_roster.%I IS %L', current || '_versions',
            pg_catalog.format('Former versions of rows of %s, and the run that replaced each. Kept for '
                'minga_roster.keep_history days.', current));
        PERFORM pg_catalog.pg_extension_config_dump(('minga_roster.' || current)::regclass, '');
        PERFORM pg_catalog.pg_extension_config_dump(('minga_roster.' || current || '_versions')::regclass, '');
    END LOOP;
END
$$;

CREATE TABLE run_objects (
    run bigint NOT NULL,
    object text NOT NULL,
    complete boolean NOT NULL,
    listed bigint NOT NULL,
    added bigint NOT NULL DEFAULT 0,
    changed bigint NOT NULL DEFAULT 0,
    returned bigint NOT NULL DEFAULT 0,
    ended bigint NOT NULL DEFAULT 0,
    held bigint NOT NULL DEFAULT 0,
    unknown_user bigint NOT NULL DEFAULT 0,
    unknown_class bigint NOT NULL DEFAULT 0,
    unknown_course bigint NOT NULL DEFAULT 0,
    unknown_term bigint NOT NULL DEFAULT 0,
    not_chosen bigint NOT NULL DEFAULT 0,
    damaged bigint NOT NULL DEFAULT 0,
    held_cause text CHECK (held_cause IN ('unproven', 'frozen', 'season_percent', 'percent')),
    PRIMARY KEY (run, object)
);
SELECT pg_catalog.pg_extension_config_dump('minga_roster.run_objects'::regclass, '');
COMMENT ON TABLE run_objects IS
'For each run, by kind of object (academic_session, course, class, enrollment, contact, user, demographics), how many '
'rows the SIS lists and what the run did or, in a preview, would do.';
COMMENT ON COLUMN run_objects.complete IS
'The lists were read completely, in full and with rows, so that rows that are absent have ended.';
COMMENT ON COLUMN run_objects.held IS 'Rows that are absent and wait for approval, because they are too many at once.';
COMMENT ON COLUMN run_objects.unknown_user IS 'Rows that name a user whom no list has.';
COMMENT ON COLUMN run_objects.not_chosen IS
'Listed rows of terms and grades that are not chosen; of demographics, rows of users whose category is not rostered.';
COMMENT ON COLUMN run_objects.damaged IS 'Rows with a value that could not be read; it counts as absent.';

CREATE TABLE held_objects (
    run bigint NOT NULL,
    object text NOT NULL,
    sourced_id text COLLATE "C" NOT NULL,
    student_id text COLLATE "C" NOT NULL DEFAULT '',
    PRIMARY KEY (run, object, sourced_id, student_id)
);
SELECT pg_catalog.pg_extension_config_dump('minga_roster.held_objects'::regclass, '');
COMMENT ON TABLE held_objects IS
'Rows that a sync held back from ending, until roster_approve ends them or a later sync judges again.';

CREATE UNLOGGED TABLE object_marks (
    connection text NOT NULL PRIMARY KEY,
    run bigint NOT NULL,
    given text NOT NULL,
    days daterange NOT NULL
);
COMMENT ON TABLE object_marks IS
'The latest sync or preview of a connection that compared all terms, courses, classes, enrollments, contacts and users '
'with their lists and found nothing to do. A row goes when one of these is written.';
COMMENT ON COLUMN object_marks.given IS
'A hash of all that this outcome depended on: lists, settings, proofs. While it is the same, a run has this outcome '
'and these counts, and compares nothing.';
COMMENT ON COLUMN object_marks.days IS 'The days on which the same terms are chosen.';

-- The stage.
CREATE TABLE staged_academic_sessions (
    connection text NOT NULL,
    sourced_id text COLLATE "C" NOT NULL,
    collection text COLLATE "C" NOT NULL,
    status text,
    date_last_modified text,
    elsewhere boolean NOT NULL,
    damaged boolean NOT NULL,
    damaged_field text,
    title text,
    type text,
    start_date date,
    end_date date,
    school_year integer,
    parent_id text COLLATE "C"
) PARTITION BY LIST (connection);
COMMENT ON TABLE staged_academic_sessions IS 'The stage: academic sessions as received in the latest fetch.';
CREATE TABLE staged_courses (
    connection text NOT NULL,
    sourced_id text COLLATE "C" NOT NULL,
    collection text COLLATE "C" NOT NULL,
    status text,
    date_last_modified text,
    elsewhere boolean NOT NULL,
    damaged boolean NOT NULL,
    damaged_field text,
    title text,
    course_code text,
    grades text[],
    subjects text[],
    org_id text COLLATE "C",
    school_year_id text COLLATE "C"
) PARTITION BY LIST (connection);
COMMENT ON TABLE staged_courses IS 'The stage: courses as received in the latest fetch.';
CREATE TABLE staged_classes (
    connection text NOT NULL,
    sourced_id text COLLATE "C" NOT NULL,
    collection text COLLATE "C" NOT NULL,
    status text,
    date_last_modified text,
    elsewhere boolean NOT NULL,
    damaged boolean NOT NULL,
    damaged_field text,
    title text,
    class_code text,
    class_type text,
    location text,
    grades text[],
    subjects text[],
    periods text[],
    course_id text COLLATE "C",
    school_id text COLLATE "C",
    term_ids text[] COLLATE "C"
) PARTITION BY LIST (connection);
COMMENT ON TABLE staged_classes IS 'The stage: classes as received in the latest fetch.';
CREATE TABLE staged_enrollments (
    connection text NOT NULL,
    sourced_id text COLLATE "C" NOT NULL,
    collection text COLLATE "C" NOT NULL,
    status text,
    date_last_modified text,
    elsewhere boolean NOT NULL,
    damaged boolean NOT NULL,
    damaged_field text,
    user_id text COLLATE "C",
    class_id text COLLATE "C",
    school_id text COLLATE "C",
    role text,
    is_primary boolean,
    begin_date date,
    end_date date
) PARTITION BY LIST (connection);
COMMENT ON TABLE staged_enrollments IS 'The stage: enrollments as received in the latest fetch.';
CREATE TABLE staged_demographics (
    connection text NOT NULL,
    sourced_id text COLLATE "C" NOT NULL,
    collection text COLLATE "C" NOT NULL,
    status text,
    date_last_modified text,
    elsewhere boolean NOT NULL,
    damaged boolean NOT NULL,
    damaged_field text,
    birth_date date
) PARTITION BY LIST (connection);
COMMENT ON TABLE staged_demographics IS
'The stage: birth dates as received in the latest fetch, of users who are staged alone. No other demographics are '
'requested.';
