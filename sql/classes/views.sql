-- What people ask of classes, enrollments and contacts. The views run with the rights of the reader, so that the
-- policies of their tables let through the rows of the reader's sites. A user is shown under the name that the SIS has,
-- and as the person whom the sourcedId is linked to. A connection that is retired, or no longer reads them, has no
-- classes, students or contacts.

CREATE VIEW enrollments WITH (security_invoker) AS
SELECT e.connection, e.sourced_id, e.site, e.user_id, l.person_id, e.class_id, e.role, e.is_primary, e.begin_date,
    e.end_date, e.valid, e.ended_at, e.ended_cause
FROM enrollment_rows e
LEFT JOIN links l ON l.connection = e.connection AND l.sourced_id = e.user_id;
COMMENT ON VIEW enrollments IS
'Who is in which class. person_id is the person whom user_id is linked to; NULL if the user is unknown.';

CREATE VIEW contacts WITH (security_invoker) AS
SELECT c.connection, c.student_id, l.person_id, c.sourced_id, c.site, c.position, c.role, c.given_name, c.family_name,
    c.email, c.phone, c.sms, c.relationship, c.is_guardian, c.is_chosen, c.valid, c.ended_at, c.ended_cause
FROM contact_rows c
LEFT JOIN links l ON l.connection = c.connection AND l.sourced_id = c.student_id;
COMMENT ON VIEW contacts IS
'Guardians, parents and relatives of students. person_id is the student; is_chosen marks the primary contact.';

CREATE VIEW minga_roster_internal.class_terms WITH (security_invoker) AS
SELECT k.connection, k.sourced_id, t.terms, t.is_running, t.day
FROM minga_roster.classes k
JOIN minga_roster.connections c ON c.connection = k.connection AND c.retired_at IS NULL AND c.classes
CROSS JOIN LATERAL (
    SELECT (minga_roster_internal.clock() AT TIME ZONE minga_roster_internal.usable_zone(c.time_zone))::date AS today
    OFFSET 0
) d
CROSS JOIN LATERAL (
    SELECT array_agg(coalesce(s.title, i.id) ORDER BY s.start_date, s.title, i.id) AS terms,
        coalesce(bool_or(n.day = d.today) FILTER (WHERE NOT n.is_year), bool_or(n.day = d.today), true) AS is_running,
        coalesce((array_agg(n.day ORDER BY n.is_year, abs(n.day - d.today), n.day DESC))[1], d.today) AS day
    FROM unnest(k.term_ids) i (id)
    LEFT JOIN minga_roster.academic_sessions s ON s.connection = k.connection AND s.sourced_id = i.id COLLATE "C"
    -- A term that ends before it begins has no dates.
    LEFT JOIN LATERAL (SELECT CASE WHEN s.start_date > s.end_date THEN d.today
        ELSE greatest(s.start_date, least(d.today, s.end_date)) END AS day,
        s.type IS NOT DISTINCT FROM 'schoolyear' AS is_year) n ON s.sourced_id IS NOT NULL
) t
WHERE k.ended_at IS NULL;
COMMENT ON VIEW minga_roster_internal.class_terms IS
'The terms of each class by title; whether one of them includes today, which is assumed of a class without known dates '
'of terms; and the day of its terms that is the nearest to today, as of which its lists are shown. A school year '
'counts only if it names nothing shorter.';

CREATE VIEW minga_roster_internal.class_members WITH (security_invoker) AS
SELECT e.connection, e.site, e.class_id, e.user_id, l.person_id, e.role, e.is_primary,
    nullif(concat_ws(' ', u.given_name, u.family_name), '') AS name, u.family_name, u.given_name, u.grade, e.is_running
FROM (
    SELECT e.connection, e.site, e.class_id, e.user_id, e.role, bool_or(e.is_primary IS TRUE) AS is_primary,
        t.is_running
    FROM minga_roster.enrollment_rows e
    JOIN minga_roster_internal.class_terms t ON t.connection = e.connection AND t.sourced_id = e.class_id
    WHERE e.ended_at IS NULL AND e.user_id IS NOT NULL AND coalesce(e.begin_date <= t.day, true)
        AND coalesce(e.end_date >= t.day, true)
    GROUP BY e.connection, e.site, e.class_id, e.user_id, e.role, t.is_running
) e
LEFT JOIN minga_roster.links l ON l.connection = e.connection AND l.sourced_id = e.user_id
LEFT JOIN minga_roster.user_rows u ON u.connection = e.connection AND u.sourced_id = e.user_id;
COMMENT ON VIEW minga_roster_internal.class_members IS
'Who is in a class today or, if no term of it includes today (is_running is false), on the nearest day of its terms: '
'each user once for each role.';

CREATE VIEW roster_class_lists WITH (security_invoker) AS
SELECT k.connection, k.site, k.sourced_id AS class_id, k.title AS class, k.class_code, c.title AS course, t.terms,
    k.periods, k.location AS room, m.teachers, m.students
