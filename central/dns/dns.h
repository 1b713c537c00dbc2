/* The authoritative DNS server of one zone: it names to each client the nearest edge that is well. What it knows of the
 * edges it is told by dns_word, and by probes of its own. Thread: control, unless a function says otherwise. */
#ifndef ENTREPOT_CENTRAL_DNS_DNS_H
#define ENTREPOT_CENTRAL_DNS_DNS_H

#include <jansson.h>

#include "central/config/central_config.h"
#include "common/dns/joined.h"
#include "common/dns/tally.h"
#include "common/core/workpool.h"

struct dns;
/* How an edge stands with the fleet. */
enum dns_member {
    DNS_MEMBER_NONE, /* the fleet has none of that name at that site */
    DNS_MEMBER_GOOD,
    DNS_MEMBER_BARRED,  /* in quarantine: not named, whatever is heard of it */
    DNS_MEMBER_REMOVED, /* likewise, and only the configuration can give it a place in the zone */
};
/* Who asks the fleet about its edges. Any thread. */
struct dns_fleet {
    enum dns_member (*member)(const char *site, const char *edge, void *arg);
    uint64_t (*version)(void *arg); /* another number when an answer of member may have changed */
    void *arg;
};
struct dns_told; /* central/dns/told.h */
/* What it is made from. */
struct dns_setup {
    const struct central_config *config; /* borrowed for the call */
    struct ip central[DNS_FAMILIES];     /* central's own addresses, zero where it has none */
    const char *saved_path;              /* copied */
    struct workpool *pool;               /* for writing the file; must outlive it */
    struct dns_fleet fleet;
    struct dns_told *told;        /* borrowed; what edges that answer are told */
    void (*published)(void *arg); /* any thread: that has changed */
    void *arg;
};
/* Binds its ports and decides the first answers. */
int dns_new(struct dns **out, const struct dns_setup *setup, struct error *err) must_check;
void dns_start(struct dns *d);
void dns_free(struct dns *d);
/* Takes sites and the zone's records anew from a configuration, borrowed for the call. Ports, threads and limits stay.
 * On failure the old ones stay. */
int dns_reload(struct dns *d, const struct central_config *config, struct error *err) must_check;

/* Any thread: passes on what a member of the fleet has reported of itself. The edge gets a place in the zone if it has
 * none (joined.h). */
void dns_word(struct dns *d, const struct dns_word *w);

/* Any thread that may wait for a lock: the present view, valid until dns_view_done. */
const struct dns_view *dns_view_now(struct dns *d);
void dns_view_done(struct dns *d);
/* Any thread; it waits for a lock that is held for less than a microsecond. HOST:PORT of the edge that a client at this
 * address should fetch blobs from, in out (cap bytes), as direct.h says. False: from central. host: the Host header by
 * which it has come here. */
bool dns_elsewhere(struct dns *d, const struct ip *client, const char *host, char *out, size_t cap);
/* Any thread. */
struct dns_server;
const struct dns_server *dns_server_of(const struct dns *d);
/* The listen address as configured. */
const char *dns_listen_text(const struct dns *d);

#endif
