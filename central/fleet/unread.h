/* Answers that edges have yet to read. The server keeps them in memory, and a reader may be slow, so of one edge only so
 * much is kept at a time, however many connections it has. Thread: any; a lock is held for a few instructions. */
#ifndef ENTREPOT_FLEET_UNREAD_H
#define ENTREPOT_FLEET_UNREAD_H

#include "common/access/caller.h"

struct unread;

/* What an edge is told that has not read so much. */
#define UNREAD_TOO_MUCH "this edge has too many answers to read: read those, then ask again"

/* most_of_one: bytes, of one edge. */
struct unread *unread_new(size_t most_of_one);
/* NULL is let be. */
void unread_free(struct unread *u);
/* An answer of so many bytes is about to be sent to that edge. False: too much waits for it, and the answer must be
 * dropped. Whoever has read all gets an answer of any size. u NULL: there is no bound. */
bool unread_take(struct unread *u, const struct caller *edge, size_t bytes) must_check;
/* It was read, or its connection has ended. */
void unread_give(struct unread *u, const struct caller *edge, size_t bytes);

#endif
