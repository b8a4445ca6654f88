/*
 * secret_file.c
 *	  A secret that is handed over in a file of minga_roster.secret_directory, so
 *	  that no SQL text holds it.
 *
 * The file is removed once the transaction that stored its secret has committed:
 * a rollback loses nothing, and what was committed leaves no file.  A crash
 * between the two leaves the file to be removed by hand, never a secret lost.
 *
 * What it must survive: a name that leads out of the directory; a link, a device,
 * a pipe, a file of someone else's, or one that others can read; a directory in
 * which others can put files; a file that is exchanged between the read and its
 * removal; synchronous_commit = off; an error at each step, with nothing of the
 * content in its text.
 */
#include "postgres.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "storage/fd.h"
#include "utils/memutils.h"

#include "base/error.h"
#include "base/key_file.h"
#include "base/memory.h"
#include "base/secret_file.h"
#include "base/settings.h"

#define SECRET_FILE_MAX 16384

#ifdef __APPLE__
#define st_ctim st_ctimespec
#endif

/* A file that goes when its transaction commits; in TopTransactionContext. */
typedef struct TakenFile
{
	struct TakenFile *next;
	int			nest_level;		/* of the subtransaction that has stored its secret */
	dev_t		device;
	ino_t		inode;			/* a new file may have that of one that is gone */
	struct timespec changed;
	char		path[FLEXIBLE_ARRAY_MEMBER];
} TakenFile;

static TakenFile *taken_files = NULL;

/* What of a file could not be done, or what is wrong with it. */
typedef enum FileFault
{
	FILE_FITS,
	FILE_NOT_OPENED,			/* errno says why */
	FILE_NOT_READ,				/* as does this */
	FILE_IS_LINK,
	FILE_IS_NO_FILE,
	FILE_OF_OTHERS,
	FILE_IS_OPEN,				/* to group or others */
	FILE_HAS_NAMES,
	FILE_IS_LARGE
} FileFault;

/* Removes what a committed transaction has read.  Nothing may be thrown here. */
static void
remove_taken_files(void)
{
	for (TakenFile *file = taken_files; file != NULL; file = file->next)
	{
		struct stat st;

		/* A file that was put there since then is another one. */
		if (lstat(file->path, &st) != 0 || st.st_dev != file->device || st.st_ino != file->inode ||
			st.st_ctim.tv_sec != file->changed.tv_sec || st.st_ctim.tv_nsec != file->changed.tv_nsec)
			continue;
		if (unlink(file->path) != 0 && errno != ENOENT)
			ereport(WARNING,
					(errcode_for_file_access(),
					 errmsg("a secret file could not be removed: %m"),
					 errdetail("Its secret is stored, and \"%s\" still holds it.", strrchr(file->path, '/') + 1),
					 errhint("Remove it by hand, and let the operating system user of the server own the directory of "
							 "minga_roster.secret_directory.")));
	}
	taken_files = NULL;
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_PREPARE && taken_files != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a transaction that has read a secret file cannot be prepared"),
				 errhint("Commit it. The file is removed then.")));
	if (event == XACT_EVENT_COMMIT)
		remove_taken_files();
	else if (event == XACT_EVENT_ABORT)
		taken_files = NULL;
}

/* What a subtransaction has read is its parent's when it ends well, and stays when it does not. */
static void
at_subtransaction_end(SubXactEvent event, SubTransactionId subid, SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		while (taken_files != NULL && taken_files->nest_level >= level)
			taken_files = taken_files->next;
	}
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (TakenFile *file = taken_files; file != NULL && file->nest_level == level; file = file->next)
			file->nest_level = level - 1;
	}
}

