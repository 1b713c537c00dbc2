/* A share (share.h) without waiting: a caller that finds no place is refused at once. For what a client can hold as
 * long as it likes, such as an answer in memory that it reads slowly. Thread: any. */
#ifndef ENTREPOT_ACCESS_SLOTS_H
#define ENTREPOT_ACCESS_SLOTS_H

#include "common/access/share.h"

struct slots;
struct slots *slots_new(unsigned places);
/* Only when all have been given back. */
void slots_free(struct slots *s);
/* Takes a slot; e must be all zero. ERR_BUSY: none is left, or none for a caller that has some. */
int slots_take(struct slots *s, struct share_entry *e, const struct caller *caller) must_check;
/* Gives the slot back. Does nothing if e has none. */
void slots_give(struct slots *s, struct share_entry *e);
void slots_stats(const struct slots *s, struct share_stats *out);

#endif
