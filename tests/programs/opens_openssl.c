/* Leaves one of each kind open.
 * flags: -lssl -lcrypto */
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/ssl.h>

#include "victim.h"

NAMED static void opens_tls(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *kept = SSL_new(context), *freed = SSL_new(context);

    check(kept && freed, "SSL_new");
    SSL_free(freed);
}

NAMED static void opens_bio(void)
{
    BIO *kept = BIO_new(BIO_s_mem()), *freed = BIO_new(BIO_s_mem()),
        *pushed = BIO_new(BIO_f_base64());

    check(kept && freed && pushed, "BIO_new");
    BIO_free(freed);
    BIO_free(pushed);
}

NAMED static void opens_digest(void)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *kept = EVP_MD_CTX_new(), *freed = EVP_MD_CTX_new();

    check(EVP_DigestInit_ex(freed, EVP_sha256(), NULL) && EVP_DigestUpdate(freed, "abc", 3) &&
              EVP_DigestFinal_ex(freed, hash, NULL),
          "digest");
    printf("%02x%02x %d\n", hash[0], hash[1], kept != NULL);
    EVP_MD_CTX_free(freed);
    EVP_MD_CTX_free(NULL);
}

NAMED static void opens_cipher(void)
{
    EVP_CIPHER_CTX *kept = EVP_CIPHER_CTX_new(), *freed = EVP_CIPHER_CTX_new();

    check(kept && freed, "EVP_CIPHER_CTX_new");
    EVP_CIPHER_CTX_free(freed);
}

NAMED static void opens_keys(void)
{
    EVP_PKEY_CTX *kept = EVP_PKEY_CTX_new_id(EVP_PKEY_ED25519, NULL),
                 *freed = EVP_PKEY_CTX_new_id(EVP_PKEY_ED25519, NULL);
    EVP_PKEY *key = NULL;

    check(kept && EVP_PKEY_keygen_init(freed) == 1 && EVP_PKEY_keygen(freed, &key) == 1, "key");
    EVP_PKEY_CTX *of_key = EVP_PKEY_CTX_new(key, NULL);
    check(of_key != NULL, "EVP_PKEY_CTX_new");
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
    EVP_PKEY_CTX *named = EVP_PKEY_CTX_new_from_name(NULL, "ED25519", NULL),
                 *of_same = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    check(named && of_same, "EVP_PKEY_CTX_new_from_name");
    EVP_PKEY_CTX_free(named);
    EVP_PKEY_CTX_free(of_same);
#endif
    EVP_PKEY_CTX_free(of_key);
    EVP_PKEY_CTX_free(freed);
    EVP_PKEY_free(key);
}

NAMED static void opens_encoder(void)
{
    EVP_ENCODE_CTX *kept = EVP_ENCODE_CTX_new(), *freed = EVP_ENCODE_CTX_new();

    check(kept && freed, "EVP_ENCODE_CTX_new");
    EVP_ENCODE_CTX_free(freed);
}

NAMED static void opens_mac(void)
{
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *freed = EVP_MAC_CTX_new(mac), *copy = EVP_MAC_CTX_dup(freed);

    check(copy != NULL, "EVP_MAC_CTX_dup");
    EVP_MAC_CTX_free(freed);
    EVP_MAC_free(mac);
#endif
}

NAMED static void opens_kdf(void)
{
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *freed = EVP_KDF_CTX_new(kdf), *copy = EVP_KDF_CTX_dup(freed);

    check(copy != NULL, "EVP_KDF_CTX_dup");
    EVP_KDF_CTX_free(freed);
    EVP_KDF_free(kdf);
#endif
}

int main(void)
{
    opens_tls();
    opens_bio();
    opens_digest();
    opens_cipher();
    opens_keys();
    opens_encoder();
    opens_mac();
    opens_kdf();
    return 0;
}
