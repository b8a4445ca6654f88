/*
 * redact.c
 *	  Which texts of errors may be shown: the one policy, for what is stored of a
 *	  run, which reports repeat, and for what is said of a statement on people.
 *
 * A text that may quote a person's data is never shown, and what may quote some
 * is judged by where the error comes from: texts of this extension never do, those
 * of the server by the class of their SQLSTATE, those of a deployment's code
 * always may.
 */
#include "postgres.h"

#include "base/error.h"
#include "base/redact.h"

/* Whether the server words errors of this class with values; the others name objects and resources alone. */
static bool
class_may_quote_data(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_CONNECTION_EXCEPTION:
		case ERRCODE_FEATURE_NOT_SUPPORTED:
		case ERRCODE_INVALID_TRANSACTION_STATE:
		case ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION:
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_PROGRAM_LIMIT_EXCEEDED:
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
		case ERRCODE_CONFIG_FILE_ERROR:
		case ERRCODE_INTERNAL_ERROR:
			return false;
		default:
			return true;
	}
}

/* Did a function of the deployment run into it?  Such have lines of context; the statement itself has none. */
bool
error_is_from_within(const ErrorData *edata)
{
	return edata->context != NULL;
}

/*
 * Could the text of this error quote a person's data?  Only classes whose
 * texts name objects and resources are known not to, and they only where
 * the statement itself met them: what a function runs into may be worded with
 * values (RAISE under any SQLSTATE, EXECUTE).  From within one, and of names that
 * were looked up once the statement had begun (a value cast to regrole), only a
 * right or setting that the server refused is told, by the name of the object.
 */
bool
error_may_quote_data(const ErrorData *edata, bool has_begun)
{
	int			category = ERRCODE_TO_CATEGORY(edata->sqlerrcode);

	if (error_is_from_within(edata) || (has_begun && category == ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION))
		return edata->sqlerrcode != ERRCODE_INSUFFICIENT_PRIVILEGE || edata->filename == NULL ||
			(strcmp(edata->filename, "aclchk.c") != 0 && strcmp(edata->filename, "guc.c") != 0);
	return class_may_quote_data(edata->sqlerrcode);
}

/* Whether the error is in words of this extension: as_owner.c lets no one else's RAISE through. */
bool
error_is_in_our_words(const ErrorData *error)
{
	return strcmp(error->domain, TEXTDOMAIN) == 0 ||
		(error->funcname != NULL && strcmp(error->funcname, "exec_stmt_raise") == 0);
}

/* Whether what is stored of a run that failed may hold the texts of this error. */
bool
error_may_be_stored(const ErrorData *error)
{
	return error_is_in_our_words(error) || !class_may_quote_data(error->sqlerrcode);
}
