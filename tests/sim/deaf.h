/* An edge that watches and then reads nothing more. Thread: the simulator's loop. */
#ifndef ENTREPOT_SIM_DEAF_H
#define ENTREPOT_SIM_DEAF_H

#include "edge/link/uplink.h"

struct deaf;

/* uplink: borrowed. */
struct deaf *deaf_new(struct loop *loop, const struct uplink *uplink);
void deaf_free(struct deaf *d);
/* Reads what waits for it, to the end of its stream. */
void deaf_resume(struct deaf *d);

struct deaf_facts {
    bool watches, ended; /* it has got its first bytes; its stream is over */
    bool told_gone;      /* `gone` was the last word, after changes */
    int64_t bytes;       /* read since it was resumed */
};
void deaf_get(const struct deaf *d, struct deaf_facts *out);

#endif
