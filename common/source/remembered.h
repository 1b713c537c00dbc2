/* Answers of sources that stand in for asking again, for a while. Their memory is lent: when the budget ANSWERS or
 * LISTS is full, the oldest that hold bytes of it are dropped, from whatever thread takes from it. One per process.
 * Thread: any (a lock, held for a few instructions, or while entries are freed). */
#ifndef ENTREPOT_SOURCE_REMEMBERED_H
#define ENTREPOT_SOURCE_REMEMBERED_H

#include "common/source/ask.h"

struct remembered;

struct remembered *remembered_new(void);
void remembered_free(struct remembered *r);
/* A reference, for the caller; NULL: nothing fresh is remembered under the key. */
struct ask_answer *remembered_get(struct remembered *r, const char *key);
/* Keeps a reference of its own for ms milliseconds. Beyond 1000 answers the oldest goes. Keeps nothing if the budget
 * ANSWERS has no room for it. */
void remembered_add(struct remembered *r, const char *key, const struct ask_answer *answer, int64_t ms);
/* Drops what is out of date. False: nothing is left. */
bool remembered_sweep(struct remembered *r);
/* Drops all. */
void remembered_clear(struct remembered *r);

#endif
