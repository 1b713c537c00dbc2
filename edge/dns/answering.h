/* Answers DNS queries for central's zone. While central is heard, the answers are central's: its zone, its word on which
 * edges may be named, its serial. While it is not, its last word stays, but for the edges of this site, which are asked
 * from here each second:
 *
 *   nothing known ── the zone and its states have come ──▶ central's word ◀── central is heard ──┐
 *        ▲                                                     └── silent ──▶ its last word, and probes
 *        └───────────────── central was silent for longer than stale_for ─────────┘
 *
 * The zone and the last answers are on the disk, so that the first answer after a restart is right. Thread: control,
 * unless a function says otherwise; a loop of its own decides. */
#ifndef ENTREPOT_EDGE_DNS_ANSWERING_H
#define ENTREPOT_EDGE_DNS_ANSWERING_H

#include <jansson.h>

#include "common/core/workpool.h"
#include "common/dns/dns_config.h"
#include "common/records/messages.h"

struct answering;
struct answering_setup {
    const struct dns_config *config; /* of the port; borrowed for the call */
    const char *path;                /* of the file; copied */
    const char *site;                /* of this edge; copied. "": it has not joined, so nobody is asked */
    int64_t stale_for_ms;
    struct workpool *pool;          /* for writing the file; must outlive it */
    int64_t (*heard_ms)(void *arg); /* when a byte of central's stream last came, monotonic; any thread */
    void *arg;
};
/* Binds its ports, and decides the first answers by what is on the disk. */
int answering_new(struct answering **out, const struct answering_setup *setup, struct error *err) must_check;
void answering_start(struct answering *a);
void answering_free(struct answering *a);

/* Any thread: the version of the zone that is there at the start; 0: none. */
uint64_t answering_kept_version(const struct answering *a);
/* Central's word on the edges of a zone, which comes with it if it is another than before. */
struct answering_news {
    struct watch_dns dns;
    const void *zone; /* a message (common/dns/zone_message.h) of the version dns.zone; NULL: it came before */
    size_t zone_len;
    const char *site; /* of this edge */
};
/* Any thread; all is copied. NULL: central's stream has ended. */
void answering_told(struct answering *a, const struct answering_news *news);
/* Any thread that may wait for a lock: as dns_status, with "source": {"live", "heard_s_ago" (null: never), "problem"}. The
 * caller owns it. */
json_t *answering_json(struct answering *a);
/* Any thread that may wait for a lock: zone_facts of the zone in use; NULL: there is none. */
json_t *answering_facts(struct answering *a, const char *site, const char *edge);
/* Any thread. */
unsigned answering_port(const struct answering *a);

#endif
