-- The guard holds updates that would change one column of most people of a category, as a whole and by column; links
-- are written. Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

CREATE FUNCTION verdicts(wanted bigint DEFAULT last_run()) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(' | ', action, category, state, count(*), state_cause, state_reason) FROM changes
        WHERE run = wanted
    GROUP BY action, category, state, state_cause, state_reason ORDER BY action, category, state, state_reason
$$;
CREATE FUNCTION numbers() RETURNS text LANGUAGE sql AS $$
    SELECT format(
        'created %s linked %s updated %s restored %s archived %s held %s skipped %s, counted as held %s, updates %s',
        created, linked, updated, restored, archived, held, skipped,
        (SELECT coalesce(sum(count), 0) FROM run_counts c WHERE c.run = r.run AND c.action = 'held'),
        (SELECT coalesce(sum(count), 0) FROM run_counts c WHERE c.run = r.run AND c.action = 'update'))
    FROM runs r WHERE run = last_run()
$$;
CREATE FUNCTION students(first integer, last integer, family_name text DEFAULT 'Day', domain text DEFAULT 'old.example',
    grade text DEFAULT '9',
    role text DEFAULT 'student', letter text DEFAULT 's') RETURNS SETOF void LANGUAGE sql AS $$
    SELECT FROM generate_series(first, last) n,
        LATERAL stage(letter || n, role, 'Sam' || n, family_name, identifier => letter || '-' || n, email => letter || n
        || '@' || domain, grade => grade)
$$;

-- everyone's family name became "X": held, each night without doubling, and the newest run's set stands
SELECT toggle(archive => true, auto_update => true);
SELECT students(1, 40);
SELECT FROM run_merge();
SELECT students(1, 40, family_name => 'X');
SELECT FROM run_merge('preview');
SELECT verdicts();
SELECT numbers();
SELECT FROM run_merge();
SELECT last_run() AS first \gset
SELECT verdicts();
SELECT numbers();
SELECT outcome, count(*) FROM staged_users GROUP BY outcome;
SELECT versions('people') AS people \gset
SELECT FROM run_merge();
SELECT last_run() AS held \gset
SELECT verdicts(:first);
SELECT verdicts(:held);
SELECT versions('people') = :'people' AS nobody_was_written;
SELECT refused('SELECT run_merge(''approve'', ' || :first || ')');
-- new people, leavers and single changes of other columns go on beside them; who has such a column waits as a whole
SELECT students(41, 42, family_name => 'X'), unstage('s40');
SELECT stage('s39', 'student', 'Sammy', 'Day', identifier => 's-39', email => 's39@old.example', grade => '9');
SELECT stage('s38', 'student', 'Sammy', 'X', identifier => 's-38', email => 's38@old.example', grade => '10');
SELECT FROM run_merge();
SELECT last_run() AS held \gset
SELECT verdicts();
SELECT numbers();
SELECT given_name, family_name, grade FROM people WHERE identifier IN ('s-38', 's-39', 's-41') ORDER BY identifier;
-- what the report, the subject and the status say
SELECT line FROM string_to_table(roster_report(:held), E'\n') WITH ORDINALITY t (line, n) WHERE n = 1;
SELECT substring(roster_report(:held)
    FROM '\d+ updates on hold\n-.*') ~ 'change\s+family_name\s+for\s+38\s+of\s+39\s+'
    'students:\s+more\s+than\s+75\s+percent';
SELECT held, blocked_reason ~ 'updates' OR NOT automatic FROM roster_status WHERE connection = 'north';
-- approved as a set; who was changed, archived or unlinked since, or taken out of the roster's hands, is refused
UPDATE people SET family_name = 'Night' WHERE identifier = 's-1';
UPDATE people SET phone = '555' WHERE identifier = 's-2';
UPDATE people SET archived_at = '2026-01-01' WHERE identifier = 's-3';
UPDATE people SET roster_managed = false WHERE identifier = 's-4';
UPDATE people SET role = 'owner' WHERE identifier = 's-5';
DELETE FROM people WHERE identifier = 's-6';
DELETE FROM links WHERE sourced_id = 's7';
SELECT FROM run_merge('approve', :held);
SELECT regexp_replace(verdicts(:held), 'run \d+', 'run N');
SELECT numbers();
SELECT action, category, count FROM run_counts WHERE run = last_run() ORDER BY 1, 2;
SELECT family_name, count(*) FROM people GROUP BY family_name ORDER BY 1;
SELECT given_name, grade FROM people WHERE identifier = 's-38';
SELECT refused('SELECT run_merge(''approve'', ' || :held || ')');
SELECT roster_report(last_run()) ~ '\nUpdated +32 ';
-- the approval is undone like any other
SELECT FROM run_merge('undo', last_run());
SELECT numbers();
SELECT family_name, count(*) FROM people GROUP BY family_name ORDER BY 1;

