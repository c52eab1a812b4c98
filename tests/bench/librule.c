/* librule - what rule_pair calls through the PLT: next to nothing, so that the entry of a rule is seen. */
#include <stdint.h>

uint64_t rule_open(uint64_t number);
void rule_close(uint64_t handle);

uint64_t rule_open(uint64_t number)
{
    return number + 1;
}

void rule_close(uint64_t handle)
{
    __asm__ volatile("" : : "r"(handle));
}
