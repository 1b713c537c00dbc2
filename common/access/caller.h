/* Who asks. It is made in one place for each request (node/ports.c), by the port that the request came to and the
 * address it came from; nothing else decides who somebody is. What is scarce is shared among callers (share.h). A plain
 * value without padding: two callers are the same when their bytes are. Thread: any. */
#ifndef ENTREPOT_ACCESS_CALLER_H
#define ENTREPOT_ACCESS_CALLER_H

#include "common/core/network.h"

enum caller_kind {
    CALLER_SELF,   /* this node's own work: nobody asks */
    CALLER_CLIENT, /* an address at the registry port */
    CALLER_NODE,   /* another node of ours, at the fleet port */
    CALLER_SOCKET, /* a command, at the control socket: somebody with this node's own rights */
};

struct caller {
    enum caller_kind kind;
    struct ip who; /* all zero where there is no address */
};

struct http_req;

/* An IPv4 address is one caller. Of IPv6 a whole /64 is, for who has one address of it has all. */
void caller_set(struct caller *out, enum caller_kind kind, const struct ip *ip);

/* Who has connected, at a port of this kind. */
void caller_of_peer(struct caller *out, enum caller_kind kind, const struct http_req *req);

#define CALLER_TEXT_MAX (IP_TEXT_MAX + 4)
/* "10.1.0.5", "2001:db8:1:2::/64", "this node". */
const char *caller_text(const struct caller *c, char out[CALLER_TEXT_MAX]);

#endif
