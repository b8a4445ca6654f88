-- A deployment with uuid keys, a status column with a third status, triggers of its own (before, after, a deferred
-- constraint trigger) and an audit.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set deployment :abs_srcdir '/fixtures/deployment.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\i :deployment
\set ECHO all

CREATE TYPE account_status AS ENUM ('INVITED', 'ENABLED', 'DISABLED');
CREATE TABLE accounts (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), site text NOT NULL, role text NOT NULL,
    given_name text NOT NULL, family_name text NOT NULL,
    full_name text GENERATED ALWAYS AS (given_name || ' ' || family_name) STORED, identifier text, grade text,
    status account_status NOT NULL DEFAULT 'INVITED',
    updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE audit (nth bigint GENERATED ALWAYS AS IDENTITY, deed text, who text, full_name text,
    status account_status);
CREATE TABLE loans (account uuid REFERENCES accounts, book text);
CREATE FUNCTION touch() RETURNS trigger
    LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at := '2026-02-02 02:02:02+00'; RETURN NEW; END $$;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO school.audit (deed, who, full_name, status) VALUES (TG_OP, current_user, NEW.full_name, NEW.status);
    RETURN NULL;
END
$$;
CREATE FUNCTION no_loans() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status = 'DISABLED' AND EXISTS (SELECT FROM school.loans l WHERE l.account = NEW.id) THEN
        RAISE EXCEPTION '% still has books', NEW.full_name;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER note AFTER INSERT OR UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION note();
CREATE CONSTRAINT TRIGGER no_loans AFTER UPDATE ON accounts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION no_loans();
INSERT INTO accounts (site, role, given_name, family_name, identifier, status)
SELECT 'north', 'student', 'Sam' || n, 'Day', n::text, CASE WHEN n <= 3 THEN 'INVITED' ELSE 'ENABLED'
    END::account_status FROM generate_series(1, 30) n;
INSERT INTO loans SELECT id, 'Ulysses' FROM accounts WHERE identifier = '4';
CREATE ROLE school_app;
GRANT USAGE ON SCHEMA school TO school_app;
GRANT INSERT ON audit TO school_app;
GRANT SELECT ON loans TO school_app;
ALTER TABLE accounts OWNER TO school_app;
SELECT roster_attach_people('accounts', '{"person_id": "id", "archived_at": "status"}',
    archive_words => '{"active": "ENABLED", "archived": "DISABLED"}');
SELECT use_people('accounts');
TRUNCATE audit;
CREATE FUNCTION people_now() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg((to_jsonb(a) - 'updated_at')::text, E'\n' ORDER BY id) FROM accounts a $$;

-- the first sync links, and fires no trigger
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => n::text) FROM generate_series(1, 30) n;
SELECT FROM run_merge();
SELECT did();
SELECT count(*), (SELECT count(*) FROM audit) FROM accounts;
SELECT again('accounts');
-- a night with everything; who has books is no leaver to the deployment, and keeps no one else from being written
SELECT toggle(auto_update => true, archive => true);
UPDATE accounts SET status = 'DISABLED' WHERE identifier = '9';
TRUNCATE audit;
SELECT unstage('s1', 's4', 's5');
SELECT stage('s2', 'student', 'Sam2', 'Night', identifier => '2', grade => '9'),
    stage('n1', 'student', 'New', 'Day', identifier => '31');
SELECT people_now() AS before \gset
SELECT FROM run_merge();
SELECT last_run() AS night \gset
SELECT did();
SELECT * FROM moved();
SELECT sourced_ids, reason FROM changes WHERE run = :night AND action = 'reject';
SELECT full_name, status, updated_at FROM accounts WHERE identifier IN ('1', '2', '4', '5', '9', '31') ORDER BY 1;
SELECT deed, who, full_name, status FROM audit WHERE full_name <> 'Sam4 Day' ORDER BY full_name, nth;
DELETE FROM loans;
SELECT FROM run_merge();
SELECT * FROM moved();
SELECT FROM run_merge('undo', last_run());
-- taken back: the invited one is invited again
SELECT FROM run_merge('undo', :night);
SELECT did();
SELECT full_name, status FROM accounts WHERE identifier IN ('1', '2', '4', '5', '9', '31') ORDER BY 1;
DELETE FROM accounts WHERE identifier = '31';
SELECT people_now() = :'before';
-- gone, and back as before
SELECT FROM run_merge();
SELECT again('accounts');
SELECT stage('s1', 'student', 'Sam1', 'Day', identifier => '1');
SELECT FROM run_merge();
SELECT * FROM moved();
DELETE FROM links WHERE connection = 'north';
DELETE FROM runs WHERE connection = 'north';
SELECT use_people('people');
DELETE FROM people_relations WHERE relation = 'accounts'::regclass;
SET client_min_messages = error;
DROP TABLE accounts CASCADE;
DROP OWNED BY school_app;
DROP ROLE school_app;
\set ECHO none
\i :fixture_end
