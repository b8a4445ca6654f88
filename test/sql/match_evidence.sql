-- Whom a row of the roster is, by evidence: an identifier with a name, or an address of one person alone with a given
-- name. No one's account becomes another one's, and who is someone for certain is not made twice.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set matching :abs_srcdir '/fixtures/matching.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\i :matching
\set ECHO all

-- what of a name is compared
SELECT n, clean_name(n)
    FROM unnest(ARRAY['O''Brien', 'O’Brien', 'OBrien', 'Smith-Lopez', 'Smith Lopez', 'Núñez', 'NUN' || U&'\0303'
    || 'EZ', 'Łukasz', 'Lukasz', 'Ærø', 'STRASSE', 'Straße', 'Poe Jr.',
    'ﬁnn', 'Ⅳ', '２０', 'İpek', 'Ελένη', 'ΕΛΕΝΗ', 'Юрий', 'юрий', '山田', ' ', '-', '', '...']) n;
SELECT a, b, given_names_agree(clean_name(a), clean_name(ap), clean_name(b), clean_name(bp))
FROM (VALUES ('Kat', NULL, 'Katherine', NULL), ('Katherine', NULL, 'kat', NULL), ('Ed', NULL, 'Edward', NULL),
    ('E.d.', NULL, 'Ed', NULL), ('Bill', NULL, 'William', NULL),
    ('Bill', NULL, 'William', 'Bill'), ('Bill', 'William', 'William', NULL), ('Ana', 'Nan', 'Nancy', 'Nan'),
    ('José', NULL, 'JOSE', NULL), ('Ann', NULL, 'Anne', NULL),
    ('Mary Ann', NULL, 'Mary', NULL), ('-', NULL, 'Ann', NULL), (NULL, 'Ann', 'Ann', NULL)) v (a, ap, b, bp);

SELECT fresh();
-- a parent's account with the address of the family is no one's
INSERT INTO people (site, role, given_name, family_name, email)
    VALUES ('north', 'parent', 'Ana', 'Garcia', 'garcia@family.example');
SELECT stage('s1', 'student', 'Luis', 'Garcia', identifier => '222', email => 'garcia@family.example');
SELECT FROM run_merge();
SELECT told();
SELECT everybody();
SELECT again();
-- of the same name it could be the student: a person has to say
SELECT fresh();
INSERT INTO people (site, role, given_name, family_name, email, archived_at) VALUES
    ('north', 'parent', 'Ana', 'Garcia', 'garcia@family.example', NULL),
    ('north', 'guest', 'Bo', 'Ray', 'ray@family.example', '2026-01-01');
SELECT stage('s1', 'student', 'Ana', 'García', identifier => '222', email => 'garcia@family.example'),
    stage('s2', 'student', 'Bo', 'Ray', email => 'ray@family.example');
SELECT FROM run_merge();
SELECT told();
-- accounts that the map of roles calls others are never meant, by identifier neither, nor counted
SELECT fresh();
SELECT roster_attach_people('people', roles => '{"student": ["student", "leader"], "other": ["parent", "guest"]}');
INSERT INTO people (site, role, given_name, family_name, identifier, email) VALUES
    ('north', 'parent', 'Ana', 'Garcia', '222', 'garcia@family.example'),
    ('north', 'parent', 'Fatima', 'Nakamura', NULL, 'p15@mesa.example'),
    ('north', 'leader', 'Fatima', 'Nakamura', NULL, 'P15@MESA.EXAMPLE');
SELECT stage('s1', 'student', 'Ana', 'Garcia', identifier => '222', email => 'garcia@family.example'),
    stage('s2', 'student', 'Fatima', 'Nakamura', email => 'p15@mesa.example');
SELECT FROM run_merge();
SELECT told();
SELECT everybody();
-- a link says who they are, but they are not written
UPDATE people SET role = 'guest' WHERE person_id = 'P3';
SELECT stage('s2', 'student', 'Fatima', 'Nakamura', email => 'p15@mesa.example', grade => '7');
SELECT FROM run_merge();
SELECT told();
SELECT roster_attach_people('people');
-- without a map a parent's role names no family, and does not count either
SELECT fresh();
INSERT INTO people (site, role, given_name, family_name, email) VALUES
    ('north', 'student', 'Fatima', 'Nakamura', 'P15@MESA.EXAMPLE'),
    ('north', 'parent', 'Fatima', 'Nakamura', 'p15@mesa.example');
