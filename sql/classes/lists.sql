-- Lists besides those of people, in each preset that the extension brings. Terms may be the district's, so that a list
-- of all takes the place of the school's. A list of terms may have neither semesters nor grading periods, by which
-- classes are scheduled: these are in the list of all sessions. Infinite Campus also serves the enrollments of students
-- and of teachers apart; where one of these is denied too, the standard list of all enrollments is read.

DO $$
BEGIN
    UPDATE minga_roster.sis s
    SET object_collections = jsonb_build_array(
        jsonb_build_object('collection', 'terms', 'family', 'session', 'path', '/schools/{school}/terms',
            'fallback', '/terms'),
        jsonb_build_object('collection', 'academicSessions', 'family', 'session', 'instead_of', 'terms',
            'or_beside', true, 'path', '/academicSessions'),
        jsonb_build_object('collection', 'courses', 'family', 'course', 'path', '/schools/{school}/courses',
            'fallback', '/courses'),
        jsonb_build_object('collection', 'classes', 'family', 'class', 'path', '/schools/{school}/classes',
            'fallback', '/classes'),
        jsonb_build_object('collection', 'enrollments', 'family', 'enrollment', 'path', '/schools/{school}/enrollments',
            'fallback', CASE WHEN starts_with(s.sis, 'infinite_campus') THEN '[]'::jsonb ELSE '["/enrollments"]' END))
        || CASE WHEN starts_with(s.sis, 'infinite_campus') THEN jsonb_build_array(
            jsonb_build_object('collection', 'studentEnrollments', 'family', 'enrollment', 'instead_of', 'enrollments',
                'path', '/schools/{school}/studentEnrollments',
                'fallback', jsonb_build_array('/studentEnrollments', '/enrollments')),
            jsonb_build_object('collection', 'teacherEnrollments', 'family', 'enrollment', 'instead_of', 'enrollments',
                'path', '/schools/{school}/teacherEnrollments',
                'fallback', jsonb_build_array('/teacherEnrollments', '/enrollments')))
            ELSE '[]' END
        || jsonb_build_array(jsonb_build_object('collection', 'demographics', 'family', 'demographics',
            'path', '/demographics'))
    WHERE s.builtin;
END
$$;
