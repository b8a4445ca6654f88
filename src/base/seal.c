/*
 * seal.c
 *	  Seals secrets with AES-256-GCM, opens what a client sealed with RSA for
 *	  this server, and signs with a key that is one of the secrets.
 *
 * The only file that sees OpenSSL.  The keys come from the key file for each use
 * and are wiped after it (key_file.c).  A sealed value must be useless without
 * that file, and in any row but its own; neither key nor clear text may reach an
 * error text, and what a client sends must not tell its sender more than that it
 * does not open.
 *
 * Layout of a sealed value: version (1 byte), key id (8), nonce (12),
 * ciphertext (as long as the value), tag (16).  The header and the binding are
 * authenticated with it (secrets.c), so a secret opens for no other row and for
 * no other server.
 */
#include "postgres.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/opensslv.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#include "utils/memutils.h"

#include "base/error.h"
#include "base/key_file.h"
#include "base/memory.h"
#include "base/seal.h"
#include "base/settings.h"

#if OPENSSL_VERSION_NUMBER < 0x30000000L
#error "minga_roster needs OpenSSL 3.0 or later"
#endif

#define SEAL_VERSION 2
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

/* Whether the value was sealed with that key; what it holds may yet have been altered. */
static bool
is_sealed_with(const unsigned char *key, const unsigned char *sealed)
{
	unsigned char id[KEY_ID_LEN];

	return key_id(key, id) && memcmp(id, sealed + 1, KEY_ID_LEN) == 0;
}

/*
 * Seals value for what binding names, with the first key of the file.  The result
 * is palloc'd; its length goes to *sealed_len.  Throws when there is no good key
 * file.
 */
char *
seal_value(const char *binding, const char *value, Size *sealed_len)
{
	Size		len = strlen(value);
	KeyRing		ring;
	unsigned char *sealed;
	bool		ok;

	*sealed_len = HEADER_LEN + len + TAG_LEN;
	sealed = palloc(*sealed_len);
	key_ring_load(&ring);

	sealed[0] = SEAL_VERSION;
	ok = key_id(ring.keys[0], sealed + 1) &&
		RAND_bytes(sealed + 1 + KEY_ID_LEN, NONCE_LEN) == 1 &&
		gcm(true, ring.keys[0], sealed, binding, (const unsigned char *) value, (int) len,
			sealed + HEADER_LEN, sealed + HEADER_LEN + len);
	key_ring_wipe(&ring);
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not seal a secret"),
				 errdetail("OpenSSL offers no AES-256-GCM or no random numbers."),
				 errhint("Check the OpenSSL configuration of the database server.")));
	return (char *) sealed;
}

/*
 * The value that was sealed for what binding names, palloc'd.  Throws
 * when there is no good key file, when the value was sealed with a key that is
 * not in it, or when it was altered or taken from another row; the last two give
 * NULL instead where or_null.  The caller wipes the value with explicit_bzero once
 * it is used, and does not free it; its memory context does so else.
 */
char *
unseal_value(const char *binding, const char *sealed, Size sealed_len, bool or_null)
{
	const unsigned char *bytes = (const unsigned char *) sealed;
	KeyRing		ring;
	unsigned char tag[TAG_LEN];
	char	   *value;
	int			len;
	int			with = 0;
	bool		known;
	bool		ok;

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
	memcpy(tag, bytes + HEADER_LEN + len, TAG_LEN);
	key_ring_load(&ring);
	while (with < ring.count && !is_sealed_with(ring.keys[with], bytes))
		with++;
	known = with < ring.count;
	ok = known && gcm(false, ring.keys[with], bytes, binding, bytes + HEADER_LEN, len, (unsigned char *) value, tag);
	key_ring_wipe(&ring);
	if (!ok)
		explicit_bzero(value, len);
	if (!ok && or_null)
		return NULL;
	if (!known)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("a secret was sealed with another key"),
				 errdetail("Key file \"%s\" does not hold the key that the secret was sealed with.",
						   roster_key_file),
				 errhint("Put the former key into the file, on a line below the present one, or set each secret again "
						 "with roster_set_secret.")));
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a sealed secret cannot be opened"),
				 errdetail("It was altered, or was given for another connection or another server."),
				 errhint("Set it again with roster_set_secret.")));
	return value;
}

/*
 * The value sealed with the first key of the file: the same bytes where it is so
 * already.  palloc'd; NULL where it does not open.
 */
char *
reseal_value(const char *binding, const char *sealed, Size sealed_len, Size *resealed_len)
{
	char	   *value = unseal_value(binding, sealed, sealed_len, true);
	char	   *resealed;
	KeyRing		ring;
	bool		is_current;

	if (value == NULL)
		return NULL;
	key_ring_load(&ring);
	is_current = is_sealed_with(ring.keys[0], (const unsigned char *) sealed);
	key_ring_wipe(&ring);
	if (is_current)
	{
		resealed = palloc(sealed_len);
		memcpy(resealed, sealed, sealed_len);
		*resealed_len = sealed_len;
	}
	else
		resealed = seal_value(binding, value, resealed_len);
	explicit_bzero(value, strlen(value));
	return resealed;
}

/*
 * What was written into a BIO, as a text, palloc'd; NULL where that fails, so that
 * nothing is thrown while OpenSSL's objects wait to be freed.
 */
