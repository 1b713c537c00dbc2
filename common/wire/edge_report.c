/* Encodes and decodes reports. Thread: any. */
#include "common/wire/edge_report.h"

#include "common/core/alloc.h"
#include "common/wire/pack.h"
#include "common/wire/wire.h"
#include "proto/report.pb-c.h"

#include <stdio.h>
#include <string.h>

#define LOAD_MAX 100
#define PORT_MAX 65535

static int pack(const ProtobufCMessage *p, uint8_t **out, size_t *len) {
    return wire_pack(p, WIRE_MAX_REPORT, out, len);
}

/* --- the heartbeat --- */

static uint64_t put_count(int64_t n) {
    return n > 0 ? (uint64_t)n : 0;
}

static void put_heartbeat(Entrepot__V1__Heartbeat *p, const struct wire_heartbeat *h, ProtobufCBinaryData *addresses) {
    p->load = h->load;
    p->uplink_full = h->uplink_full;
    p->disk_held = put_count(h->disk_held);
    p->disk_limit = put_count(h->disk_limit);
    p->disk_free = put_count(h->disk_free);
    p->blobs = put_count(h->blobs);
    p->replica_equal = h->replica_equal;
    p->replica_number = h->replica_number;
    p->replica_heard_ms = h->replica_heard_ms < 0 ? 0 : (uint64_t)h->replica_heard_ms + 1;
    for (size_t i = 0; i < h->n_addresses; i++)
        addresses[i] = (ProtobufCBinaryData){sizeof(struct ip), (uint8_t *)(uintptr_t)h->addresses[i].bytes};
    p->addresses = addresses;
    p->n_addresses = h->n_addresses;
    p->registry_port = h->registry_port;
    p->hits = put_count(h->hits);
    p->misses = put_count(h->misses);
    p->sent_bytes = put_count(h->sent_bytes);
    p->fetched_bytes = put_count(h->fetched_bytes);
}

/* False: more than a count can be. */
static bool get_count(int64_t *to, uint64_t from) {
    *to = (int64_t)from;
    return from < INT64_MAX;
}

static int get_heartbeat(struct wire_heartbeat *h, const Entrepot__V1__Heartbeat *p) {
    bool good = p->load <= LOAD_MAX && p->registry_port <= PORT_MAX && get_count(&h->disk_held, p->disk_held) &&
                get_count(&h->disk_limit, p->disk_limit) && get_count(&h->disk_free, p->disk_free) &&
                get_count(&h->blobs, p->blobs) && get_count(&h->replica_heard_ms, p->replica_heard_ms) &&
                get_count(&h->hits, p->hits) && get_count(&h->misses, p->misses) &&
                get_count(&h->sent_bytes, p->sent_bytes) && get_count(&h->fetched_bytes, p->fetched_bytes);
    if (!good) return ERR_INVALID;
    h->load = p->load;
    h->uplink_full = p->uplink_full;
    h->replica_equal = p->replica_equal;
    h->replica_number = p->replica_number;
    h->replica_heard_ms--;
    h->registry_port = p->registry_port;
    for (size_t i = 0; i < p->n_addresses && h->n_addresses < WIRE_EDGE_ADDRESSES; i++) {
        if (p->addresses[i].len != sizeof(struct ip)) return ERR_INVALID;
        memcpy(h->addresses[h->n_addresses++].bytes, p->addresses[i].data, sizeof(struct ip));
    }
    return 0;
}

/* --- what is held --- */

static ProtobufCBinaryData put_digests(const struct wire_digests *d) {
    return (ProtobufCBinaryData){d->n * WIRE_HELD_DIGEST, d->bytes};
}

/* The message with its tiles that are told whole; the caller frees p->whole. */
static void put_holdings(Entrepot__V1__Holdings *p, const struct wire_holdings *h) {
    p->digest = (ProtobufCBinaryData){sizeof(h->digest), (uint8_t *)(uintptr_t)h->digest};
    p->gained = put_digests(&h->gained);
    p->lost = put_digests(&h->lost);
    p->tiles = h->tiles;
    p->n_tiles = h->tiles ? WIRE_HELD_TILES : 0;
    /* The list of pointers, and behind it what they point to. */
    const size_t each = sizeof(Entrepot__V1__HeldTile *) + sizeof(Entrepot__V1__HeldTile);
    p->whole = xcalloc(h->n_whole + 1, each);
    p->n_whole = h->n_whole;
    Entrepot__V1__HeldTile *tiles = (Entrepot__V1__HeldTile *)(void *)(p->whole + h->n_whole);
    for (size_t i = 0; i < h->n_whole; i++) {
        entrepot__v1__held_tile__init(&tiles[i]);
        tiles[i].tile = h->whole[i].tile;
        tiles[i].held = put_digests(&h->whole[i].held);
        p->whole[i] = &tiles[i];
    }
}

