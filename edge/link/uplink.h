/* How this edge reaches central: its address, and what is shown and trusted on the way. Once the edge has joined, over
 * https with its certificate and the roots of its fleet; before that as the URL says. Both change while it runs: a join
 * gives a new address and identity, a renewal a new certificate. Connections that are open stay open. Thread: as each
 * function says. */
#ifndef ENTREPOT_EDGE_LINK_UPLINK_H
#define ENTREPOT_EDGE_LINK_UPLINK_H

#include "common/http/client.h"
#include "edge/link/identity.h"

struct uplink;

/* Control thread. url: "http(s)://HOST:PORT", no '/' at its end; copied. There is no identity yet. proxy: as in
 * struct http_call_spec, for the identity's calls; borrowed. */
struct uplink *uplink_new(const char *url, const char *proxy);
/* Control thread, when no call runs any more. */
void uplink_free(struct uplink *u);

/* Any thread. Valid until uplink_free. */
const char *uplink_url(const struct uplink *u);

/* Fetch loop, or before it runs. Uses this identity from now on, and the URL unless it is NULL, as for a renewal; takes
 * the content of *id. Calls the function that was set for changes. */
void uplink_use(struct uplink *u, struct identity *id, const char *url);
/* Fetch loop, or before it runs. Central is reached at this URL from now on. */
void uplink_move(struct uplink *u, const char *url);
/* Fetch loop. fn is called after each change. renewed: only the certificate has changed, neither the address nor the
 * rest of the identity. There is one fn. */
void uplink_on_change(struct uplink *u, void (*fn)(bool renewed, void *arg), void *arg);
/* Fetch loop. The present identity; NULL: none. Valid until uplink_free. */
const struct identity *uplink_identity(const struct uplink *u);
/* Any thread. How calls to central are secured; NULL: this edge has not joined. Valid until uplink_free. */
const struct http_tls *uplink_tls(const struct uplink *u);
/* Any thread. An answer of central's, from memory, took so long from the start of its request. */
void uplink_took(const struct uplink *u, int64_t ms);
/* Any thread. What the road may add to a limit of time: some of its round trips, as uplink_took has lately heard of them.
 * Next to nothing where the road is short, 12 s at most where it is long or full, and 3 s while an edge that has joined has
 * heard nothing yet. */
int64_t uplink_allowance_ms(const struct uplink *u);

/* Any thread. Sets how the call to central is secured, and the proxy on its way: only TLS with the fleet goes through
 * one. Adds the allowance to connect_ms, if that is set. */
void uplink_secure(const struct uplink *u, struct http_call_spec *spec);

/* A request to central's fleet port. */
struct uplink_message {
    const char *path, *query; /* query: with its "?"; NULL: none */
    const void *body;         /* protobuf, for a POST; NULL: a GET */
    size_t len;
    bool in_turn; /* this and the times: as in struct http_call_spec, but head_ms 0 is total_ms */
    int64_t connect_ms, head_ms, total_ms, stall_ms;
    size_t max_answer; /* bytes */
};
/* Fetch loop. Sends it to where central is reached now; the allowance is added to each of its times. m and its body are
 * borrowed for the call; the rest is as for http_call_start. */
struct http_call *uplink_send(const struct uplink *u, struct http_client *client, const struct uplink_message *m,
                              const struct http_call_events *ev, void *arg);

#endif