-- three of four is not more than 75 percent; the e-mails of a new domain are approved once
SELECT clear();
SELECT toggle(auto_update => true);
SELECT students(1, 40);
SELECT FROM run_merge();
SELECT students(1, 30, domain => 'new.example');
SELECT FROM run_merge('preview');
SELECT verdicts();
SELECT students(31, 31, domain => 'new.example');
SELECT FROM run_merge();
SELECT verdicts();
SELECT FROM run_merge('approve', last_run());
SELECT numbers();
SELECT again();
-- another percentage; 100 holds nothing
SELECT FROM roster_configure('north', guard_update_percent => 50);
SELECT students(1, 20, domain => 'third.example');
SELECT FROM run_merge('preview');
SELECT verdicts();
SELECT students(21, 21, domain => 'third.example');
SELECT FROM run_merge('preview');
SELECT verdicts();
SELECT FROM roster_configure('north', guard_update_percent => 100);
SELECT students(1, 40, domain => 'third.example');
SELECT FROM run_merge('preview');
SELECT verdicts();
-- each column for itself, and several at once
SELECT FROM roster_configure('north', guard_update_percent => 75);
SELECT students(1, 25, domain => 'third.example'), students(26, 40, family_name => 'X', domain => 'new.example');
UPDATE people SET email = replace(email, 'old', 'new');
SELECT FROM run_merge('preview');
SELECT verdicts();
SELECT students(1, 40, family_name => 'X', domain => 'third.example');
SELECT FROM run_merge('preview');
SELECT verdicts();

-- categories of fewer than 20 are not judged; each category for itself; archived people are none of it
SELECT clear();
SELECT toggle(auto_update => true);
SELECT students(1, 19), students(1, 20, role => 'teacher', letter => 't');
SELECT FROM run_merge();
SELECT students(1, 19, family_name => 'X'), students(1, 20, role => 'teacher', letter => 't', family_name => 'X');
SELECT FROM run_merge('preview');
SELECT verdicts();
UPDATE people SET archived_at = '2026-01-01' WHERE identifier = 't-20';
SELECT unstage('t20');
SELECT FROM run_merge('preview');
SELECT verdicts();

-- people who are no longer listed do not hide that everyone else would change
SELECT clear();
SELECT toggle(auto_update => true);
SELECT students(1, 60);
SELECT FROM run_merge();
SELECT unstage(VARIADIC ARRAY(SELECT 's' || n FROM generate_series(1, 35) n));
SELECT FROM run_merge();
SELECT students(36, 60, domain => 'new.example');
SELECT FROM run_merge('preview');
SELECT verdicts();

-- empty columns are filled; a season is for grades alone
SELECT clear();
SELECT toggle(auto_update => true);
SELECT students(1, 30);
SELECT FROM run_merge();
UPDATE people SET email = NULL;
UPDATE people SET identifier = ' ';
SELECT FROM run_merge('preview');
SELECT verdicts();
SELECT FROM run_merge();
SELECT students(1, 30, grade => '10');
SELECT FROM run_merge('preview');
SELECT verdicts();
SELECT FROM roster_configure('north', season_dates => daterange(current_date - 2, current_date + 2));
SELECT FROM run_merge('preview');
SELECT verdicts();
SELECT students(1, 30, grade => '10', domain => 'new.example');
SELECT FROM run_merge('preview');
SELECT verdicts();

-- a first match is linked while its update waits, and both can be taken back
SELECT clear();
SELECT toggle(auto_update => true);
INSERT INTO people (site, role, given_name, family_name, identifier, email)
SELECT 'north', 'student', 'Sam' || n, 'Day', 's-' || n, 's' || n || '@old.example' FROM generate_series(1, 30) n;
SELECT students(1, 30, domain => 'new.example', grade => NULL);
SELECT FROM run_merge();
SELECT last_run() AS held \gset
SELECT verdicts();
SELECT numbers();
SELECT outcome, count(*) FROM staged_users GROUP BY outcome;
SELECT count(*), count(role_written), min(rule), count(*) FILTER (WHERE linked_run = :held) FROM links;
SELECT FROM run_merge('undo', :held);
SELECT regexp_replace(verdicts(:held), '(run|Run) \d+', '\1 N'), (SELECT count(*) FROM links);
-- the same through a preview that is applied: by either number
SELECT FROM run_merge('preview');
SELECT last_run() AS preview \gset
SELECT refused('SELECT run_merge(''approve'', ' || :preview || ')');
SELECT FROM run_merge('apply', :preview);
SELECT numbers();
SELECT verdicts(:preview);
SELECT (SELECT count(*) FROM links), (SELECT count(*) FROM people WHERE email LIKE '%new%');
SELECT FROM run_merge('approve', last_run());
SELECT numbers();
SELECT again();

-- roles: an aide becomes a teacher is one person; everyone at once waits, and so does the role that the link remembers
SELECT clear();
SELECT toggle(auto_update => true);
SELECT students(1, 24, role => 'aide', letter => 't');
SELECT FROM run_merge();
SELECT students(1, 24, role => 'teacher', letter => 't');
SELECT FROM run_merge();
SELECT verdicts();
SELECT role_written, category, count(*) FROM links GROUP BY 1, 2;
SELECT FROM run_merge('approve', last_run());
SELECT role_written, category, count(*) FROM links GROUP BY 1, 2;
SELECT role, count(*) FROM people GROUP BY role;
SELECT again();
SELECT FROM run_merge('undo', (SELECT max(run) FROM runs WHERE kind = 'approve' AND connection = 'north'));
SELECT role_written, category, count(*) FROM links GROUP BY 1, 2;
SELECT role, count(*) FROM people GROUP BY role;

