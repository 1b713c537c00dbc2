/* Packs and unpacks them. Thread: any. */
#include "common/records/messages.h"

#include "common/core/alloc.h"
#include "common/records/varint.h"
#include "proto/catalog.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define TILE_STATE_BYTES (2 + SET_DIGEST_BYTES)

/* --- places --- */

struct packed_place {
    Entrepot__V1__Place p;
    uint8_t digest[SET_DIGEST_BYTES];
};

static Entrepot__V1__Place *put_place(struct packed_place *out, const struct place *p) {
    entrepot__v1__place__init(&out->p);
    set_digest_put(&p->digest, out->digest);
    out->p.epoch = (ProtobufCBinaryData){EPOCH_BYTES, (uint8_t *)(uintptr_t)p->epoch};
    out->p.number = p->number;
    out->p.digest = (ProtobufCBinaryData){SET_DIGEST_BYTES, out->digest};
    return &out->p;
}

static bool get_place(struct place *out, const Entrepot__V1__Place *p) {
    if (!p || p->epoch.len != EPOCH_BYTES || p->digest.len != SET_DIGEST_BYTES) return false;
    memcpy(out->epoch, p->epoch.data, EPOCH_BYTES);
    out->number = p->number;
    out->digest = set_digest_get(p->digest.data);
    return true;
}

/* --- streams --- */

/* Appends a packed message with its length in front. */
static int add_framed(struct buf *out, const ProtobufCMessage *m, size_t max) {
    size_t n = protobuf_c_message_get_packed_size(m);
    if (n > max) return ERR_TOO_BIG;
    uint8_t *body = xmalloc(n + 1);
    protobuf_c_message_pack(m, body);
    int r = varint_add(out, n);
    if (r == 0) r = buf_add(out, body, n);
    free(body);
    return r;
}

int message_next(const void *data, size_t len, size_t max, size_t *at, size_t *message_len) {
    const uint8_t *p = data;
    uint64_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (i > 4) return ERR_TOO_BIG;
        n |= (uint64_t)(p[i] & 0x7f) << (7 * i);
        if (p[i] > 0x7f) continue;
        if (n > max) return ERR_TOO_BIG;
        *at = i + 1;
        *message_len = (size_t)n;
        return len - *at < n ? ERR_BUSY : 0;
    }
    return ERR_BUSY;
}

/* --- the watch --- */

static Entrepot__V1__DnsHealth *put_dns(Entrepot__V1__DnsHealth *out, const struct watch_dns *d) {
    out->zone = d->zone;
    out->serial = d->serial;
    out->kept = d->kept;
    out->states = (ProtobufCBinaryData){d->n_states, (uint8_t *)(uintptr_t)d->states};
    return out;
}

int watch_message_add(struct buf *out, const struct watch_message *m) {
    Entrepot__V1__WatchMessage p = ENTREPOT__V1__WATCH_MESSAGE__INIT;
    struct packed_place place;
    Entrepot__V1__Change *rows = xcalloc(m->n_changes + 1, sizeof(*rows));
    Entrepot__V1__Change **list = xcalloc(m->n_changes + 1, sizeof(Entrepot__V1__Change *));
    p.version = m->version;
    if (m->has_place) p.place = put_place(&place, &m->place);
    p.gone = m->gone;
    p.now_s = m->now_s;
    p.upto = m->upto;
    p.fleet = m->fleet;
    Entrepot__V1__DnsHealth dns = ENTREPOT__V1__DNS_HEALTH__INIT;
    if (m->has_dns) p.dns = put_dns(&dns, &m->dns);
    for (size_t i = 0; i < m->n_changes; i++) {
        const struct watch_change *c = &m->changes[i];
        entrepot__v1__change__init(list[i] = &rows[i]);
        rows[i].number = c->number;
        rows[i].kind = (uint32_t)c->kind;
        rows[i].removed = c->removed;
        rows[i].record = (ProtobufCBinaryData){c->len, (uint8_t *)(uintptr_t)c->record};
    }
    p.changes = list;
    p.n_changes = m->n_changes;
    int r = m->n_changes > WATCH_CHANGES_MAX ? ERR_TOO_BIG : add_framed(out, &p.base, WATCH_MESSAGE_MAX);
    free(rows);
    free(list);
    return r;
}

static int get_change(struct watch_message *m, const Entrepot__V1__Change *p) {
    struct watch_change c = {.number = p->number,
                             .kind = (enum record_kind)p->kind,
                             .removed = p->removed,
                             .record = p->record.data,
                             .len = p->record.len};
    if (p->kind >= RECORD_KINDS) return 0;
    bool sound = c.removed ? c.len > 0 && record_key_len(c.kind, c.record, c.len) == c.len
                           : record_is_sound(c.kind, c.record, c.len);
    if (!sound || c.number == 0) return ERR_INVALID;
    m->changes[m->n_changes++] = c;
    return 0;
}

static bool get_dns(struct watch_message *m, const Entrepot__V1__DnsHealth *p) {
    m->has_dns = p != NULL;
    if (!p) return true;
    m->dns = (struct watch_dns){
        .zone = p->zone, .serial = p->serial, .kept = p->kept, .states = p->states.data, .n_states = p->states.len};
    return m->dns.zone != 0;
}

