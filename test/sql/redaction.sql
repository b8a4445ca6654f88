-- Which texts of errors may be shown: by the class of the SQLSTATE, the same for C and SQL.
SELECT sqlstate, minga_roster_internal.may_quote_data(sqlstate)
FROM (VALUES ('08006'), ('0A000'), ('22P02'), ('23505'), ('25006'), ('28P01'), ('40001'), ('42501'), ('53300'), ('54000'),
    ('55P03'), ('57014'), ('58030'), ('F0000'), ('P0001'), ('XX000'), ('MR001')) AS codes (sqlstate)
ORDER BY 2, 1;
SELECT minga_roster_internal.may_quote_data(NULL) IS NULL AS unknown;
SELECT minga_roster_internal.may_quote_data('42');
SELECT minga_roster_internal.may_quote_data('42p01');
