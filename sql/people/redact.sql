-- Which texts of errors may be shown, as redact.c decides it for C.

CREATE FUNCTION minga_roster_internal.may_quote_data(sqlstate text) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'roster_may_quote_data';
COMMENT ON FUNCTION minga_roster_internal.may_quote_data(text) IS
'Whether the server''s own texts under an SQLSTATE may quote a person''s data. 22023 for what is not an SQLSTATE.';
