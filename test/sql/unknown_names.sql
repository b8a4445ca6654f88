-- Every function that is told a connection or a run says so when there is none of that name.
SET search_path = minga_roster, minga_roster_internal, public;
-- those that wait, and roster_start
SELECT roster_sync('nobody');
SELECT roster_sync(NULL);
SELECT roster_fetch(NULL);
SELECT * FROM roster_preview(NULL);
SELECT * FROM roster_test_connection(NULL);
SELECT * FROM roster_diagnose(NULL);
SELECT roster_start(NULL);
SELECT roster_start('nobody');
SELECT roster_start('nobody', 'test');
SELECT roster_start('nobody', NULL);
SELECT roster_approve(NULL);
SELECT roster_approve(-1);
-- the others
SELECT roster_configure(NULL);
SELECT roster_toggle(NULL);
SELECT roster_set_secret(NULL, 'secret');
SELECT roster_notify(NULL, 'it@mesa.example');
SELECT roster_enable(NULL);
SELECT roster_disable(NULL);
SELECT roster_disconnect(NULL);
SELECT roster_cancel(NULL);
SELECT roster_report(NULL);
SELECT roster_report('nobody');
SELECT roster_report_html(NULL);
SELECT roster_diagnosis(NULL);
SELECT roster_diagnosis(-1);
SELECT count(*) FROM runs WHERE connection = 'nobody';
-- A caller's own code is named, and nothing behind the door.
DO $$ BEGIN PERFORM minga_roster.roster_toggle('nobody', 'student', auto_update => true); END $$;
