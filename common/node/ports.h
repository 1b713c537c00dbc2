/* The servers of a node: registry port, fleet port, admin port and control socket, with their TLS and the table of
 * routes. Thread: control, unless a function says otherwise. */
#ifndef ENTREPOT_NODE_PORTS_H
#define ENTREPOT_NODE_PORTS_H

#include "common/admin/health.h"
#include "common/node/node_parts.h"

struct ports;
struct ports_config {
    struct health *health;
    /* The serving loops first, then other loops whose stalls are reported; arrays borrowed. */
    struct loop **loops;
    const char *const *loop_names;
    size_t n_loops;
    unsigned max_connections; /* as many as the descriptor limit allows, minus some for files and sources */
};

/* Call when all parts have started, before the serving loops run; until then clients wait in the sockets' queues. On
 * failure nothing is left open. */
int ports_open(struct ports **out, struct node *n, const struct ports_config *cfg, struct error *err) must_check;
/* The certificate of the registry port; NULL without TLS. */
struct tls_server *ports_tls(struct ports *p);
/* While the serving loops run: accepts no more connections and ends the existing ones, those of admin port and socket
 * last. done(arg) is called on the control loop. */
void ports_drain(struct ports *p, int64_t within_ms, void (*done)(void *arg), void *arg);
/* Only when the loops have been joined. Frees the connections. Their jobs in the work pool may still return until the
 * work pool is freed. */
void ports_free_servers(struct ports *p);
/* After the work pool was freed. NULL is fine. */
void ports_free(struct ports *p);

#endif
