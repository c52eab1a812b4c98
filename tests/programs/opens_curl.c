/* Leaves one easy and one multi handle open.
 * flags: -lcurl */
#include <curl/curl.h>

#include "victim.h"

NAMED static CURL *opens_easy(void)
{
    return curl_easy_init();
}

NAMED static CURLM *opens_multi(void)
{
    return curl_multi_init();
}

int main(void)
{
    CURL *kept = opens_easy(), *copy = curl_easy_duphandle(kept);

    curl_easy_cleanup(copy);
    curl_easy_cleanup(opens_easy());
    curl_multi_cleanup(opens_multi());
    printf("%d\n", opens_multi() != NULL);
    return kept == NULL;
}
