-- Templates: how the holes are filled, and that a forgotten or misspelled one is an error.
\set SHOW_CONTEXT never
\pset format unaligned
\pset tuples_only on
SET search_path = pg_catalog, minga_roster_internal;
-- SQL as it is, an identifier and a literal; a hole may be used several times
SELECT fill_template('SELECT {column:I}, {value:L}, {nothing:L} FROM {people} p WHERE p.{column:I} = {value:L}',
    'people', 'school.people', 'column', 'Family Name', 'value', 'O''Brien', 'nothing', NULL);
-- white space around it goes
SELECT fill_template(E'\n    a {x}\n    ', 'x', 'b') || '.';
-- a value is not searched for holes, and other braces are text
SELECT fill_template('{a} {b:L} {} {A} {a:X} {a', 'a', '{b}', 'b', '{a}');
-- names are compared as a whole
SELECT fill_template('{name} {names}', 'names', '2', 'name', '1');
\set VERBOSITY sqlstate
SELECT fill_template('{a}', 'a', NULL);
SELECT fill_template('{a:I}', 'a', NULL);
SELECT fill_template('{a} {b:L}', 'a', '1');
SELECT fill_template('{a}', 'a', '1', 'b', '2');
SELECT fill_template('{a}', 'a', '1', NULL, '2');
SELECT fill_template('{a}', 'a');
-- The equality of a type is the one of its default btree operator class, whatever search_path has.
SELECT t, (equality(t)).* FROM unnest(ARRAY['text', 'varchar', 'char(3)', 'integer', 'uuid', 'text[]', 'int4range',
    'json', 'json[]', 'xml', 'point', 'minga_roster.people_relations']::regtype[]) t;
