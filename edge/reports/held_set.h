/* What central is told of the blobs that this edge holds. The set that central should know is kept here, and changes are
 * found by comparing it with the store, so that it does not matter how often or in which order the store's events come.
 *
 *   store ── touched ──▶ compared with the set ──▶ gained, lost: in each report until central has taken it
 *   central knows another set ──▶ the digests of all tiles ──▶ central names those that differ ──▶ they are told whole
 *
 * Nothing is kept on the disk: what is held is there itself, and after a restart only what differs is told. Thread: the
 * fetch loop, but for what is marked. */
#ifndef ENTREPOT_EDGE_REPORTS_HELD_SET_H
#define ENTREPOT_EDGE_REPORTS_HELD_SET_H

#include "common/core/digest.h"
#include "common/wire/edge_report.h"

struct held_set;

/* Gained and lost in one report, and digests in the tiles that one tells whole, at most. */
#define HELD_CHANGES_MAX 800
#define HELD_WHOLE_MAX 1800
/* Blobs that may wait to be compared. When there are more, all that is held is compared. */
#define HELD_TOUCHED_MAX 65536

/* holds: whether the store holds the blob now. Any thread; no lock of the store's may be held by those who call
 * held_set_touch. */
struct held_set *held_set_new(bool (*holds)(const struct digest *d, void *arg), void *arg);
void held_set_free(struct held_set *s);

/* Any thread. The store has gained or lost this blob. */
void held_set_touch(struct held_set *s, const struct digest *d);

/* Work pool. Compares all: each_held calls held_set_see for each blob that the store holds. The first time, what is held
 * becomes the set; nothing is told before. */
void held_set_look(struct held_set *s, void (*each_held)(struct held_set *s, void *arg), void *arg);
void held_set_see(struct held_set *s, const struct digest *d);
/* Any thread. True once after all must be compared, because more was touched than could be kept. */
bool held_set_wants_look(struct held_set *s);

/* What to tell now; what it points to is valid until the next call. False: nothing yet. */
bool held_set_tell(struct held_set *s, struct wire_holdings *out);
/* The answer to what was told; NULL: there was none. True: there is more to tell at once. */
bool held_set_answered(struct held_set *s, const struct wire_report_response *rs);

struct held_set_stats {
    int64_t held;    /* blobs in the set */
    int64_t waiting; /* changes that central has not taken yet, at most */
    int64_t repairs; /* tiles told whole, since the start */
    bool known;      /* central has said that it knows this set */
};
/* Any thread. */
void held_set_stats(struct held_set *s, struct held_set_stats *out);

#endif
