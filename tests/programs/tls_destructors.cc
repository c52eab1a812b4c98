// Threads whose thread_local objects and pthread keys allocate and free while the thread goes away.
#include <pthread.h>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

static pthread_key_t key;

extern "C" __attribute__((noinline, noclone)) void *freed_by_destructor(size_t n)
{
    void *p = malloc(n);
    __asm__ volatile("" : "+r"(p));
    return p;
}

extern "C" __attribute__((noinline, noclone)) void destructor_allocates(void)
{
    void *p = malloc(333);
    __asm__ volatile("" : "+r"(p));
    free(p);
}

static void on_key(void *p)
{
    destructor_allocates();
    free(p);
}

struct Holder {
    void *p = nullptr;
    ~Holder()
    {
        destructor_allocates();
        free(p);
    }
};

static thread_local Holder holder;
static thread_local std::vector<int> numbers;

static void *thread_main(void *)
{
    holder.p = freed_by_destructor(500);
    pthread_setspecific(key, freed_by_destructor(600));
    numbers.assign(1000, 7);
    return nullptr;
}

int main()
{
    pthread_key_create(&key, on_key);
    for (int round = 0; round < 50; round++) {
        pthread_t threads[4];
        for (auto &thread : threads)
            if (pthread_create(&thread, nullptr, thread_main, nullptr))
                return 1;
        for (auto &thread : threads)
            pthread_join(thread, nullptr);
    }
    puts("done");
}
