/* Calls libhandles from an executable at a fixed place, whose PLT stands for the functions.
 * needs: libhandles
 * flags: -no-pie -fno-pie -Wl,-z,lazy -Wl,-rpath,@BUILT@ @BUILT@/libhandles.so */
#include "handles_calls.h"
