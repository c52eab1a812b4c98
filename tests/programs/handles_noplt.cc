/* Calls libhandles without a PLT, through read-only pointers.
 * needs: libhandles
 * flags: -fno-plt -Wl,-z,now -Wl,-z,relro -Wl,-rpath,@BUILT@ @BUILT@/libhandles.so */
#include "handles_calls.h"
