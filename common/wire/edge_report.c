/* Encodes and decodes reports. Thread: any. */
#include "common/wire/edge_report.h"

#include "common/wire/pack.h"
#include "common/wire/wire.h"
#include "proto/report.pb-c.h"

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

/* --- messages --- */

int wire_report_encode(const struct wire_report *m, uint8_t **out, size_t *len) {
    Entrepot__V1__Report p;
    Entrepot__V1__Heartbeat h;
    ProtobufCBinaryData addresses[WIRE_EDGE_ADDRESSES];
    entrepot__v1__report__init(&p);
    entrepot__v1__heartbeat__init(&h);
    p.version = WIRE_VERSION;
    if (m->has_heartbeat) {
        put_heartbeat(&h, &m->heartbeat, addresses);
        p.heartbeat = &h;
    }
    return pack(&p.base, out, len);
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
    entrepot__v1__report__free_unpacked(p, NULL);
    return r;
}

int wire_report_response_encode(const struct wire_report_response *m, uint8_t **out, size_t *len) {
    Entrepot__V1__ReportResponse p;
    entrepot__v1__report_response__init(&p);
    p.version = WIRE_VERSION;
    p.heartbeat_ms = (uint32_t)m->heartbeat_ms;
    return pack(&p.base, out, len);
}

int wire_report_response_decode(struct wire_report_response *m, const void *data, size_t len) {
    *m = (struct wire_report_response){0};
    if (len > WIRE_MAX_REPORT) return ERR_TOO_BIG;
    Entrepot__V1__ReportResponse *p = entrepot__v1__report_response__unpack(NULL, len, data);
    if (!p) return ERR_INVALID;
    int r = wire_check_version(p->version);
    *m = (struct wire_report_response){.version = p->version, .heartbeat_ms = p->heartbeat_ms};
    entrepot__v1__report_response__free_unpacked(p, NULL);
    return r;
}
