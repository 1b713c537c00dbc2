/* Ranged fetches beside the main one, for readers far ahead of it. Only aside.c touches the fields. Thread: fetch loop,
 * except aside_find. */
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
    bool no_room;                      /* no file can be made for the pieces */
    bool disproved;                    /* the catalogue has disproved a piece that was fetched ahead */
    _Atomic(struct aside_file *) file; /* set once; the pieces that were fetched ahead */
};

/* Every `ms`. rate: of the main fetch, in bytes a second. */
void aside_consider(struct fill *f, int64_t rate, int64_t ms);
/* Stops all these fetches. What was fetched is on no disk; readers have it until the fill is freed. */
void aside_over(struct fill *f);
void aside_fini(struct fill *f);
/* Pieces present from `piece` on, in a row. */
int64_t aside_run(const struct fill *f, int64_t piece);
void aside_forget(struct fill *f);
/* Any thread. Finds bytes from pos on that were fetched ahead, at *at in *file (a reference for the caller). Returns
 * how many; 0: none. */
int64_t aside_find(const struct fill *f, int64_t pos, struct open_file **file, int64_t *at);

#endif
