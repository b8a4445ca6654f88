-- The SIS list: that each preset holds together. Each query but the first lists what is wrong, and nothing is.
SET search_path = minga_roster, minga_roster_internal, public;
SELECT sis, api_version, auth, token_path, scope IS NOT NULL AS scope FROM sis WHERE builtin ORDER BY sis;
-- Each says where it was read, and what it could not confirm.
SELECT sis FROM sis WHERE builtin AND (source IS NULL OR (sis <> 'oneroster_1.1' AND source !~ 'Not confirmed: '));
-- Base paths are of the preset's version; the App Name can be filled in where a path has it.
SELECT sis, path FROM sis, unnest(base_paths) AS path
WHERE path NOT LIKE '%/ims/oneroster/' || CASE api_version WHEN '1.2' THEN 'rostering/v1p2' ELSE 'v1p1' END;
-- No token path where no token is asked for.
SELECT sis FROM sis WHERE auth <> 'oauth2' AND (token_path IS NOT NULL OR scope IS NOT NULL);
-- Collections: names are their own, families and categories are known, students and teachers are the school's own.
SELECT s.sis, e->>'collection' AS collection, count(*) FROM sis s, jsonb_array_elements(s.collections) e GROUP BY 1, 2
    HAVING count(*) > 1;
SELECT s.sis, e FROM sis s, jsonb_array_elements(s.collections) e
WHERE e->>'family' NOT IN ('student', 'staff', 'contact') OR NOT e->'categories' <@ to_jsonb(categories())
    OR e->>'path' NOT LIKE '/%';
SELECT s.sis, e FROM sis s, jsonb_array_elements(s.collections) e WHERE e->>'collection' IN ('students', 'teachers')
    AND e->>'path' NOT LIKE '/schools/{school}/%';
-- What is asked for by role has a rule of that family, and what is not the school's own says which roles it keeps.
SELECT s.sis, e->>'collection' AS collection, r.role FROM sis s, jsonb_array_elements(s.collections) e,
    jsonb_array_elements_text(e->'roles') AS r (role)
WHERE NOT EXISTS (SELECT FROM role_rules u WHERE u.sis = s.sis AND u.roster_role = lower(r.role)
    AND CASE e->>'family' WHEN 'staff' THEN u.category IN ('teacher', 'staff', 'admin') WHEN 'student'
    THEN u.category = 'student' ELSE u.category = 'contact' END);
SELECT s.sis, e FROM sis s, jsonb_array_elements(s.collections) e WHERE e->>'path' LIKE '/users%' AND NOT e ? 'roles';
-- Roles of both versions have a rule for each preset; none makes an owner or manager.
SELECT s.sis, r.role FROM sis s,
    unnest(ARRAY['administrator', 'aide', 'counselor', 'districtadministrator', 'guardian', 'parent', 'principal',
    'proctor', 'relative',
    'siteadministrator', 'student', 'systemadministrator', 'teacher']) AS r (role)
WHERE s.builtin AND NOT EXISTS (SELECT FROM role_rules u WHERE u.sis = s.sis AND u.roster_role = r.role);
SELECT DISTINCT category, role FROM role_rules WHERE builtin ORDER BY category, role;
