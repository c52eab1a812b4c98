/* dl - unloading makes addresses mean something else: modules.h. */
#include <dlfcn.h>
#include <errno.h>

#include "agent/modules.h"
#include "base/compiler.h"
#include "base/real.h"

EXPORT int dlclose(void *handle)
{
    const int result = real.dlclose(handle);

    modules_on_unload();
    return result;
}
