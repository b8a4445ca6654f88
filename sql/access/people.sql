-- Whose people a connection may write: those of a relation that the caller owns, or that its owner has released to the
-- site's district. And at which site and in which district a connection may be.

CREATE TABLE people_releases (
    relation regclass NOT NULL,
    district text NOT NULL CHECK (district <> ''),
    site text CHECK (site <> ''),
    released_by name NOT NULL,
    released_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (relation, district, site)
);
-- Required by a publication of all tables.
ALTER TABLE people_releases REPLICA IDENTITY FULL;
COMMENT ON TABLE people_releases IS
'Which districts may connect a SIS to a people relation that they do not own. Written through roster_release_people '
'and roster_withdraw_people.';
COMMENT ON COLUMN people_releases.site IS
'The site that is released; NULL: each site of the district that is not released to another district by name.';

CREATE FUNCTION minga_roster_internal.require_people(relation regclass, site text, district text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM minga_roster.people_releases r
        WHERE r.relation = require_people.relation AND r.district = require_people.district
            AND (r.site = require_people.site
                OR (r.site IS NULL AND NOT EXISTS (SELECT FROM minga_roster.people_releases o
                    WHERE o.relation = r.relation AND o.site = require_people.site AND o.district <> r.district))))
    THEN
        RETURN;
    END IF;
    PERFORM minga_roster_internal.require_people_owner(relation);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.require_people(regclass, text, text) IS
'Raises 42501 unless the caller is a member of the relation''s owner, or the relation is released to the district for '
'the site.';

