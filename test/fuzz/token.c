/*
 * token.c
 *	  Fuzz target: the answer of a token endpoint.
 */
#include "backend.h"

/* for what is static there */
#include "../../src/oneroster/oauth2.c"

typedef struct Reading
{
	HttpResponse response;
	TokenAnswer answer;
	bool		is_answer;
} Reading;

static void
read_it(void *argument)
{
	Reading    *reading = argument;

	reading->is_answer = read_answer(&reading->response, &reading->answer);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Reading		reading = {0};

	backend_reset();
	reading.response.status = 200;
	reading.response.len = size;
	reading.response.body = malloc(size + 1);
	memcpy(reading.response.body, data, size);
	reading.response.body[size] = '\0';
	if (!backend_raises(read_it, &reading) && reading.is_answer)
	{
		if (is_token(reading.answer.access_token))
			check(strpbrk(reading.answer.access_token, "\r\n") == NULL, "a token is fit for a header");
		if (is_error_code(reading.answer.error))
			check_text(reading.answer.error, strlen(reading.answer.error), "an error code is text");
	}
	free(reading.response.body);
	backend_reset();
	return 0;
}
