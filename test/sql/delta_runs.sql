-- Delta: what is asked for, when a run is one, and that it changes no one whom it does not list.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

-- what is asked for: students and contacts that changed, and all staff
SELECT collection, path, fallbacks[1], filtered FROM collections_to_read('north', '2026-09-01 18:30:00.25+02');
SELECT FROM roster_configure('north', parent_contact => true);
SELECT collection, fallbacks[1], filtered FROM collections_to_read('north', '2026-09-01 18:30:00.25+02')
    WHERE family = 'contact';
SELECT count(*) FROM collections_to_read('north') WHERE filtered;
SELECT with_filter(path, '2026-09-01 00:00+00')
    FROM (VALUES ('/users'), ('/users?x=1'), ('/users?filter=role=''aide''&x=1'),
    ('/users?filter=role=''aide'' AND status=''active'''), ('/users?filter=role=''aide'' OR role=''proctor'''), (NULL))
    AS p (path);
SELECT FROM roster_configure('north', parent_contact => false);

-- when a run is one
CREATE FUNCTION evening_run(evening date, kind text DEFAULT 'sync', trigger text DEFAULT 'evening', OUT is_full boolean,
    OUT modified_since timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
    this bigint;
BEGIN
    INSERT INTO runs (connection, site, kind, trigger, evening, state, requested_by)
    VALUES ('north', 'north', kind, trigger, CASE WHEN trigger = 'evening' THEN evening_run.evening END, 'running',
    'test') RETURNING run INTO this;
    PERFORM begin_read(this);
    SELECT r.is_full, r.modified_since INTO is_full, modified_since FROM runs r WHERE r.run = this;
    DELETE FROM runs r WHERE r.run = this;
END
$$;
CREATE FUNCTION known(newest timestamptz DEFAULT '2026-09-01 12:00+00',
    read_on date DEFAULT '2026-09-01') RETURNS SETOF void LANGUAGE sql AS $$
    UPDATE connections SET delta = true, newest_modified = newest, full_read_on = read_on, unproven = false,
        filter_unusable = false WHERE connection = 'north'
$$;
SELECT * FROM evening_run('2026-09-02');
SELECT known();
SELECT * FROM evening_run('2026-09-02');
-- the value is out until the run has ended well
SELECT * FROM evening_run('2026-09-02');
SELECT newest_modified FROM connections WHERE connection = 'north';
SELECT known();
SELECT * FROM evening_run('2026-09-07');
SELECT known();
SELECT * FROM evening_run('2026-09-08');
SELECT known(newest => NULL);
SELECT * FROM evening_run('2026-09-02');
SELECT known();
SELECT * FROM evening_run('2026-09-02', trigger => 'manual');
SELECT known();
SELECT * FROM evening_run('2026-09-02', kind => 'preview', trigger => 'manual');
SELECT newest_modified FROM connections WHERE connection = 'north';
UPDATE connections SET unproven = true WHERE connection = 'north';
SELECT * FROM evening_run('2026-09-02');
-- a filter that was refused
SELECT known();
INSERT INTO runs (connection, site, kind, trigger, state, requested_by, is_full, finished_at, sqlstate)
VALUES ('north', 'north', 'sync', 'manual', 'failed', 'test', false, now(), '08P01');
SELECT * FROM evening_run('2026-09-02');
SELECT filter_unusable FROM connections WHERE connection = 'north';
DELETE FROM runs WHERE connection = 'north';
UPDATE connections SET newest_modified = '2026-09-01 12:00+00' WHERE connection = 'north';
SELECT * FROM evening_run('2026-09-02');
SELECT filter_unusable FROM roster_configure('north', delta => true);

-- settings that ask for what was not read
SELECT known();
SELECT delta, full_every, newest_modified IS NULL FROM roster_configure('north', full_every => 3);
SELECT newest_modified IS NULL FROM roster_configure('north', parent_contact => true);
SELECT known();
SELECT FROM roster_toggle('north', 'student', auto_update => true);
SELECT newest_modified IS NULL FROM connections WHERE connection = 'north';
SELECT known();
SELECT FROM roster_set_column_owner('north', 'email', 'sis');
SELECT newest_modified IS NULL FROM connections WHERE connection = 'north';
SELECT known();
SELECT FROM roster_attach_people('people');
SELECT newest_modified IS NULL FROM connections WHERE connection = 'north';
SELECT known();
SELECT newest_modified IS NULL, unproven FROM roster_configure('north', school_id => 'other');
SELECT known();
SELECT delta, newest_modified IS NULL
    FROM roster_configure('north', delta => false, full_every => 7, parent_contact => false);
SELECT refused($$SELECT roster_configure('north', full_every => 0)$$);

-- a full night, and a delta in which two students and all staff are listed
SELECT clear();
SELECT toggle(auto_update => true, archive => true);
SELECT FROM roster_configure('north', parent_contact => true, guard_percent => 100, guard_floor => 100);
SELECT known('-infinity');
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => n::text, agents => ARRAY['g' || n, 'h' || n])
    FROM generate_series(1, 6) n;
