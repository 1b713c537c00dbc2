/* The pace of a pass-through fill: its source waits for the slowest reader, whose bytes memory must keep. A reader that
 * makes the others wait for long is left behind. Only pace.c touches the fields. Thread: fetch loop. */
#ifndef ENTREPOT_FILL_PACE_H
#define ENTREPOT_FILL_PACE_H

#include "common/fill/fill.h"

/* How long a reader may make others wait. */
#define PACE_GRACE_MS 5000
#define PACE_CALLERS 8

struct pace {
    struct caller left[PACE_CALLERS]; /* whose readers were left behind, the last of them */
    unsigned n_left;
};

/* A reader has joined. */
void pace_joins(struct fill *f, struct fill_reader *r);
/* Every `ms`: measures, and leaves readers behind. */
void pace_tick(struct fill *f, int64_t ms);

#endif
