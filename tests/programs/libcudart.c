/* Stands for CUDA's runtime: the functions of its rules, without a device. */
#include "cudart.h"
#include "victim.h"

static int make(void **ret, size_t size)
{
    *ret = size < 1 << 30 ? malloc(16) : NULL;
    return *ret ? 0 : 2;
}

int cudaMalloc(void **ret, size_t size)
{
    return make(ret, size);
}

int cudaMallocPitch(void **ret, size_t *ret_pitch, size_t width, size_t height)
{
    *ret_pitch = (width + 511) & ~(size_t)511;
    return make(ret, *ret_pitch * height);
}

int cudaMalloc3D(struct cudaPitchedPtr *ret, struct cudaExtent extent)
{
    ret->width = extent.width;
    ret->height = extent.height;
    ret->pitch = (extent.width + 511) & ~(size_t)511;
    return make(&ret->at, ret->pitch * extent.height * extent.depth);
}

int cudaMallocArray(void **ret, const void *format, size_t width, size_t height, unsigned flags)
{
    (void)format;
    (void)flags;
    return make(ret, width * height);
}

int cudaMalloc3DArray(void **ret, const void *format, struct cudaExtent extent, unsigned flags)
{
    return cudaMallocArray(ret, format, extent.width, extent.height * extent.depth, flags);
}

int cudaFreeArray(void *array)
{
    free(array);
    return 0;
}

int cudaFree(void *at)
{
    free(at);
    return 0;
}

int cudaStreamCreate(void **ret)
{
    return make(ret, 1);
}

int cudaStreamDestroy(void *stream)
{
    free(stream);
    return 0;
}
