-- The second check: before a planned or held change is carried out, settings and person are looked at again. Approve,
-- the apply of a preview and undo share these rules; each answers with a code of state_reason, or NULL.

CREATE FUNCTION minga_roster_internal.setting_refusal(action text, after jsonb, roster boolean, archive boolean,
    auto_update boolean, local_columns text[], missing_columns text[]) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE
    WHEN NOT roster THEN 'not_rostered'
    WHEN action = 'archive' AND NOT archive THEN 'archive_off'
    WHEN action IN ('update', 'restore') AND after - 'archived_at' <> '{}' AND NOT auto_update
        THEN 'auto_update_off'
    WHEN action IN ('update', 'restore') AND after ?| local_columns THEN 'column_local'
    WHEN action <> 'archive' AND after ?| missing_columns THEN 'column_gone'
END;
COMMENT ON FUNCTION minga_roster_internal.setting_refusal(text, jsonb, boolean, boolean, boolean, text[], text[]) IS
'Why the settings no longer allow a change: the toggles of its category, columns that belong to the school '
    '(local_columns), or columns that the people relation lacks (missing_columns).';

CREATE FUNCTION minga_roster_internal.person_refusal(action text, person_id text, archived boolean, protection text)
RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE
    WHEN action = 'create' THEN NULL
    WHEN person_id IS NULL THEN 'gone'
    WHEN action = 'archive' AND archived THEN 'archived_already'
    WHEN action IN ('link', 'update') AND archived THEN 'archived_since'
    WHEN action = 'restore' AND NOT archived THEN 'not_archived'
    ELSE protection
END;
COMMENT ON FUNCTION minga_roster_internal.person_refusal(text, text, boolean, text) IS
'Why a change no longer fits its person, whose person_id is NULL if there is no such person now: gone, in or out of '
    'the archive, or protected. Without an action the archive does not matter.';

CREATE FUNCTION minga_roster_internal.local_written_columns(connection text) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ARRAY(SELECT c FROM unnest(minga_roster_internal.written_columns()) c
        WHERE minga_roster_internal.ownership_unit(c)
            = ANY (minga_roster_internal.local_columns(local_written_columns.connection)))
$$;
COMMENT ON FUNCTION minga_roster_internal.local_written_columns(text) IS
'The columns that a sync of the connection writes only to new people.';

CREATE FUNCTION minga_roster_internal.missing_columns(people regclass) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ARRAY(SELECT c."column" FROM minga_roster_internal.people_columns() c WHERE NOT r.columns ? c."column")
    FROM minga_roster.people_relations r
    WHERE r.relation = missing_columns.people
$$;
COMMENT ON FUNCTION minga_roster_internal.missing_columns(regclass) IS
'The columns of the contract that a people relation does not have.';
