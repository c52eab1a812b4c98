/* A plugin that uses libhandles.
 * needs: libhandles
 * flags: -Wl,-z,lazy -Wl,-rpath,@BUILT@ @BUILT@/libhandles.so */
#include "handles.h"
#include "victim.h"

long uses_handles(long number);
NAMED long uses_handles(long number)
{
    struct handle *kept = handle_new(number), *dropped = handle_new(number + 2);

    handle_drop(dropped);
    return kept->number;
}
