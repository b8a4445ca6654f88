/*
 * seal.c
 *	  Seals secrets with AES-256-GCM.
 *
 * The only file that sees OpenSSL.  The key lives in the file that
 * minga_roster.key_file names, is read for each use and wiped afterwards, so
 * that a new key needs no restart and no core dump holds it for long.  A
 * sealed value must be useless without that file, and in any row but its own;
 * neither key nor clear text may reach an error text.
 *
 * Layout of a sealed value: version (1 byte), key id (8), nonce (12),
 * ciphertext (as long as the value), tag (16).  The header and the binding are
 * authenticated with it (secrets.c), so a secret opens for no other row and for
 * no other server.
 */
#include "postgres.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "miscadmin.h"
#include "storage/fd.h"

#include "base/error.h"
#include "base/seal.h"
#include "base/settings.h"

#define SEAL_VERSION 2
#define KEY_LEN 32
#define KEY_ID_LEN 8
#define NONCE_LEN 12
#define TAG_LEN 16
#define HEADER_LEN (1 + KEY_ID_LEN + NONCE_LEN)

/*
 * Encrypts or decrypts in_len bytes; tag is written when encrypting and
 * checked when decrypting.  Throws nothing, so that the context is always
 * freed here; false means that OpenSSL failed or the tag does not fit.
 */
static bool
gcm(bool encrypt, const unsigned char *key, const unsigned char *header,
	const char *binding, const unsigned char *in, int in_len,
	unsigned char *out, unsigned char *tag)
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	int			len;
	bool		ok;

	if (context == NULL)
		return false;
	ok = EVP_CipherInit_ex(context, EVP_aes_256_gcm(), NULL, key,
						   header + 1 + KEY_ID_LEN, encrypt) == 1 &&
		EVP_CipherUpdate(context, NULL, &len, header, HEADER_LEN) == 1 &&
		EVP_CipherUpdate(context, NULL, &len, (const unsigned char *) binding,
						 (int) strlen(binding)) == 1 &&
		EVP_CipherUpdate(context, out, &len, in, in_len) == 1 &&
		(encrypt ||
		 EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, TAG_LEN, tag) == 1) &&
		EVP_CipherFinal_ex(context, out + in_len, &len) == 1 &&
		(!encrypt ||
		 EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, TAG_LEN, tag) == 1);
	EVP_CIPHER_CTX_free(context);
	return ok;
}

/* Tells keys apart without telling anything of them: the start of their SHA-256. */
static bool
key_id(const unsigned char *key, unsigned char *id)
{
	unsigned char digest[EVP_MAX_MD_SIZE];

	if (EVP_Digest(key, KEY_LEN, digest, NULL, EVP_sha256(), NULL) != 1)
		return false;
	memcpy(id, digest, KEY_ID_LEN);
	return true;
}

/* 64 hexadecimal digits with white space after them, as bytes; false for anything else. */
static bool
key_from_hex(const char *digits, ssize_t len, unsigned char *key)
{
	int			i;

	while (len > 0 && isspace((unsigned char) digits[len - 1]))
		len--;
	if (len != 2 * KEY_LEN)
		return false;
	for (i = 0; i < len; i++)
	{
		char		c = digits[i];
		unsigned char digit;

		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if (c >= 'a' && c <= 'f')
			digit = c - 'a' + 10;
		else if (c >= 'A' && c <= 'F')
			digit = c - 'A' + 10;
		else
			return false;
		key[i / 2] = (i % 2 == 0) ? digit << 4 : key[i / 2] | digit;
	}
	return true;
}

/*
 * Reads the key, or throws with what is wrong with the file.  What is opened
 * is what was resolved, and what is checked is what was opened.
 */
static void
load_key(unsigned char *key)
{
	char		path[PATH_MAX];
	char		data_directory[PATH_MAX];
	char		digits[2 * KEY_LEN + 64];
	struct stat st;
	Size		data_len;
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
						 "openssl rand -hex 32 > /etc/postgresql/minga_roster.key. Then: ALTER SYSTEM SET "
						 "minga_roster.key_file = '/etc/postgresql/minga_roster.key'; SELECT pg_reload_conf();")));

	if (realpath(roster_key_file, path) == NULL)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open key file \"%s\": %m", roster_key_file),
				 errhint("minga_roster.key_file must name a file that the operating system user of the server can "
						 "read.")));

	if (realpath(DataDir, data_directory) == NULL)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not resolve path \"%s\": %m", DataDir)));
	data_len = strlen(data_directory);
	if (strncmp(path, data_directory, data_len) == 0 && path[data_len] == '/')
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
	if (st.st_mode & (S_IRWXG | S_IRWXO))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("key file \"%s\" is open to group or others", roster_key_file),
				 errdetail("Its mode is %04o; 0600 or less is needed.", (unsigned int) (st.st_mode & 07777)),
				 errhint("Run chmod 0600 on it. If someone may have read it, make a new key and set each secret again "
						 "with roster_set_secret.")));

	len = read(fd, digits, sizeof(digits));
	if (len < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read key file \"%s\": %m", roster_key_file)));
	CloseTransientFile(fd);
	ok = key_from_hex(digits, len, key);
	OPENSSL_cleanse(digits, sizeof(digits));
	if (!ok)
	{
		OPENSSL_cleanse(key, KEY_LEN);
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("key file \"%s\" holds no key", roster_key_file),
				 errdetail("64 hexadecimal digits are expected, and nothing else."),
				 errhint("Make a key as the operating system user of the server: umask 077; openssl rand -hex 32 > "
						 "\"%s\".",
						 roster_key_file)));
	}
}

