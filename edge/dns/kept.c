/* The file is a DnsKept (proto/dns.proto), sealed. Thread: as the header says. */
#include "edge/dns/kept.h"

#include <errno.h>
#include <string.h>

#include "common/core/alloc.h"
#include "common/core/log.h"
#include "common/core/sealed.h"
#include "common/dns/dns_health.h"
#include "common/dns/zone_message.h"
#include "common/wire/pack.h"
#include "common/wire/wire.h"
#include "proto/dns.pb-c.h"

#define EDGES_MAX ((size_t)SITES_MAX * SITE_EDGES_MAX)
#define KEPT_MAX (DNS_ZONE_MESSAGE_MAX + 2 * EDGES_MAX + 256)

static uint8_t *copy_of(const void *bytes, size_t len) {
    uint8_t *copy = xmalloc(len + 1);
    if (len) memcpy(copy, bytes, len);
    return copy;
}

static bool are_sound(const ProtobufCBinaryData *states, const ProtobufCBinaryData *reached) {
    if (states->len > EDGES_MAX || reached->len != states->len) return false;
    for (size_t i = 0; i < states->len; i++)
        if (!dns_state_is_known(states->data[i]) || reached->data[i] > 1) return false;
    return true;
}

int dns_kept_decode(struct dns_kept *k, const void *data, size_t len) {
    *k = (struct dns_kept){0};
    if (len > KEPT_MAX) return ERR_TOO_BIG;
    Entrepot__V1__DnsKept *p = entrepot__v1__dns_kept__unpack(NULL, len, data);
    if (!p) return ERR_INVALID;
    int r = wire_check_version(p->version);
    if (r == 0 && (p->zone.len == 0 || p->zone_version == 0 || !are_sound(&p->states, &p->reached))) r = ERR_INVALID;
    if (r == 0)
        *k = (struct dns_kept){.zone = copy_of(p->zone.data, p->zone.len),
                               .zone_len = p->zone.len,
                               .zone_version = p->zone_version,
                               .serial = p->serial,
                               .states = copy_of(p->states.data, p->states.len),
                               .reached = copy_of(p->reached.data, p->reached.len),
                               .n = p->states.len,
                               .heard_at = p->heard_at};
    entrepot__v1__dns_kept__free_unpacked(p, NULL);
    return r;
}

void dns_kept_read(struct dns_kept *k, const char *path) {
    char *data;
    size_t len;
    struct error err = {0};
    *k = (struct dns_kept){0};
    int r = sealed_read(path, KEPT_MAX, &data, &len, &err);
    if (r == -ENOENT) return;
    if (r == 0) {
        r = dns_kept_decode(k, data, len);
        if (r < 0) error_set(&err, r, "it is not what this version writes");
        free(data);
    }
    if (r < 0) log_warn("dns_state_unreadable", KV_S("path", path), KV_S("why", err.msg));
}

void dns_kept_write(const struct dns_kept *k, const char *path) {
    Entrepot__V1__DnsKept p = ENTREPOT__V1__DNS_KEPT__INIT;
    uint8_t *bytes;
    size_t len;
    struct error err = {0};
    p.version = WIRE_VERSION;
    p.zone = (ProtobufCBinaryData){k->zone_len, k->zone};
    p.zone_version = k->zone_version;
    p.serial = k->serial;
    p.states = (ProtobufCBinaryData){k->n, k->states};
    p.reached = (ProtobufCBinaryData){k->n, k->reached};
    p.heard_at = k->heard_at;
    int r = wire_pack(&p.base, KEPT_MAX, &bytes, &len);
    if (r < 0) error_set(&err, r, "it is too large");
    if (r == 0) r = sealed_write(path, bytes, len, &err);
    free(bytes);
    if (r < 0) log_warn("dns_state_not_written", KV_S("why", err.msg));
}

void dns_kept_copy(struct dns_kept *to, const struct dns_kept *from) {
    *to = *from;
    to->zone = copy_of(from->zone, from->zone_len);
    to->states = copy_of(from->states, from->n);
    to->reached = copy_of(from->reached, from->n);
}

void dns_kept_fini(struct dns_kept *k) {
    free(k->zone);
    free(k->states);
    free(k->reached);
    *k = (struct dns_kept){0};
}
