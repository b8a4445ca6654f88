-- Nothing is granted to PUBLIC; docs/operations.md says what to grant to whom.

REVOKE ALL ON ALL TABLES IN SCHEMA minga_roster FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA minga_roster_internal FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA minga_roster FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA minga_roster FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA minga_roster_internal FROM PUBLIC;
