/* Whether so many messages come to a thread that it should give way to others. Thread: its owner's. */
#ifndef ENTREPOT_DNS_FLOOD_H
#define ENTREPOT_DNS_FLOOD_H

#include "common/core/base.h"

/* So many in that time are a flood: 20,000 a second, a twentieth of a processor. Less than half of it ends one. */
enum { DNS_FLOOD_MS = 50, DNS_FLOOD_MESSAGES = 1000 };

struct dns_flood {
    int64_t began_ms;
    unsigned messages; /* since then */
    bool under_way;
};
/* n messages came, now. True: a flood has begun or ended. */
bool dns_flood_take(struct dns_flood *f, int64_t now_ms, size_t n);

#endif
