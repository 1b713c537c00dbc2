/* Which edges may be named in answers, from what was heard of them. Pure but for the time it is given. Thread: its
 * owner's. */
#ifndef ENTREPOT_DNS_DNS_HEALTH_H
#define ENTREPOT_DNS_DNS_HEALTH_H

#include "common/dns/zone.h"

enum dns_state {
    DNS_EDGE_UNKNOWN,  /* never heard */
    DNS_EDGE_GOOD,     /* named */
    DNS_EDGE_KEPT,     /* silent, but named: so many sites are silent that it is central's own link */
    DNS_EDGE_SILENT,   /* not heard for too long */
    DNS_EDGE_CLOSED,   /* its registry does not listen on registry.port */
    DNS_EDGE_BUSY,     /* over dns.load_max */
    DNS_EDGE_SETTLING, /* heard again; named once it has been well for a while */
    DNS_EDGE_BARRED,   /* it is in quarantine, or was removed from the fleet */
};
/* Whether a byte that someone else has sent is one of these. */
static inline bool dns_state_is_known(uint8_t s) {
    return s <= DNS_EDGE_BARRED;
}
/* "good", "silent", ... */
const char *dns_state_word(enum dns_state s);
static inline bool dns_state_named(enum dns_state s) {
    return s == DNS_EDGE_GOOD || s == DNS_EDGE_KEPT;
}

/* What someone knows of an edge. Once an edge has spoken itself, what probes say of it is ignored: they may be kept out
 * by what stands between, and an edge knows its load. */
enum dns_voice { DNS_VOICE_PROBE, DNS_VOICE_EDGE };
struct dns_report {
    enum dns_voice voice;
    int64_t heard_ms; /* when a byte of it last came, monotonic */
    unsigned load;    /* percent */
    bool port_open;   /* its registry answers on registry.port */
    bool uplink_full; /* it says that its uplink is full: it may be silent for longer */
};

struct dns_health;
struct dns_health_config {
    int64_t silent_ms;
    unsigned load_max; /* percent */
};
/* The edges of zone, all unknown. zone is borrowed for the call. */
struct dns_health *dns_health_new(const struct dns_zone *zone, const struct dns_health_config *c);
void dns_health_free(struct dns_health *h);
/* What old knew of edges with the same names is taken over. */
void dns_health_take(struct dns_health *h, const struct dns_health *old);
/* After a start: this edge was named before. It counts as good for so long, or until something is heard of it. */
void dns_health_restore(struct dns_health *h, size_t edge, int64_t now_ms, int64_t for_ms);
/* For how long: an edge that is asked from here answers within two heartbeats; one that reports by itself, and has found
 * central away for some seconds, tries again within 5 s (edge/reports/sender.c). */
enum { DNS_RESTORED_ASKED_MS = 2000, DNS_RESTORED_REPORTS_MS = 7000 };
void dns_health_report(struct dns_health *h, size_t edge, const struct dns_report *r);
/* Whether the edge has spoken itself. */
bool dns_health_speaks(const struct dns_health *h, size_t edge);
/* An edge that is barred is not named, whatever is heard of it. */
void dns_health_bar(struct dns_health *h, size_t edge, bool barred);
/* Decides anew; true if a state has changed, or whether answers are kept. Call it after reports and now and then. */
bool dns_health_decide(struct dns_health *h, int64_t now_ms);
/* As decided last. */
enum dns_state dns_health_state(const struct dns_health *h, size_t edge);
/* The same of all edges, in the zone's order; the caller frees them. */
uint8_t *dns_health_states(const struct dns_health *h);
/* Since when answers are kept although most sites are silent, monotonic; 0: they are not. */
int64_t dns_health_kept_since(const struct dns_health *h);

#endif
