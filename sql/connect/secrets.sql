-- Secrets that no SQL text holds: from a file of the server, or sealed by the client. And new keys.

CREATE FUNCTION minga_roster_internal.seal_file(row_id uuid, connection text, origins text, name text) RETURNS bytea
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_seal_file';
COMMENT ON FUNCTION minga_roster_internal.seal_file(uuid, text, text, text) IS
'As seal, of the secret in a file of minga_roster.secret_directory, which is removed when the transaction commits. '
'42501 for roles that may not write secrets.';

CREATE FUNCTION minga_roster_internal.seal_sent(row_id uuid, connection text, origins text, label text, sent text,
    pair_id uuid, public_key text, private_key bytea)
RETURNS bytea
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_seal_sent';
COMMENT ON FUNCTION minga_roster_internal.seal_sent(uuid, text, text, text, text, uuid, text, bytea) IS
'As seal, of a secret that a client sealed for the key pair behind the label of the connection; 22023, in the same '
'words for every reason, if it does not open.';

CREATE FUNCTION minga_roster_internal.reseal(row_id uuid, connection text, origins text, sealed bytea) RETURNS bytea
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_reseal';
COMMENT ON FUNCTION minga_roster_internal.reseal(uuid, text, text, bytea) IS
'What seal made, sealed with the first key of the key file; unchanged if it is already, NULL if it does not open.';

CREATE FUNCTION minga_roster_internal.make_key_pair(pair_id uuid, OUT public_key text, OUT private_key bytea)
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_make_key_pair';
COMMENT ON FUNCTION minga_roster_internal.make_key_pair(uuid) IS
'A new RSA key pair: the public key in PEM, the private key sealed for the row and for that public key.';

