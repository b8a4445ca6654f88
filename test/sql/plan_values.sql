-- What the plan asks of every row: values that come more than once, and values that agree.
\set VERBOSITY verbose
SET search_path = public, minga_roster;
SELECT ARRAY(SELECT unnest(repeated(v)) ORDER BY 1) FROM (VALUES ('a'), ('b'), (NULL), ('a'), (NULL), ('A'), ('c'), ('a'), ('c'), (''), ('')) AS x (v);
SELECT repeated(v) FROM (VALUES ('a'), ('b')) AS x (v);
SELECT repeated(v) FROM (SELECT 'a'::text WHERE false) AS x (v);
SELECT count(*), count(DISTINCT k) FROM (SELECT repeated((n % 7000)::text) AS found FROM generate_series(1, 10000) n) x CROSS JOIN LATERAL unnest(found) k;
SELECT cardinality(repeated(repeat(chr(65 + n % 2), 5000))) FROM generate_series(1, 5) n;

SELECT agrees('a'::text, 'a'::text), agrees('a'::text, 'A'::text), agrees('a'::text, NULL::text), agrees(NULL::text, 'a'::text), agrees(NULL::text, NULL::text),
    agrees('a'::text, 'ab'::text), agrees(''::text, NULL::text);
SELECT agrees('a'::text, 'a'::text, NULL::text, 'b'::text, 'c'::text, 'c'::text), agrees('a'::text, 'a'::text, NULL::text, 'b'::text, 'c'::text, 'd'::text);
SELECT agrees(repeat('x', 5000), a) FROM (VALUES (repeat('x', 5000)), (repeat('x', 4999))) AS v (a);

\set VERBOSITY terse
\set SHOW_CONTEXT never
SELECT agrees('a'::text, 1);
SELECT agrees('a'::text, 'a'::text, 'b'::text);
CREATE TABLE no_temp_table (a text);
SELECT roster_create_people('public.people_read');
SELECT read_as_owner('people_read', 'SELECT site FROM people_read', 'no_temp_table');
CREATE TEMP TABLE read_here (a text, b boolean);
SELECT read_as_owner('people_read', 'SELECT site FROM people_read', 'read_here');
SELECT read_as_owner('people_read', 'SELECT site, site FROM people_read', 'read_here');
INSERT INTO people_read (site, role, given_name, family_name) SELECT CASE WHEN n <= 2500 THEN 'a' ELSE 'b' END, 'student', repeat('x', n), 'y' FROM generate_series(1, 2600) n;
SELECT read_as_owner('people_read', 'SELECT given_name, archived_at IS NULL FROM people_read WHERE site = $1', 'read_here', 'a');
SELECT count(*), count(DISTINCT a), sum(length(a)), bool_and(b) FROM read_here;
DROP TABLE no_temp_table, people_read;
