-- Templates: SQL that is built of parts has named holes, and each part stands where it is read.

CREATE FUNCTION minga_roster_internal.fill_template(template text, VARIADIC holes text[]) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'roster_fill_template';
COMMENT ON FUNCTION minga_roster_internal.fill_template(text, text[]) IS
'Fills a template of SQL. The holes are pairs of a name and a value: {name} takes SQL as it is, {name:I} is quoted as '
    'an identifier and {name:L} as a literal. A value is not searched for holes. Every hole needs a value and every '
    'value a hole (22004, 22023); only {name:L} takes NULL.';
