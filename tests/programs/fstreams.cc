// Keeps one std::ifstream and one std::ofstream open, closes others; prints how many descriptors it has.
#include <fcntl.h>

#include <cstdio>
#include <fstream>

static std::ifstream *kept_for_reading;
static std::ofstream *kept_for_writing;

extern "C" __attribute__((noinline)) void keeps_reading()
{
    kept_for_reading = new std::ifstream("/dev/null");
    __asm__ volatile("" ::: "memory");
}

extern "C" __attribute__((noinline)) void keeps_writing()
{
    kept_for_writing = new std::ofstream;
    kept_for_writing->open("/dev/null");
    __asm__ volatile("" ::: "memory");
}

static void closes()
{
    std::ifstream goes("/dev/null");
    std::fstream is_closed("/dev/null");

    is_closed.close();
}

int main()
{
    int n = 0;

    keeps_reading();
    keeps_writing();
    closes();
    for (int fd = 0; fd < 100; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    printf("open %d, descriptors %d\n", kept_for_reading->is_open() + kept_for_writing->is_open(), n);
    return 0;
}