/*
 * Seals value for what binding names.  The result is palloc'd; its
 * length goes to *sealed_len.  Throws when there is no good key file.
 */
char *
seal_value(const char *binding, const char *value, Size *sealed_len)
{
	Size		len = strlen(value);
	unsigned char key[KEY_LEN];
	unsigned char *sealed;
	bool		ok;

	*sealed_len = HEADER_LEN + len + TAG_LEN;
	sealed = palloc(*sealed_len);
	load_key(key);

	sealed[0] = SEAL_VERSION;
	ok = key_id(key, sealed + 1) &&
		RAND_bytes(sealed + 1 + KEY_ID_LEN, NONCE_LEN) == 1 &&
		gcm(true, key, sealed, binding, (const unsigned char *) value, (int) len,
			sealed + HEADER_LEN, sealed + HEADER_LEN + len);
	OPENSSL_cleanse(key, sizeof(key));
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not seal a secret"),
				 errdetail("OpenSSL offers no AES-256-GCM or no random numbers."),
				 errhint("Check the OpenSSL configuration of the database server.")));
	return (char *) sealed;
}

/* A secret in memory that ends with its context. */
typedef struct HeldSecret
{
	MemoryContextCallback end;
	char	   *value;
	Size		size;
} HeldSecret;

static void
wipe_held_secret(void *arg)
{
	HeldSecret *held = arg;

	OPENSSL_cleanse(held->value, held->size);
}

/*
 * Wipes memory of the current memory context when that ends, also by an error
 * or a cancel before the caller could.  It must not be freed or moved before.
 */
void
wipe_with_context(char *value, Size size)
{
	HeldSecret *held = palloc(sizeof(HeldSecret));

	held->value = value;
	held->size = size;
	held->end.func = wipe_held_secret;
	held->end.arg = held;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &held->end);
}

/*
 * The value that was sealed for what binding names, palloc'd.  Throws
 * when there is no good key file, when the value was sealed with another key,
 * or when it was altered or taken from another row; the last two give NULL
 * instead where or_null.  The caller wipes the value with explicit_bzero once it
 * is used, and does not free it; its memory context does so else.
 */
char *
unseal_value(const char *binding, const char *sealed, Size sealed_len, bool or_null)
{
	const unsigned char *bytes = (const unsigned char *) sealed;
	unsigned char key[KEY_LEN];
	unsigned char id[KEY_ID_LEN];
	unsigned char tag[TAG_LEN];
	char	   *value;
	int			len;

	if (sealed_len < HEADER_LEN + TAG_LEN || bytes[0] != SEAL_VERSION)
	{
		if (or_null)
			return NULL;
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a sealed secret cannot be read"),
				 errdetail("It has %zu bytes and format %d; format %d is expected.",
						   sealed_len, sealed_len > 0 ? bytes[0] : 0, SEAL_VERSION),
				 errhint("Set it again with roster_set_secret.")));
	}

	len = (int) (sealed_len - HEADER_LEN - TAG_LEN);
	value = palloc0(len + 1);
	wipe_with_context(value, len);
	load_key(key);
	if (!key_id(key, id) || memcmp(id, bytes + 1, KEY_ID_LEN) != 0)
	{
		OPENSSL_cleanse(key, sizeof(key));
		if (or_null)
			return NULL;
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("a secret was sealed with another key"),
				 errdetail("Key file \"%s\" holds a key other than the one that the secret was sealed with.",
						   roster_key_file),
				 errhint("Put the former key file back, or set each secret again with roster_set_secret.")));
	}
	memcpy(tag, bytes + HEADER_LEN + len, TAG_LEN);
	if (!gcm(false, key, bytes, binding, bytes + HEADER_LEN, len,
			 (unsigned char *) value, tag))
	{
		OPENSSL_cleanse(key, sizeof(key));
		OPENSSL_cleanse(value, len);
		if (or_null)
			return NULL;
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a sealed secret cannot be opened"),
				 errdetail("It was altered, or was given for another connection or another server."),
				 errhint("Set it again with roster_set_secret.")));
	}
	OPENSSL_cleanse(key, sizeof(key));
	value[len] = '\0';
	return value;
}
