/*
 * key_file.c
 *	  The keys that seal secrets: the file that minga_roster.key_file names, one
 *	  key of 64 hexadecimal digits on each line.
 *
 * The file is read for each use and what was read is wiped after it, so that a
 * new key needs no restart.  The server never writes it.  What it must survive: a
 * file that others can read, that a backup of the data directory would hold, or
 * that holds anything else.  No key may reach an error text.
 */
#include "postgres.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"

#include "base/error.h"
#include "base/key_file.h"
#include "base/memory.h"
#include "base/settings.h"

/* What the largest file holds: its keys, with an end of line of two bytes each. */
#define FILE_MAX (MAX_KEYS * (2 * KEY_LEN + 2))

void
key_ring_wipe(KeyRing *ring)
{
	explicit_bzero(ring, sizeof(*ring));
}

/* The value of a hexadecimal digit, or -1. */
static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Keys of 64 hexadecimal digits with white space between them; false for anything else. */
static bool
read_keys(const char *text, ssize_t len, KeyRing *ring)
{
	const char *end = text +len;

	ring->count = 0;
	while (text <end)
	{
		if (isspace((unsigned char) *text))
		{
			text	  ++;

			continue;
		}
		if (ring->count == MAX_KEYS || end - text <2 * KEY_LEN)
			return false;
		for (int i = 0; i < KEY_LEN; i++, text +=2)
		{
			int			high = hex_digit(text[0]);
			int			low = hex_digit(text[1]);

			if (high < 0 || low < 0)
				return false;
			ring->keys[ring->count][i] = high << 4 | low;
		}
		if (text <end && !isspace((unsigned char) *text))
			return false;
		ring->count++;
	}
	return ring->count > 0;
}

/* Whether a path without links leads into the data directory. */
bool
is_in_data_directory(const char *path)
{
	char		data_directory[PATH_MAX];
	Size		len;

	if (realpath(DataDir, data_directory) == NULL)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not resolve path \"%s\": %m", DataDir)));
	len = strlen(data_directory);
	return strncmp(path, data_directory, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/*
 * Reads the keys, for the caller to wipe, or throws with what is wrong with the
 * file.  What is opened is what was resolved, and what is checked is what was
 * opened.  From before the first one is read the process leaves no core file.
 */
void
key_ring_load(KeyRing *ring)
{
	char		path[PATH_MAX];
	char		digits[FILE_MAX + 1];
	struct stat st;
	ssize_t		len;
	bool		ok;
	int			fd;

	if (roster_key_file == NULL || roster_key_file[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("no key file is set"),
				 errdetail("Secrets are stored sealed with a key, and minga_roster.key_file names no file that holds "
						   "one."),
				 errhint("Make one as the operating system user of the server, outside the data directory: umask 077; "
						 "openssl rand -hex 32 > /etc/postgresql/minga_roster.key. Then: LOAD 'minga_roster'; ALTER "
						 "SYSTEM SET minga_roster.key_file = '/etc/postgresql/minga_roster.key'; SELECT "
						 "pg_reload_conf();")));

	if (realpath(roster_key_file, path) == NULL)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open key file \"%s\": %m", roster_key_file),
				 errhint("minga_roster.key_file must name a file that the operating system user of the server can "
						 "read.")));

	if (is_in_data_directory(path))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("key file \"%s\" is inside the data directory", roster_key_file),
				 errdetail("A backup of the data directory would hold the key beside what it seals."),
				 errhint("Move the file elsewhere and name its new, absolute path in minga_roster.key_file.")));

	fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);
	if (fd < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open key file \"%s\": %m", roster_key_file),
				 errhint("minga_roster.key_file must name a file that the operating system user of the server can "
						 "read.")));
	if (fstat(fd, &st) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not stat key file \"%s\": %m", roster_key_file)));
	if (!S_ISREG(st.st_mode))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("key file \"%s\" is not a regular file", roster_key_file),
				 errhint("minga_roster.key_file must name a file with 64 hexadecimal digits.")));
	if (st.st_uid != geteuid() && st.st_uid != 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("key file \"%s\" belongs to another user", roster_key_file),
				 errdetail("Its owner is the user with id %u; the operating system user of the server or root must "
						   "own it.",
						   (unsigned int) st.st_uid),
				 errhint("Change its owner, and make a new key if you do not trust that user.")));
	/* As the server takes ssl_key_file: a file of root's, such as a container's secret, may be readable by a group. */
	if (st.st_mode & (st.st_uid == geteuid() ? S_IRWXG | S_IRWXO : S_IWGRP | S_IXGRP | S_IRWXO))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("key file \"%s\" is open to group or others", roster_key_file),
				 errdetail("Its mode is %04o; 0600 or less is needed, or 0640 or less if root owns it.",
						   (unsigned int) (st.st_mode & 07777)),
				 errhint("Run chmod %s on it. If someone may have read it, put a new key into its first line and "
						 "call roster_rotate_key().", st.st_uid == geteuid() ? "0600" : "0640")));

	never_dump_core();
	len = read(fd, digits, sizeof(digits));
	if (len < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read key file \"%s\": %m", roster_key_file)));
	CloseTransientFile(fd);
	ok = len <= FILE_MAX && read_keys(digits, len, ring);
	explicit_bzero(digits, sizeof(digits));
	if (!ok)
	{
		key_ring_wipe(ring);
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("key file \"%s\" holds no key", roster_key_file),
				 errdetail("Lines of 64 hexadecimal digits are expected, at most %d, and nothing else.", MAX_KEYS),
				 errhint("Make a key as the operating system user of the server: umask 077; openssl rand -hex 32 > "
						 "\"%s\".",
						 roster_key_file)));
	}
}