-- restores go on, with their values, and count for nothing
SELECT clear();
SELECT toggle(auto_update => true, archive => true);
SELECT students(1, 24), students(25, 30);
SELECT FROM run_merge();
UPDATE people SET archived_at = '2026-01-01' WHERE substr(identifier, 3)::integer > 24;
SELECT students(1, 30, family_name => 'X');
SELECT FROM run_merge();
SELECT verdicts();
SELECT numbers();
SELECT family_name, archived_at IS NULL AS active, count(*) FROM people GROUP BY 1, 2 ORDER BY 1, 2;

-- approving updates proves nothing; the toggle and the owner of a column are asked again
SELECT clear();
SELECT toggle(auto_update => true);
SELECT students(1, 30);
SELECT FROM run_merge();
UPDATE connections SET unproven = true, unproven_since = '2020-01-01' WHERE connection = 'north';
INSERT INTO unread VALUES ('students');
SELECT students(1, 29, family_name => 'X'), unstage('s30');
SELECT FROM run_merge();
SELECT last_run() AS held \gset
SELECT verdicts();
SELECT toggle(auto_update => false);
BEGIN;
SELECT FROM run_merge('approve', :held);
SELECT verdicts(:held);
ROLLBACK;
SELECT toggle(auto_update => true);
SELECT FROM roster_set_column_owner('north', 'family_name', 'local');
BEGIN;
SELECT FROM run_merge('approve', :held);
SELECT verdicts(:held);
ROLLBACK;
DELETE FROM column_owners;
SELECT FROM run_merge('approve', :held);
SELECT numbers();
SELECT unproven FROM connections WHERE connection = 'north';
SELECT refused('SELECT run_merge(''approve'', ' || :held || ')');

-- a column that is the SIS's unless edited: what was approved is not taken for edited
SELECT clear();
SELECT toggle(auto_update => true);
SELECT FROM roster_set_column_owner('north', 'email', 'sis unless edited');
SELECT students(1, 30);
SELECT FROM run_merge();
SELECT students(1, 30, domain => 'new.example');
SELECT FROM run_merge();
SELECT FROM run_merge('approve', last_run());
SELECT numbers();
SELECT students(1, 2, domain => 'third.example');
SELECT FROM run_merge();
SELECT verdicts();
DELETE FROM column_owners;

-- contacts that all went away are a change of four columns
SELECT clear();
SELECT toggle(auto_update => true);
SELECT FROM roster_configure('north', parent_contact => true, clear_parent_contact => true);
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', agents => ARRAY['g' || n]),
    stage('g' || n, 'guardian', 'Pat', 'Day', phone => '5' || n) FROM generate_series(1, 24) n;
SELECT stage('r1', 'relative', 'Al', 'Day');
SELECT FROM run_merge();
UPDATE staged_users SET agent_ids = NULL WHERE role = 'student';
SELECT FROM run_merge();
SELECT verdicts();
SELECT count(parent_name), count(parent_rule) FROM people;
SELECT FROM run_merge('approve', last_run());
SELECT count(parent_name), count(parent_rule) FROM people;
SELECT again();

-- a delta that holds updates, and a full read that does, ask for a full read
SELECT clear();
SELECT toggle(auto_update => true);
SELECT FROM roster_configure('north', delta => true);
UPDATE connections SET newest_modified = '2026-01-01' WHERE connection = 'north';
SELECT students(1, 30);
UPDATE staged_users SET date_last_modified = '2026-02-02T00:00:00.000Z';
SELECT FROM run_merge();
SELECT isfinite(newest_modified) FROM connections WHERE connection = 'north';
SELECT students(1, 30, family_name => 'X');
SELECT unstage('s29', 's30');
SELECT FROM run_merge(is_full => false);
SELECT verdicts();
SELECT isfinite(newest_modified) FROM connections WHERE connection = 'north';

-- of two connections of a site each holds what it would write; whom another one owns is none of its people
SELECT clear();
SELECT connect('second');
SELECT FROM roster_toggle('second', auto_update => true);
SELECT toggle(auto_update => true);
SELECT students(1, 30);
SELECT FROM run_merge();
SELECT FROM generate_series(1, 55) n, LATERAL stage('x' || n, 'student', 'Sam' || n, 'Day', identifier => 's-' || n,
    email => 's' || n || '@old.example', connection => 'second');
SELECT FROM run_merge(connection => 'second');
SELECT numbers();
SELECT FROM generate_series(1, 55) n, LATERAL stage('x' || n, 'student', 'Sam' || n, 'X', identifier => 's-' || n,
    email => 's' || n || '@old.example', connection => 'second');
SELECT FROM run_merge(connection => 'second');
SELECT verdicts();
SELECT family_name, count(*) FROM people GROUP BY family_name;
\set ECHO none
\i :fixture_end
