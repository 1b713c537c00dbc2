/* Ranged fetches for readers far ahead. No field is touched but by aside.c. Thread: fetch loop, but for aside_find. */
#ifndef ENTREPOT_FILL_ASIDE_H
#define ENTREPOT_FILL_ASIDE_H

#include <stdatomic.h>

#include "common/core/open_file.h"
#include "common/fill/fill.h"

/* Ranged fetches beside the main one, for readers far ahead of it. */
#define FILL_ASIDE_MAX 4
#define FILL_ASIDE_BYTES (8 * MiB)

struct aside;
struct aside_file;
struct asides {
    struct aside *first;
    unsigned n;
    bool no_room;                      /* no file can be made for it */
    bool lied;                         /* the catalogue has disproved a piece fetched aside */
    _Atomic(struct aside_file *) file; /* set once: pieces that were fetched ahead of their turn */
};

/* Every `ms`. rate: of the main fetch, in bytes a second. */
void aside_consider(struct fill *f, int64_t rate, int64_t ms);
/* Nothing is fetched any more, and what was is on no disk; readers have it until the fill is freed. */
void aside_over(struct fill *f);
void aside_fini(struct fill *f);
/* Pieces present from `piece` on, in a row. */
int64_t aside_run(const struct fill *f, int64_t piece);
void aside_forget(struct fill *f);
/* Any thread: bytes from pos on that were fetched ahead, at *at in *file (reference given to the caller). 0: none. */
int64_t aside_find(const struct fill *f, int64_t pos, struct open_file **file, int64_t *at);

#endif
