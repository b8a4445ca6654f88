/*
 * origins.c
 *	  Where the secret of a connection may go.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "net/url.h"
#include "oneroster/origins.h"

ROSTER_FUNCTION(roster_secret_origins);

/*
 * Where a secret may go, as text: the origins of the OneRoster root and of the
 * token endpoint, which is the root's where there is none.  Empty for the mail
 * password, whose server a superuser's setting names.  palloc'd.
 */
char *
secret_origins(const char *base_url, const char *token_url)
{
	const char *urls[] = {base_url, token_url == NULL ? base_url : token_url};
	const char *origins[2];

	if (base_url == NULL)
		return pstrdup("");
	for (int i = 0; i < lengthof(urls); i++)
	{
		origins[i] = url_origin(urls[i]);
		if (origins[i] == NULL)
			origins[i] = urls[i];
	}
	return strcmp(origins[0], origins[1]) == 0 ? pstrdup(origins[0]) : psprintf("%s and %s", origins[0], origins[1]);
}

/* secret_origins(base_url, token_url) */
Datum
roster_secret_origins(PG_FUNCTION_ARGS)
{
	char	   *base_url = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *token_url = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));

	PG_RETURN_TEXT_P(cstring_to_text(secret_origins(base_url, token_url)));
}
