-- A deployment with people in partitions: one for each site and a default one, that of the north divided once more by
-- whether people are active, so that an archive moves them; and with a unique index and a trigger of one partition.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set deployment :abs_srcdir '/fixtures/deployment.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\i :deployment
\set ECHO all

CREATE TABLE members (site text NOT NULL, person_id uuid NOT NULL DEFAULT gen_random_uuid(), role text NOT NULL,
    given_name text NOT NULL, family_name text NOT NULL, email text, identifier text, grade text,
    archived_at timestamptz) PARTITION BY LIST (site);
CREATE TABLE members_north PARTITION OF members FOR VALUES IN ('north') PARTITION BY LIST ((archived_at IS NULL));
CREATE TABLE members_active PARTITION OF members_north FOR VALUES IN (true);
CREATE TABLE members_archived PARTITION OF members_north FOR VALUES IN (false);
CREATE TABLE members_of_others PARTITION OF members DEFAULT;
CREATE INDEX ON members (site, person_id);
CREATE UNIQUE INDEX members_address ON members_active (lower(email));
SELECT format('ALTER TABLE %s OWNER TO regress_people_owner', relid) FROM pg_partition_tree('members')
\set ECHO none
\gexec
\set ECHO all
SELECT roster_attach_people('members');
SELECT use_people('members');
INSERT INTO members (site, role, given_name, family_name, identifier)
SELECT s, 'student', 'Sam' || n, 'Day', n::text FROM unnest(ARRAY['north', 'south']) s, generate_series(1, 30) n;
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => n::text) FROM generate_series(1, 30) n;
CREATE FUNCTION places() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s %s', t.place, t.people), ', ' ORDER BY t.place)
    FROM (SELECT tableoid::regclass::text AS place, count(*) AS people FROM members GROUP BY 1) t
$$;
CREATE FUNCTION people_now() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(m::text, E'\n' ORDER BY person_id) FROM members m WHERE given_name <> 'New1' $$;

-- the first sync links; new people have the IDs that they are written with
SELECT FROM run_merge();
SELECT did();
SELECT again('members');
SELECT places();
SELECT keeps_ids('members');
-- a night with everything: who is archived moves to another partition; an address that one partition has once
SELECT toggle(auto_update => true, archive => true);
SELECT people_now() AS before \gset
SELECT unstage('s1', 's2'), stage('s3', 'student', 'Sam3', 'Night', identifier => '3', grade => '9'),
    stage('s4', 'student', 'Sam4', 'Day', identifier => '4', email => 'one@north.example'),
    stage('n1', 'student', 'New1', 'Day', identifier => '31', email => 'two@north.example');
SELECT FROM run_merge('preview');
SELECT did();
SELECT FROM run_merge('apply', last_run());
SELECT last_run() AS night \gset
SELECT did();
SELECT places();
SELECT again('members');
SELECT stage('s5', 'student', 'Sam5', 'Day', identifier => '5', email => 'ONE@north.example'),
    stage('n2', 'student', 'New2', 'Day', identifier => '32', email => 'TWO@north.example');
SELECT FROM run_merge();
SELECT * FROM moved();
SELECT sourced_ids, reason FROM changes WHERE run = last_run() AND action = 'reject' ORDER BY 1;
SELECT stage('s5', 'student', 'Sam5', 'Day', identifier => '5'), unstage('n2');
-- taken back: all are where they were, and the new one is archived
SELECT FROM run_merge('undo', :night);
SELECT did();
SELECT places();
SELECT people_now() = :'before';
-- done again; then a leaver comes back
SELECT FROM run_merge();
SELECT did();
SELECT stage('s1', 'student', 'Sam1', 'Day', identifier => '1');
SELECT FROM run_merge();
SELECT * FROM moved();
SELECT places();
SELECT again('members');
SELECT count(*) FROM members WHERE site = 'south' AND (archived_at IS NOT NULL OR family_name <> 'Day');
-- an update that moves people to another partition, which has a trigger that gives new rows an ID of its own
CREATE FUNCTION on_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.person_id := md5(NEW.given_name)::uuid;
    RETURN NEW;
END
$$;
CREATE TRIGGER on_insert BEFORE INSERT ON members_archived FOR EACH ROW EXECUTE FUNCTION on_insert();
SELECT keeps_ids('members');
SELECT unstage('s6');
SELECT FROM run_merge();
SELECT * FROM moved();
SELECT reason FROM changes WHERE run = last_run() AND action = 'reject';
SELECT places();
DROP TRIGGER on_insert ON members_archived;
CREATE TRIGGER on_insert BEFORE INSERT ON members_active FOR EACH ROW EXECUTE FUNCTION on_insert();
SELECT stage('s6', 'student', 'Sam6', 'Day', identifier => '6'), stage('n3', 'student', 'New3', 'Day');
SELECT FROM run_merge();
SELECT * FROM moved();
SELECT person_id::uuid = md5('New3')::uuid FROM links WHERE sourced_id = 'n3';
SELECT again('members');
DROP TRIGGER on_insert ON members_active;
-- a site without a partition
DROP TABLE members_of_others;
SELECT roster_attach_people('members');
SELECT has_partition('members', 'north'), has_partition('members', 'south');

-- by a hash of the site
CREATE TABLE hashed (LIKE members INCLUDING DEFAULTS) PARTITION BY HASH (site);
CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
SELECT format('ALTER TABLE %s OWNER TO regress_people_owner', relid) FROM pg_partition_tree('hashed')
\set ECHO none
\gexec
\set ECHO all
SELECT roster_attach_people('hashed');
SELECT has_partition('hashed', 'north'), has_partition('hashed', 'south');
INSERT INTO hashed (site, role, given_name, family_name) VALUES ('north', 'owner', 'Olga', 'Owner');
DELETE FROM links WHERE connection = 'north';
DELETE FROM runs WHERE connection = 'north';
SELECT use_people('hashed');
SELECT FROM run_merge();
SELECT did();
SELECT again('hashed');
SELECT tableoid::regclass AS place FROM hashed LIMIT 1 \gset
ALTER TABLE hashed DETACH PARTITION :place;
SELECT has_partition('hashed', 'north');
\set ECHO none
\i :fixture_end