static int get_message(struct watch_message *m, const Entrepot__V1__WatchMessage *p) {
    m->version = p->version;
    m->gone = p->gone;
    m->now_s = p->now_s;
    m->upto = p->upto;
    m->fleet = p->fleet;
    m->has_place = p->place != NULL;
    if (p->version > WATCH_VERSION) return ERR_UNSUPPORTED;
    if (p->now_s < 0 || p->now_s > RECORD_TIME_MAX) return ERR_INVALID;
    if (m->has_place && !get_place(&m->place, p->place)) return ERR_INVALID;
    if (!get_dns(m, p->dns)) return ERR_INVALID;
    if (p->n_changes > WATCH_CHANGES_MAX || (p->n_changes && !m->has_place)) return ERR_INVALID;
    m->changes = xcalloc(p->n_changes + 1, sizeof(*m->changes));
    for (size_t i = 0; i < p->n_changes; i++) {
        if (get_change(m, p->changes[i]) < 0) return ERR_INVALID;
    }
    return 0;
}

int watch_message_decode(struct watch_message *m, const void *data, size_t len) {
    memset(m, 0, sizeof(*m));
    if (len > WATCH_MESSAGE_MAX) return ERR_TOO_BIG;
    /* A change takes ten bytes at least of what is sent and about a hundred unpacked: bounded by the message's size. */
    Entrepot__V1__WatchMessage *p = entrepot__v1__watch_message__unpack(NULL, len, data);
    m->unpacked = p;
    return p ? get_message(m, p) : ERR_INVALID;
}

void watch_message_fini(struct watch_message *m) {
    if (m->unpacked) entrepot__v1__watch_message__free_unpacked(m->unpacked, NULL);
    free(m->changes);
    memset(m, 0, sizeof(*m));
}

/* --- tiles --- */

int tile_list_encode(const struct tile_list *t, uint8_t **out, size_t *len) {
    Entrepot__V1__TileList p = ENTREPOT__V1__TILE_LIST__INIT;
    struct packed_place place;
    uint8_t *rows = xmalloc(t->n * TILE_STATE_BYTES + 1);
    for (size_t i = 0; i < t->n; i++) {
        uint8_t *row = rows + i * TILE_STATE_BYTES;
        row[0] = (uint8_t)(t->tiles[i].tile >> 8);
        row[1] = (uint8_t)t->tiles[i].tile;
        set_digest_put(&t->tiles[i].digest, row + 2);
    }
    p.version = WATCH_VERSION;
    p.place = put_place(&place, &t->place);
    p.tiles = (ProtobufCBinaryData){t->n * TILE_STATE_BYTES, rows};
    *len = entrepot__v1__tile_list__get_packed_size(&p);
    *out = xmalloc(*len + 1);
    entrepot__v1__tile_list__pack(&p, *out);
    free(rows);
    return 0;
}

static int get_tiles(struct tile_list *t, const ProtobufCBinaryData *rows) {
    if (rows->len % TILE_STATE_BYTES || rows->len / TILE_STATE_BYTES > TILES) return ERR_INVALID;
    t->tiles = xcalloc(rows->len / TILE_STATE_BYTES + 1, sizeof(*t->tiles));
    for (const uint8_t *row = rows->data; t->n < rows->len / TILE_STATE_BYTES; t->n++, row += TILE_STATE_BYTES) {
        unsigned tile = (unsigned)row[0] << 8 | row[1];
        if (tile >= TILES || (t->n && tile <= t->tiles[t->n - 1].tile)) return ERR_INVALID;
        t->tiles[t->n] = (struct tile_state){tile, set_digest_get(row + 2)};
    }
    return 0;
}

int tile_list_decode(struct tile_list *t, const void *data, size_t len) {
    memset(t, 0, sizeof(*t));
    if (len > WATCH_MESSAGE_MAX) return ERR_TOO_BIG;
    Entrepot__V1__TileList *p = entrepot__v1__tile_list__unpack(NULL, len, data);
    int r = !p || p->version == 0 || !get_place(&t->place, p->place) ? ERR_INVALID
            : p->version > WATCH_VERSION                             ? ERR_UNSUPPORTED
                                                                     : get_tiles(t, &p->tiles);
    if (p) entrepot__v1__tile_list__free_unpacked(p, NULL);
    return r;
}

void tile_list_fini(struct tile_list *t) {
    free(t->tiles);
    memset(t, 0, sizeof(*t));
}

int tile_message_add(struct buf *out, const struct tile_message *t) {
    Entrepot__V1__Tile p = ENTREPOT__V1__TILE__INIT;
    struct packed_place place;
    p.version = WATCH_VERSION;
    p.tile = t->tile;
    p.place = put_place(&place, &t->place);
    p.too_big = t->too_big;
    p.body = (ProtobufCBinaryData){t->body_len, (uint8_t *)(uintptr_t)t->body};
    return add_framed(out, &p.base, TILE_MESSAGE_MAX);
}

int tile_message_decode(struct tile_message *t, const void *data, size_t len) {
    memset(t, 0, sizeof(*t));
    if (len > TILE_MESSAGE_MAX) return ERR_TOO_BIG;
    Entrepot__V1__Tile *p = entrepot__v1__tile__unpack(NULL, len, data);
    t->unpacked = p;
    if (!p || p->version == 0 || p->tile >= TILES || !get_place(&t->place, p->place)) return ERR_INVALID;
    if (p->version > WATCH_VERSION) return ERR_UNSUPPORTED;
    t->tile = p->tile;
    t->too_big = p->too_big;
    t->body = p->body.data;
    t->body_len = p->body.len;
    return 0;
}

void tile_message_fini(struct tile_message *t) {
    if (t->unpacked) entrepot__v1__tile__free_unpacked(t->unpacked, NULL);
    memset(t, 0, sizeof(*t));
}
