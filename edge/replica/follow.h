/* Keeps the replica equal to central's catalogue (docs/protocol.md "The change log"). Central's watch brings changes as
 * they are made. What was missed and cannot be told is found by comparing the digests of tiles, and only tiles that
 * differ are fetched, while changes go on arriving:
 *
 *   no stream ── its place is known to central ──▶ equal ── a digest differs ──▶ comparing
 *       │                                            ▲                               │ the list of tiles has come
 *       └── it is not (`gone`) ──▶ comparing         └── none is missing ── fetching ◀┘
 *
 * A change for a tile that is not known to be right is not applied but noted: the tile must then be of that number or a
 * later one. A change that a tile has already, because it was fetched later, is skipped. After each message the digest
 * of all is compared with central's.
 *
 * Thread: the fetch loop (or one at a time), but for what is marked. */
#ifndef ENTREPOT_EDGE_FOLLOW_H
#define ENTREPOT_EDGE_FOLLOW_H

#include "common/records/messages.h"
#include "edge/replica/replica.h"

struct follow;

struct follow_config {
    struct replica *replica;
    /* Fetch the list of tiles (GET /fleet/v1/snapshot), or some tiles; then call follow_list, or follow_tile for each
     * and follow_fetched. One of them is under way at a time. They may not call back at once. */
    void (*want_list)(void *arg);
    void (*want_tiles)(const unsigned *tiles, size_t n, bool full, void *arg); /* full: without short names */
    /* The stream is of no use any more: end it, call follow_end and begin another, after a pause that grows while this
     * is said again and again. Not called at once by the callee's answer. */
    void (*restart)(void *arg);
    /* The version of the fleet's state, as often as central says it. May be NULL. */
    void (*fleet)(uint64_t version, void *arg);
    /* Which edges the DNS may name, as often as central says it; NULL: the stream has ended. May be NULL. */
    void (*dns)(const struct watch_dns *dns, void *arg);
    void *arg;
};
#define FOLLOW_TILES_MAX 64 /* wanted at once */

struct follow *follow_new(const struct follow_config *cfg);
void follow_free(struct follow *f);

/* Before the first stream: the replica is equal to central's catalogue at this place, as it was stored. */
void follow_resume(struct follow *f, const struct place *p);
/* Whether the replica is equal to central's catalogue at *p, now or when the stream ended. */
bool follow_place(const struct follow *f, struct place *p);
/* What the next stream should ask for: ?from=… */
void follow_from(const struct follow *f, char out[PLACE_TEXT_MAX]);
/* A poll has ended as it should, and another follows: follow_begin, or follow_end if that cannot be had. Until then
 * all counts as current. */
void follow_pause(struct follow *f);
/* A stream has begun, of a central with settings of that version. */
void follow_begin(struct follow *f, uint64_t settings);
void follow_data(struct follow *f, const void *data, size_t len);
void follow_end(struct follow *f);

/* The answer to want_list; NULL: it could not be had. */
void follow_list(struct follow *f, const void *data, size_t len);
/* A tile that was wanted: one message without its length. */
void follow_tile(struct follow *f, const void *data, size_t len);
/* The end of the answer to want_tiles. */
void follow_fetched(struct follow *f, bool good);
/* What could not be had may be wanted again. */
void follow_again(struct follow *f);

/* Any thread: where a tag points, if that is known here as well as central itself knows it, under settings of that
 * version. checked_at is by this node's clock. */
bool follow_tag(const struct follow *f, uint64_t settings, const struct repo_name *repo, const char *tag,
                struct tag_facts *t);

enum follow_state { FOLLOW_OFF, FOLLOW_OLD, FOLLOW_COMPARING, FOLLOW_FETCHING, FOLLOW_EQUAL, FOLLOW_PART };
const char *follow_state_name(enum follow_state s);
struct follow_stats {
    enum follow_state state; /* OLD: central is of a version without a change log. PART: the rest is over the limit */
    bool live;               /* a stream is there, and central's settings are known by it */
    struct place place;      /* reached */
    int64_t heard_ms;        /* monotonic; 0: never */
    int64_t clock_ahead_s;   /* this node's clock less central's, as last heard */
    int64_t tiles_wanted, tiles_fetched, mismatches, compared, unreadable;
};
/* Any thread. */
void follow_stats(const struct follow *f, struct follow_stats *out);

#endif
