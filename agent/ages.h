/* ages - live objects counted by age, for the comments of a profile. One counting belongs to one job. */
#ifndef CPROF_AGENT_AGES_H
#define CPROF_AGENT_AGES_H

#include <stdint.h>

enum { AGE_BANDS = 5 };

struct ages {
    struct {
        uint64_t objects, bytes;
    } bands[AGE_BANDS];
};

void ages_add(struct ages *ages, uint64_t age_s, uint64_t objects, uint64_t bytes);

/* One line for each band that is not empty: "in use, age 1m to 10m: 3 objects, 4096 bytes", without
 * bytes where there are none.  The objects are counted in units of 1 / `unit`. */
void ages_comment(const struct ages *ages, uint64_t unit,
                  void (*add)(void *arg, const char *line), void *arg);

#endif