FROM classes k
JOIN minga_roster_internal.class_terms t ON t.connection = k.connection AND t.sourced_id = k.sourced_id
LEFT JOIN courses c ON c.connection = k.connection AND c.sourced_id = k.course_id
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(coalesce(m.name, m.user_id)
            ORDER BY m.is_primary DESC, m.family_name, m.given_name, m.user_id)
            FILTER (WHERE m.role = 'teacher'), '{}') AS teachers,
        coalesce(array_agg(coalesce(m.name, m.user_id) ORDER BY m.family_name, m.given_name, m.user_id)
            FILTER (WHERE m.role = 'student'), '{}') AS students
    FROM minga_roster_internal.class_members m
    WHERE m.connection = k.connection AND m.class_id = k.sourced_id
) m
WHERE k.ended_at IS NULL;
COMMENT ON VIEW roster_class_lists IS
'Each class with its terms, periods, room, teachers (the primary one first) and students, by the names of the SIS; by '
'sourcedId if the SIS lists no such user. Of a class whose terms do not include today, as of the nearest day that they '
'do.';

CREATE VIEW roster_schedules WITH (security_invoker) AS
SELECT m.connection, m.site, m.person_id, m.user_id, m.name, m.role, p.period, k.title AS class, c.title AS course,
    k.location AS room, t.terms, k.sourced_id AS class_id
FROM minga_roster_internal.class_members m
JOIN classes k ON k.connection = m.connection AND k.sourced_id = m.class_id AND k.ended_at IS NULL
JOIN minga_roster_internal.class_terms t ON t.connection = k.connection AND t.sourced_id = k.sourced_id
LEFT JOIN courses c ON c.connection = k.connection AND c.sourced_id = k.course_id
LEFT JOIN LATERAL unnest(k.periods) p (period) ON true
WHERE m.is_running;
COMMENT ON VIEW roster_schedules IS
'Today''s classes of a student or teacher by period: a row for each class and period. period is NULL for a class '
'without periods.';

CREATE VIEW roster_homerooms WITH (security_invoker) AS
SELECT m.connection, m.site, m.person_id, m.user_id, m.name AS student, m.grade, k.title AS homeroom,
    k.location AS room, t.teachers, k.sourced_id AS class_id
FROM minga_roster_internal.class_members m
JOIN classes k ON k.connection = m.connection AND k.sourced_id = m.class_id AND k.ended_at IS NULL
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(coalesce(t.name, t.user_id)
        ORDER BY t.is_primary DESC, t.family_name, t.given_name, t.user_id), '{}') AS teachers
    FROM minga_roster_internal.class_members t
    WHERE t.connection = k.connection AND t.class_id = k.sourced_id AND t.role = 'teacher'
) t
WHERE m.is_running AND m.role = 'student' AND k.class_type = 'homeroom';
COMMENT ON VIEW roster_homerooms IS 'The homeroom of each student today, with its teachers.';

CREATE VIEW roster_teacher_students WITH (security_invoker) AS
SELECT t.connection, t.site, t.person_id AS teacher_person_id, t.name AS teacher, s.person_id AS student_person_id,
    s.name AS student, s.grade, k.title AS class, k.sourced_id AS class_id, t.is_primary
FROM classes k
JOIN minga_roster_internal.class_members t ON t.connection = k.connection AND t.class_id = k.sourced_id
    AND t.role = 'teacher' AND t.is_running
JOIN minga_roster_internal.class_members s ON s.connection = k.connection AND s.class_id = k.sourced_id
    AND s.role = 'student'
WHERE k.ended_at IS NULL;
COMMENT ON VIEW roster_teacher_students IS
'Who teaches whom today: a row for each teacher, student and class whose terms include the day.';

CREATE VIEW roster_contacts WITH (security_invoker) AS
SELECT c.connection, c.site, c.person_id, c.student_id, nullif(concat_ws(' ', u.given_name, u.family_name), '')
    AS student, nullif(concat_ws(' ', c.given_name, c.family_name), '') AS contact, c.relationship, c.role,
    c.is_guardian, c.is_chosen, c.email, c.phone, c.sms, c.position
FROM contacts c
JOIN minga_roster.connections n ON n.connection = c.connection AND n.retired_at IS NULL AND n.contacts
LEFT JOIN user_rows u ON u.connection = c.connection AND u.sourced_id = c.student_id
WHERE c.ended_at IS NULL;
COMMENT ON VIEW roster_contacts IS 'The contacts of each student, in the order of the SIS.';

CREATE VIEW roster_students_without_classes WITH (security_invoker) AS
SELECT u.connection, u.site, l.person_id, u.sourced_id AS user_id,
    nullif(concat_ws(' ', u.given_name, u.family_name), '') AS student, u.grade
FROM user_rows u
JOIN minga_roster.connections n ON n.connection = u.connection AND n.retired_at IS NULL AND n.classes
LEFT JOIN links l ON l.connection = u.connection AND l.sourced_id = u.sourced_id
WHERE u.ended_at IS NULL AND u.role = 'student'
    AND NOT EXISTS (SELECT FROM minga_roster_internal.class_members m
        WHERE m.connection = u.connection AND m.user_id = u.sourced_id AND m.role = 'student' AND m.is_running);
COMMENT ON VIEW roster_students_without_classes IS 'Students whom the SIS lists and who are in no class today.';

CREATE VIEW roster_classes_without_teacher WITH (security_invoker) AS
SELECT l.connection, l.site, l.class_id, l.class, l.class_code, l.course, l.terms, l.periods, l.room,
    cardinality(l.students) AS students
FROM roster_class_lists l
JOIN minga_roster_internal.class_terms t ON t.connection = l.connection AND t.sourced_id = l.class_id
WHERE t.is_running AND l.teachers = '{}';
COMMENT ON VIEW roster_classes_without_teacher IS 'Today''s classes without a teacher, and how many students each has.';
