-- Columns of people whose value stands at a path in the row: which paths there are, and what is asked for.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

-- What is a path.
SELECT p.path, (path_parts(p.path)).*
FROM (VALUES ('username'), ('metadata.homeroom'), ('metadata.ic.homeroom'), ('userIds[type=studentNumber].identifier'),
    ('userIds[type=Local ID (x)].identifier'), ('userIds[type].identifier'), ('userIds[].identifier'),
    ('userIds[type=a]'), ('a.b[c=d].e'), ('a..b'), ('.a'), ('a.'), ('a,b'), ('a b'), (''), ('9a'), ('a&limit=1'),
    ('password'), ('metadata.newPassword'), ('userIds[type=password].identifier'), ('métadata.a'), (E'a\nb'),
    (repeat('a', 64)), ('a.' || repeat('b', 63)), ('a[b=' || repeat('c', 65) || '].d')) p (path);

-- What is asked for: of a list that is rostered all of it, of another one what tells who a row is.
SELECT roster_map_column('north', 'identifier', 'userIds[type=studentNumber].identifier'),
    roster_map_column('north', 'phone', 'metadata.homeroom'), roster_map_column('north', 'grade', 'grade');
SELECT column_name, path FROM column_paths ORDER BY 1;
SELECT family, collection, paths FROM collections_to_read('north') ORDER BY "position";
SELECT FROM toggle(archive => true, category => 'teacher');
SELECT FROM toggle(roster => false, category => 'staff');
SELECT FROM toggle(roster => false, category => 'admin');
SELECT family, collection, is_rostered, paths FROM collections_to_read('north') ORDER BY "position";
-- Again, another one, none.
SELECT xmin AS before FROM column_paths WHERE column_name = 'phone' \gset
SELECT roster_map_column('north', 'phone', 'metadata.homeroom');
SELECT xmin = :'before' AS unchanged FROM column_paths WHERE column_name = 'phone';
SELECT roster_map_column('north', 'phone', 'metadata.advisory'), roster_map_column('north', 'grade', NULL),
    roster_map_column('north', 'email', NULL);
SELECT column_name, path FROM column_paths ORDER BY 1;
-- The next evening reads in full.
UPDATE connections SET newest_modified = '2026-09-01' WHERE connection = 'north';
SELECT roster_map_column('north', 'phone', NULL);
SELECT newest_modified FROM connections WHERE connection = 'north';

SELECT refused($$SELECT roster_map_column('nobody', 'grade', 'grade')$$);
SELECT refused($$SELECT roster_map_column('north', 'role', 'role')$$);
SELECT refused($$SELECT roster_map_column('north', 'parent_name', 'metadata.mother')$$);
SELECT refused($$SELECT roster_map_column('north', NULL, 'grade')$$);
SELECT refused($$SELECT roster_map_column('north', 'grade', 'grades[0]')$$);
SELECT refused($$SELECT roster_map_column('north', 'grade', '')$$);
-- A column that the relation no longer has is not asked for.
ALTER TABLE people DROP identifier;
SELECT roster_attach_people('people');
SELECT DISTINCT paths FROM collections_to_read('north');
SELECT refused($$SELECT roster_map_column('north', 'identifier', 'identifier')$$);
-- They go with their connection.
SELECT FROM minga_roster_internal.drop_stage('north');
DELETE FROM connections WHERE connection = 'north';
SELECT count(*) FROM column_paths;

\set ECHO none
\i :fixture_end