static int get_digests(struct wire_digests *to, const ProtobufCBinaryData *from) {
    if (from->len % WIRE_HELD_DIGEST) return ERR_INVALID;
    to->n = from->len / WIRE_HELD_DIGEST;
    to->bytes = xmalloc(from->len + 1);
    if (from->len) memcpy(to->bytes, from->data, from->len);
    return 0;
}

static int get_whole(struct wire_holdings *h, const Entrepot__V1__Holdings *p) {
    if (p->n_whole > WIRE_HELD_TILES) return ERR_INVALID;
    h->whole = xcalloc(p->n_whole + 1, sizeof(*h->whole));
    for (; h->n_whole < p->n_whole; h->n_whole++) {
        const Entrepot__V1__HeldTile *t = p->whole[h->n_whole];
        if (t->tile >= WIRE_HELD_TILES) return ERR_INVALID;
        h->whole[h->n_whole].tile = t->tile;
        int r = get_digests(&h->whole[h->n_whole].held, &t->held);
        if (r < 0) return r;
    }
    return 0;
}

static int get_holdings(struct wire_holdings *h, const Entrepot__V1__Holdings *p) {
    if (p->digest.len != sizeof(h->digest) || (p->n_tiles && p->n_tiles != WIRE_HELD_TILES)) return ERR_INVALID;
    memcpy(h->digest, p->digest.data, sizeof(h->digest));
    if (p->n_tiles) {
        h->tiles = xcalloc(WIRE_HELD_TILES, sizeof(*h->tiles));
        memcpy(h->tiles, p->tiles, WIRE_HELD_TILES * sizeof(*h->tiles));
    }
    int r = get_digests(&h->gained, &p->gained);
    if (r == 0) r = get_digests(&h->lost, &p->lost);
    return r < 0 ? r : get_whole(h, p);
}

/* --- pulls --- */

/* The caller frees p->counts. */
static void put_pulls(Entrepot__V1__PullCounts *p, const struct wire_pulls *w) {
    p->epoch = (ProtobufCBinaryData){sizeof(w->epoch), (uint8_t *)(uintptr_t)w->epoch};
    p->sequence = w->sequence;
    p->other = w->other;
    /* The list of pointers, and behind it what they point to. */
    p->counts = xcalloc(w->n + 1, sizeof(Entrepot__V1__PullCount *) + sizeof(Entrepot__V1__PullCount));
    p->n_counts = w->n;
    Entrepot__V1__PullCount *counts = (Entrepot__V1__PullCount *)(void *)(p->counts + w->n);
    for (size_t i = 0; i < w->n; i++) {
        entrepot__v1__pull_count__init(&counts[i]);
        counts[i].repository = w->counts[i].repository;
        counts[i].tag = w->counts[i].tag;
        counts[i].count = w->counts[i].count;
        p->counts[i] = &counts[i];
    }
}

static bool is_repository(const char *s) {
    size_t len = strlen(s), host = path_host_len(s, len);
    if (host == 0) return len < REPO_STR_MAX && repo_path_check(s, len) == 0;
    return len < REPO_STR_MAX && host_check(s, host) == 0 && s[host] == '/' &&
           repo_path_check(s + host + 1, len - host - 1) == 0;
}

/* A batch with names that mean nothing here is taken all the same, or the edge would tell it for ever. */
static int get_pulls(struct wire_pulls *w, const Entrepot__V1__PullCounts *p) {
    bool good = p->epoch.len == sizeof(w->epoch) && p->sequence > 0 && p->sequence < 1ULL << 62 &&
                p->n_counts <= WIRE_PULL_NAMES && p->other <= WIRE_PULLS_MAX;
    if (!good) return ERR_INVALID;
    memcpy(w->epoch, p->epoch.data, sizeof(w->epoch));
    w->sequence = p->sequence;
    w->other = p->other;
    w->counts = xcalloc(p->n_counts + 1, sizeof(*w->counts));
    for (size_t i = 0; i < p->n_counts; i++) {
        const Entrepot__V1__PullCount *c = p->counts[i];
        if (c->count == 0 || c->count > WIRE_PULLS_MAX) return ERR_INVALID;
        if (!is_repository(c->repository) || tag_check(c->tag, strlen(c->tag)) < 0) {
            w->other = w->other + c->count < WIRE_PULLS_MAX ? w->other + c->count : WIRE_PULLS_MAX;
            continue;
        }
        struct wire_pull *to = &w->counts[w->n++];
        snprintf(to->repository, sizeof(to->repository), "%s", c->repository);
        snprintf(to->tag, sizeof(to->tag), "%s", c->tag);
        to->count = c->count;
    }
    return 0;
}

void wire_report_fini(struct wire_report *m) {
    if (m->pulls) free(m->pulls->counts);
    free(m->pulls);
    m->pulls = NULL;
    wire_report_drop_holdings(m);
}

