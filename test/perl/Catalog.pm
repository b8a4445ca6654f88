# All that the catalog says of the extension, a line for each fact, for comparing two installations of it:
#
#   my @facts = Catalog::facts($node, $database);
#
# Partitions of the stage are left out; connections make them. So is the place in the WAL where a column was made, which
# PostgreSQL 15.20 notes in its options.
package Catalog;

use strict;
use warnings;

# Of which kinds the extension may have members: what is said of them follows.
my %kinds = map { $_ => 1 } qw(aggregate function schema sequence table type view), 'composite type', 'table column';

# NOT NULL is said of columns. Since 18 it is a constraint too, whose name tells how the column came to be.
my $facts = <<'SQL';
SET search_path = pg_catalog;
WITH members AS (
	SELECT d.classid, d.objid, i.type, i.identity
	FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'minga_roster'
		CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) i
	WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
		AND NOT EXISTS (SELECT FROM pg_class c
			WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid AND c.relispartition)
		-- since 18 row types and their arrays are members too
		AND NOT EXISTS (SELECT FROM pg_type t LEFT JOIN pg_type e ON e.oid = t.typelem
			JOIN pg_class c ON c.oid IN (t.typrelid, e.typrelid)
			WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid AND c.relispartition)
), relations AS (
	SELECT c.*, c.oid::regclass::text AS name
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname IN ('minga_roster', 'minga_roster_internal') AND NOT c.relispartition
), rights (classid, objid, objsubid, name, acl, owner) AS (
	SELECT 'pg_class'::regclass::oid, oid, 0, name, coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r'
		END::"char", relowner)), relowner
	FROM relations WHERE relkind IN ('r', 'p', 'v', 'S')
	UNION ALL
	SELECT 'pg_class'::regclass, r.oid, a.attnum, r.name || '.' || a.attname, a.attacl, r.relowner
	FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attacl IS NOT NULL
	UNION ALL
	SELECT m.classid, m.objid, 0, m.identity, coalesce(p.proacl, acldefault('f', p.proowner)), p.proowner
	FROM members m JOIN pg_proc p ON p.oid = m.objid WHERE m.classid = 'pg_proc'::regclass
	UNION ALL
	SELECT m.classid, m.objid, 0, m.identity, coalesce(t.typacl, acldefault('T', t.typowner)), t.typowner
	FROM members m JOIN pg_type t ON t.oid = m.objid WHERE m.classid = 'pg_type'::regclass
	UNION ALL
	SELECT 'pg_namespace'::regclass, n.oid, 0, n.nspname, coalesce(n.nspacl, acldefault('n', n.nspowner)), n.nspowner
	FROM pg_namespace n WHERE n.nspname IN ('minga_roster', 'minga_roster_internal')
), facts (kind, name, fact) AS (
	SELECT 'member', m.type, m.identity FROM members m
	UNION ALL
	SELECT 'comment', m.identity, obj_description(m.objid, m.classid::regclass::text) FROM members m
	UNION ALL
	SELECT 'relation', name, format('%s %s %s options %s row security %s %s identity %s of %s access %s', relkind,
		relpersistence, pg_get_userbyid(relowner), reloptions, relrowsecurity, relforcerowsecurity, relreplident,
		reltype <> 0, (SELECT amname FROM pg_am WHERE oid = relam))
	FROM relations
	UNION ALL
	SELECT 'column', r.name || '.' || a.attname, format('%s: %s%s %s default %s identity "%s" generated "%s" '
		'collation %s storage %s compression "%s" statistics %s: %s',
		CASE WHEN r.relkind = 'S' THEN 0 ELSE row_number() OVER (PARTITION BY r.oid ORDER BY a.attnum) END,
		format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN ' NOT NULL' END, (SELECT array_agg(o)
		FROM unnest(a.attoptions) o WHERE o NOT LIKE 'pg\_attver=%'),
		pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated, a.attcollation::regcollation, a.attstorage,
		a.attcompression, nullif(a.attstattarget, -1), col_description(r.oid, a.attnum))
	FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
		LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
	WHERE r.relkind <> 'i'
	UNION ALL
	SELECT 'view', name, pg_get_viewdef(oid) FROM relations WHERE relkind = 'v'
	UNION ALL
	SELECT 'rule', r.name, pg_get_ruledef(w.oid) FROM relations r JOIN pg_rewrite w ON w.ev_class = r.oid
	WHERE r.relkind <> 'v'
	UNION ALL
	SELECT 'constraint', r.name || '.' || k.conname, format('%s %s %s %s %s', pg_get_constraintdef(k.oid, true),
		k.convalidated, k.condeferrable, k.condeferred, obj_description(k.oid, 'pg_constraint'))
	FROM relations r JOIN pg_constraint k ON k.conrelid = r.oid AND k.contype <> 'n'
	UNION ALL
	SELECT 'index', r.name, format('%s %s %s %s %s', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisreplident,
		i.indisclustered, i.indisprimary)
	FROM relations r JOIN pg_index i ON i.indexrelid = r.oid
	UNION ALL
	SELECT 'trigger', r.name, pg_get_triggerdef(t.oid)
	FROM relations r JOIN pg_trigger t ON t.tgrelid = r.oid AND NOT t.tgisinternal
	UNION ALL
	SELECT 'policy', r.name || '.' || p.polname, format('%s %s %s %s WITH %s', p.polcmd, p.polpermissive,
		p.polroles::regrole[], pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
	FROM relations r JOIN pg_policy p ON p.polrelid = r.oid
	UNION ALL
	SELECT 'sequence', r.name, format('%s %s %s %s %s %s', format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement,
		s.seqmax, s.seqmin, s.seqcache)
	FROM relations r JOIN pg_sequence s ON s.seqrelid = r.oid
	UNION ALL
	SELECT 'function', m.identity, format('%s of %s', CASE WHEN p.prokind = 'a'
			THEN format('%s %s', to_jsonb(a) - 'aggfnoid', p.prorettype::regtype)
			ELSE pg_get_functiondef(p.oid) END, pg_get_userbyid(p.proowner))
	FROM members m JOIN pg_proc p ON p.oid = m.objid LEFT JOIN pg_aggregate a ON a.aggfnoid = p.oid
	WHERE m.classid = 'pg_proc'::regclass
	UNION ALL
	SELECT 'type', m.identity, format('%s %s %s', t.typtype, t.typcategory, pg_get_userbyid(t.typowner))
	FROM members m JOIN pg_type t ON t.oid = m.objid WHERE m.classid = 'pg_type'::regclass
	UNION ALL
	SELECT 'schema', n.nspname, format('%s %s', pg_get_userbyid(n.nspowner), obj_description(n.oid, 'pg_namespace'))
	FROM pg_namespace n WHERE n.nspname IN ('minga_roster', 'minga_roster_internal')
	UNION ALL
	SELECT 'privilege', s.name, format('%s TO %s%s BY %s', x.privilege_type, CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE
		pg_get_userbyid(x.grantee) END, CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' END,
		pg_get_userbyid(x.grantor))
	FROM rights s CROSS JOIN LATERAL aclexplode(s.acl) x
	UNION ALL
	SELECT 'initial privilege', s.name, format('%s TO %s%s', x.privilege_type, CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE
		pg_get_userbyid(x.grantee) END, CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' END)
	FROM rights s LEFT JOIN pg_init_privs i ON i.classoid = s.classid AND i.objoid = s.objid AND i.objsubid = s.objsubid
		CROSS JOIN LATERAL aclexplode(coalesce(i.initprivs, acldefault(CASE s.classid WHEN 'pg_proc'::regclass THEN 'f'
			WHEN 'pg_type'::regclass THEN 'T' WHEN 'pg_namespace'::regclass THEN 'n' ELSE CASE WHEN EXISTS (SELECT
			FROM pg_class c WHERE c.oid = s.objid AND c.relkind = 'S') THEN 's' ELSE 'r' END END::"char", s.owner))) x
	UNION ALL
	SELECT 'dumped', c.oid::regclass::text, condition
	FROM pg_extension e CROSS JOIN unnest(e.extconfig, e.extcondition) AS u (config, condition)
		JOIN pg_class c ON c.oid = u.config
	WHERE e.extname = 'minga_roster'
	UNION ALL
	SELECT 'extension', e.extname, format('%s %s %s %s', e.extversion, e.extnamespace::regnamespace, e.extrelocatable,
		pg_get_userbyid(e.extowner))
	FROM pg_extension e WHERE e.extname = 'minga_roster'
	UNION ALL
	SELECT 'row', 'sis', s::text FROM minga_roster.sis s WHERE s.builtin
	UNION ALL
	SELECT 'row', 'role_rules', s::text FROM minga_roster.role_rules s WHERE s.builtin
	UNION ALL
	SELECT 'row', 'function_levels', l::text FROM minga_roster_internal.function_levels l
	UNION ALL
	SELECT 'row', 'table_levels', l::text FROM minga_roster_internal.table_levels l
)
SELECT translate(concat_ws('|', kind, name, fact), E'\n', ' ') FROM facts ORDER BY kind, name, fact
SQL

sub facts
{
	my ($node, $database) = @_;
	my @facts = split /\n/, $node->safe_psql($database, $facts);
	foreach my $kind (map { /^member\|([^|]*)\|/ ? $1 : () } @facts)
	{
		die "members of kind \"$kind\" are not compared" unless $kinds{$kind};
	}
	return @facts;
}

# What only one of two lists of facts has, each line with the name of its side.
sub differences
{
	my ($here, $facts_here, $there, $facts_there) = @_;
	my %count;

	$count{$_}++ foreach @$facts_here;
	$count{$_}-- foreach @$facts_there;
	return map { ($count{$_} > 0 ? $here : $there) . ": $_" } grep { $count{$_} } sort keys %count;
}

1;
