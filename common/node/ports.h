/* The servers of a node: the registry port, the fleet port, the admin port and the control socket, with their TLS and
 * the table of what is answered. Thread: control, unless said otherwise. */
#ifndef ENTREPOT_NODE_PORTS_H
#define ENTREPOT_NODE_PORTS_H

#include "common/admin/health.h"
#include "common/node/parts.h"

struct ports;
struct ports_config {
    struct health *health;
    /* The serving loops first, then others whose stalls are shown; arrays borrowed. */
    struct loop **loops;
    const char *const *loop_names;
    size_t n_loops;
    unsigned max_connections; /* as many as there are descriptors for, some kept for files and sources */
};

/* All parts have started; the serving loops do not run yet: who connects waits in the sockets' queues. On failure
 * nothing is left open. */
int ports_open(struct ports **out, struct node *n, const struct ports_config *cfg, struct error *err) must_check;
/* The certificate of the registry port; NULL without TLS. */
struct tls_server *ports_tls(struct ports *p);
/* Takes no connections any more and ends those there are, those of the admin port and the socket last; done(arg) on the
 * control loop. The serving loops run. */
void ports_drain(struct ports *p, int64_t within_ms, void (*done)(void *arg), void *arg);
/* The loops have been joined. Connections are freed; what of theirs is under way in the work pool may still come back
 * until the work pool is gone. */
void ports_free_servers(struct ports *p);
/* After the work pool is gone. NULL: nothing. */
void ports_free(struct ports *p);

#endif