/* Has the file removed when the transaction commits. */
static void
remove_at_commit(const char *directory, const char *name, const struct stat *st)
{
	static bool registered = false;
	Size		size = strlen(directory) + strlen(name) + 2;
	TakenFile  *file = MemoryContextAlloc(TopTransactionContext, offsetof(TakenFile, path) + size);

	/* Else a crash could take back the commit after the file is gone. */
	ForceSyncCommit();
	if (!registered)
	{
		RegisterXactCallback(at_transaction_end, NULL);
		RegisterSubXactCallback(at_subtransaction_end, NULL);
		registered = true;
	}
	file->nest_level = GetCurrentTransactionNestLevel();
	file->device = st->st_dev;
	file->inode = st->st_ino;
	file->changed = st->st_ctim;
	snprintf(file->path, size, "%s/%s", directory, name);
	file->next = taken_files;
	taken_files = file;
}

/* Whether the name is one of a file in the directory itself. */
static bool
is_file_name(const char *name)
{
	return name[0] != '\0' && strlen(name) <= NAME_MAX && strchr(name, '/') == NULL &&
		strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* The setting's directory without links in its path, or an error with what is wrong with it. */
static void
find_directory(char *path)
{
	struct stat st;
	const char *hint = "Make one for the operating system user of the server, outside the data directory: install -d "
	"-m 0700 -o postgres /etc/postgresql/minga_roster.secrets. Then: LOAD 'minga_roster'; ALTER SYSTEM SET "
	"minga_roster.secret_directory = '/etc/postgresql/minga_roster.secrets'; SELECT pg_reload_conf();";

	if (roster_secret_directory == NULL || roster_secret_directory[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("no secret directory is set"),
				 errdetail("Secret files are read from one directory alone, and minga_roster.secret_directory names "
						   "none."),
				 errhint("%s", hint)));
	if (realpath(roster_secret_directory, path) == NULL || stat(path, &st) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open the secret directory: %m"),
				 errhint("%s", hint)));
	if (is_in_data_directory(path))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("the secret directory is inside the data directory"),
				 errdetail("A backup of the data directory would hold the secrets in it."),
				 errhint("%s", hint)));
	if (!S_ISDIR(st.st_mode))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("the secret directory is not a directory"),
				 errhint("%s", hint)));
	if ((st.st_uid != geteuid() && st.st_uid != 0) || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("others can write to the secret directory"),
				 errdetail("Its owner is the user with id %u and its mode %04o; the operating system user of the "
						   "server or root must own it, and no one else may write to it.",
						   (unsigned int) st.st_uid, (unsigned int) (st.st_mode & 07777)),
				 errhint("Run chown postgres and chmod 0700 on it.")));
}

