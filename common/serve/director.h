/* The interface to who knows that another node serves a client better (central's DNS). The registry asks it before it
 * sends a blob. Thread: serving loops; it must not block. */
#ifndef ENTREPOT_SERVE_DIRECTOR_H
#define ENTREPOT_SERVE_DIRECTOR_H

#include "common/core/network.h"

#define DIRECTED_MAX 280 /* of HOST:PORT, with its end */
struct director {
    /* True: this client should fetch blobs from the node at out (HOST:PORT), by the scheme it used here. host: the Host
     * header of its request. */
    bool (*elsewhere)(const struct ip *client, const char *host, char out[DIRECTED_MAX], void *arg);
    void *arg;
};

#endif
