-- What the plan asks of every row: values that come more than once, and values that agree.
\set VERBOSITY verbose
SET search_path = public, minga_roster, minga_roster_internal;
SELECT ARRAY(SELECT unnest(repeated(v)) ORDER BY 1)
    FROM (VALUES ('a'), ('b'), (NULL), ('a'), (NULL), ('A'), ('c'), ('a'), ('c'), (''), ('')) AS x (v);
SELECT repeated(v) FROM (VALUES ('a'), ('b')) AS x (v);
SELECT repeated(v) FROM (SELECT 'a'::text WHERE false) AS x (v);
SELECT count(*), count(DISTINCT k) FROM (SELECT repeated((n % 7000)::text) AS found FROM generate_series(1, 10000) n) x
    CROSS JOIN LATERAL unnest(found) k;
SELECT cardinality(repeated(repeat(chr(65 + n % 2), 5000))) FROM generate_series(1, 5) n;

SELECT agrees('a'::text, 'a'::text), agrees('a'::text, 'A'::text), agrees('a'::text, NULL::text),
    agrees(NULL::text, 'a'::text), agrees(NULL::text, NULL::text),
    agrees('a'::text, 'ab'::text), agrees(''::text, NULL::text);
SELECT agrees('a'::text, 'a'::text, NULL::text, 'b'::text, 'c'::text, 'c'::text),
    agrees('a'::text, 'a'::text, NULL::text, 'b'::text, 'c'::text, 'd'::text);
SELECT agrees(repeat('x', 5000), a) FROM (VALUES (repeat('x', 5000)), (repeat('x', 4999))) AS v (a);

-- Two kinds of keys, in any case of ASCII letters; as many as there are people.
SELECT n, in_key_set(k, one, other)
FROM (SELECT key_set(a, b) AS k FROM (VALUES ('Ann', '17'), (NULL, 'X2'), ('Ö', NULL), ('ann', '')) AS x (a, b)) s
CROSS JOIN (VALUES (1, 'ANN', NULL), (2, NULL, 'ANN'), (3, '17', NULL), (4, 'bob', '17'), (5, 'bob', 'x2'),
    (6, 'bob', 'x'), (7, 'ö', NULL), (8, 'Ö', NULL), (9, NULL, NULL), (10, '', NULL), (11, NULL, ''))
    AS y (n, one, other)
ORDER BY n;
SELECT key_set(a, b) IS NULL, in_key_set(key_set(a, b), 'a', 'b') FROM (VALUES (NULL::text, NULL::text)) AS x (a, b);
SELECT count(*) FILTER (WHERE in_key_set(k, 'S' || n, NULL)), count(*) FILTER (WHERE in_key_set(k, NULL, 'S' || n)),
    count(*) FILTER (WHERE in_key_set(k, repeat('s', 300) || n, n::text))
FROM (SELECT key_set('s' || n, n::text) AS k FROM generate_series(1, 10000) n) s, generate_series(1, 20000) n;
SELECT in_key_set(key_set(repeat('Long', 100), NULL), repeat('lonG', 100), NULL);

-- Rows and values by kind, beside other aggregates.
SELECT tally(k, a, b) FROM (VALUES ('s', 1, 'x'), ('s', NULL, 'y'), ('s', 2, NULL)) AS x (k, a, b);
SELECT tally(k, a) FROM (VALUES (NULL, 1), (NULL, NULL)) AS x (k, a);
SELECT tally('a'::text) FROM (SELECT WHERE false) x;
SELECT jsonb_array_length(t), t @> '[["k7", 3]]', t @> '[["k8", 2]]', n
FROM (SELECT tally('k' || n % 700) FILTER (WHERE n % 700 < 600) AS t, count(*) AS n FROM generate_series(1, 2000) n) s;

-- Names of objects, in whatever order they come.
SELECT names_of(t::jsonb) FROM (VALUES ('{"a": 1, "b": {"c": 2}}'), ('{"b": null}'), (NULL), ('[1]'), ('{}'),
    ('{"d": [3], "a": 1}')) AS x (t);
SELECT names_of('{}'), names_of(NULL) FROM generate_series(1, 2);
SELECT cardinality(names_of(jsonb_build_object('n' || n % 50, 1, 'always', 2))) FROM generate_series(1, 300) n;

-- What differs: a value that is due where none is, and one that differs; no value clears only where it is to; a role
-- that is due is in any case.
SELECT changed_values(ARRAY['a', 'b', NULL, 'd'], NULL, 'student', NULL, '1'::text, '2'::text, NULL::text, '3'::text,
    '4'::text, '5'::text, '6'::text, NULL::text);
SELECT changed_values(ARRAY['a', 'b'], ARRAY['b'], 'student', 'student', '1'::text, '1'::text, '2'::text, NULL::text);
SELECT changed_values(ARRAY['a'], NULL, NULL, 'staff', '1'::text, NULL::text);

