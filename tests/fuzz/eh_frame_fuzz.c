/* The parser of .eh_frame, fed with anything: it may find no rule, but reads within its bounds.
 *
 * Byte 0: where .eh_frame_hdr begins; bytes 1 and 2: the pc, from there on; then the tables. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cfi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    const size_t n = size - 3;
    uint8_t *tables = malloc(n); /* of the exact size, for the address sanitizer */
    memcpy(tables, data + 3, n);
    const uint8_t *header = tables + data[0] % n;
    const struct cfi_image image = {header, tables + n, tables, tables + n};
    const uintptr_t first = (uintptr_t)header + (uintptr_t)(int16_t)(data[1] | data[2] << 8);
    cfi_frames_of(header, tables + n);
    for (uintptr_t pc = first; pc < first + 64; pc += 7) {
        const struct cfi_rule rule = cfi_find(&image, pc);
        if (rule.cfa > CFI_REGISTER)
            abort();
    }
    free(tables);
    return 0;
}
