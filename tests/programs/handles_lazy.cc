/* Calls libhandles through a PLT whose slots are filled at the first call.
 * needs: libhandles
 * flags: -Wl,-z,lazy -Wl,-z,norelro -Wl,-rpath,@BUILT@ @BUILT@/libhandles.so */
#include "handles_calls.h"
