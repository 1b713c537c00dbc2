/* A share (share.h) in which nobody waits: who finds no place is refused at once. For what is held for as long as a
 * client likes, such as an answer in memory that it is slow to take. Thread: any. */
#ifndef ENTREPOT_ACCESS_SLOTS_H
#define ENTREPOT_ACCESS_SLOTS_H

#include "common/access/share.h"

struct slots;
struct slots *slots_new(unsigned places);
/* All have been given back. */
void slots_free(struct slots *s);
/* e: all zero. ERR_BUSY: none is left, or none for a caller that has some. */
int slots_take(struct slots *s, struct share_entry *e, const struct caller *caller) must_check;
/* Nothing if it has none. */
void slots_give(struct slots *s, struct share_entry *e);
void slots_stats(const struct slots *s, struct share_stats *out);

#endif
