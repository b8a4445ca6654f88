/*
 * pasted_url.c
 *	  Brings the URL that a person pastes to its normal form, by the path
 *	  templates of a SIS preset.
 *
 * People paste the base URL, a part of it, an endpoint below it, the token URL,
 * with spaces around and capital letters in it.  A template is matched segment
 * by segment: {app} stands for one segment, {prefix} for any number of leading
 * ones; the pasted path may end before the template does or go beyond it.
 *
 * The App Name in the path and the one of the token endpoint are usually but
 * not always the same: the path keeps its own, and the token URL takes the one
 * that was given, else the one of a pasted token URL, else the path's.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "nodes/pg_list.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/error.h"
#include "base/settings.h"
#include "net/address.h"
#include "net/url.h"

ROSTER_FUNCTION(roster_normalize_url);
ROSTER_FUNCTION(roster_clean_token_url);

/* How a pasted path fits a template. */
typedef struct TemplateMatch
{
	bool		fits;
	int			nmatched;		/* segments of the template that the path has */
	char	   *app;			/* as pasted, or NULL */
	char	   *prefix;			/* "" or "/a/b" */
} TemplateMatch;

/* The segments between the slashes of a path, empty ones left out. */
static List *
split_path(const char *path)
{
	List	   *segments = NIL;
	char	   *rest = pstrdup(path);
	char	   *segment;

	while ((segment = strsep(&rest, "/")) != NULL)
	{
		if (segment[0] != '\0')
			segments = lappend(segments, segment);
	}
	return segments;
}

static bool
is_placeholder(const char *segment, const char *name)
{
	return strcmp(segment, name) == 0;
}

/* Matches the path's segments from "start" on against the template's from "first" on. */
static bool
match_from(List *template, int first, List *path, int start, TemplateMatch *match)
{
	match->nmatched = 0;
	match->app = NULL;
	while (first + match->nmatched < list_length(template) && start + match->nmatched < list_length(path))
	{
		const char *wanted = list_nth(template, first + match->nmatched);
		char	   *found = list_nth(path, start + match->nmatched);

		if (is_placeholder(wanted, "{app}"))
		{
			int			next = first + match->nmatched + 1;

			/* What comes after it is no App Name: that was left out. */
			if (next < list_length(template) && pg_strcasecmp(list_nth(template, next), found) == 0)
				return false;
			match->app = found;
		}
		else if (pg_strcasecmp(wanted, found) != 0)
			return false;
		match->nmatched++;
	}
	return true;
}

static char *
join_segments(List *segments, int n)
{
	StringInfoData joined;

	initStringInfo(&joined);
	for (int i = 0; i < n; i++)
		appendStringInfo(&joined, "/%s", (char *) list_nth(segments, i));
	return joined.data;
}

/*
 * The best fit: with {prefix}, the leftmost place where the rest of the
 * template stands whole, else where the path's end begins it.
 */
static TemplateMatch
match_template(const char *template_text, List *path)
{
	List	   *template = split_path(template_text);
	TemplateMatch match = {0};
	bool		has_prefix = template != NIL && is_placeholder(linitial(template), "{prefix}");

	match.prefix = "";
	if (!has_prefix)
	{
		match.fits = match_from(template, 0, path, 0, &match);
		return match;
	}
	for (int whole = 1; whole >= 0; whole--)
	{
		for (int start = 0; start <= list_length(path); start++)
		{
			if (match_from(template, 1, path, start, &match) &&
				(!whole || match.nmatched == list_length(template) - 1))
			{
				match.fits = true;
				match.prefix = join_segments(path, start);
				return match;
			}
		}
	}
	return match;
}

/* The template with its placeholders filled in; "app" is already encoded. */
static char *
fill_template(const char *template, const char *prefix, const char *app)
{
	StringInfoData filled;

	initStringInfo(&filled);
	while (*template != '\0')
	{
		if (strncmp(template, "/{prefix}", 9) == 0 || strncmp(template, "{prefix}", 8) == 0)
		{
			appendStringInfoString(&filled, prefix);
			template += (*template == '/') ? 9 : 8;
		}
		else if (strncmp(template, "{app}", 5) == 0)
		{
			appendStringInfoString(&filled, app);
			template += 5;
		}
		else
			appendStringInfoChar(&filled, *template++);
	}
	return filled.data;
}

