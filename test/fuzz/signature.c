/*
 * signature.c
 *	  Fuzz target: the signature of a request to a URL; and, before anything else,
 *	  the published example of OAuth 1.0 (photos.example.net).
 */
#include "backend.h"

/* for what is static there */
#include "../../src/oneroster/oauth1.c"

bool		roster_insecure_loopback = true;
ResourceOwner CurrentResourceOwner = NULL;

/* The function's surroundings: nothing to keep track of, and an error raised again. */

ResourceOwner
ResourceOwnerCreate(ResourceOwner parent, const char *owner_name)
{
	return NULL;
}

void
ResourceOwnerDelete(ResourceOwner owner)
{
}

void
pg_re_throw(void)
{
	siglongjmp(*PG_exception_stack, 1);
}

/* Few elements: by insertion. */
void
list_sort(List *list, list_sort_comparator compare)
{
	for (int i = 1; i < list_length(list); i++)
	{
		for (int j = i; j > 0 && compare(&list->elements[j - 1], &list->elements[j]) > 0; j--)
		{
			ListCell	cell = list->elements[j];

			list->elements[j] = list->elements[j - 1];
			list->elements[j - 1] = cell;
		}
	}
}

static void
sign_published_example(void *argument)
{
	UrlParts	url;
	const char *why;
	List	   *parameters;
	char	   *base;

	check(url_parse("http://photos.example.net/photos?file=vacation.jpg&size=original", &url, &why),
		  "the example's URL is one");
	parameters = add_query(NIL, url.query);
	parameters = add_parameter(parameters, "oauth_consumer_key", "dpf43f3p2l4k3l03");
	parameters = add_parameter(parameters, "oauth_token", "nnch734d00sl2jdk");
	parameters = add_parameter(parameters, "oauth_nonce", "kllo9940pd9333jh");
	parameters = add_parameter(parameters, "oauth_timestamp", "1191242096");
	parameters = add_parameter(parameters, "oauth_signature_method", "HMAC-SHA1");
	parameters = add_parameter(parameters, "oauth_version", "1.0");
	base = signature_base("GET", &url, parameters);
	check(strcmp(base,
				 "GET&http%3A%2F%2Fphotos.example.net%2Fphotos&file%3Dvacation.jpg%26oauth_consumer_key%3Ddpf"
				 "43f3p2l4k3l03%26oauth_nonce%3Dkllo9940pd9333jh"
				 "%26oauth_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D1191242096"
				 "%26oauth_token%3Dnnch734d00sl2jdk%26oauth_version%3D1.0%26size%3Doriginal") == 0,
		  "the example's base string");
	check(strcmp(hmac_base64(PG_SHA1, "kd94hf93k423kf44&pfkkdhi9sl3r4s00", base), "tR3+Ty81lMeYAr/Fid0kMTYa/WM=") == 0,
		  "the example's signature");
}

/*
 * Parameters of RFC 5849, 3.4.1.3.1, which come in the query there; those of its
 * header and body are left out.  Sorted by encoded name, then by encoded value.
 */
static void
sort_published_parameters(void *argument)
{
	UrlParts	url;
	const char *why;

	check(url_parse("http://EXAMPLE.COM:80/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b&c2&a3=2+q", &url, &why),
		  "the RFC's URL is one");
	check(strcmp(signature_base("POST", &url, add_query(NIL, url.query)),
				 "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5"
				 "%3D%253D%25253D%26c%2540%3D%26c2%3D") == 0,
		  "the RFC's parameters in order");
}

static void
sign_it(void *argument)
{
	char	   *header = oauth1_authorization(PG_SHA256, "it's \"a&b\"", "c%d+e", "GET", argument);

	for (const char *c = header; *c != '\0'; c++)
		check(*c >= ' ' && *c <= '~', "a header is visible ASCII");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *url = malloc(size + 1);

	backend_reset();
	check(!backend_raises(sign_published_example, NULL), "the example is no error");
	check(!backend_raises(sort_published_parameters, NULL), "the RFC's parameters are no error");
	memcpy(url, data, size);
	url[size] = '\0';
	(void) backend_raises(sign_it, url);
	free(url);
	backend_reset();
	return 0;
}
