/* Bytes of a blob that are under way, each stretch of them from one source. plan.c hands stretches out; several may be
 * under way at once, of several sources. The one whose turn it is goes into the part file, those ahead of it into the
 * file of pieces ahead. Only stretch.c touches the fields. Thread: fetch loop. */
#ifndef ENTREPOT_FILL_STRETCH_H
#define ENTREPOT_FILL_STRETCH_H

#include "common/fill/fill.h"

/* Bytes [from, to), to be had of one source. */
struct stretch {
    unsigned source;  /* in plan.sources */
    int64_t from, to; /* to INT64_MAX: to the end */
    bool ahead;       /* of its turn, for a reader that is far ahead */
};

struct under_way;
struct stretches {
    struct under_way *first;
    unsigned n_ahead;
};

/* Asks its source for it, on behalf of by. Of those that are not ahead there is one at a time. */
void stretch_start(struct fill *f, const struct stretch *st, const struct fill_spec *by);
/* The one whose turn it is: is there one? Its source sends no more; sends nothing until it may go on; goes on. */
bool stretch_in_turn(const struct fill *f);
void stretch_leave(struct fill *f);
void stretch_pause(struct fill *f);
void stretch_resume(struct fill *f);
/* Somebody else waits for it, too. */
void stretch_wanted_by(struct fill *f, const struct caller *caller);

unsigned stretch_n_ahead(const struct fill *f);
/* One ahead will bring the byte at pos. */
bool stretch_brings(const struct fill *f, int64_t pos);
/* Every `ms`: those ahead that nothing comes of are left, where there is another source. */
void stretch_tick(struct fill *f, int64_t ms);
/* Nothing ahead is fetched any more, and what was is forgotten. */
void stretch_forget_ahead(struct fill *f);
/* Nothing is fetched any more. */
void stretch_over(struct fill *f);

#endif