static char *
bio_text(BIO * bio)
{
	char	   *data;
	long		len = BIO_get_mem_data(bio, &data);
	char	   *text = len <= 0 ? NULL : palloc_extended(len + 1, MCXT_ALLOC_NO_OOM);

	if (text == NULL)
		return NULL;
	memcpy(text, data, len);
	text[		len] = '\0';
	return text;
}

/*
 * Makes a key pair: the private key in PEM, which is wiped with the current memory
 * context, and the public one in *public_key, palloc'd.  Takes about a second.
 */
char *
key_pair_make(char **public_key)
{
	EVP_PKEY   *pair = EVP_RSA_gen(KEY_PAIR_BYTES * 8);
	BIO		   *public_pem = BIO_new(BIO_s_mem());
	BIO		   *private_pem = BIO_new(BIO_s_mem());
	char	   *private_key = NULL;

	*public_key = NULL;
	if (pair != NULL && public_pem != NULL && private_pem != NULL &&
		PEM_write_bio_PUBKEY(public_pem, pair) == 1 &&
		PEM_write_bio_PKCS8PrivateKey(private_pem, pair, NULL, NULL, 0, NULL, NULL) == 1)
	{
		*public_key = bio_text(public_pem);
		private_key = bio_text(private_pem);
	}
	EVP_PKEY_free(pair);		/* wipes, as freeing a BIO does */
	BIO_free(public_pem);
	BIO_free(private_pem);
	ERR_clear_error();
	if (private_key == NULL || *public_key == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not make a key pair"),
				 errdetail("OpenSSL offers no RSA or no random numbers, or there is no memory."),
				 errhint("Check the OpenSSL configuration of the database server.")));
	wipe_with_context(private_key, strlen(private_key));
	return private_key;
}

/* The bytes of base64 with white space anywhere in it; false where there are not as many as RSA makes. */
static bool
sent_bytes(const char *sent, unsigned char *bytes)
{
	/* EVP_DecodeBlock writes whole groups of three, and counts what stands for none. */
	unsigned char text[(KEY_PAIR_BYTES + 2) / 3 * 4 + 1];
	int			len = 0;

	for (; *sent != '\0'; sent++)
	{
		if (strchr(" \t\r\n", *sent) != NULL)
			continue;
		if (len == sizeof(text) - 1)
			return false;
		text[		len++] = *sent;
	}
	return len == sizeof(text) - 1 && text[len - 1] == '=' && text[len - 2] != '=' &&
	EVP_DecodeBlock(bytes, text, len) == KEY_PAIR_BYTES + 1;
}

/*
 * What a client sealed for the key pair: RSA with OAEP, SHA-256 in both its places,
 * in base64.  palloc'd, with its length in *opened_len, and wiped with the current
 * memory context; NULL for anything that does not open, without a reason.
 */
char *
key_pair_open(const char *private_key, const char *sent, Size *opened_len)
{
	unsigned char bytes[KEY_PAIR_BYTES + 1];
	char	   *opened = palloc0(KEY_PAIR_BYTES + 1);
	BIO		   *pem;
	EVP_PKEY   *pair = NULL;
	EVP_PKEY_CTX *context = NULL;
	bool		ok;

	wipe_with_context(opened, KEY_PAIR_BYTES);
	if (!sent_bytes(sent, bytes))
		return NULL;
	*opened_len = KEY_PAIR_BYTES;
	pem = BIO_new_mem_buf(private_key, -1);
	if (pem != NULL)
		pair = PEM_read_bio_PrivateKey(pem, NULL, NULL, "");
	if (pair != NULL)
		context = EVP_PKEY_CTX_new(pair, NULL);
	ok = context != NULL &&
		EVP_PKEY_decrypt_init(context) == 1 &&
		EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) == 1 &&
		EVP_PKEY_CTX_set_rsa_oaep_md(context, EVP_sha256()) == 1 &&
		EVP_PKEY_CTX_set_rsa_mgf1_md(context, EVP_sha256()) == 1 &&
		EVP_PKEY_decrypt(context, (unsigned char *) opened, opened_len, bytes, KEY_PAIR_BYTES) == 1;
	EVP_PKEY_CTX_free(context);
	EVP_PKEY_free(pair);
	BIO_free(pem);
	ERR_clear_error();
	return ok ? opened : NULL;
}

/*
 * The signature of a text by an RSA key in PEM, with SHA-256 (RS256 of RFC 7518):
 * palloc'd, its length in *len; NULL where the key is none or is none of RSA.
 */
char *
rsa_signature(const char *private_key, const char *text, Size *len)
{
	BIO		   *pem = BIO_new_mem_buf(private_key, -1);
	EVP_PKEY   *key = pem == NULL ? NULL : PEM_read_bio_PrivateKey(pem, NULL, NULL, "");
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	char	   *signature = NULL;
	bool		ok;

	*len = 0;
	ok = key != NULL && context != NULL && EVP_PKEY_is_a(key, "RSA") == 1 &&
		EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
		EVP_DigestSign(context, NULL, len, (const unsigned char *) text, strlen(text)) == 1 &&
		(signature = palloc_extended(*len, MCXT_ALLOC_NO_OOM)) != NULL &&
		EVP_DigestSign(context, (unsigned char *) signature, len, (const unsigned char *) text, strlen(text)) == 1;
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	BIO_free(pem);
	ERR_clear_error();
	return ok ? signature : NULL;
}
