-- Time zones by their names. An operating system may drop old names with an upgrade (Debian 13 has them in a package of
-- their own), so a connection gets the name that stays, and one that is lost is told.

CREATE FUNCTION minga_roster_internal.usable_zone(time_zone text) RETURNS text
LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'roster_usable_zone';
COMMENT ON FUNCTION minga_roster_internal.usable_zone(text) IS
'The time zone itself, or "UTC" if the server does not know it or it is NULL, so that what was recorded can be shown '
'all the same.';

CREATE FUNCTION minga_roster_internal.zone_exists(time_zone text) RETURNS boolean
LANGUAGE sql STABLE
RETURN time_zone = 'UTC' OR minga_roster_internal.usable_zone(time_zone) = time_zone;
COMMENT ON FUNCTION minga_roster_internal.zone_exists(text) IS 'Whether the server knows the time zone.';

CREATE FUNCTION minga_roster_internal.require_zone(connection text, time_zone text, OUT zone text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT minga_roster_internal.zone_exists(time_zone) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('time zone "%s" does not exist', time_zone),
            DETAIL = format('The server knew it when it was set for "%s". An update of the operating system may have '
                'removed its name.', connection),
            HINT = minga_roster_internal.lost_zone_hint(time_zone, connection);
    END IF;
    zone := time_zone;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.require_zone(text, text) IS
'The time zone of a connection; 22023 if the server no longer knows it.';

CREATE FUNCTION minga_roster_internal.lasting_zone(time_zone text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- The names of tzdata's file "backward", and those of places for rules without a place.
    SELECT coalesce((SELECT z.lasting FROM (VALUES
    ('America/Argentina/ComodRivadavia', 'America/Argentina/Catamarca'),
    ('America/Buenos_Aires', 'America/Argentina/Buenos_Aires'), ('America/Catamarca', 'America/Argentina/Catamarca'),
    ('America/Cordoba', 'America/Argentina/Cordoba'), ('America/Fort_Wayne', 'America/Indiana/Indianapolis'),
    ('America/Godthab', 'America/Nuuk'), ('America/Indianapolis', 'America/Indiana/Indianapolis'),
    ('America/Jujuy', 'America/Argentina/Jujuy'), ('America/Knox_IN', 'America/Indiana/Knox'),
    ('America/Louisville', 'America/Kentucky/Louisville'), ('America/Mendoza', 'America/Argentina/Mendoza'),
    ('America/Rosario', 'America/Argentina/Cordoba'), ('Asia/Ashkhabad', 'Asia/Ashgabat'),
    ('Asia/Calcutta', 'Asia/Kolkata'), ('Asia/Choibalsan', 'Asia/Ulaanbaatar'), ('Asia/Chungking', 'Asia/Shanghai'),
    ('Asia/Dacca', 'Asia/Dhaka'), ('Asia/Katmandu', 'Asia/Kathmandu'), ('Asia/Macao', 'Asia/Macau'),
    ('Asia/Rangoon', 'Asia/Yangon'), ('Asia/Saigon', 'Asia/Ho_Chi_Minh'), ('Asia/Thimbu', 'Asia/Thimphu'),
    ('Asia/Ujung_Pandang', 'Asia/Makassar'), ('Asia/Ulan_Bator', 'Asia/Ulaanbaatar'),
    ('Atlantic/Faeroe', 'Atlantic/Faroe'), ('Australia/ACT', 'Australia/Sydney'),
    ('Australia/LHI', 'Australia/Lord_Howe'), ('Australia/NSW', 'Australia/Sydney'),
    ('Australia/North', 'Australia/Darwin'), ('Australia/Queensland', 'Australia/Brisbane'),
    ('Australia/South', 'Australia/Adelaide'), ('Australia/Tasmania', 'Australia/Hobart'),
    ('Australia/Victoria', 'Australia/Melbourne'), ('Australia/West', 'Australia/Perth'),
    ('Brazil/Acre', 'America/Rio_Branco'), ('Brazil/DeNoronha', 'America/Noronha'),
    ('Brazil/East', 'America/Sao_Paulo'), ('Brazil/West', 'America/Manaus'), ('CST6CDT', 'America/Chicago'),
    ('Canada/Atlantic', 'America/Halifax'), ('Canada/Central', 'America/Winnipeg'),
    ('Canada/Eastern', 'America/Toronto'), ('Canada/Mountain', 'America/Edmonton'),
    ('Canada/Newfoundland', 'America/St_Johns'), ('Canada/Pacific', 'America/Vancouver'),
    ('Canada/Saskatchewan', 'America/Regina'), ('Canada/Yukon', 'America/Whitehorse'),
    ('Chile/Continental', 'America/Santiago'), ('Chile/EasterIsland', 'Pacific/Easter'), ('Cuba', 'America/Havana'),
    ('EST5EDT', 'America/New_York'), ('Egypt', 'Africa/Cairo'), ('Eire', 'Europe/Dublin'),
    ('Europe/Kiev', 'Europe/Kyiv'), ('Europe/Uzhgorod', 'Europe/Kyiv'), ('Europe/Zaporozhye', 'Europe/Kyiv'),
    ('GB', 'Europe/London'), ('GB-Eire', 'Europe/London'), ('HST', 'Pacific/Honolulu'),
    ('Hongkong', 'Asia/Hong_Kong'), ('Iran', 'Asia/Tehran'), ('Israel', 'Asia/Jerusalem'),
    ('Jamaica', 'America/Jamaica'), ('Japan', 'Asia/Tokyo'), ('Kwajalein', 'Pacific/Kwajalein'),
    ('Libya', 'Africa/Tripoli'), ('MST7MDT', 'America/Denver'), ('Mexico/BajaNorte', 'America/Tijuana'),
    ('Mexico/BajaSur', 'America/Mazatlan'), ('Mexico/General', 'America/Mexico_City'), ('NZ', 'Pacific/Auckland'),
    ('NZ-CHAT', 'Pacific/Chatham'), ('Navajo', 'America/Denver'), ('PRC', 'Asia/Shanghai'),
    ('PST8PDT', 'America/Los_Angeles'), ('Pacific/Enderbury', 'Pacific/Kanton'), ('Poland', 'Europe/Warsaw'),
    ('Portugal', 'Europe/Lisbon'), ('ROC', 'Asia/Taipei'), ('ROK', 'Asia/Seoul'), ('Singapore', 'Asia/Singapore'),
    ('Turkey', 'Europe/Istanbul'), ('US/Alaska', 'America/Anchorage'), ('US/Aleutian', 'America/Adak'),
    ('US/Arizona', 'America/Phoenix'), ('US/Central', 'America/Chicago'),
    ('US/East-Indiana', 'America/Indiana/Indianapolis'), ('US/Eastern', 'America/New_York'),
    ('US/Hawaii', 'Pacific/Honolulu'), ('US/Indiana-Starke', 'America/Indiana/Knox'),
    ('US/Michigan', 'America/Detroit'), ('US/Mountain', 'America/Denver'), ('US/Pacific', 'America/Los_Angeles'),
    ('US/Samoa', 'Pacific/Pago_Pago'), ('W-SU', 'Europe/Moscow')
    ) AS z (former, lasting)
    WHERE z.former = n.name AND minga_roster_internal.zone_exists(z.lasting)),
        CASE WHEN minga_roster_internal.zone_exists(n.name) THEN n.name END, lasting_zone.time_zone)
    -- Some systems have each zone in a second directory.
    FROM regexp_replace(lasting_zone.time_zone, '^posix/', '') n (name)
$$;
COMMENT ON FUNCTION minga_roster_internal.lasting_zone(text) IS
'The name of a time zone that systems keep ("America/Denver") for a former one ("US/Mountain", '
'"posix/America/Denver"); any other name as it is.';

CREATE FUNCTION minga_roster_internal.lost_zone_hint(time_zone text, connection text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('Install the package of the operating system that has the former names (Debian and Ubuntu: '
        'tzdata-legacy), or name the place: SELECT minga_roster.roster_configure(%L, time_zone => %L).', connection,
        CASE WHEN minga_roster_internal.lasting_zone(time_zone) = time_zone THEN 'America/Denver'
            ELSE minga_roster_internal.lasting_zone(time_zone) END)
$$;
COMMENT ON FUNCTION minga_roster_internal.lost_zone_hint(text, text) IS
'What to do about a time zone of a connection that the server does not know.';