\set VERBOSITY terse
\set SHOW_CONTEXT never
SELECT agrees('a'::text, 1);
SELECT tally(1);
SELECT in_key_set('\x00', 'a', 'b');
SELECT changed_values(ARRAY['a'], NULL, NULL, NULL, '1'::text, '2'::text, '3'::text, '4'::text);
SELECT agrees('a'::text, 'a'::text, 'b'::text);
CREATE TABLE no_temp_table (a text);
SELECT roster_create_people('public.people_read', owner => 'regress_people_owner');
SELECT read_as_owner('people_read', 'SELECT site FROM public.people_read', 'no_temp_table');
CREATE TEMP TABLE read_here (a text, b boolean);
SELECT read_as_owner('people_read', 'SELECT site FROM public.people_read', 'read_here');
SELECT read_as_owner('people_read', 'SELECT site, site FROM public.people_read', 'read_here');
INSERT INTO people_read (site, role, given_name, family_name) SELECT CASE WHEN n <= 2500 THEN 'a' ELSE 'b' END,
    'student', repeat('x', n), 'y' FROM generate_series(1, 2600) n;
SELECT read_as_owner('people_read', 'SELECT given_name, archived_at IS NULL FROM public.people_read WHERE site = $1',
    'read_here', 'a');
SELECT count(*), count(DISTINCT a), sum(length(a)), bool_and(b) FROM read_here;
-- A UUID may be a text there; long values are stored apart, and rows that were there stay.
CREATE TEMP TABLE read_ids (id text, a text);
INSERT INTO read_ids VALUES ('was there', 'z');
SELECT read_as_owner('people_read', 'SELECT person_id, (SELECT pg_catalog.string_agg(pg_catalog.md5(pg_catalog.concat('
    'p.person_id, n)), NULL ORDER BY n) FROM pg_catalog.generate_series(1, 1000) n) '
    'FROM public.people_read p WHERE site = $1', 'read_ids', 'b');
SELECT read_as_owner('people_read', 'SELECT NULL::pg_catalog.uuid, family_name FROM public.people_read WHERE site = $1 '
    'LIMIT 1', 'read_ids', 'b');
SELECT i.id = p.person_id::text AS is_read, i.id IS NULL AS is_null, count(*), min(length(i.a)), max(length(i.a))
FROM read_ids i LEFT JOIN people_read p ON left(i.a, 32) = md5(p.person_id || '1') GROUP BY 1, 2 ORDER BY 1, 2;
SELECT pg_relation_size(reltoastrelid) > 100000 AS is_apart FROM pg_class WHERE oid = 'read_ids'::regclass;
DELETE FROM read_ids WHERE id IS NULL;
UPDATE read_ids SET a = 'y';
SELECT a, count(*) FROM read_ids GROUP BY a;
SELECT read_as_owner('people_read', 'SELECT person_id, person_id FROM public.people_read', 'read_ids');
DROP TABLE no_temp_table, people_read;

-- As a window function the aggregate is asked for its values row by row, and goes on from there; a frame that moves
-- begins again.
SELECT n, repeated(v) OVER (ORDER BY n) AS so_far,
    repeated(v) OVER (ORDER BY n ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS of_three,
    repeated(v) OVER (ORDER BY n ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS from_here,
    repeated(v) OVER (ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING EXCLUDE CURRENT ROW)
    AS of_others,
    repeated(v) OVER (PARTITION BY n % 2) AS of_half, repeated(v) FILTER (WHERE n > 3) OVER (ORDER BY n) AS late
FROM (VALUES (1, 'a'), (2, 'a'), (3, NULL), (4, 'b'), (5, 'a'), (6, 'b'), (7, 'b')) AS x (n, v) ORDER BY n;
SELECT max(cardinality(found)), sum(cardinality(found))
FROM (SELECT repeated(repeat(chr(65 + n % 2), 5000)) OVER (ORDER BY n) AS found FROM generate_series(1, 300) n) x;
-- With what else an aggregate takes, over no row at all, several in one query, and by group.
SELECT repeated(DISTINCT v), repeated(v ORDER BY n DESC), repeated(v) FILTER (WHERE n < 3),
    repeated(v) FILTER (WHERE false), repeated(NULL)
FROM (VALUES (1, 'a'), (2, 'a'), (3, 'b'), (4, 'c'), (5, 'b')) AS x (n, v);
SELECT g, repeated(v), repeated(v || 'x') FROM (VALUES (1, 'a'), (1, 'a'), (2, 'a'), (3, 'b'), (3, 'c')) AS x (g, v)
    GROUP BY ROLLUP (g) ORDER BY g;
SELECT repeated(v) FROM (VALUES ('a')) AS x (v) GROUP BY v HAVING cardinality(repeated(v)) > 0;
-- Moving its frame does not keep what it had: 20,000 frames, each with a state of its own.
SELECT count(found) FROM (SELECT repeated(n::text) OVER (ORDER BY n ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS found
    FROM generate_series(1, 20000) n) x;
