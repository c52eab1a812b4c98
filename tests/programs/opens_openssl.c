/* Leaves one of each kind open.
 * flags: -lssl -lcrypto */
#include <openssl/bio.h>
#include <openssl/evp.h>
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

int main(void)
{
    opens_tls();
    opens_bio();
    opens_digest();
    opens_cipher();
    return 0;
}
