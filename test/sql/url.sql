-- URLs as people paste them, brought to their normal form.
\getenv abs_srcdir PG_ABS_SRCDIR
\set set_setting :abs_srcdir '/fixtures/set_setting.sql'
CREATE FUNCTION pg_temp.campus(url text, app_name text DEFAULT NULL) RETURNS TABLE (base_url text, token_url text,
    app text) LANGUAGE plpgsql AS $$
DECLARE
    message text; detail text; hint text;
BEGIN
    RETURN QUERY SELECT n.base_url, n.token_url, n.app_name
    FROM minga_roster.sis s, minga_roster_internal.normalize_url(url, s.base_paths, s.token_path, campus.app_name) AS n
    WHERE s.sis = 'infinite_campus';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN QUERY SELECT 'ERROR ' || SQLSTATE || ': ' || message, 'DETAIL ' || detail, 'HINT ' || hint;
END
$$;
-- Ports and addresses that are not allowed by themselves
\set setting allowed_hosts
\set value 'campus.mingacityschools.us:8443, [2001:db8::1]:8443, localhost:8080, [::1]:*, localhost:80'
\i :set_setting
\pset format unaligned
\pset tuples_only on
\pset fieldsep '\n  '

-- the forms of reference: short, long, legacy, the token URL
SELECT * FROM pg_temp.campus('https://campus.mingacityschools.us/campus/api/oneroster/v1p1/minga');
SELECT * FROM pg_temp.campus('https://campus.mingacityschools.us/campus/api/oneroster/v1p1/minga/');
SELECT * FROM pg_temp.campus('https://campus.mingacityschools.us/campus/api/oneroster/v1p1/minga/ims/oneroster/v1p1');
SELECT * FROM pg_temp.campus(
    'https://campus.mingacityschools.us/campus/api/oneroster/v1p1/minga/ims/oneroster/v1p1'
    '/schools/x/students?limit=100#top');
SELECT * FROM pg_temp.campus('https://campus.mingacityschools.us/campus/api/oneroster/v1p1/minga/ims/oneroster');
SELECT * FROM pg_temp.campus('https://campus.mingacityschools.us/campus/oauth2/token?appName=minga');
SELECT * FROM pg_temp.campus('https://campus.mingacityschools.us/campus/oneroster/minga/ims/oneroster/v1p1/users');
SELECT * FROM pg_temp.campus('https://campus.mingacityschools.us/campus/oneroster/minga');
-- too short: the App Name has to be given
SELECT * FROM pg_temp.campus('https://campus.mingacityschools.us', 'minga');
SELECT * FROM pg_temp.campus('https://campus.mingacityschools.us/campus', 'minga');
SELECT * FROM pg_temp.campus('https://campus.mingacityschools.us/campus/api/oneroster/v1p1/', ' minga ');
SELECT * FROM pg_temp.campus('https://campus.mingacityschools.us/campus');
SELECT * FROM pg_temp.campus('https://campus.mingacityschools.us/campus/oauth2/token');
-- carelessly: spaces, capitals, no scheme, double slashes, a port
SELECT * FROM pg_temp.campus(E'  HTTPS://Campus.MingaCitySchools.US/Campus/API/OneRoster/V1P1/minga \n');
SELECT * FROM pg_temp.campus('campus.mingacityschools.us//campus/api//oneroster/v1p1/minga');
SELECT * FROM pg_temp.campus('https://campus.mingacityschools.us:443/campus/api/oneroster/v1p1/minga');
SELECT * FROM pg_temp.campus('https://campus.mingacityschools.us:8443/campus/api/oneroster/v1p1/minga');
SELECT * FROM pg_temp.campus('https://[2001:DB8::1]:8443/campus/api/oneroster/v1p1/minga');
-- the App Name given differs from the path's: the path keeps its own, the token takes the one given
SELECT * FROM pg_temp.campus('https://campus.mingacityschools.us/campus/api/oneroster/v1p1/minga', 'other app');
SELECT * FROM pg_temp.campus('https://campus.mingacityschools.us/campus/api/oneroster/v1p1/my%20app');

