/* Who sends a request. The port that the request came to decides the kind: node/ports.c sets it for the registry API,
 * and the handlers of the fleet port's own calls, which only nodes make, set it by caller_of_node or caller_of_peer.
 * Scarce resources are shared among callers (share.h). A plain value without padding, so that callers can be compared
 * by their bytes. Thread: any. */
#ifndef ENTREPOT_ACCESS_CALLER_H
#define ENTREPOT_ACCESS_CALLER_H

#include "common/core/network.h"

enum caller_kind {
    CALLER_SELF,   /* this node's own work, for no request */
    CALLER_CLIENT, /* an address at the registry port */
    CALLER_NODE,   /* another node of ours, at the fleet port: by its certificate's name, or by its address */
    CALLER_SOCKET, /* a command at the control socket, with this node's own rights */
};

#define CALLER_NAME_MAX 64
struct caller {
    enum caller_kind kind;
    struct ip who; /* all zero where there is no address, or a name instead */
    /* Which of its clients a node asks for: a number that only this node understands, and that it alone may give. 0:
     * none, or it is no node. */
    uint32_t client;
    char name[CALLER_NAME_MAX]; /* of a node that has shown its certificate, filled up with zeros; else all zero */
};

struct http_req;

/* Sets a caller. An IPv4 address is one caller. For IPv6 a whole /64 is, because one host can use all its addresses. */
void caller_set(struct caller *out, enum caller_kind kind, const struct ip *ip);

/* The caller of a request's connection, at a port of this kind. Whoever has shown a certificate is called by its name,
 * whatever address it comes from. */
void caller_of_peer(struct caller *out, enum caller_kind kind, const struct http_req *req);

/* The caller of a request at the fleet port: the node, and the client that it names (wire/node_headers.h). */
void caller_of_node(struct caller *out, const struct http_req *req);

/* The same node, whichever of its clients it asks for. */
struct caller caller_node(const struct caller *c);

/* How this node names one of its own callers to another node; 0: this node's own work. */
uint32_t caller_as_client(const struct caller *c);

/* For jobs of a work pool (core/workpool.h): the same caller has the same number. 0 for this node's own work only. */
uint64_t caller_number(const struct caller *c);

#define CALLER_TEXT_MAX (CALLER_NAME_MAX + 24)
/* Text for people: "10.1.0.5", "2001:db8:1:2::/64", "a client of 10.1.0.5", "edge shanghai-1", "this node". Returns
 * out. */
const char *caller_text(const struct caller *c, char out[CALLER_TEXT_MAX]);

#endif
