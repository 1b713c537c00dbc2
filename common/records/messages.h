/* The messages of the watch and of the snapshot (proto/catalog.proto) as plain values. Decoding checks everything;
 * fields that a newer side added are ignored. Pure. Thread: any. */
#ifndef ENTREPOT_RECORDS_MESSAGES_H
#define ENTREPOT_RECORDS_MESSAGES_H

#include "common/records/place.h"

#define WATCH_VERSION 1
#define WATCH_MESSAGE_MAX ((size_t)MiB) /* bytes */
#define WATCH_CHANGES_MAX 1000          /* in a message */
#define TILE_MESSAGE_MAX ((size_t)(32 * MiB))

struct watch_change {
    uint64_t number;
    enum record_kind kind;
    bool removed; /* record is the key alone */
    const uint8_t *record;
    size_t len;
};
/* Which edges the DNS may name (proto/catalog.proto). */
struct watch_dns {
    uint64_t zone; /* its version; never 0 */
    uint32_t serial;
    bool kept;
    const uint8_t *states; /* of each edge, a byte */
    size_t n_states;
};
struct watch_message {
    uint32_t version; /* 0: not the first message */
    bool has_place;
    struct place place; /* after the changes */
    bool gone;
    int64_t now_s;  /* the sender's clock, to RECORD_TIME_MAX; 0: not said */
    uint64_t upto;  /* in the first message: changes up to here were made before */
    uint64_t fleet; /* the version of the fleet's state; 0: not said */
    bool has_dns;
    struct watch_dns dns;
    struct watch_change *changes;
    size_t n_changes;
    void *unpacked; /* owns what changes point to, once decoded */
};
/* Appends the message with its length in front. The changes may be the caller's. */
int watch_message_add(struct buf *out, const struct watch_message *m) must_check;
/* data: without its length. ERR_INVALID, ERR_TOO_BIG, ERR_UNSUPPORTED (a newer version). An unknown kind of record is
 * left out. The caller calls watch_message_fini in any case. */
int watch_message_decode(struct watch_message *m, const void *data, size_t len) must_check;
void watch_message_fini(struct watch_message *m);

/* The first message of a stream: 0 and where it lies, ERR_BUSY: it has not all come yet, ERR_TOO_BIG: over max. */
int message_next(const void *data, size_t len, size_t max, size_t *at, size_t *message_len) must_check;

struct tile_state {
    unsigned tile;
    struct set_digest digest;
};
struct tile_list {
    struct place place;
    struct tile_state *tiles; /* rising */
    size_t n;
};
int tile_list_encode(const struct tile_list *t, uint8_t **out, size_t *len) must_check;
int tile_list_decode(struct tile_list *t, const void *data, size_t len) must_check;
void tile_list_fini(struct tile_list *t);

struct tile_message {
    unsigned tile;
    struct place place; /* its digest is the tile's */
    bool too_big;       /* for one message: there is no body */
    const uint8_t *body;
    size_t body_len;
    void *unpacked;
};
int tile_message_add(struct buf *out, const struct tile_message *t) must_check;
int tile_message_decode(struct tile_message *t, const void *data, size_t len) must_check;
void tile_message_fini(struct tile_message *t);

#endif
