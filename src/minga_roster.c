/*
 * minga_roster.c
 *	  Module entry: the settings, and the facts about this server that SQL reads
 *	  through the library (a setting is a mere custom variable to SQL until the
 *	  library is loaded).
 *
 * Every setting is PGC_SIGHUP, so that a session and its worker see the same
 * values.
 */
#include "postgres.h"

#include <ctype.h>
#include <limits.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/settings.h"
#include "net/address.h"

ROSTER_MODULE_MAGIC;

static int	keep_runs = 400;
static int	keep_changes = 90;
static int	keep_archived = 400;
static int	keep_audit = 1095;
static int	keep_history = 400;
static int	pause_after = 3;

static const struct config_enum_entry notify_options[] = {
	{"off", NOTIFY_OFF, false},
	{"run", NOTIFY_RUN, false},
	{"connection", NOTIFY_CONNECTION, false},
	{NULL, 0, false}
};

PGDLLEXPORT void _PG_init(void);

ROSTER_FUNCTION(roster_setting);

static void
define_text(const char *name, const char *description, char **variable)
{
	DefineCustomStringVariable(name, description, NULL, variable, "",
							   PGC_SIGHUP, 0, NULL, NULL, NULL);
}

void
_PG_init(void)
{
	DefineCustomIntVariable("minga_roster.max_workers",
							"Runs that may work at the same time.",
							NULL, &roster_max_workers, 2, 1, 64,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	define_text("minga_roster.key_file",
				"File with the key that seals client secrets, outside the data directory, mode 0600.",
				&roster_key_file);
	DefineCustomStringVariable("minga_roster.secret_directory",
							   "Directory of the files that roster_set_secret_from_file reads and removes.",
							   NULL, &roster_secret_directory, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	define_text("minga_roster.smtp_url",
				"Mail server, smtp://host:587 (STARTTLS) or smtps://host.",
				&roster_smtp_url);
	define_text("minga_roster.smtp_user",
				"User name at the mail server; its password is set by roster_set_secret('smtp', ...).",
				&roster_smtp_user);
	define_text("minga_roster.smtp_from",
				"Sender address of the mail to the owners.",
				&roster_smtp_from);
	define_text("minga_roster.smtp_ca_file",
				"Certificates to trust for the mail server and its token endpoint instead of the system's.",
				&roster_smtp_ca_file);
	define_text("minga_roster.smtp_token_url",
				"Token endpoint, for a mail server that takes OAuth 2.0 tokens and no password.",
				&roster_smtp_token_url);
	define_text("minga_roster.smtp_client_id",
				"Application (client) ID that tokens for the mail server are requested with; a Google key has its own.",
				&roster_smtp_client_id);
	define_text("minga_roster.smtp_scope",
				"Scope of tokens for the mail server; empty for that of Microsoft 365 or, with a Google key, of Gmail.",
				&roster_smtp_scope);
	define_text("minga_roster.ca_file",
				"Certificates to trust for student information systems instead of the system's.",
				&roster_ca_file);
	DefineCustomIntVariable("minga_roster.request_timeout",
							"Time that one request to a student information system or a mail server may take.",
							"It is given up after a fifth of this without data, and after a tenth without a "
							"connection.",
							&roster_request_timeout, 300, 5, 3600,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomStringVariable("minga_roster.proxy",
							   "Proxy to student information systems, http://host:port; empty for none.",
							   NULL, &roster_proxy, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomStringVariable("minga_roster.allowed_hosts",
							   "Hosts of student information systems in private networks or at ports other than 443.",
							   "A list of host (its port 443), host:port and host:* (any port), with commas between.",
							   &roster_allowed_hosts, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY, check_allowed_hosts, NULL, NULL);
	/* A roster of the largest district has a tenth of both: what reaches these has no end. */
	DefineCustomIntVariable("minga_roster.max_fetch_rows",
							"Rows that a run reads from a student information system at most.",
							NULL, &roster_max_fetch_rows, 5000000, 1000, INT_MAX,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("minga_roster.max_fetch_megabytes",
							"Megabytes, unpacked, that a run reads from a student information system at most.",
							NULL, &roster_max_fetch_megabytes, 8192, 1, INT_MAX,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("minga_roster.insecure_loopback",
							 "Allows http and unverified TLS to 127.0.0.1 and ::1, for tests.",
							 NULL, &roster_insecure_loopback, false,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("minga_roster.lock_timeout",
							"Time that a run waits for a lock on people before it fails.",
							NULL, &roster_lock_timeout, 900, 1, 86400,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("minga_roster.merge_timeout",
							"Time that planning and applying a run may take.",
							NULL, &roster_merge_timeout, 7200, 5, 86400,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("minga_roster.pause_after",
							"Failed evenings in a row after which Automatic Rostering pauses; 0 for never.",
							NULL, &pause_after, 3, 0, 365,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("minga_roster.notify",
							 "What is said on channel minga_roster when a run ended.",
							 "Each role that can connect to the database may listen. \"connection\": number, "
							 "connection, site, kind, state and counts. \"run\": the same without the connection "
							 "and its site.",
							 &roster_notify, NOTIFY_CONNECTION, notify_options,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("minga_roster.keep_runs",
							"Days to keep runs and sent mail.",
							NULL, &keep_runs, 400, 1, 36500,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("minga_roster.keep_changes",
							"Days to keep the changes of runs, which hold names of people.",
							NULL, &keep_changes, 90, 1, 36500,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("minga_roster.keep_stage",
							 "Whether the roster of the latest fetch is kept after the run.",
							 NULL, &roster_keep_stage, true,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("minga_roster.keep_archived",
							"Days to keep the values of archived people in changes.",
							NULL, &keep_archived, 400, 1, 36500,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("minga_roster.keep_audit",
							"Days to keep the record of who called what.",
							NULL, &keep_audit, 1095, 1, 36500,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("minga_roster.keep_history",
							"Days to keep former versions of classes, enrollments, contacts and users.",
							NULL, &keep_history, 400, 1, 36500,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("minga_roster.test_clock",
							   "A time to go by instead of the present, for tests.",
							   NULL, &roster_test_clock, "",
							   PGC_SIGHUP, 0, roster_check_test_clock, NULL, NULL);
	MarkGUCPrefixReserved("minga_roster");
}

Datum
roster_setting(PG_FUNCTION_ARGS)
{
	char	   *name = psprintf("minga_roster.%s", text_to_cstring(PG_GETARG_TEXT_PP(0)));

	PG_RETURN_TEXT_P(cstring_to_text(GetConfigOptionByName(name, NULL, false)));
}
