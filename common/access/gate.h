/* Who may enter the fleet port. Given by the part that knows the fleet's members; asked by node/ports.c for every
 * request. Thread: serving loops. */
#ifndef ENTREPOT_ACCESS_GATE_H
#define ENTREPOT_ACCESS_GATE_H

#include "common/http/server.h"

struct gate {
    struct tls_server *tls; /* what the port shows to those who speak TLS */
    struct http_peers peers;
    /* 0 if a request that came over TLS may be answered. Else ERR_DENIED, and err says why in one line. */
    int (*admit)(struct http_req *req, struct error *err, void *arg);
    void *arg;
};

#endif
