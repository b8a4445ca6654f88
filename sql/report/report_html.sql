-- A report as an HTML page for mail programs: tables and inline styles, no images, no scripts. It is readable from 330
-- pixels, and has colors for dark mode. Every value is escaped before it goes into a template.

CREATE FUNCTION minga_roster_internal.page_style() RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT '
:root { color-scheme: light dark; supported-color-schemes: light dark; }
@media (prefers-color-scheme: dark) {
  .page { background-color: #14171a !important; }
  .sheet { background-color: #1e2327 !important; color: #e8eaed !important; border-color: #343b42 !important; }
  .quiet { color: #a9b3be !important; }
  .line { border-color: #343b42 !important; }
  .card { border-color: #343b42 !important; border-top-color: #f0a830 !important; }
  .code { background-color: #14171a !important; color: #e8eaed !important; }
  .good { background-color: #12301f !important; color: #d9f5e4 !important; border-color: #3fbf78 !important; }
  .action { background-color: #3a2a0c !important; color: #ffe9c4 !important; border-color: #f0a830 !important; }
  .bad { background-color: #3d1715 !important; color: #ffdcd8 !important; border-color: #ff7a6e !important; }
  .plain { background-color: #14273f !important; color: #dbe9fb !important; border-color: #6aa7ee !important; }
  .bar-good { background-color: #3fbf78 !important; }
  .bar-held { background-color: #f0a830 !important; }
  .bar-bad { background-color: #ff7a6e !important; }
  .bar-none { background-color: #343b42 !important; }
}
'
$$;
COMMENT ON FUNCTION minga_roster_internal.page_style() IS
'The style sheet of a report, with the colors for dark mode. The light colors are inline, because some mail programs '
'ignore style sheets.';

CREATE FUNCTION minga_roster_internal.html_page(title text, body text, footer text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.filled($template$<!DOCTYPE html>
<html lang="en" dir="ltr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body class="page" style="margin:0;padding:0;background-color:#f2f4f6;-webkit-text-size-adjust:100%;">
<table role="presentation" class="page" width="100%" cellpadding="0" cellspacing="0" style="background-color:#f2f4f6;">
<tr><td align="center" style="padding:12px 8px;">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" style="max-width:640px;table-layout:fixed;">
<tr><td class="sheet" style="padding:20px 18px;background-color:#ffffff;color:#1c232b;border:1px solid #dfe3e7;
border-radius:8px;text-align:left;{font}">
{body}
</td></tr>
<tr><td class="quiet" style="padding:14px 18px 6px;color:#56606c;font-size:13px;line-height:1.45;
text-align:left;{family}">
{footer}
</td></tr>
</table>
</td></tr>
</table>
</body>
</html>
$template$, jsonb_build_object(
        'title', minga_roster_internal.html_escaped(title),
        'style', minga_roster_internal.page_style(),
        'family', f.family,
        'font', 'font-size:15px;line-height:1.5;' || f.family,
        'body', body,
        'footer', footer))
    FROM (SELECT 'overflow-wrap:anywhere;word-break:break-word;'
        'font-family:-apple-system,Segoe UI,Roboto,Helvetica,Arial,sans-serif;' AS family) f
$$;
COMMENT ON FUNCTION minga_roster_internal.html_page(text, text, text) IS 'The whole page. body and footer are HTML.';

CREATE FUNCTION minga_roster_internal.html_text(content text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.filled('<p style="margin:0 0 10px;" dir="auto">{text}</p>',
        jsonb_build_object('text', minga_roster_internal.html_escaped(content)))
$$;
COMMENT ON FUNCTION minga_roster_internal.html_text(text) IS 'A paragraph.';

CREATE FUNCTION minga_roster_internal.html_heading(title text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.filled('<h2 style="margin:26px 0 8px;font-size:17px;line-height:1.3;">{title}</h2>',
        jsonb_build_object('title', minga_roster_internal.html_escaped(title)))
$$;
COMMENT ON FUNCTION minga_roster_internal.html_heading(text) IS 'A heading.';

CREATE FUNCTION minga_roster_internal.html_lead(content jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.filled('<h1 class="{tone}" style="margin:0 0 10px;padding:14px '
        '16px;font-size:{size}px;line-height:1.35;{colors}">{words}</h1>',
        jsonb_build_object(
            'tone', content ->> 'tone',
            'words', minga_roster_internal.html_escaped(content ->> 'words'),
            'size', CASE WHEN length(content ->> 'words') > 110 THEN 16 ELSE 19 END,
            'colors', CASE content ->> 'tone'
                WHEN 'good' THEN 'background-color:#e6f5ec;color:#103a22;border-left:6px solid #1f8a4c;'
                WHEN 'action' THEN 'background-color:#fff3dc;color:#4a2e00;border-left:6px solid #c77700;'
                WHEN 'bad' THEN 'background-color:#fdebe9;color:#5a1610;border-left:6px solid #c0362c;'
                ELSE 'background-color:#e9f1fb;color:#12304f;border-left:6px solid #2f6fbf;' END))
$$;
COMMENT ON FUNCTION minga_roster_internal.html_lead(jsonb) IS 'The first sentence, in a box colored by its tone.';

CREATE FUNCTION minga_roster_internal.html_items(items jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce('<ul style="margin:0 0 10px;padding:0 0 0 20px;">'
        || string_agg(minga_roster_internal.filled('<li style="margin:0 0 4px;" dir="auto">{item}</li>',
            jsonb_build_object('item', minga_roster_internal.html_escaped(i.item))), '' ORDER BY i.place)
        || '</ul>', '')
    FROM jsonb_array_elements_text(items) WITH ORDINALITY i (item, place)
$$;
COMMENT ON FUNCTION minga_roster_internal.html_items(jsonb) IS 'A list.';

CREATE FUNCTION minga_roster_internal.html_decision(content jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.filled(
$template$<table role="presentation" width="100%" cellpadding="0" cellspacing="0"
style="margin:18px 0 0;table-layout:fixed;">
<tr><td class="card" style="padding:12px 14px 4px;border:1px solid #d5dae0;border-top:4px solid #c77700;
border-radius:6px;">
<h2 style="margin:0 0 8px;font-size:17px;line-height:1.3;">{title}</h2>
{lines}
</td></tr>
</table>$template$, jsonb_build_object(
        'title', minga_roster_internal.html_escaped(content ->> 'title'),
        'lines', string_agg(minga_roster_internal.filled(
            '<p style="margin:0 0 8px;"><strong>{label}</strong><br>{words}</p>',
            jsonb_build_object(
                'label', minga_roster_internal.html_escaped(l.line ->> 0), 'words',
                    minga_roster_internal.html_escaped(l.line ->> 1)))
            -- The reasons follow what happened.
            || CASE l.place WHEN 1 THEN minga_roster_internal.html_items(content -> 'items') ELSE '' END, E'\n'
                ORDER BY l.place)))
    FROM jsonb_array_elements(content -> 'lines') WITH ORDINALITY l (line, place)
$$;
COMMENT ON FUNCTION minga_roster_internal.html_decision(jsonb) IS 'The result of decision() as a card.';

CREATE FUNCTION minga_roster_internal.html_counts(counts jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT '<table width="100%" cellpadding="0" cellspacing="0" style="border-collapse:collapse;">'
        || string_agg(minga_roster_internal.filled($template$<tr>
<td class="line" style="padding:6px 10px 6px 0;border-bottom:1px solid #e3e6ea;vertical-align:top;">{label}{who}</td>
<td class="line" align="right" style="padding:6px 0;border-bottom:1px solid #e3e6ea;vertical-align:top;
white-space:nowrap;font-weight:bold;">{number}</td>
</tr>$template$, jsonb_build_object(
            'label', minga_roster_internal.html_escaped(c.line ->> 0),
            'number', minga_roster_internal.html_escaped(c.line ->> 1),
            'who', CASE WHEN c.line ->> 2 <> ''
                THEN minga_roster_internal.filled(
                '<br><span class="quiet" style="color:#56606c;font-size:13px;">{who}</span>',
                jsonb_build_object('who', minga_roster_internal.html_escaped(c.line ->> 2))) END)), '' ORDER BY c.place)
        || '</table>'
    FROM jsonb_array_elements(counts) WITH ORDINALITY c (line, place)
$$;
COMMENT ON FUNCTION minga_roster_internal.html_counts(jsonb) IS
'What was done: label with who of them, and the number on the right.';

CREATE FUNCTION minga_roster_internal.html_evenings(evenings jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH bars AS (
        SELECT e.place, e.evening ->> 'date' AS date, e.evening ->> 'day' AS day, e.evening ->> 'words' AS words,
            e.evening ->> 'tone' AS tone,
            (e.evening ->> 'number')::bigint AS number,
            CASE WHEN (e.evening ->> 'number')::bigint > 0 THEN greatest(5,
                round((e.evening ->> 'number')::bigint * 56.0 / m.most)::integer)
                WHEN e.evening ->> 'tone' = 'none' THEN 2 ELSE 4 END AS height
        FROM jsonb_array_elements(evenings) WITH ORDINALITY e (evening, place)
        CROSS JOIN (SELECT max((l ->> 'number')::bigint) AS most FROM jsonb_array_elements(evenings) l) m
    )
    SELECT minga_roster_internal.filled($template$<table width="100%" cellpadding="0" cellspacing="0"
style="table-layout:fixed;border-collapse:collapse;">
<tr>
{bars}
</tr>
<tr>
{days}
</tr>
</table>
<p class="quiet" style="margin:8px 0 0;color:#56606c;font-size:13px;">{legend}</p>$template$, jsonb_build_object(
        'bars', string_agg(minga_roster_internal.filled($template$<td title="{alt}" aria-label="{alt}"
style="height:60px;padding:0 2px;vertical-align:bottom;">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0"><tr><td class="bar-{tone}" height="{height}"
style="height:{height}px;font-size:0;line-height:0;background-color:{color};">&nbsp;</td></tr></table></td>$template$,
            jsonb_build_object('alt', minga_roster_internal.html_escaped(format('%s: %s', b.date, b.words)), 'tone',
                b.tone,
                'height', b.height,
                'color', CASE b.tone WHEN 'good' THEN '#1f8a4c' WHEN 'held' THEN '#c77700' WHEN 'bad' THEN '#c0362c'
                    ELSE '#cfd5db' END)), E'\n' ORDER BY b.place),
        'days', string_agg(minga_roster_internal.filled('<td class="quiet" align="center" style="padding:4px 0 '
            '0;color:#56606c;font-size:11px;line-height:1;">{day}</td>',
            jsonb_build_object('day', b.day)), '' ORDER BY b.place),
        'legend', minga_roster_internal.html_escaped(minga_roster_internal.evenings_in_words(evenings))))
    FROM bars b
$$;
COMMENT ON FUNCTION minga_roster_internal.html_evenings(jsonb) IS
'The last evenings as bars made of table cells, each with its text, followed by a sentence that says the same.';

CREATE FUNCTION minga_roster_internal.evenings_in_words(evenings jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH known AS (
        SELECT e.place, e.evening ->> 'short' AS date, e.evening ->> 'tone' AS tone, e.evening ->> 'words' AS words,
            (e.evening ->> 'number')::bigint AS number
        FROM jsonb_array_elements(evenings) WITH ORDINALITY e (evening, place)
    )
    SELECT concat_ws(' ',
        format('%s to %s.', (SELECT date FROM known ORDER BY place LIMIT 1),
            (SELECT date FROM known ORDER BY place DESC LIMIT 1)),
        (SELECT format('Most on %s: %s.', date, words) FROM known WHERE number > 0 ORDER BY number DESC,
            place DESC LIMIT 1),
        (SELECT format('On hold: %s.', minga_roster_internal.in_list(array_agg(date ORDER BY place))) FROM known
            WHERE tone = 'held' HAVING count(*) > 0),
        (SELECT format('No sync, or a failed one: %s.', minga_roster_internal.in_list(array_agg(date ORDER BY place)))
            FROM known
            WHERE tone = 'bad' HAVING count(*) > 0))
$$;
COMMENT ON FUNCTION minga_roster_internal.evenings_in_words(jsonb) IS
'The chart of evenings as a sentence, for screen readers.';

CREATE FUNCTION minga_roster_internal.html_details(details jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT '<table role="presentation" width="100%" cellpadding="0" cellspacing="0" '
        'style="table-layout:fixed;border-collapse:collapse;margin:0 0 10px;font-size:13px;">'
        || string_agg(minga_roster_internal.filled($template$<tr>
<td class="quiet" width="88" style="width:88px;padding:3px 8px 3px 0;color:#56606c;vertical-align:top;">{label}</td>
<td style="padding:3px 0;vertical-align:top;" dir="auto">{value}</td>
</tr>$template$, jsonb_build_object('label', minga_roster_internal.html_escaped(d.pair ->> 0),
            'value', minga_roster_internal.html_escaped(d.pair ->> 1))), '' ORDER BY d.place)
        || '</table>'
    FROM jsonb_array_elements(details) WITH ORDINALITY d (pair, place)
$$;
COMMENT ON FUNCTION minga_roster_internal.html_details(jsonb) IS 'Labels and values.';

CREATE FUNCTION minga_roster_internal.html_statements(statements jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(minga_roster_internal.filled($template$<p style="margin:10px 0 4px;font-size:13px;">{why}:</p>
<p class="code" style="margin:0 0 8px;padding:8px 10px;background-color:#eef1f4;color:#1c232b;
font-family:Consolas,Menlo,monospace;font-size:12px;line-height:1.45;">{statement}</p>$template$,
        jsonb_build_object('why', minga_roster_internal.html_escaped(s.pair ->> 0), 'statement',
            minga_roster_internal.html_escaped(s.pair ->> 1))), E'\n' ORDER BY s.place)
    FROM jsonb_array_elements(statements) WITH ORDINALITY s (pair, place)
$$;
COMMENT ON FUNCTION minga_roster_internal.html_statements(jsonb) IS 'Statements, each below its purpose.';

CREATE FUNCTION minga_roster_internal.report_body(run bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(CASE p.part
        WHEN 'lead' THEN minga_roster_internal.html_lead(p.content)
        WHEN 'context' THEN minga_roster_internal.filled('<p class="quiet" '
            'style="margin:0;color:#56606c;font-size:13px;" dir="auto">{text}</p>',
            jsonb_build_object('text', minga_roster_internal.html_escaped(p.content #>> '{}')))
        WHEN 'decision' THEN minga_roster_internal.html_decision(p.content)
        WHEN 'heading' THEN minga_roster_internal.html_heading(p.content #>> '{}')
        WHEN 'counts' THEN minga_roster_internal.html_counts(p.content)
        WHEN 'evenings' THEN minga_roster_internal.html_evenings(p.content)
        WHEN 'items' THEN minga_roster_internal.html_items(p.content)
        WHEN 'details' THEN minga_roster_internal.html_details(p.content)
        WHEN 'statements' THEN minga_roster_internal.html_statements(p.content) END, E'\n' ORDER BY p.nth)
    FROM minga_roster_internal.report_parts(run) p
$$;
COMMENT ON FUNCTION minga_roster_internal.report_body(bigint) IS
'The report of a run as HTML, without the surrounding page.';

CREATE FUNCTION minga_roster_internal.do_report_html(run bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.readable_lines(minga_roster_internal.html_page(
        minga_roster_internal.report_subject(run),
        minga_roster_internal.report_body(run),
        minga_roster_internal.html_escaped('The report of a run of minga_roster.')))
$$;
COMMENT ON FUNCTION minga_roster_internal.do_report_html(bigint) IS 'Implements roster_report_html.';

CREATE FUNCTION roster_report_html(run bigint) RETURNS text
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_report_html(bigint) IS
'The same report as one HTML page with inline styles, without images or scripts; every value is escaped. 42704 for an '
'unknown run.';
