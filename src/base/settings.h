/*
 * settings.h
 *	  What the settings minga_roster.* are at the moment.
 */
#ifndef MINGA_ROSTER_SETTINGS_H
#define MINGA_ROSTER_SETTINGS_H

#include "postgres.h"

/* What minga_roster.notify says of a run that ended. */
typedef enum RosterNotify
{
	NOTIFY_OFF,
	NOTIFY_RUN,
	NOTIFY_CONNECTION
} RosterNotify;

extern int	roster_max_workers;
extern int	roster_notify;
extern char *roster_key_file;
extern char *roster_secret_directory;
extern char *roster_smtp_url;
extern char *roster_smtp_user;
extern char *roster_smtp_from;
extern char *roster_smtp_ca_file;
extern char *roster_smtp_token_url;
extern char *roster_smtp_client_id;
extern char *roster_smtp_scope;
extern char *roster_ca_file;
extern int	roster_request_timeout;
extern char *roster_proxy;
extern bool roster_insecure_loopback;
extern int	roster_lock_timeout;
extern int	roster_merge_timeout;
extern char *roster_allowed_hosts;
extern int	roster_max_fetch_rows;
extern int	roster_max_fetch_megabytes;
extern bool roster_keep_stage;
extern char *roster_test_clock;

#endif							/* MINGA_ROSTER_SETTINGS_H */
