/* Calls libhandles through a PLT whose slots are filled at the start and read-only then.
 * needs: libhandles
 * flags: -Wl,-z,now -Wl,-z,relro -Wl,-rpath,@BUILT@ @BUILT@/libhandles.so */
#include "handles_calls.h"
