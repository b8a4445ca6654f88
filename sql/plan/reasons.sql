-- The words of the plan. Steps hand over codes and numbers; every sentence in changes.reason and changes.state_reason
-- is made here. No sentence holds a name, an email address or another value of a person.

CREATE FUNCTION minga_roster_internal.conflict_text(conflict text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE conflict
    WHEN 'other_family' THEN 'A person known as a student is listed as staff, or the other way around.'
    WHEN 'row_joins_two' THEN 'Roster rows that belong together are linked to different people.'
    WHEN 'same_role_twice' THEN
        'Roster rows with the same role share an identifier or username, but may not be the same person.'
    WHEN 'keys_contradict' THEN 'Roster rows that belong together have different usernames or identifiers.'
    WHEN 'rows_differ' THEN 'Roster rows that belong together have different names.'
    WHEN 'several_candidates' THEN 'Several people have the identifier of the roster row.'
    WHEN 'two_people_by_keys' THEN
        'The identifier and the email addresses of the roster row belong to different people.'
    WHEN 'names_differ' THEN 'The person with the same identifier, email address or former ID has another name.'
    WHEN 'identifiers_differ' THEN 'The person with the same email address has another identifier.'
    WHEN 'address_of_two' THEN 'Several people have the email address of the roster row, and one of them has its name.'
    WHEN 'address_shared' THEN
        'Several roster rows have this email address, and a person with this address has the name of the row.'
    WHEN 'family_unknown' THEN
        'The person with the same email address and name has a role that may be a student''s or a staff member''s.'
    WHEN 'candidate_linked' THEN
        'The matching person is linked to another roster row, which is still listed or not proved absent.'
    WHEN 'several_rows' THEN 'Several roster rows could be the same person.'
    WHEN 'identifier_withheld' THEN
        'Another roster row with the same identifier could be a different person by email address.'
END;
COMMENT ON FUNCTION minga_roster_internal.conflict_text(text) IS
'The sentence for a code in changes.conflict; NULL for not_unique, which has unique_index_reason().';

CREATE FUNCTION minga_roster_internal.unique_index_reason(index_name text, has_holder boolean, holder_is_absent boolean)
RETURNS text
LANGUAGE sql IMMUTABLE
RETURN format(CASE
    WHEN NOT has_holder THEN
        'Another roster row would get the same value, which the unique index "%s" of the people relation allows once.'
    WHEN holder_is_absent THEN
        'An archived or absent person has a value that the unique index "%s" of the people relation allows once. '
        'Clear it there, or limit the index to active people; the next sync then writes this person.'
    ELSE 'Another person has a value that the unique index "%s" of the people relation allows once.'
END, index_name);
COMMENT ON FUNCTION minga_roster_internal.unique_index_reason(text, boolean, boolean) IS
'Why a change collides with a unique index: with a person who has the value, or with another row of the plan.';

CREATE FUNCTION minga_roster_internal.change_reason(action text, rule text, conflict text, detail text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE action
    WHEN 'conflict' THEN minga_roster_internal.conflict_text(conflict)
    WHEN 'create' THEN CASE detail
        WHEN 'same_name' THEN
            'No person at the site has this identifier or email address, but someone without either has the same name.'
        ELSE 'No person at the site matches the roster row.' END
    WHEN 'link' THEN CASE rule
        WHEN 'former id' THEN 'The SIS says that this row had the ID of this person before.'
        WHEN 'identifier' THEN 'A person at the site has the same identifier.'
        WHEN 'e-mail' THEN 'A person at the site has the same email address.'
        ELSE 'This is another roster row for the same person.' END
    WHEN 'update' THEN CASE detail
        WHEN 'parent_gone' THEN 'The roster no longer names a parent contact for the student.'
        WHEN 'parent_gone_and_more' THEN
            'The roster has other values, and no longer names a parent contact for the student.'
        ELSE 'The roster has other values.' END
    WHEN 'restore' THEN 'The roster lists the archived person as active again.'
    WHEN 'archive' THEN 'The roster was read completely and no longer lists the person.'
    WHEN 'protect' THEN CASE detail
        WHEN 'other_role' THEN 'The role map calls this account "other", and rosters never write to such accounts.'
        WHEN 'absent' THEN
            'The roster no longer lists the person, but owners, managers and unmanaged people are never archived.'
        ELSE 'Rosters never write to owners, managers and unmanaged people.' END
    WHEN 'reject' THEN CASE
        WHEN rule = 'incomplete' THEN 'The roster row has no given name or no family name.'
        WHEN detail LIKE 'field:%' THEN
            'Field "' || substr(detail, 7) || '" has a type that OneRoster does not allow, or is too long.'
        WHEN detail = 'characters' THEN 'The roster row has characters that cannot be read.'
        WHEN detail = 'status' THEN 'The roster row has a status that OneRoster does not define.' END
END;
COMMENT ON FUNCTION minga_roster_internal.change_reason(text, text, text, text) IS
'The sentence of changes.reason for an action and its rule. Immutable throughout, so that a plan of many changes '
    'inlines it. detail is a code: same_name (create); parent_gone, parent_gone_and_more (update); other_role, absent '
    '(protect); characters, status, field:NAME (reject).';

CREATE FUNCTION minga_roster_internal.held_reason(cause text, figures jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.filled(CASE cause
        WHEN 'unproven' THEN 'No sync has shown yet that the connection reaches the right school.'
        WHEN 'frozen' THEN 'Archives are frozen through {until}.'
        WHEN 'season_percent' THEN
            '{leavers} of {people} would leave within a week: more than {floor}, and more than {percent} percent, the '
            'limit of the season through {until}.'
        WHEN 'half' THEN '{leavers} of {people} would leave within a week: half or more.'
        WHEN 'percent' THEN
            '{leavers} of {people} would leave within a week: more than {floor}, and more than {percent} percent.'
        WHEN 'mass_update' THEN 'One run would change {changes} {category}: more than {percent} percent.'
        WHEN 'ids_changed' THEN CASE WHEN (figures ->> 'exact')::bigint > 0
            THEN 'Many IDs changed in the SIS: {moved} of {people} people have a new one, and the SIS sends the former '
                'ID of {exact}.'
            ELSE 'Many IDs changed in the SIS: {moved} of {people} people have a new one.' END
        WHEN 'new_site' THEN 'Site "{site}" has no people yet, while the people relation has people at other sites.'
    END, coalesce(figures, '{}') || jsonb_build_object(
        'category', minga_roster_internal.people_of(figures ->> 'category', 2),
        'changes', (
            SELECT string_agg(format('%s for %s of %s', c ->> 'name', c ->> 'changed', c ->> 'people'), ', '
                ORDER BY c ->> 'name')
            FROM jsonb_array_elements(figures -> 'columns') c)))
$$;
COMMENT ON FUNCTION minga_roster_internal.held_reason(text, jsonb) IS
'The sentence of changes.state_reason for a held change. cause: as changes.state_cause. figures: leavers, people, '
'floor, percent, until (guard); columns [{name, changed, people}], category, percent (mass_update); moved, people, '
'exact (ids_changed); site (new_site).';

CREATE FUNCTION minga_roster_internal.state_reason(code text, detail text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    sentence text := CASE code
        -- Refused when the change is checked again.
        WHEN 'not_rostered' THEN 'The category is no longer rostered.'
        WHEN 'archive_off' THEN 'Archiving is off for this category.'
        WHEN 'frozen' THEN format('Archives are frozen through %s.', detail)
        WHEN 'auto_update_off' THEN 'Auto update is off for this category.'
        WHEN 'column_local' THEN 'A changed column no longer belongs to the SIS.'
        WHEN 'column_gone' THEN 'The people relation no longer has all of the changed columns.'
        WHEN 'same_key_person' THEN 'A person with the same identifier or email address came or left in the meantime.'
        WHEN 'link_changed' THEN 'A link of the roster row was changed in the meantime.'
        WHEN 'decided' THEN 'roster_decide settled in the meantime who the roster row is or is not.'
        WHEN 'decided_skip' THEN 'roster_decide said in the meantime to skip the roster row.'
        WHEN 'decided_person' THEN 'roster_decide said in the meantime that a roster row is the person.'
        WHEN 'decided_not' THEN 'roster_decide said that the roster row is not this person.'
        WHEN 'gone' THEN 'The person no longer exists.'
        WHEN 'erased' THEN 'The data of the person was erased.'
        WHEN 'archived_already' THEN 'The person is already archived.'
        WHEN 'archived_since' THEN 'The person was archived in the meantime.'
        WHEN 'not_archived' THEN 'The person is no longer archived.'
        WHEN 'unmanaged' THEN 'The person is unmanaged.'
        WHEN 'owner_or_manager' THEN 'The person is an owner or manager.'
        WHEN 'other_role' THEN 'The role map calls this account "other", and rosters never write to such accounts.'
        WHEN 'changed_since' THEN 'The person was changed in the meantime.'
        WHEN 'listed_again' THEN 'The roster lists the person again.'
        WHEN 'listed_elsewhere' THEN 'Another connection lists the person.'
        WHEN 'listed_by_former_id' THEN 'The roster still lists the person under a former ID.'
        WHEN 'linked_elsewhere' THEN 'Another connection linked the person in the meantime.'
        WHEN 'changed_by_run' THEN format('Run %s changed the person in the meantime.', detail)
        WHEN 'link_changed_by_run' THEN format('Run %s changed a link of the person in the meantime.', detail)
        WHEN 'not_linked' THEN 'The person is no longer linked.'
        WHEN 'id_linked' THEN 'The new ID is already linked.'
        -- What the people relation did.
        WHEN 'rejected' THEN format('The people relation rejected the change with %s.', detail)
        WHEN 'not_stored' THEN CASE detail
            WHEN 'create' THEN
                'The new person did not appear among the people of the site, so the insert was rolled back.'
            ELSE format('The people relation ignored the %s, so the person is unchanged.', detail) END
        WHEN 'kept' THEN 'The people relation turned the new values into the ones that it had.'
        WHEN 'holder' THEN format('Person "%s" has the value.', detail)
        -- What became of a change later.
        WHEN 'approved' THEN format('Approved by run %s.', detail)
        WHEN 'relinked' THEN 'Moved by roster_relink.'
        WHEN 'undone' THEN format('Undone by run %s.', detail)
        WHEN 'run_undone' THEN format('Run %s was undone.', detail)
        WHEN 'superseded' THEN 'A later sync decided again.'
    END;
BEGIN
    IF sentence IS NULL AND code IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('no sentence for reason "%s"', code);
    END IF;
    RETURN sentence;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.state_reason(text, text) IS
'The sentence of changes.state_reason for a change that was refused, kept, or settled later: a code, and what it is '
'about (a date, a run, an action, a person_id, an SQLSTATE with names); NULL for NULL.';
