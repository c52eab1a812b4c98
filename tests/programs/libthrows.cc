// A C++ library that throws and catches; its host is a C program that knows nothing of C++.
#include <stdexcept>
#include <string>

extern "C" __attribute__((noinline)) void throws_deep(int n)
{
    if (n == 0)
        throw std::runtime_error(std::string(100, 'x'));
    throws_deep(n - 1);
    __asm__ volatile("");
}

extern "C" int throw_and_catch(int times)
{
    int caught = 0;
    for (int i = 0; i < times; i++)
        try {
            throws_deep(10);
        } catch (const std::exception &error) {
            caught += std::string(error.what()).size() == 100;
        }
    return caught;
}
