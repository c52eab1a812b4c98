/* Its constructor throws. */
#include <stdexcept>

namespace
{
struct Thrower {
    Thrower()
    {
        throw std::runtime_error("at load");
    }
} thrower;
}
