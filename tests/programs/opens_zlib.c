/* Leaves one stream of each direction open.
 * flags: -lz */
#include <zlib.h>

#include "victim.h"

static z_stream in[3], out[3];

NAMED static void opens_inflate(void)
{
    printf("%d %d %d\n", inflateInit(&in[0]), inflateInit2(&in[1], 15 + 32),
           inflateInit2(&in[2], 99));
}

NAMED static void opens_deflate(void)
{
    printf("%d %d\n", deflateInit(&out[0], 6),
           deflateInit2(&out[1], 9, Z_DEFLATED, 15, 8, Z_DEFAULT_STRATEGY));
}

NAMED static void opens_gz(void)
{
    gzFile null = gzopen("/dev/null", "wb"), missing = gzopen("/nonexistent/x", "rb");

    printf("%d %d\n", gzclose(null), missing == NULL);
    check(gzopen("/dev/null", "wb") != NULL, "gzopen");
}

int main(void)
{
    opens_inflate();
    opens_deflate();
    opens_gz();
    printf("%d %d\n", inflateEnd(&in[1]), deflateEnd(&out[1]) == Z_OK);
    return 0;
}