/* What comes with pasting: white space, no-break and zero-width spaces, the byte order mark. */
static int
pasted_space_at(const char *text)
{
	static const char *const spaces[] = {" ", "\t", "\r", "\n", "\xc2\xa0", "\xe2\x80\x8b", "\xef\xbb\xbf"};

	for (int i = 0; i < lengthof(spaces); i++)
	{
		if (strncmp(text, spaces[i], strlen(spaces[i])) == 0)
			return strlen(spaces[i]);
	}
	return 0;
}

/* The text without such spaces around it; palloc'd. */
static char *
trim(const char *text)
{
	const char *end;
	int			len;

	while ((len = pasted_space_at(text)) > 0)
		text	  +=len;
	end = text;

	for (const char *c = text; *c != '\0'; c += Max(len, 1))
	{
		len = pasted_space_at(c);
		if (len == 0)
			end = c + 1;
	}
	return pnstrdup(text, end - text);
}

/* The URL as an error may show it: a query can hold a secret. */
static const char *
shown(const char *url)
{
	return pnstrdup(url, strcspn(url, "?#"));
}

/* Why the text is no URL, or NULL; a text without a scheme is one where it starts with something like a host. */
static const char *
why_no_url(const char *url, UrlParts *parts)
{
	const char *why;

	if (url[0] == '\0')
		return "It is empty.";
	if (strpbrk(url, " \t\r\n") != NULL)
		return "There is white space in it.";
	if (!url_parse(url, parts, &why))
		return psprintf("It cannot be read as one: %s.", why);
	/* what stood there as %XX is bytes by now */
	for (const char *c = parts->host; *c != '\0'; c++)
	{
		if ((unsigned char) *c <= ' ' || *c == '\x7f')
			return "There is a control character in its host.";
	}
	if (!pg_verify_mbstr(PG_UTF8, parts->host, strlen(parts->host), true))
		return "Its host is not text in UTF-8.";
	if (strstr(url, "://") == NULL && strpbrk(parts->host, ".:") == NULL && !url_is_loopback(parts))
		return "It begins with neither https:// nor the name of a host.";
	return NULL;
}

static bool
is_https(const UrlParts *parts)
{
	return strcmp(parts->scheme, "https") == 0 ||
		(strcmp(parts->scheme, "http") == 0 && roster_insecure_loopback && url_is_loopback(parts));
}

/*
 * Takes a pasted URL apart; throws 22023 for one that is none, that carries a
 * password (which the error does not repeat) or is not https.
 */
static void
parse_pasted(const char *url, UrlParts *parts)
{
	const char *why = why_no_url(url, parts);

	if (why != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 strchr(url, '@') != NULL ? errmsg("invalid URL") : errmsg("invalid URL \"%s\"", shown(url)),
				 errdetail("%s", why),
				 errhint("Paste the URL as the student information system shows it, such as "
						 "\"https://campus.example.org/campus/api/oneroster/v1p1/minga\".")));
	if (parts->user != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the URL contains a user name or password"),
				 errdetail("It is not repeated here, nor stored."),
				 errhint("Leave out what stands before \"@\", and give client_id and client_secret instead.")));
	if (!is_https(parts))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("URL \"%s\" is not an https URL", shown(url)),
				 errdetail("Its scheme is \"%s\"; secrets and children's data travel encrypted or not at "
						   "all.", parts->scheme),
				 errhint("Ask the school or its SIS vendor for the https address.")));
}

/* Throws 22023 for a URL, or a token URL where that is NULL, that leads to where no SIS may be. */
static void
refuse_host(const char *url, const UrlParts *parts)
{
	char	   *refusal = host_refusal(parts->host, url_port(parts));

	if (refusal != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 url == NULL ? errmsg("token_url is not allowed") : errmsg("URL \"%s\" is not allowed", shown(url)),
				 errdetail("%s", refusal),
				 errhint("%s", host_hint(parts->host, url_port(parts)))));
}

static char *
origin_of(const UrlParts *parts)
{
	return psprintf("%s://%s%s%s", parts->scheme, parts->host, parts->port == NULL ? "" : ":", parts->port == NULL ? ""
					: parts->port);
}

/* An App Name as it reads, NULL where it is but spaces; throws 22023 where the URL has bytes there that are no text. */
static char *
decode_app(const char *url, const char *encoded)
{
	char	   *app = url_decode(encoded);

	if (app == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("URL \"%s\" holds an App Name that is not text", shown(url)),
				 errdetail("\"%s\" does not stand for characters in UTF-8.", encoded),
				 errhint("Copy the URL again, or give the App Name as app_name.")));
	app = trim(app);
	return app[0] == '\0' ? NULL : app;
}