void wire_report_drop_holdings(struct wire_report *m) {
    struct wire_holdings *h = m->holdings;
    m->holdings = NULL;
    if (!h) return;
    for (size_t i = 0; i < h->n_whole; i++)
        free(h->whole[i].held.bytes);
    free(h->whole);
    free(h->tiles);
    free(h->gained.bytes);
    free(h->lost.bytes);
    free(h);
}

/* --- messages --- */

int wire_report_encode(const struct wire_report *m, uint8_t **out, size_t *len) {
    Entrepot__V1__Report p;
    Entrepot__V1__Heartbeat h;
    Entrepot__V1__Holdings held;
    Entrepot__V1__PullCounts pulls;
    ProtobufCBinaryData addresses[WIRE_EDGE_ADDRESSES];
    entrepot__v1__report__init(&p);
    entrepot__v1__heartbeat__init(&h);
    p.version = WIRE_VERSION;
    if (m->has_heartbeat) {
        put_heartbeat(&h, &m->heartbeat, addresses);
        p.heartbeat = &h;
    }
    entrepot__v1__holdings__init(&held);
    if (m->holdings) {
        put_holdings(&held, m->holdings);
        p.holdings = &held;
    }
    entrepot__v1__pull_counts__init(&pulls);
    if (m->pulls) {
        put_pulls(&pulls, m->pulls);
        p.pulls = &pulls;
    }
    int r = pack(&p.base, out, len);
    free(held.whole);
    free(pulls.counts);
    return r;
}

int wire_report_decode(struct wire_report *m, const void *data, size_t len) {
    *m = (struct wire_report){0};
    if (len > WIRE_MAX_REPORT) return ERR_TOO_BIG;
    Entrepot__V1__Report *p = entrepot__v1__report__unpack(NULL, len, data);
    if (!p) return ERR_INVALID;
    int r = wire_check_version(p->version);
    if (r == 0 && p->heartbeat) r = get_heartbeat(&m->heartbeat, p->heartbeat);
    m->version = p->version;
    m->has_heartbeat = p->heartbeat != NULL;
    if (r == 0 && p->holdings) {
        m->holdings = xcalloc(1, sizeof(*m->holdings));
        r = get_holdings(m->holdings, p->holdings);
    }
    if (r == 0 && p->pulls) {
        m->pulls = xcalloc(1, sizeof(*m->pulls));
        r = get_pulls(m->pulls, p->pulls);
    }
    entrepot__v1__report__free_unpacked(p, NULL);
    return r;
}

int wire_report_response_encode(const struct wire_report_response *m, uint8_t **out, size_t *len) {
    Entrepot__V1__ReportResponse p;
    uint32_t wanted[WIRE_HELD_TILES];
    entrepot__v1__report_response__init(&p);
    p.version = WIRE_VERSION;
    p.heartbeat_ms = (uint32_t)m->heartbeat_ms;
    p.holdings = (Entrepot__V1__HoldingsState)m->holdings;
    for (size_t i = 0; i < m->n_wanted; i++)
        wanted[i] = m->wanted[i];
    p.wanted = wanted;
    p.n_wanted = m->n_wanted;
    p.pulls_taken = m->pulls_taken;
    return pack(&p.base, out, len);
}

static int get_wanted(struct wire_report_response *m, const Entrepot__V1__ReportResponse *p) {
    if (p->n_wanted > WIRE_HELD_TILES) return ERR_INVALID;
    for (; m->n_wanted < p->n_wanted; m->n_wanted++) {
        if (p->wanted[m->n_wanted] >= WIRE_HELD_TILES) return ERR_INVALID;
        m->wanted[m->n_wanted] = (uint16_t)p->wanted[m->n_wanted];
    }
    return 0;
}

/* A state of a newer version means that nothing of what this one knows was taken. */
static enum wire_holdings_state get_state(Entrepot__V1__HoldingsState s) {
    return s == ENTREPOT__V1__HOLDINGS_STATE__HOLDINGS_EQUAL    ? WIRE_HOLDINGS_EQUAL
           : s == ENTREPOT__V1__HOLDINGS_STATE__HOLDINGS_DIFFER ? WIRE_HOLDINGS_DIFFER
                                                                : WIRE_HOLDINGS_NOT_TAKEN;
}

int wire_report_response_decode(struct wire_report_response *m, const void *data, size_t len) {
    *m = (struct wire_report_response){0};
    if (len > WIRE_MAX_REPORT) return ERR_TOO_BIG;
    Entrepot__V1__ReportResponse *p = entrepot__v1__report_response__unpack(NULL, len, data);
    if (!p) return ERR_INVALID;
    int r = wire_check_version(p->version);
    m->version = p->version;
    m->heartbeat_ms = p->heartbeat_ms;
    m->holdings = get_state(p->holdings);
    m->pulls_taken = p->pulls_taken;
    if (r == 0) r = get_wanted(m, p);
    entrepot__v1__report_response__free_unpacked(p, NULL);
    return r;
}
