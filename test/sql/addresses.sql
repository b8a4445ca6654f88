-- Which hosts, ports and addresses a SIS may have.
\getenv abs_srcdir PG_ABS_SRCDIR
\set set_setting :abs_srcdir '/fixtures/set_setting.sql'
\set VERBOSITY terse
LOAD 'minga_roster';
CREATE FUNCTION pg_temp.refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text; detail text; hint text; result text;
BEGIN
    EXECUTE statement INTO result;
    RETURN 'taken: ' || result;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(E'\n  ', SQLSTATE || ': ' || message, 'DETAIL: ' || nullif(detail, ''),
        'HINT: ' || nullif(hint, ''));
END
$$;
\set setting allowed_hosts
\set value ''
\i :set_setting

-- Addresses: of each range that is not public the first and the last one; and their neighbors outside, which are
-- public unless they are in another such range
SELECT network, minga_roster_internal.is_public_address(first) OR minga_roster_internal.is_public_address(last)
    AS inside,
    minga_roster_internal.is_public_address(CASE WHEN host(first) NOT IN ('0.0.0.0') THEN first - 1 END) AS before,
    minga_roster_internal.is_public_address(CASE
    WHEN host(last) NOT IN ('255.255.255.255', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff') THEN last + 1 END) AS behind
FROM (VALUES (inet '0.0.0.0/8'), ('10.0.0.0/8'), ('100.64.0.0/10'), ('127.0.0.0/8'), ('168.63.129.16/32'),
    ('169.254.0.0/16'), ('172.16.0.0/12'),
    ('192.0.0.0/24'), ('192.0.2.0/24'), ('192.88.99.0/24'), ('192.168.0.0/16'), ('198.18.0.0/15'), ('198.51.100.0/24'),
    ('203.0.113.0/24'),
    ('224.0.0.0/4'), ('240.0.0.0/4'),
    ('2001::/23'), ('2001:db8::/32'), ('3fff::/20'), ('4000::/3'), ('fc00::/7'), ('fe80::/10'), ('ff00::/8'),
    ('::ffff:10.0.0.0/104'), ('::ffff:127.0.0.0/104'), ('::ffff:192.168.0.0/112'), ('64:ff9b::a00:0/104'),
    ('64:ff9b::a9fe:0/112'),
    ('2002:a00::/24'), ('2002:a9fe::/32'), ('2002:7f00::/24')) AS r (network),
    LATERAL (SELECT CASE family(network) WHEN 4 THEN 32 ELSE 128 END) AS m (bits),
    LATERAL (SELECT set_masklen(network, bits), set_masklen(broadcast(network), bits)) AS v (first, last);
SELECT a, minga_roster_internal.is_public_address(a)
FROM (VALUES (inet '0.0.0.0'), ('255.255.255.255'), ('::'), ('::1'), ('::7f00:1'), ('64:ff9b:1::808:808'), ('100::1'),
    ('5f00::1'),
    ('2001::808:808'), ('fd00:ec2::254'), ('1.1.1.1'), ('8.8.8.8'), ('2606:4700::1111'), ('2a00::1'),
    ('::ffff:8.8.8.8'), ('64:ff9b::808:808'),
    ('2002:808:808::1')) AS v (a);

-- The list
\pset format unaligned
\pset tuples_only on
\pset fieldsep '\n  '
ALTER SYSTEM SET minga_roster.allowed_hosts = 'sis:0';
ALTER SYSTEM SET minga_roster.allowed_hosts = 'sis:65536';
ALTER SYSTEM SET minga_roster.allowed_hosts = 'sis:443x';
ALTER SYSTEM SET minga_roster.allowed_hosts = 'sis:';
ALTER SYSTEM SET minga_roster.allowed_hosts = '*';
ALTER SYSTEM SET minga_roster.allowed_hosts = '*.mesa.example';
ALTER SYSTEM SET minga_roster.allowed_hosts = 'sis.mesa.example,';
ALTER SYSTEM SET minga_roster.allowed_hosts = 'https://sis.mesa.example';
ALTER SYSTEM SET minga_roster.allowed_hosts = '10.0.0.0/8';
ALTER SYSTEM SET minga_roster.allowed_hosts = '::1';
ALTER SYSTEM SET minga_roster.allowed_hosts = '[::1';
ALTER SYSTEM SET minga_roster.allowed_hosts = '[sis]:8443';
\set VERBOSITY default
ALTER SYSTEM SET minga_roster.allowed_hosts = 'sis.mesa.example:443, sis.mesa.example/campus';
\set VERBOSITY terse

-- URLs: what their host and port tell is told before anything is asked for
CREATE FUNCTION pg_temp.url(host text) RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.refusal(
        format('SELECT (minga_roster_internal.normalize_url(%L, s.base_paths, s.token_path, NULL)).base_url '
            'FROM minga_roster.sis s WHERE s.sis = ''infinite_campus''',
        'https://' || host || '/campus/api/oneroster/v1p1/minga'))
$$;
CREATE FUNCTION pg_temp.token_url(host text) RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.refusal(format('SELECT minga_roster_internal.clean_token_url(%L)', 'https://' || host
        || '/token?client_secret=hidden'))
$$;
SELECT pg_temp.url(host), pg_temp.token_url(host)
    FROM unnest(ARRAY['127.0.0.1:8443', 'sis.mesa.example:8443', 'localhost']) AS host;
SELECT count(*), string_agg(DISTINCT CASE WHEN u ~ '^22023: .* is not allowed\n'
    AND t ~ '^22023: token_url is not allowed\n' AND t !~ 'hidden' THEN 'all are refused'
    ELSE host || ': ' || u || E'\n' || t END, E'\n')
FROM unnest(ARRAY['127.0.0.1', '127.1', '0', '0.0.0.0', '2130706433', '0x7f000001', '0x7f.1', '017700000001',
    '0177.0.0.1', '127.0.0.1.',
    '%31%32%37.0.0.1', '0x7f%2e1', '127%2e1', 'LocalHost', 'localhost.', 'sis.localhost', 'SIS.LOCALHOST.',
    '[::1]', '[::]', '[0:0:0:0:0:0:0:1]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[::127.0.0.1]', '[64:ff9b::7f00:1]',
    '[2002:7f00:1::]',
    '10.0.0.1', '10.1', '0xa000001', '012.0.0.1', '172.16.0.1', '192.168.1.1', '192.168.257', '[fd12::1]', '[fe80::1]',
    '169.254.169.254', '2852039166', '0xa9fea9fe', '0251.0376.0251.0376', '[::ffff:a9fe:a9fe]', '[fd00:ec2::254]',
    '100.100.100.200', '168.63.129.16',
    '255.255.255.255', '224.0.0.1', 'sis.example:80', 'sis.example:22', 'sis.example:8443', '8.8.8.8:5432',
    '[2606:4700::1111]:8443']) AS host,
    LATERAL (SELECT pg_temp.url(host), pg_temp.token_url(host)) AS p (u, t);
-- what stands before "@" is no host
SELECT pg_temp.url(host), pg_temp.token_url(host)
FROM unnest(ARRAY['sis.mesa.example@127.0.0.1', ':word@sis.mesa.example', 'sis.mesa.example\@127.0.0.1']) AS host;
-- what is allowed by itself; where its name leads is seen on the socket
SELECT pg_temp.url(host), pg_temp.token_url(host)
FROM unnest(ARRAY['sis.example', 'sis.example:443', '8.8.8.8', '[2606:4700::1111]', 'localhost.example',
    'metadata.google.internal']) AS host;

-- Token URLs are read as URLs are
SELECT pg_temp.refusal(format('SELECT minga_roster_internal.clean_token_url(%L)', url))
FROM (VALUES ('sis.example/token'), ('http://sis.example/token'), ('ftp://sis.example/token'), ('https:///token'),
    ('https:sis.example'), ('https://'),
    ('https://sis.example/to ken'), (E'https://sis.example/to\tken'), (E'https://sis.example/a\u00a0b'),
    (E'https://sis.example/a\u200bb'),
    ('https://sis.example/token#part'), ('https://sis.example:99999/token'), ('https://sis.example:x/token'),
    ('https://a b/token'),
    ('https://sis%0aexample/token'), ('https://[fe80::1%25lo]/token'), ('https://sis{}.example/token')) AS v (url);
SELECT minga_roster_internal.clean_token_url(url)
FROM (VALUES (E' https://Login.Example/Token?x=1&y=%20 \n'), ('HTTPS://login.example:443'),
    ('https://login.example/a/../token')) AS v (url);

-- What the list names is allowed, in any spelling and with that port
\set setting allowed_hosts
\set value ' SIS.Mesa.example:8443 ,10.1.2.3,[::1]:*, 0x7f.1:8443,sis.mesa.example'
\i :set_setting
SELECT host, pg_temp.url(host), pg_temp.token_url(host)
FROM unnest(ARRAY['sis.mesa.example', 'SIS.MESA.EXAMPLE.:8443', '10.1.2.3', '10.66051', '[::1]', '[0::1]:9999',
    '127.0.0.1:8443', '2130706433:8443']) AS host;
SELECT host, substring(pg_temp.url(host) FROM 'DETAIL: [^\n]*'),
    substring(pg_temp.token_url(host) FROM 'DETAIL: [^\n]*')
FROM unnest(ARRAY['sis.mesa.example:8444', '10.1.2.3:8443', '10.1.2.4', '127.0.0.1', 'localhost:8443',
    '[::ffff:127.0.0.1]:8443', 'a.sis.mesa.example:8443']) AS host;
ALTER SYSTEM RESET minga_roster.allowed_hosts;
SELECT pg_reload_conf();