-- what is no URL of this SIS
SELECT * FROM pg_temp.campus('');
SELECT * FROM pg_temp.campus('not a url');
SELECT * FROM pg_temp.campus('https://');
SELECT * FROM pg_temp.campus('https://user:hidden@campus.mingacityschools.us/campus/api/oneroster/v1p1/minga');
SELECT * FROM pg_temp.campus('https://user:hid den@campus.mingacityschools.us/campus');
SELECT * FROM pg_temp.campus('http://campus.mingacityschools.us/campus/api/oneroster/v1p1/minga');
SELECT * FROM pg_temp.campus('http://localhost/campus/api/oneroster/v1p1/minga');
SELECT * FROM pg_temp.campus('ftp://campus.mingacityschools.us/campus');
SELECT * FROM pg_temp.campus(
    'https://campus.mingacityschools.us/campus/api/oneroster/v1p2/minga/ims/oneroster/rostering/v1p2');
SELECT * FROM pg_temp.campus('https://campus.mingacityschools.us/campus/oneroster/minga/learningdata/v1');
SELECT * FROM pg_temp.campus('https://mesa.powerschool.example/ws/v1/school', 'minga');

-- a plain OneRoster server: any prefix before the root
SELECT n.base_url FROM (VALUES ('https://roster.example.org'), ('https://roster.example.org/ims/oneroster/v1p1/users'),
    ('https://roster.example.org/district/7/ims'),
    ('https://roster.example.org/aeries/ims/oneroster/v1p1/'), ('https://roster.example.org/ims/x/ims/oneroster/v1p1'))
    AS v (url),
    minga_roster.sis s, minga_roster_internal.normalize_url(url, s.base_paths, s.token_path, NULL) AS n
    WHERE s.sis = 'oneroster_1.1';
SELECT n.token_url IS NULL, n.app_name IS NULL FROM minga_roster.sis s,
    minga_roster_internal.normalize_url('https://roster.example.org', s.base_paths, s.token_path, NULL) AS n
    WHERE s.sis = 'oneroster_1.1';

-- the other presets
CREATE FUNCTION pg_temp.address(sis text, url text, app_name text DEFAULT NULL) RETURNS TABLE (base_url text,
    token_url text, app text) LANGUAGE plpgsql AS $$
DECLARE
    message text; detail text; hint text;
BEGIN
    RETURN QUERY SELECT n.base_url, n.token_url, n.app_name
    FROM minga_roster.sis s, minga_roster_internal.normalize_url(url, s.base_paths, s.token_path, address.app_name) AS n
    WHERE s.sis = address.sis;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN QUERY SELECT 'ERROR ' || SQLSTATE || ': ' || message, 'DETAIL ' || detail, 'HINT ' || hint;
END
$$;
SELECT a.* FROM (VALUES ('https://campus.mesa.example/campus/api/oneroster/v1p2/minga'),
    ('https://campus.mesa.example/campus/api/oneroster/v1p2/minga/ims/oneroster/rostering/v1p2/'),
    ('campus.mesa.example/Campus/api/oneroster/V1P2/minga/ims/oneroster/rostering/v1p2/schools/x/students?limit=5'),
    ('https://campus.mesa.example/campus/api/oneroster/v1p2/minga/ims'),
    ('https://campus.mesa.example/campus/oauth2/token?appName=minga')) AS v (url),
    pg_temp.address('infinite_campus_1.2', v.url) AS a;
SELECT * FROM pg_temp.address('infinite_campus_1.2',
    'https://campus.mesa.example/campus/api/ims/oneroster/rostering/v1p2', 'minga');
SELECT * FROM pg_temp.address('infinite_campus_1.2',
    'https://campus.mesa.example/campus/api/ims/oneroster/rostering/v1p2');
SELECT * FROM pg_temp.address('infinite_campus_1.2', 'https://campus.mesa.example/campus/api/oneroster/v1p1/minga');
SELECT * FROM pg_temp.address('infinite_campus_1.2',
    'https://campus.mesa.example/campus/oneroster/minga/learningdata/v1');
