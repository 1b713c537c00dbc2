/* Who asks. It is made in one place for each request (node/ports.c), by the port that the request came to; nothing else
 * decides who somebody is. Its address is http_req_remote's. A plain value. Thread: any. */
#ifndef ENTREPOT_ACCESS_CALLER_H
#define ENTREPOT_ACCESS_CALLER_H

#include <stdbool.h>

enum caller_kind {
    CALLER_CLIENT, /* an address at the registry port */
    CALLER_NODE,   /* another node of ours, at the fleet port */
    CALLER_SOCKET, /* a command, at the control socket: somebody with this node's own rights */
};

struct caller {
    enum caller_kind kind;
};

#endif