SELECT stage('s1', 'student', 'Fatima', 'Nakamura', email => 'p15@mesa.example');
SELECT FROM run_merge();
SELECT told();

-- an archived sibling stays archived, with an identifier or without; the person of both names comes back
SELECT fresh();
INSERT INTO people (site, role, given_name, family_name, identifier, email, archived_at) VALUES
    ('north', 'student', 'Ann', 'Roe', NULL, 'roe@family.example', '2026-01-01'),
    ('north', 'student', 'Cy', 'Dow', NULL, 'dow@family.example', '2026-01-01');
SELECT stage('s1', 'student', 'Ben', 'Roe', identifier => '223', email => 'roe@family.example'),
    stage('s2', 'student', 'CY', 'D''ow', identifier => '7', email => 'dow@family.example');
SELECT FROM run_merge();
SELECT told();
SELECT everybody();
-- with a unique index on the address it is a conflict, and Ann stays archived
SELECT fresh();
CREATE UNIQUE INDEX people_email ON people (site, email);
INSERT INTO people (site, role, given_name, family_name, email, archived_at)
    VALUES ('north', 'student', 'Ann', 'Roe', 'roe@family.example', '2026-01-01');
SELECT stage('s1', 'student', 'Ben', 'Roe', identifier => '223', email => 'roe@family.example');
SELECT FROM run_merge();
SELECT told();
SELECT everybody();
DROP INDEX people_email;

-- siblings: Ann typed by hand; Ann has a number and Ben none; both have one
SELECT fresh();
INSERT INTO people (site, role, given_name, family_name, identifier, email) VALUES
    ('north', 'student', 'Ann', 'Roe', NULL, 'roe@family.example'),
    ('north', 'student', 'Ann', 'Poe', '111', 'poe@family.example'),
    ('north', 'student', 'Ann', 'Loe', '112', 'loe@family.example');
SELECT stage('s1', 'student', 'Ben', 'Roe', identifier => '223', email => 'roe@family.example'),
    stage('s2', 'student', 'Ben', 'Poe', email => 'poe@family.example'),
    stage('s3', 'student', 'Ben', 'Loe', identifier => '224', email => 'loe@family.example');
SELECT FROM run_merge();
SELECT told();
SELECT everybody();

-- numbers: a recycled one is no evidence, a part of the name is some; an active person is meant before archived ones of
-- another name
SELECT fresh();
INSERT INTO people (site, role, given_name, family_name, identifier, archived_at) VALUES
    ('north', 'student', 'Ann', 'Roe', '100', '2026-01-01'), ('north', 'student', 'Ann', 'Roe', '101', '2026-01-01'),
    ('north', 'student', 'Ann', 'Roe', '102', '2026-01-01'),
    ('north', 'student', 'Ann', 'Roe', '103', NULL), ('north', 'student', 'Ann', 'Roe', '104', NULL),
    ('north', 'student', 'Ann', 'Roe', '105', '2026-01-01'),
    ('north', 'student', 'Ann', 'Lee', '105', NULL), ('north', 'student', 'Ann', 'Roe', '106', '2026-01-01'),
    ('north', 'student', 'Ann', 'Roe', '106', NULL),
    ('north', 'student', 'Ann', '-', '107', '2026-01-01'), ('north', 'teacher', 'Ann', 'Roe', '108', NULL),
    ('north', 'guest', 'Ann', 'Roe', '109', NULL),
    ('north', 'guest', 'Ann', 'Roe', '110', '2026-01-01');
SELECT stage('s0', 'student', 'Ben', 'Lee', identifier => '100'),
    stage('s1', 'student', 'Ann', 'Lee', identifier => '101'),
    stage('s2', 'student', 'Anna', 'ROE', identifier => '102'),
    stage('s3', 'student', 'Ben', 'Lee', identifier => '103'),
    stage('s4', 'student', 'Ben', 'Roe', identifier => '104'),
    stage('s5', 'student', 'Ann', 'Lee', identifier => '105'),
    stage('s6', 'student', 'Ann', 'Roe', identifier => '106'),
    stage('s7', 'student', 'Ann', 'Roe', identifier => '107'),
    stage('s8', 'student', 'Ann', 'Roe', identifier => '108'),
    stage('s9', 'student', 'Ann', 'Lee', identifier => '109'),
    stage('s10', 'student', 'Ann', 'Roe', identifier => '110');