SELECT stage('g' || n, 'guardian', 'Gil' || n, 'Day', email => 'g' || n || '@x') FROM generate_series(1, 6) n;
SELECT stage('h' || n, 'guardian', 'Hal' || n, 'Day', email => 'h' || n || '@x') FROM generate_series(1, 6) n;
SELECT stage('t' || n, 'teacher', 'Kim' || n, 'Day', identifier => 't' || n, username => 'kim' || n)
    FROM generate_series(1, 4) n;
SELECT stage('a1', 'administrator', 'Kim1', 'Day', username => 'kim1');
UPDATE staged_users SET date_last_modified = format('2026-09-01T12:00:%sZ', substr(sourced_id, 2))
    WHERE connection = 'north';
UPDATE staged_users SET date_last_modified = '2999-01-01T00:00:00.000Z' WHERE connection = 'north'
    AND sourced_id = 's2';
UPDATE staged_users SET date_last_modified = '2026-09-01T12:00:59.500Z' WHERE connection = 'north'
    AND sourced_id = 's4';
SELECT FROM run_merge();
SELECT newest_modified FROM connections WHERE connection = 'north';
SELECT string_agg(concat_ws(' ', identifier, parent_name), ', ' ORDER BY identifier) FROM people;
-- s1: the first agent is not listed. s2: gone by a status, which a delta leaves alone. s7: new. t4 and a1: gone, s3 to
-- s6: not listed
SELECT unstage('s1', 's2', 's3', 's4', 's5', 's6', 't4', 'a1') FROM generate_series(1, 1);
DELETE FROM staged_users WHERE connection = 'north' AND role = 'guardian';
SELECT stage('s1', 'student', 'Samuel', 'Day', identifier => '1', agents => ARRAY['g1', 'h1']),
    stage('h1', 'guardian', 'Hal1', 'Day', email => 'new@x'),
    stage('s2', 'student', 'Sam2', 'Day', identifier => '2', status => 'tobedeleted'),
    stage('s7', 'student', 'Sam7', 'Day', identifier => '7', agents => ARRAY['g7']),
    stage('g7', 'guardian', 'Gil7', 'Day', email => 'g7@x');
SELECT FROM run_merge(is_full => false);
SELECT * FROM shown();
SELECT outcomes();
SELECT linked();
SELECT string_agg(concat_ws(' ', given_name, parent_name, parent_email), ', ' ORDER BY identifier) FROM people;
SELECT * FROM (SELECT created, updated, archived, held, unchanged FROM runs WHERE run = last_run()) r;
-- once more: nothing
SELECT FROM run_merge(is_full => false);
SELECT * FROM shown();
-- a new id of someone who is not listed is a conflict, and no one is created twice
SELECT stage('s5b', 'student', 'Sam5', 'Day', identifier => '5');
SELECT FROM run_merge(is_full => false);
SELECT * FROM shown();
-- the next full read sees who is gone, and what was held stays held through a delta
SELECT FROM roster_configure('north', guard_percent => 10, guard_floor => 0);
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => n::text) FROM unnest(ARRAY[3, 4, 6]) n;
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT unstage('s3', 's4', 's6', 's7');
SELECT FROM run_merge(is_full => false);
SELECT state, count(*) FROM changes WHERE action = 'archive' GROUP BY state;
SELECT stage('s2', 'student', 'Sam2', 'Day', identifier => '2');
SELECT FROM run_merge(is_full => false);
SELECT missed_since IS NULL FROM links WHERE sourced_id = 's2';

-- what the next one asks from: not moved on where a list was not read whole; nor where settings changed
UPDATE staged_users SET date_last_modified = '2026-09-03T08:00:00.000Z' WHERE connection = 'north'
    AND sourced_id = 's1';
CREATE FUNCTION ended(is_full boolean, modified_since timestamptz,
    taken timestamptz DEFAULT '-infinity') RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
    this runs;
BEGIN
    PERFORM run_merge(is_full => ended.is_full);
    UPDATE runs r SET modified_since = ended.modified_since WHERE r.run = last_run() RETURNING r.* INTO this;
    UPDATE connections c SET newest_modified = ended.taken WHERE c.connection = 'north';
    PERFORM end_read(this);
    RETURN (SELECT newest_modified FROM connections c WHERE c.connection = 'north');
END
$$;
SELECT ended(false, '2026-09-01 12:00+00');
INSERT INTO unread VALUES ('relatives');
SELECT ended(false, '2026-09-01 12:00+00');
SELECT ended(true, NULL);
DELETE FROM unread;
SELECT ended(true, NULL);
SELECT ended(true, NULL, taken => NULL);

-- what the report says
SELECT known();
SELECT FROM run_merge(is_full => false);
UPDATE runs SET modified_since = '2026-09-01 12:00+00' WHERE run = last_run();
UPDATE connections SET filter_unusable = true WHERE connection = 'north';
SELECT line FROM regexp_split_to_table(roster_report(last_run()), E'\n') line
    WHERE line ~ 'changed since|next full|filter on|every evening|delta';
\set ECHO none
\i :fixture_end