/* The value of the token path's "name={app}" in a pasted query, or NULL. */
static char *
app_in_query(const char *url, const char *query, const char *token_path)
{
	const char *app_place = strstr(token_path, "={app}");
	const char *name = app_place;
	Size		len;
	char	   *rest;
	char	   *pair;

	if (query == NULL || app_place == NULL)
		return NULL;
	while (name > token_path && strchr("?&", name[-1]) == NULL)
		name--;
	len = app_place - name;
	rest = pstrdup(query);
	while ((pair = strsep(&rest, "&")) != NULL)
	{
		if (pg_strncasecmp(pair, name, len) == 0 && pair[len] == '=' && pair[len + 1] != '\0')
		{
			for (char *c = pair; *c != '\0'; c++)
			{
				if (*c == '+')
					*c = ' ';
			}
			return decode_app(url, pair + len + 1);
		}
	}
	return NULL;
}

/* How many segments the path has before the template's token path, query aside; -1 where it is none. */
static int
segments_before_token_path(List *path, const char *token_path)
{
	List	   *template;
	TemplateMatch match = {0};
	int			first;
	int			start;

	if (token_path == NULL)
		return -1;
	template = split_path(pnstrdup(token_path, strcspn(token_path, "?")));
	first = (template != NIL && is_placeholder(linitial(template), "{prefix}")) ? 1 : 0;
	start = list_length(path) - (list_length(template) - first);
	if (start < 0 || (start > 0 && first == 0))
		return -1;
	return match_from(template, first, path, start, &match) ? start : -1;
}

/* The version of OneRoster that a segment of a path names, or NULL. */
static const char *
version_of(const char *segment)
{
	static const char *const versions[][2] = {{"learningdata", "1.0"}, {"v1p1", "1.1"}, {"v1p2", "1.2"}};

	for (int i = 0; i < lengthof(versions); i++)
	{
		if (pg_strcasecmp(segment, versions[i][0]) == 0)
			return versions[i][1];
	}
	return NULL;
}

/* Throws 22023 for a path that names another version than the templates do. */
static void
refuse_other_version(const char *url, List *path, ArrayType *templates)
{
	Datum	   *values;
	int			nvalues;
	const char *wanted = NULL;
	ListCell   *cell;

	deconstruct_array(templates, TEXTOID, -1, false, TYPALIGN_INT, &values, NULL, &nvalues);
	for (int i = 0; i < nvalues && wanted == NULL; i++)
	{
		List	   *template = split_path(TextDatumGetCString(values[i]));

		if (template != NIL)
			wanted = version_of(llast(template));
	}
	if (wanted == NULL)
		return;
	foreach(cell, path)
	{
		const char *segment = lfirst(cell);
		const char *found = version_of(segment);

		if (found != NULL && strcmp(found, wanted) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("URL \"%s\" is not of OneRoster %s", shown(url), wanted),
					 errdetail("The segment \"%s\" belongs to OneRoster %s.", segment, found),
					 errhint("Choose the sis of that version (SELECT sis, title FROM minga_roster.sis), or ask the "
							 "school for a connection of OneRoster %s.", wanted)));
	}
}

/* The template that the path fits: one that it has whole, else the one it has most of, the first of equals. */
static TemplateMatch
choose_template(ArrayType *templates, List *path, char **chosen)
{
	Datum	   *values;
	int			nvalues;
	TemplateMatch best = {0};

	deconstruct_array(templates, TEXTOID, -1, false, TYPALIGN_INT, &values, NULL, &nvalues);
	*chosen = NULL;
	for (int i = 0; i < nvalues; i++)
	{
		char	   *template = TextDatumGetCString(values[i]);
		TemplateMatch match = match_template(template, path);

		if (match.fits && (*chosen == NULL || match.nmatched > best.nmatched))
		{
			best = match;
			*chosen = template;
		}
		if (i == 0 && !best.fits)
			best.prefix = template;
	}
	return best;
}

/*
 * normalize_url(url, base_paths, token_path, app_name, is_stored) -> (app_name,
 * base_url, token_url); token_url is NULL where the preset has no token path.
 */
