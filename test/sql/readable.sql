-- Characters that act on what people see go; what ends a line becomes a space, and runs of spaces that arise so one.
SELECT n, quote_literal(minga_roster_internal.readable(content)) AS readable,
    minga_roster_internal.readable(content) = content AS unchanged
FROM (VALUES
    (1, ''), (2, 'Anna  Maria'), (3, 'Zoë Ångström 日本語 Поток Ελένη '), (4, U&'a\200Cb\200Dc'),
    (5, U&'it\2019s \2014 fine\00A0\FFFD'), (6, E'\x1b[31mred\x07'), (7, U&'\009B31mred'), (8, U&'\202Etxt.exe\202C'),
    (9, U&'\FEFFa\FEFFb'), (10, U&'a\+0E0041\+0E007Fb'), (11, U&'a\+0E0080b'), (12, E'a\nb'), (13, E'a \r\n\t b'),
    (14, E'\na\n'), (15, E'a  b\n c'), (16, U&'a \202E b'), (17, U&'a\0085\2028\2029b'), (18, U&'a\202Eb'),
    (19, E'\x01\x02'),
    (20, U&'\061C\200E\200F\2066\2069\206A\206F\FFF9\FFFA\FFFB\007F'), (21, U&'\0627\061C\0644\FFFC\2065\2070'),
    (22, U&'\+01F600 \200B\00AD')) AS c (n, content)
ORDER BY n;

-- Each character from U+0001 on: which go, and which become a space.
WITH tried AS (
    SELECT c, 'a' || chr(c) || 'b' AS content FROM generate_series(1, x'10FFFF'::integer) c
    WHERE c NOT BETWEEN x'D800'::integer AND x'DFFF'::integer AND c <> 32
)
SELECT CASE minga_roster_internal.readable(content) WHEN 'ab' THEN 'removed' WHEN 'a b' THEN 'a space' ELSE 'other' END
    AS becomes,
    range_agg(int4range(c, c + 1)) AS characters
FROM tried WHERE minga_roster_internal.readable(content) <> content GROUP BY 1 ORDER BY 1;

-- What joins or parts letters, and what chooses a form, stays where a script is written with it, and nowhere else.
SELECT n, language, minga_roster_internal.readable(content) = content AS stays,
    length(content) - length(minga_roster_internal.readable(content)) AS removed
FROM (VALUES
    (1, 'Persian', U&'\0639\0644\06CC\200C\0631\0636\0627'),
    (2, 'Hindi', U&'\0936\0930\094D\200D\092E\093E'),
    (3, 'Sinhala', U&'\0DC1\0DCA\200D\0DBB\0DD3'),
    (4, 'Malayalam', U&'\0D28\0D4D\200D'),
    (5, 'Japanese', U&'\8FBB\+0E0100'),
    (6, 'Mongolian', U&'\1820\180B'),
    (7, 'emoji', U&'\+01F468\200D\+01F469\200D\+01F467'),
    (8, 'emoji', U&'\2764\FE0F\200D\+01F525'),
    (9, 'English', U&'An\200Dna\200C \200CLi\FE0F\+0E0100'),
    (10, 'Persian', U&'\200C\0639\0644\06CC\200C\200C \200C'),
    (11, 'Arabic', U&'\0627\202E\0644\200F\FEFF')) AS c (n, language, content)
ORDER BY n;

-- Clean is clean.
SELECT bool_and(minga_roster_internal.readable(r.content) = r.content)
FROM (SELECT minga_roster_internal.readable(E' a' || chr(c) || ' ' || chr(c) || E'b\n ') AS content
    FROM generate_series(1, 9000) c) r;
