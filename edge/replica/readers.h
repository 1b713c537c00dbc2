/* Tells when memory that readers may still use can be freed, without locks for them. A reader says when it begins and
 * ends; what is retired is freed once all readers that began before have ended. Thread: as each function says. */
#ifndef ENTREPOT_EDGE_REPLICA_READERS_H
#define ENTREPOT_EDGE_REPLICA_READERS_H

#include "common/core/base.h"

struct readers;

struct readers *readers_new(void);
/* When nobody reads: frees what is retired. */
void readers_free(struct readers *all);

/* Any thread. Not nested; short. Returns what readers_end needs. */
unsigned readers_begin(struct readers *all);
void readers_end(struct readers *all, unsigned slot);

/* The writer: a reader that lasts longer than a call, one at a time. It may end on any thread. */
void readers_pin(struct readers *all);
void readers_unpin(struct readers *all);

/* The writer. p can no longer be found by readers that begin now; it is freed (by free) some time later. */
void readers_retire(struct readers *all, void *p);

#endif
