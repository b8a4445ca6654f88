/*
 * settings.c
 *	  What the settings minga_roster.* are at the moment.  minga_roster.c defines
 *	  them, with their bounds.
 */
#include "postgres.h"

#include "base/settings.h"

int			roster_max_workers = 2;
int			roster_notify = NOTIFY_CONNECTION;
char	   *roster_key_file = NULL;
char	   *roster_secret_directory = NULL;
char	   *roster_smtp_url = NULL;
char	   *roster_smtp_user = NULL;
char	   *roster_smtp_from = NULL;
char	   *roster_smtp_ca_file = NULL;
char	   *roster_smtp_token_url = NULL;
char	   *roster_smtp_client_id = NULL;
char	   *roster_smtp_scope = NULL;
char	   *roster_ca_file = NULL;
int			roster_request_timeout = 300;
char	   *roster_proxy = NULL;
bool		roster_insecure_loopback = false;
int			roster_lock_timeout = 900;
int			roster_merge_timeout = 7200;
char	   *roster_allowed_hosts = NULL;
int			roster_max_fetch_rows = 5000000;
int			roster_max_fetch_megabytes = 8192;
bool		roster_keep_stage = true;
char	   *roster_test_clock = NULL;
