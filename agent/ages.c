/* ages - see ages.h. */
#include "agent/ages.h"

#include "base/text.h"

static const struct {
    uint64_t min_s;
    const char *text;
} age_bands[AGE_BANDS] = {
    {0,     "under 1m" },
    {60,    "1m to 10m"},
    {600,   "10m to 1h"},
    {3600,  "1h to 1d" },
    {86400, "over 1d"  },
};

void ages_add(struct ages *ages, uint64_t age_s, uint64_t objects, uint64_t bytes)
{
    int i = AGE_BANDS - 1;

    while (age_s < age_bands[i].min_s)
        i--;
    ages->bands[i].objects += objects;
    ages->bands[i].bytes += bytes;
}

void ages_comment(const struct ages *ages, uint64_t unit,
                  void (*add)(void *arg, const char *line), void *arg)
{
    char buffer[256];
    struct text line;

    for (int i = 0; i < AGE_BANDS; i++) {
        if (!ages->bands[i].objects)
            continue;
        text_init(&line, buffer, sizeof buffer);
        text_addf(&line, "in use, age %s: %lu objects", age_bands[i].text,
                  ages->bands[i].objects / unit);
        if (ages->bands[i].bytes)
            text_addf(&line, ", %lu bytes", ages->bands[i].bytes);
        add(arg, buffer);
    }
}