SELECT FROM run_merge();
SELECT told();
-- a unique index makes a recycled number a conflict
SELECT fresh();
CREATE UNIQUE INDEX people_identifier ON people (site, identifier);
INSERT INTO people (site, role, given_name, family_name, identifier, archived_at)
    VALUES ('north', 'student', 'Ann', 'Roe', '100', '2026-01-01');
SELECT stage('s1', 'student', 'Ben', 'Lee', identifier => '100');
SELECT FROM run_merge();
SELECT told();
DROP INDEX people_identifier;

-- an account whose role names no family needs the given name too: a parent may have the number of a child. And one name
-- that differs is not made good by another that a side lacks
SELECT fresh();
INSERT INTO people (site, role, given_name, family_name, identifier) VALUES
    ('north', 'parent', 'Ana', 'Garcia', '222'), ('north', 'PARENT', 'Bo', 'Fox', '223'),
    ('north', 'coach', 'Kat', 'Ray', '224'),
    ('north', 'teacher', 'Bo', '-', '225'), ('north', 'teacher', '-', 'Lee', '226'),
    ('north', 'teacher', '-', '-', '227'),
    ('north', 'teacher', '-', 'Dow', '228');
SELECT stage('s1', 'student', 'Luis', 'Garcia', identifier => '222'),
    stage('s2', 'student', '-', 'Fox', identifier => '223'),
    stage('t4', 'teacher', 'Katherine', 'Married', identifier => '224'),
    stage('t5', 'teacher', 'Ann', 'Zed', identifier => '225'),
    stage('t6', 'teacher', 'Zoe', 'Lee', identifier => '226'),
    stage('t7', 'teacher', 'Flo', 'Gum', identifier => '227'),
    stage('t8', 'teacher', 'Ed', 'Hay', identifier => '228');
SELECT FROM run_merge();
SELECT told();
SELECT everybody();
SELECT again();

-- the identifier tells one person and the address another: both are named, and neither is changed
SELECT fresh();
INSERT INTO people (site, role, given_name, family_name, identifier, email) VALUES
    ('north', 'student', 'Ana', 'Lee', '41', 'a@x.example'), ('north', 'student', 'Ana', 'Ray', '42', 'b@x.example'),
    ('north', 'student', 'Bo', 'Fox', '43', 'c@x.example'), ('north', 'student', 'Cy', 'Dow', '44', 'd@x.example');
SELECT stage('s1', 'student', 'Ana', 'Lee', identifier => '41', email => 'b@x.example');
-- a sibling's address is not another person
SELECT stage('s2', 'student', 'Bo', 'Fox', identifier => '43', email => 'd@x.example');
SELECT FROM run_merge();
SELECT told();
SELECT everybody();
-- the person of the address is named, so that a row of that number waits too
SELECT stage('s3', 'student', 'Ana', 'Ray', identifier => '42');
SELECT FROM run_merge();
SELECT told();
SELECT roster_decide('north', 's1', 'same person', 'P1');
SELECT FROM run_merge();
SELECT told();

-- someone of that name without any key is not taken, but told
SELECT fresh();
INSERT INTO people (site, role, given_name, family_name, identifier, email, archived_at) VALUES
    ('north', 'student', 'Sofia', 'Smith-Lopez', NULL, NULL, NULL),
    ('north', 'guest', 'Sofía', 'Smith Lopez', NULL, '', NULL),
    ('north', 'teacher', 'Sofia', 'Smith-Lopez', NULL, NULL, NULL),
    ('north', 'student', 'Sofia', 'Smith-Lopez', '1', NULL, NULL),
    ('north', 'student', 'Sofia', 'Smith-Lopez', NULL, NULL, '2026-01-01'),
    ('north', 'student', 'Sof', 'Smith-Lopez', NULL, NULL, NULL);
SELECT stage('s1', 'student', 'Sofia', 'Smith-Lopez', identifier => '222', email => 'sofia@x.example'),
    stage('s2', 'student', 'Luis', 'Garcia', identifier => '223');
SELECT FROM run_merge('preview');
SELECT sourced_ids, action, reason, same_name FROM changes WHERE run = last_run() ORDER BY change;
SELECT FROM run_merge();
SELECT sourced_ids, action, same_name FROM changes WHERE run = last_run() ORDER BY change;
SELECT again();
\set ECHO none
\i :fixture_end