/* Reads a file that was opened, up to one byte more than it may have; -1 with errno. */
static ssize_t
read_all(int fd, char *content)
{
	ssize_t		len = 0;

	while (len <= SECRET_FILE_MAX)
	{
		ssize_t		got = read(fd, content + len, SECRET_FILE_MAX + 1 - len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		len += got;
	}
	return len;
}

/* Reads the file, and throws nothing.  What is checked is what was opened. */
static FileFault
read_file(const char *directory, const char *name, char *content, ssize_t *len, struct stat *st)
{
	FileFault	fault = FILE_FITS;
	int			fd;
	int			directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int			saved;

	if (directory_fd < 0)
		return FILE_NOT_OPENED;
	fd = openat(directory_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	saved = errno;
	close(directory_fd);
	errno = saved;
	if (fd < 0)
		return errno == ELOOP ? FILE_IS_LINK : FILE_NOT_OPENED;
	if (fstat(fd, st) != 0)
		fault = FILE_NOT_READ;
	else if (!S_ISREG(st->st_mode))
		fault = FILE_IS_NO_FILE;
	else if (st->st_uid != geteuid())
		fault = FILE_OF_OTHERS;
	else if ((st->st_mode & (S_IRWXG | S_IRWXO)) != 0)
		fault = FILE_IS_OPEN;
	else if (st->st_nlink != 1)
		fault = FILE_HAS_NAMES;
	else if ((*len = read_all(fd, content)) < 0)
		fault = FILE_NOT_READ;
	else if (*len > SECRET_FILE_MAX)
		fault = FILE_IS_LARGE;
	saved = errno;
	close(fd);
	errno = saved;
	return fault;
}

/* Raises what is wrong with the file. */
static void
refuse_file(FileFault fault, const char *name, const struct stat *st)
{
	const char *as_server = "Write it as the operating system user of the server, into the directory that "
	"minga_roster.secret_directory names: umask 077; cat > FILE.";

	switch (fault)
	{
		case FILE_NOT_OPENED:
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not open secret file \"%s\": %m", name),
					 errhint("%s", as_server)));
			break;
		case FILE_NOT_READ:
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not read secret file \"%s\": %m", name),
					 errhint("%s", as_server)));
			break;
		case FILE_IS_LINK:
		case FILE_IS_NO_FILE:
			ereport(ERROR,
					(errcode(ERRCODE_CONFIG_FILE_ERROR),
					 errmsg("secret file \"%s\" is not a regular file", name),
					 errdetail("Links, directories, pipes and devices are not read."),
					 errhint("%s", as_server)));
			break;
		case FILE_OF_OTHERS:
			ereport(ERROR,
					(errcode(ERRCODE_CONFIG_FILE_ERROR),
					 errmsg("secret file \"%s\" belongs to another user", name),
					 errdetail("Its owner is the user with id %u; the operating system user of the server must own "
							   "it.", (unsigned int) st->st_uid),
					 errhint("%s", as_server)));
			break;
		case FILE_IS_OPEN:
			ereport(ERROR,
					(errcode(ERRCODE_CONFIG_FILE_ERROR),
					 errmsg("secret file \"%s\" is open to group or others", name),
					 errdetail("Its mode is %04o; 0600 or less is needed.", (unsigned int) (st->st_mode & 07777)),
					 errhint("Run chmod 0600 on it. If someone may have read it, ask for a new secret.")));
			break;
		case FILE_HAS_NAMES:
			ereport(ERROR,
					(errcode(ERRCODE_CONFIG_FILE_ERROR),
					 errmsg("secret file \"%s\" has more than one name", name),
					 errdetail("It has %u hard links; the secret would stay behind under the others.",
							   (unsigned int) st->st_nlink),
					 errhint("Remove the other names, and find out who made them.")));
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("secret file \"%s\" holds no secret", name),
					 errdetail("It has more than %d bytes.", SECRET_FILE_MAX),
					 errhint("%s", as_server)));
	}
}

/*
 * The secret in a file of the secret directory, without one end of line after it:
 * palloc'd, and wiped with the current memory context at the latest.  The file
 * goes when the transaction commits.
 */
char *
secret_file_take(const char *name)
{
	char		directory[PATH_MAX];
	char	   *content;
	ssize_t		len = 0;
	struct stat st;
	FileFault	fault;

	if (!is_file_name(name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not the name of a file", name),
				 errdetail("A name without \"/\" is expected, of a file in the directory itself."),
				 errhint("Put the file into the directory that minga_roster.secret_directory names, and give its name "
						 "alone.")));
	find_directory(directory);
	never_dump_core();
	content = palloc0(SECRET_FILE_MAX + 2);
	wipe_with_context(content, SECRET_FILE_MAX + 1);
	fault = read_file(directory, name, content, &len, &st);
	if (fault != FILE_FITS)
		refuse_file(fault, name, &st);
	if (len > 0 && content[len - 1] == '\n')
		len--;
	content[len] = '\0';
	if (memchr(content, '\0', len) != NULL || !pg_verify_mbstr(PG_UTF8, content, len, true))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("secret file \"%s\" holds no secret", name),
				 errdetail("It has a zero byte or is not valid UTF-8."),
				 errhint("Write the secret alone into it, as the SIS shows it.")));
	remove_at_commit(directory, name, &st);
	return content;
}
