// include/cprof.h in a C++ program.
// needs: contention_api
#include "contention_api.c"