SELECT * FROM pg_temp.address('oneroster_1.2', 'https://roster.example.org/or/ims/oneroster/rostering/v1p2/users');
SELECT * FROM pg_temp.address('oneroster_1.2', 'https://roster.example.org/or/ims/oneroster/rostering');
SELECT * FROM pg_temp.address('oneroster_1.2', 'https://roster.example.org/ims/oneroster/v1p1');
SELECT * FROM pg_temp.address('oneroster_1.1', 'https://roster.example.org/ims/oneroster/rostering/v1p2');
SELECT * FROM pg_temp.address('classlink', 'https://mesa.oneroster.com');
SELECT a.* FROM (VALUES ('https://oneroster-proxy.classlink.io/MoYPlyQWmG0%3D/ims/oneroster/v1p1/schools'),
    ('https://oneroster-proxy.classlink.io/MoYPlyQWmG0%3D'),
    ('https://oneroster-proxy.apis.classlink.com/proxy/v1p0/MoYPlyQWmG0%3D')) AS v (url),
    pg_temp.address('classlink_proxy', v.url) AS a;
SELECT * FROM pg_temp.address('classlink_proxy', 'https://oneroster-proxy.classlink.io', 'MoYPlyQWmG0=');
SELECT * FROM pg_temp.address('classlink_proxy', 'https://oneroster-proxy.classlink.io');
SELECT a.* FROM (VALUES ('https://mesa.powerschool.example'), ('https://mesa.powerschool.example/oauth/access_token'))
    AS v (url), pg_temp.address('powerschool', v.url) AS a;
SELECT a.* FROM (VALUES ('https://mesa.aeries.example/aeries'), ('https://mesa.aeries.example/aeries/token'),
    ('https://mesa.aeries.example/aeries/ims/oneroster/v1p1/orgs'),
    ('https://mesa.aeries.example/token')) AS v (url), pg_temp.address('aeries', v.url) AS a;
SELECT a.* FROM (VALUES ('https://api.sky.blackbaud.com/afe-rostr/ims/oneroster/v1p1/'),
    ('https://mesa.myschoolapp.example/ims/oneroster/v1p1')) AS v (url), pg_temp.address('blackbaud', v.url) AS a;
SELECT * FROM pg_temp.address('blackbaud', 'https://oauth2.sky.blackbaud.com/token');

-- what else comes with pasting: no-break and zero-width spaces; a secret in a query is not shown; the App Name is left
-- out
SELECT * FROM pg_temp.campus(E'\u00a0\u200bhttps://campus.mingacityschools.us/campus/api/oneroster/v1p1/minga\u00a0');
SELECT * FROM pg_temp.campus('https://campus.mingacityschools.us/campus/oauth2/token?lang=en&appname=my+app');
SELECT * FROM pg_temp.campus('https://campus.mingacityschools.us/campus/api/oneroster/v1p1/schüler');
SELECT * FROM pg_temp.campus('https://campus.mingacityschools.us/other?client_secret=hidden', 'minga');
SELECT * FROM pg_temp.campus('minga');
SELECT * FROM pg_temp.campus('https://campus.mingacityschools.us/campus/api/oneroster/v1p1/ims/oneroster/v1p1');
SELECT * FROM pg_temp.campus('https://campus.mingacityschools.us/campus/api/oneroster/v1p1/%FF%00');
SELECT * FROM pg_temp.campus('https://[fe80::1%25eth0]/campus', 'minga');
SELECT * FROM pg_temp.campus('https://campus.example.org/campus', '..');
SELECT * FROM pg_temp.campus('https://campus%95.example.org/campus/api/oneroster/v1p1/minga');
SELECT * FROM pg_temp.campus('https://campus%07.example.org/campus/api/oneroster/v1p1/minga');
-- http is for tests: to this machine alone, and only where the setting allows it
\set setting insecure_loopback
\set value on
\i :set_setting
SELECT * FROM pg_temp.campus('http://localhost:8080/campus', 'minga');
SELECT * FROM pg_temp.campus('http://[::1]:8080/campus', 'minga');
SELECT * FROM pg_temp.campus('http://localhost.example.org/campus', 'minga');
\set value off
\i :set_setting
SELECT * FROM pg_temp.campus('http://localhost:8080/campus', 'minga');
ALTER SYSTEM RESET minga_roster.insecure_loopback;
ALTER SYSTEM RESET minga_roster.allowed_hosts;
SELECT pg_reload_conf();