CREATE FUNCTION minga_roster_internal.require_attaching(relation regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    attaching CONSTANT regprocedure := 'minga_roster.roster_attach_people(regclass, jsonb, jsonb, jsonb)'::regprocedure;
BEGIN
    IF NOT minga_roster_internal.is_dba(minga_roster_internal.caller())
        AND NOT has_function_privilege(minga_roster_internal.caller(), attaching, 'EXECUTE') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('permission denied for function %s', 'roster_attach_people'),
            DETAIL = format('Relation "%s" is not attached yet, and no level lets "%s" attach it.', relation,
                minga_roster_internal.caller()),
            HINT = format('Ask the DBA to attach it: SELECT minga_roster.roster_attach_people(%L).', relation);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.require_attaching(regclass) IS
'Raises 42501 unless the caller may attach relations: a connection to one that is not attached attaches it.';

CREATE FUNCTION minga_roster_internal.do_release_people(relation regclass, district text, sites text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM minga_roster_internal.require_people_owner(relation);
    IF NOT EXISTS (SELECT FROM minga_roster.people_relations p WHERE p.relation = do_release_people.relation) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('relation "%s" is not attached', relation),
            DETAIL = 'Only an attached relation can be released.',
            HINT = format('Attach it first: SELECT minga_roster.roster_attach_people(%L).', relation);
    END IF;
    IF coalesce(btrim(district), '') = '' OR btrim(district) <> district THEN
        PERFORM minga_roster_internal.refuse_parameter('district', coalesce(district, 'NULL'),
            'It must be the name of a district, without whitespace around it.',
            'Use the name that roster_connect got as district.');
    END IF;
    IF cardinality(sites) = 0 OR array_position(sites, NULL) IS NOT NULL OR '' = ANY (sites) THEN
        PERFORM minga_roster_internal.refuse_parameter('sites', sites::text,
            'It must name one site or more, and none of them may be empty.',
            'Leave it out to release the relation for each site of the district.');
    END IF;
    INSERT INTO minga_roster.people_releases (relation, district, site, released_by)
    SELECT do_release_people.relation, do_release_people.district, s.site, minga_roster_internal.caller()
    FROM (SELECT DISTINCT n.site FROM unnest(coalesce(sites, ARRAY[NULL::text])) n (site)) s
    WHERE NOT EXISTS (SELECT FROM minga_roster.people_releases r
        WHERE (r.relation, r.district, r.site)
            IS NOT DISTINCT FROM (do_release_people.relation, do_release_people.district, s.site));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_release_people(regclass, text, text[]) IS
'Implements roster_release_people.';

CREATE FUNCTION roster_release_people(relation regclass, district text, sites text[] DEFAULT NULL) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_release_people(regclass, text, text[]) IS
'Lets owners and managers of a district connect a SIS to a people relation that they do not own: for the sites named, '
'or by default for each site of the district that is not released to another district by name. Name the sites where a '
'relation has people of several districts. Requires a member of the relation''s owner, or a superuser (42501), and an '
'attached relation (55000).';

CREATE FUNCTION minga_roster_internal.do_withdraw_people(relation regclass, district text, sites text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    connected text;
BEGIN
    PERFORM minga_roster_internal.require_people_owner(relation);
    DELETE FROM minga_roster.people_releases r
    WHERE r.relation = do_withdraw_people.relation AND r.district = do_withdraw_people.district
        AND (sites IS NULL OR r.site = ANY (sites));
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('relation "%s" is not released to district "%s"%s', relation, district,
                CASE WHEN sites IS NULL THEN '' ELSE ' for these sites' END),
            HINT = 'List the releases: SELECT * FROM minga_roster.people_releases.';
    END IF;
    SELECT string_agg(format('"%s"', c.connection), ', ' ORDER BY c.connection) INTO connected
    FROM minga_roster.connections c
    WHERE c.people = do_withdraw_people.relation AND c.district = do_withdraw_people.district
        AND c.retired_at IS NULL AND (sites IS NULL OR c.site = ANY (sites));
    IF connected IS NOT NULL THEN
        RAISE NOTICE USING
            MESSAGE = format('connections of district "%s" still write to "%s"', district, relation),
            DETAIL = format('They are: %s.', connected),
            HINT = 'Retire those that must not go on: SELECT minga_roster.roster_disconnect(''...'').';
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_withdraw_people(regclass, text, text[]) IS
'Implements roster_withdraw_people.';

CREATE FUNCTION roster_withdraw_people(relation regclass, district text, sites text[] DEFAULT NULL) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_withdraw_people(regclass, text, text[]) IS
'Takes back what roster_release_people released to a district, for the sites named or all of it. Then no one of the '
'district can connect a SIS to the relation, or change the address, SIS, school or site of a connection. Existing '
'connections go on, and a NOTICE names them. Requires a member of the relation''s owner, or a superuser (42501); 42704 '
'if there is no such release.';

CREATE FUNCTION minga_roster_internal.is_new_site(site text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT NOT EXISTS (SELECT FROM minga_roster.connections c WHERE c.site = is_new_site.site)
        AND NOT EXISTS (SELECT FROM minga_roster.role_levels l WHERE l.site = is_new_site.site)
        AND NOT EXISTS (SELECT FROM minga_roster.runs r WHERE r.site = is_new_site.site)
$$;
COMMENT ON FUNCTION minga_roster_internal.is_new_site(text) IS
'Whether nothing is known of the site yet: no connection, run or level.';

CREATE FUNCTION minga_roster_internal.check_place(function name, site text, district text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    caller CONSTANT name := minga_roster_internal.caller();
    former text;
    barred text;
BEGIN
    -- Of two who connect a new site at once, the second finds the first one's.
    IF NOT EXISTS (SELECT FROM minga_roster.connections c WHERE c.site = check_place.site) THEN
        LOCK TABLE minga_roster.role_levels IN SHARE ROW EXCLUSIVE MODE;
    END IF;
    former := minga_roster_internal.district_of(site);
    IF NOT minga_roster_internal.has_level(caller, 'owner', site)
        AND NOT (district IS NOT NULL AND minga_roster_internal.manages(caller, district)
            AND minga_roster_internal.is_new_site(site)) THEN
        PERFORM minga_roster_internal.refuse_level(function, 'owner', format('site "%s"', site));
    END IF;
    IF former IS NOT DISTINCT FROM district THEN
        RETURN;
    END IF;
    barred := CASE WHEN former IS NOT NULL AND NOT minga_roster_internal.manages(caller, former) THEN former
        WHEN district IS NOT NULL AND NOT minga_roster_internal.manages(caller, district) THEN district END;
    IF barred IS NOT NULL THEN
        PERFORM minga_roster_internal.refuse_level(function, 'district_manager', format('district "%s"', barred));
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.check_place(name, text, text) IS
'Raises 42501 unless the caller may have a connection at the site, in the district: owner of the site, or, of a site '
'that is new, a manager of the district; who changes the district of a site manages the old one and the new one.';

CREATE FUNCTION minga_roster_internal.set_district(site text, district text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    UPDATE minga_roster.connections c SET district = set_district.district
    WHERE c.site = set_district.site AND c.retired_at IS NULL AND c.district IS DISTINCT FROM set_district.district
$$;
COMMENT ON FUNCTION minga_roster_internal.set_district(text, text) IS
'Puts all connections of a site into the district: it is the site''s.';

SELECT pg_catalog.pg_extension_config_dump('minga_roster.people_releases'::regclass, '');
