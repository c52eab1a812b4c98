/* Stands for CUDA's runtime: the functions of its rules, without a device. */
#include "victim.h"

static int make(void **ret, size_t size)
{
    *ret = size < 1 << 30 ? malloc(16) : NULL;
    return *ret ? 0 : 2;
}

int cudaMalloc(void **ret, size_t size);
int cudaMalloc(void **ret, size_t size)
{
    return make(ret, size);
}

int cudaFree(void *at);
int cudaFree(void *at)
{
    free(at);
    return 0;
}

int cudaStreamCreate(void **ret);
int cudaStreamCreate(void **ret)
{
    return make(ret, 1);
}

int cudaStreamDestroy(void *stream);
int cudaStreamDestroy(void *stream)
{
    free(stream);
    return 0;
}
