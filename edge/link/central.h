/* Central, as everything in an edge that asks it sees it: where it is, whether it can be reached, which of its settings
 * this edge goes by, and how its failures are told. Thread: the fetch loop, unless a function says otherwise. */
#ifndef ENTREPOT_EDGE_LINK_CENTRAL_H
#define ENTREPOT_EDGE_LINK_CENTRAL_H

#include "common/http/client.h"
#include "common/source/source.h"
#include "edge/link/breaker.h"
#include "edge/link/settings.h"
#include "edge/link/uplink.h"

#define CENTRAL_CONNECT_MS 2000
/* Longer than central waits for its upstream, so that central's own error arrives. */
#define CENTRAL_HEAD_MS 20000
/* A request that central left without an answer is sent again, so many times in all: it may be what crashes central. */
#define CENTRAL_SENT_MAX 3

/* All pointers are borrowed. */
struct central {
    const struct uplink *uplink;
    const struct settings *settings;
    struct loop *loop;
    struct http_client *client;
    struct breaker *breaker;
    void (*outdated)(void *arg); /* central goes by newer settings than ours; NULL: nobody is told */
    void *outdated_arg;
};

/* Central has told no settings yet, in this life or an earlier one, so what a name means is not known: why says so. Any
 * thread. */
bool central_lacks_settings(const struct central *c, char *why, size_t cap);

/* These fill *e. */
/* It cannot be reached. */
void central_end_unreachable(const struct central *c, struct fetch_end *e);
/* It goes by other settings than those of this version, which the request went by. Calls outdated if they are still
 * ours. */
void central_end_outdated(const struct central *c, struct fetch_end *e, uint64_t settings);

/* Whether an answer to a call of the fleet's is central's, and good; else why says what it is. Pure. */
bool central_is_fleet_port(int status, const char *content_type, char why[CENTRAL_WHY_MAX]);
/* Whether a URL of central leads to this machine itself. Pure. */
bool central_is_loopback(const char *url);

#endif
