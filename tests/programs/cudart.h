/* cudart.h - what the stand-in for CUDA's runtime has of it. */
#ifndef CUDART_H
#define CUDART_H

#include <stddef.h>

/* What cudaMalloc3D() gives; the first word is the address. */
struct cudaPitchedPtr {
    void *at;
    size_t pitch, width, height;
};
struct cudaExtent {
    size_t width, height, depth;
};

int cudaMalloc(void **ret, size_t size);
int cudaFree(void *at);
int cudaMallocPitch(void **ret, size_t *ret_pitch, size_t width, size_t height);
int cudaMalloc3D(struct cudaPitchedPtr *ret, struct cudaExtent extent);
int cudaMallocArray(void **ret, const void *format, size_t width, size_t height,
                    unsigned flags);
int cudaMalloc3DArray(void **ret, const void *format, struct cudaExtent extent, unsigned flags);
int cudaFreeArray(void *array);
int cudaStreamCreate(void **ret);
int cudaStreamDestroy(void *stream);

#endif
