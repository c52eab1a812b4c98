/* dl - unloading makes addresses mean something else: modules.h. */
#include <dlfcn.h>

#include "agent/modules.h"
#include "base/compiler.h"
#include "base/real.h"

EXPORT int dlclose(void *handle)
{
    /* Before: other threads may find new code there before we are back.  After: destructors ran. */
    modules_on_unload();
    const int result = real.dlclose(handle);
    modules_on_unload();
    return result;
}
