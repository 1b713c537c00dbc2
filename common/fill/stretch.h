/* Fetches ranges of a blob, called stretches, each from one source. plan.c decides the stretches. Several may be
 * fetched at once, from several sources. One of them is in turn: it begins where the part file ends and is written
 * there. The others lie ahead and go into the file of pieces ahead. Only stretch.c touches the fields. Thread: fetch
 * loop. */
#ifndef ENTREPOT_FILL_STRETCH_H
#define ENTREPOT_FILL_STRETCH_H

#include "common/fill/fill.h"

/* Bytes [from, to), to be fetched from one source. */
struct stretch {
    unsigned source;  /* in plan.sources */
    int64_t from, to; /* to INT64_MAX: to the end */
    bool ahead;       /* not in turn: for a reader that is far ahead of the part file */
};

struct under_way;
struct stretches {
    struct under_way *first;
    unsigned n_ahead;
};

/* Begins to fetch st, on behalf of by. At most one stretch is in turn at a time. */
void stretch_start(struct fill *f, const struct stretch *st, const struct fill_spec *by);
/* The stretch in turn: whether there is one; ends its fetch; pauses it; lets it go on. */
bool stretch_in_turn(const struct fill *f);
void stretch_leave(struct fill *f);
void stretch_pause(struct fill *f);
void stretch_resume(struct fill *f);
/* Another caller waits for the stretch in turn, too. */
void stretch_wanted_by(struct fill *f, const struct caller *caller);

unsigned stretch_n_ahead(const struct fill *f);
/* True if a stretch ahead will bring the byte at pos. */
bool stretch_brings(const struct fill *f, int64_t pos);
/* Call every `ms`: ends stretches ahead that have stalled, if another source can be asked. */
void stretch_tick(struct fill *f, int64_t ms);
/* Ends all stretches ahead and drops the pieces they have brought. */
void stretch_forget_ahead(struct fill *f);
/* Ends all stretches. */
void stretch_over(struct fill *f);

#endif
