/* The running hash of a fill, on another thread where that pays, and the proof of each piece. Only check.c touches the
 * fields. Thread: fetch loop. */
#ifndef ENTREPOT_FILL_CHECK_H
#define ENTREPOT_FILL_CHECK_H

#include <stdatomic.h>

#include "common/core/workpool.h"
#include "common/fill/fill.h"
#include "common/fill/step.h"

/* Whole pieces that are hashed before the loop gets a message. */
#define CHECK_PIECES 4

/* The work of the hasher. While it runs, the loop uses only the fields marked as its own, `reached`, and the proofs
 * below that. */
struct check_run {
    bool running;            /* the loop's */
    unsigned generation;     /* the loop's; of the fill when it began: the result of an older one is dropped */
    int64_t from;            /* the loop's; where it began */
    _Atomic int64_t goal;    /* the loop raises it as more is written */
    _Atomic int64_t reached; /* the hasher raises it; below it the proofs are there */
    uint8_t proofs[CHECK_PIECES * PIECE_PROOF_MAX]; /* at the ends of pieces from `from` on */
    int code;                                       /* the file could not be read */
    struct hasher hasher;
    struct work work;
    struct loop_task done;
};

struct check {
    struct check_run run;
    enum fill_step then; /* STEP_CHECKING: what comes after it */
    int64_t hashed;      /* of what is written, hashed and so far not found wrong */
    unsigned generation; /* grows with every rewind */
    bool reopened;       /* what an earlier fill left in the part file is not hashed yet */
    struct hasher hasher;
    uint8_t *proofs; /* computed here, at the ends of whole pieces */
    size_t n_proofs, cap_proofs;
    uint8_t *advised; /* the catalogue's */
    size_t n_advised;
    int64_t disproved; /* the piece that the catalogue disproved last; -1 none */
    uint8_t disproof[PIECE_PROOF_MAX];
};

void check_init(struct fill *f);
void check_fini(struct fill *f);
int64_t check_hashed(const struct fill *f);
/* The position from which on nothing may be shown yet. INT64_MAX: all may. */
int64_t check_shows_below(const struct fill *f);
/* The chaining values computed here, at the ends of the hashed pieces. */
const uint8_t *check_proofs(const struct fill *f);
/* Notes that hashing what an earlier fill left has begun, or has ended. */
void check_reopens(struct fill *f, bool reopened);
bool check_is_reopened(const struct fill *f);

/* Call when bytes were written: they are hashed once there are enough. Also takes over what the hasher has finished.
 * Returns another step than STEP_STAY if a piece was wrong. */
enum fill_step check_written(struct fill *f) must_check;
/* Returns STEP_CHECKING, which ends with `then` once everything written is hashed, or if a piece is found wrong with
 * what follows from that. */
/* The fill has a second reader: what the first was shown before it was hashed is hidden, and hashed now. */
enum fill_step check_is_shared(struct fill *f) must_check;
/* The whole content, which was hashed, cannot be read again. */
enum fill_step check_lost_all(struct fill *f, int code) must_check;
enum fill_step check_then(struct fill *f, enum fill_step then) must_check;
/* STEP_CHECKING */
enum fill_step check_rest(struct fill *f) must_check;
/* True if what is written, all of it hashed, is the whole blob. */
bool check_digest_fits(const struct fill *f);

/* Takes a copy of the catalogue's chaining values, and takes back bytes from the first hashed piece that is wrong. */
enum fill_step check_advise(struct fill *f, const uint8_t *proofs, size_t n) must_check;
/* Makes a hasher for one piece. False: the catalogue has not said where it begins and ends. */
bool check_piece_begin(const struct fill *f, size_t piece, struct hasher *h) must_check;
/* True if what h has hashed is the piece that the catalogue knows. */
bool check_piece_fits(const struct fill *f, size_t piece, const struct hasher *h) must_check;

/* Takes back all bytes from `to` on, because a piece was wrong or what was fetched ahead is doubted. */
void fill_rewind(struct fill *f, int64_t to);

#endif