Datum
roster_normalize_url(PG_FUNCTION_ARGS)
{
	char	   *url;
	char	   *token_path = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));
	char	   *app = PG_ARGISNULL(3) ? NULL : trim(text_to_cstring(PG_GETARG_TEXT_PP(3)));
	char	   *path_app;
	char	   *template;
	char	   *base_url;
	char	   *token_url = NULL;
	UrlParts	parts;
	List	   *path;
	int			before_token_path;
	TemplateMatch match;
	TupleDesc	tupdesc;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(4))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("a URL is needed")));
	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("normalize_url must return a row")));
	if (app != NULL && app[0] == '\0')
		app = NULL;

	url = trim(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	parse_pasted(url, &parts);
	if (!PG_GETARG_BOOL(4))
		refuse_host(url, &parts);
	path = split_path(parts.path);
	before_token_path = segments_before_token_path(path, token_path);
	if (before_token_path >= 0)
	{
		if (app == NULL)
			app = app_in_query(url, parts.query, token_path);
		path = split_path(join_segments(path, before_token_path));
	}
	refuse_other_version(url, path, PG_GETARG_ARRAYTYPE_P(1));
	match = choose_template(PG_GETARG_ARRAYTYPE_P(1), path, &template);
	if (template == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("URL \"%s\" does not look like one of this student information system", shown(url)),
				 errdetail("Its path is \"%s\"; a path like \"%s\" is expected.", parts.path, match.prefix),
				 errhint("Compare it with the base URL that the student information system shows to the school, or "
						 "choose another sis.")));
	path_app = match.app;
	if (app == NULL && match.app != NULL)
	{
		app = decode_app(url, match.app);
		path_app = NULL;
	}
	if (path_app == NULL && app != NULL)
		path_app = url_encode(app);
	if (app == NULL && (strstr(template, "{app}") != NULL ||
						(token_path != NULL && strstr(token_path, "{app}") != NULL)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the App Name is missing"),
				 errdetail("URL \"%s\" does not tell it.", shown(url)),
				 errhint("Give app_name: it is the value after \"appName=\" in the token URL that the student "
						 "information system shows to the school, and with the ClassLink proxy the application's "
						 "id.")));

	if (app != NULL && (strcmp(app, ".") == 0 || strcmp(app, "..") == 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("App Name \"%s\" cannot stand in a URL", app),
				 errdetail("In a path it stands for the place above or for nothing."),
				 errhint("Give the App Name that the student information system shows to the school: it is the value "
						 "after \"appName=\" in the token URL.")));

	base_url = psprintf("%s%s", origin_of(&parts), fill_template(template, match.prefix, path_app));
	if (token_path != NULL)
		token_url = psprintf("%s%s", origin_of(&parts),
							 fill_template(token_path, match.prefix, app == NULL ? "" : url_encode(app)));
	if (app != NULL)
		values[0] = CStringGetTextDatum(app);
	nulls[0] = app == NULL;
	values[1] = CStringGetTextDatum(base_url);
	if (token_url != NULL)
		values[2] = CStringGetTextDatum(token_url);
	nulls[2] = token_url == NULL;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}

/* Why a text is no token URL, or NULL. */
static const char *
why_no_token_url(const char *url, UrlParts *parts)
{
	const char *rest = strstr(url, "://");
	const char *why;

	for (const char *c = url; *c != '\0'; c++)
	{
		if ((unsigned char) *c <= ' ' || *c == '\x7f' || pasted_space_at(c) > 0)
			return "There is white space or a control character in it.";
	}
	if (rest == NULL || rest[3] == '/')
		return "It does not begin with https:// and the name of a host.";
	if (strchr(url, '#') != NULL)
		return "It holds a fragment.";
	why = why_no_url(url, parts);
	if (why != NULL)
		return why;
	if (parts->user != NULL)
		return "It holds a user or password.";
	if (!is_https(parts))
		return "It does not begin with https://.";
	return NULL;
}

/*
 * clean_token_url(token_url) -> its normal form.  Throws 22023 for what is none,
 * or leads to where no SIS may be, without the value: it may hold credentials.
 */
Datum
roster_clean_token_url(PG_FUNCTION_ARGS)
{
	char	   *url = trim(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	UrlParts	parts;
	const char *why = why_no_token_url(url, &parts);

	if (why != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for token_url"),
				 errdetail("%s", why),
				 errhint("Copy the Token URL as the student information system shows it.")));
	refuse_host(NULL, &parts);
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("%s%s%s%s", origin_of(&parts), parts.path,
											  parts.query == NULL ? "" : "?", parts.query == NULL ? "" : parts.query)));
}
