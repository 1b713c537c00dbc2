/* What an edge that answers DNS keeps on its disk, so that it answers after a restart without central: the zone, the
 * states of its edges, and when central was last heard. Thread: any that may block, but for what is pure. */
#ifndef ENTREPOT_EDGE_DNS_KEPT_H
#define ENTREPOT_EDGE_DNS_KEPT_H

#include "common/core/error.h"

struct dns_kept {
    uint8_t *zone; /* a message (common/dns/zone_message.h); NULL: nothing is kept */
    size_t zone_len;
    uint64_t zone_version;
    uint32_t serial;
    uint8_t *states;  /* enum dns_state of each edge of the zone */
    uint8_t *reached; /* 1: a probe from here has reached it */
    size_t n;         /* of each of these */
    int64_t heard_at; /* seconds since the epoch */
};

/* Pure. ERR_INVALID: not this message, or its states are none. The caller calls dns_kept_fini in any case. */
int dns_kept_decode(struct dns_kept *k, const void *data, size_t len) must_check;
/* Reads DATA/dns.state. Nothing is kept if there is none, or it is damaged, which is logged. */
void dns_kept_read(struct dns_kept *k, const char *path);
/* A failure is logged. */
void dns_kept_write(const struct dns_kept *k, const char *path);
void dns_kept_copy(struct dns_kept *to, const struct dns_kept *from);
void dns_kept_fini(struct dns_kept *k);

#endif