CREATE FUNCTION minga_roster_internal.secret_label(connection text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    origins text := minga_roster_internal.origins_of(connection);
BEGIN
    IF origins = '' THEN
        RETURN connection;
    END IF;
    RETURN format('%s@%s', connection,
        regexp_replace(replace(origins, ' and ', '+'), E'(^|\\+)https://|:443(?=\\+|$)', E'\\1', 'g'));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.secret_label(text) IS
'What a secret from outside SQL says that it is for: "connection@host", with the port if it is not 443, and with '
'"+host" if tokens come from another host; "smtp" for the mail password.';

CREATE FUNCTION minga_roster_internal.do_set_secret_from_file(connection text, name text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    row_id uuid := gen_random_uuid();
    label text;
BEGIN
    IF connection IS DISTINCT FROM 'smtp' THEN
        PERFORM minga_roster_internal.known_connection(connection);
    END IF;
    IF name IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = 'no name of a secret file was given',
            HINT = 'Give the name of a file in the directory that minga_roster.secret_directory names.';
    END IF;
    label := minga_roster_internal.secret_label(connection);
    -- A file says by its name for whom it is. Else an owner could take the file of another school, or send the secret
    -- to another server.
    IF name <> label AND NOT minga_roster_internal.is_dba(minga_roster_internal.caller()) THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('secret file "%s" is not for connection "%s"', name, connection),
            DETAIL = 'Only the DBA may name any file.',
            HINT = format('Name it "%s", so that it says for which connection and server the secret is.', label);
    END IF;
    LOCK TABLE minga_roster.secrets IN ROW EXCLUSIVE MODE;
    PERFORM minga_roster_internal.store_sealed(connection, row_id, minga_roster_internal.seal_file(row_id, connection,
        minga_roster_internal.origins_of(connection), name));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_set_secret_from_file(text, text) IS
'Implements roster_set_secret_from_file.';

CREATE FUNCTION roster_set_secret_from_file(connection text, name text) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_set_secret_from_file(text, text) IS
'As roster_set_secret, with the secret in a file of minga_roster.secret_directory: a regular file of mode 0600 that '
'belongs to the operating system user of the server. No SQL text holds the secret. The file is removed when the '
'transaction commits, and stays if it does not. Callers other than the DBA may name only the file "connection@host". '
'F0000 or 22023 for a file that does not fit.';

CREATE FUNCTION minga_roster_internal.do_public_key() RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    pair minga_roster.key_pairs;
BEGIN
    FOR attempt IN 1..2 LOOP
        SELECT * INTO pair FROM minga_roster.key_pairs;
        IF minga_roster_internal.reseal(pair.binding, '', pair.public_key, pair.sealed) IS NOT NULL THEN
            RETURN pair.public_key;
        END IF;
        LOCK TABLE minga_roster.key_pairs IN SHARE ROW EXCLUSIVE MODE;
    END LOOP;
    -- One that does not open here is of no use to anyone: it came from a server with another key, or was altered.
    DELETE FROM minga_roster.key_pairs;
    pair.binding := gen_random_uuid();
    INSERT INTO minga_roster.key_pairs (binding, public_key, sealed)
    SELECT pair.binding, made.public_key, made.private_key FROM minga_roster_internal.make_key_pair(pair.binding) made
    RETURNING public_key INTO pair.public_key;
    RETURN pair.public_key;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_public_key() IS 'Implements roster_public_key.';

CREATE FUNCTION roster_public_key() RETURNS text
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_public_key() IS
'The public key, in PEM, with which a client seals a secret for roster_set_sealed_secret. The key pair is made at the '
'first call, which takes about a second, and again if it does not open with the key file. F0000 without a good key '
'file.';

CREATE FUNCTION minga_roster_internal.do_set_sealed_secret(connection text, sealed text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    row_id uuid := gen_random_uuid();
    pair minga_roster.key_pairs;
BEGIN
    IF connection IS DISTINCT FROM 'smtp' THEN
        PERFORM minga_roster_internal.known_connection(connection);
    END IF;
    LOCK TABLE minga_roster.secrets IN ROW EXCLUSIVE MODE;
    SELECT * INTO pair FROM minga_roster.key_pairs;
    PERFORM minga_roster_internal.store_sealed(connection, row_id, minga_roster_internal.seal_sent(row_id, connection,
        minga_roster_internal.origins_of(connection), minga_roster_internal.secret_label(connection),
        coalesce(do_set_sealed_secret.sealed, ''), pair.binding, pair.public_key, pair.sealed));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_set_sealed_secret(text, text) IS 'Implements roster_set_sealed_secret.';

CREATE FUNCTION roster_set_sealed_secret(connection text, sealed text) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_set_sealed_secret(text, text) IS
'As roster_set_secret, with the secret sealed by the client with roster_public_key(): RSA, OAEP with SHA-256, in '
'base64. What is sealed is "connection@host", the end of a line, and the secret, 446 bytes in all; it can be stored '
'for no other connection and no other server. 22023, in the same words for every reason, if it does not open.';

CREATE FUNCTION minga_roster_internal.do_rotate_key() RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    resealed bigint;
    more bigint;
    closed text[];
BEGIN
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION USING ERRCODE = 'active_sql_transaction',
            MESSAGE = 'roster_rotate_key cannot be called in a transaction that is repeatable read or serializable',
            DETAIL = 'It would not see what was sealed with the former key after the transaction began.',
            HINT = 'Call it in a statement of its own.';
    END IF;
    -- Waits for each transaction that has sealed with the former key, and holds up those that would.
    LOCK TABLE minga_roster.secrets, minga_roster.key_pairs IN SHARE ROW EXCLUSIVE MODE;
    WITH opened AS MATERIALIZED (
        SELECT s.connection, minga_roster_internal.reseal(s.binding, s.connection,
            minga_roster_internal.origins_of(s.connection), s.sealed) AS sealed
        FROM minga_roster.secrets s),
    changed AS (
        UPDATE minga_roster.secrets s SET sealed = o.sealed
        FROM opened o WHERE o.connection = s.connection AND o.sealed <> s.sealed
        RETURNING 1)
    SELECT (SELECT count(*) FROM changed),
        (SELECT array_agg(format('"%s"', o.connection) ORDER BY o.connection) FROM opened o WHERE o.sealed IS NULL)
    INTO resealed, closed;
    IF closed IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'config_file_error',
            MESSAGE = format('%s secrets cannot be opened with the keys of the key file', cardinality(closed)),
            DETAIL = format('They are those of %s%s. Nothing was changed.', array_to_string(closed[1:10], ', '),
                CASE WHEN cardinality(closed) > 10 THEN ' and others' ELSE '' END),
            HINT = 'Put the former key into the file, on a line below the new one. If it is lost, or a secret was '
                'altered, set those secrets again.';
    END IF;
    -- A token that does not open would be asked for again; a key pair that does not open is made again.
    WITH opened AS MATERIALIZED (
        SELECT t.connection, minga_roster_internal.reseal(t.binding, t.connection,
            minga_roster_internal.origins_of(t.connection), t.sealed) AS sealed
        FROM minga_roster.tokens t),
    gone AS (
        DELETE FROM minga_roster.tokens t USING opened o WHERE o.connection = t.connection AND o.sealed IS NULL),
    changed AS (
        UPDATE minga_roster.tokens t SET sealed = o.sealed
        FROM opened o WHERE o.connection = t.connection AND o.sealed <> t.sealed
        RETURNING 1)
    SELECT count(*) INTO more FROM changed;
    resealed := resealed + more;
    WITH opened AS MATERIALIZED (
        SELECT minga_roster_internal.reseal(p.binding, '', p.public_key, p.sealed) AS sealed
        FROM minga_roster.key_pairs p),
    gone AS (
        DELETE FROM minga_roster.key_pairs p USING opened o WHERE o.sealed IS NULL),
    changed AS (
        UPDATE minga_roster.key_pairs p SET sealed = o.sealed FROM opened o WHERE o.sealed <> p.sealed
        RETURNING 1)
    SELECT count(*) INTO more FROM changed;
    RETURN resealed + more;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_rotate_key() IS 'Implements roster_rotate_key.';

CREATE FUNCTION roster_rotate_key() RETURNS bigint
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_rotate_key() IS
'Seals each secret, access token and the private key again with the first key of the key file, and returns how many '
'were sealed with another one; 0 means that the other lines of the file can be removed. All or none: F0000 names the '
'connections whose secrets do not open with any key of the file.';
