/* Leaves one piece of memory, of memory in rows and in slices, one array of each kind and one stream.
 * needs: libcudart
 * flags: -Wl,-rpath,@BUILT@ @BUILT@/libcudart.so */
#include "cudart.h"
#include "victim.h"

NAMED static void opens_memory(void)
{
    void *kept, *freed, *none;

    printf("%d %d\n", cudaMalloc(&kept, 5000), cudaMalloc(&freed, 7000));
    printf("%d %d\n", cudaMalloc(&none, (size_t)1 << 40), cudaFree(freed));
}

NAMED static void opens_rows(void)
{
    void *kept, *freed;
    size_t pitch;

    printf("%d %d", cudaMallocPitch(&kept, &pitch, 100, 10),
           cudaMallocPitch(&freed, &pitch, 100, 10));
    printf(" %zu %d\n", pitch, cudaFree(freed));
}

NAMED static void opens_slices(void)
{
    const struct cudaExtent extent = {100, 10, 2};
    struct cudaPitchedPtr kept, freed;

    printf("%d %d", cudaMalloc3D(&kept, extent), cudaMalloc3D(&freed, extent));
    printf(" %zu %d\n", freed.pitch, cudaFree(freed.at));
}

NAMED static void opens_arrays(void)
{
    const struct cudaExtent extent = {100, 10, 2};
    void *kept, *kept_3d, *freed, *freed_3d;

    printf("%d %d %d %d\n", cudaMallocArray(&kept, NULL, 10, 10, 0),
           cudaMallocArray(&freed, NULL, 10, 10, 0),
           cudaMalloc3DArray(&kept_3d, NULL, extent, 0),
           cudaMalloc3DArray(&freed_3d, NULL, extent, 0));
    printf("%d %d\n", cudaFreeArray(freed), cudaFreeArray(freed_3d));
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
    opens_rows();
    opens_slices();
    opens_arrays();
    opens_streams();
    return 0;
}
