/* The file of pieces that were fetched ahead of their turn. Only aside.c touches the fields. Thread: fetch loop,
 * except aside_find. */
#ifndef ENTREPOT_FILL_ASIDE_H
#define ENTREPOT_FILL_ASIDE_H

#include <stdatomic.h>

#include "common/core/digest.h"
#include "common/core/open_file.h"
#include "common/fill/fill.h"

struct aside_file;
struct asides {
    bool no_room;                      /* no file can be made for the pieces */
    _Atomic(struct aside_file *) file; /* set once */
};

/* How far one source has come with what it sends. */
struct aside_at {
    int64_t at;     /* in the blob */
    unsigned place; /* of the current piece */
    bool checking;  /* the current piece has a proof */
    struct hasher hasher;
};

enum aside_taken {
    ASIDE_TAKEN,
    ASIDE_NO_ROOM, /* all places are given out */
    ASIDE_FAILED,  /* the disk does not take it */
    ASIDE_WRONG,   /* the catalogue has disproved the piece */
};

/* There is room for at least one piece more. Makes the file. */
bool aside_has_room(struct fill *f) must_check;
/* The bytes at a->at, which begins at a piece's start. A piece that is complete, and not disproved, can be found. */
enum aside_taken aside_take(struct fill *f, struct aside_at *a, const void *data, size_t len) must_check;
/* Pieces present from `piece` on, in a row. */
int64_t aside_run(const struct fill *f, int64_t piece);
/* None is to be found any more. */
void aside_forget(struct fill *f);
/* Nothing comes any more, and what has come is on no disk; readers have it until the fill is freed. */
void aside_over(struct fill *f);
void aside_fini(struct fill *f);
/* Any thread. Finds bytes from pos on that were fetched ahead, at *at in *file (a reference for the caller). Returns
 * how many; 0: none. */
int64_t aside_find(const struct fill *f, int64_t pos, struct open_file **file, int64_t *at);

#endif
