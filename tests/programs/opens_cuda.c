/* Leaves one piece of memory and one stream.
 * needs: libcudart
 * flags: -Wl,-rpath,@BUILT@ @BUILT@/libcudart.so */
#include "victim.h"

int cudaMalloc(void **ret, size_t size);
int cudaFree(void *at);
int cudaStreamCreate(void **ret);
int cudaStreamDestroy(void *stream);

NAMED static void opens_memory(void)
{
    void *kept, *freed, *none;

    printf("%d %d\n", cudaMalloc(&kept, 5000), cudaMalloc(&freed, 7000));
    printf("%d %d\n", cudaMalloc(&none, (size_t)1 << 40), cudaFree(freed));
}

NAMED static void opens_streams(void)
{
    void *kept, *destroyed;

    printf("%d %d\n", cudaStreamCreate(&kept), cudaStreamCreate(&destroyed));
    printf("%d\n", cudaStreamDestroy(destroyed));
}

int main(void)
{
    opens_memory();
    opens_streams();
    return 0;
}
