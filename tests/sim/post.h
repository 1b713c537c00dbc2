/* A request of a simulated edge whose answer is kept whole. One at a time of each struct. Thread: the simulator's
 * loop. */
#ifndef ENTREPOT_SIM_POST_H
#define ENTREPOT_SIM_POST_H

#include "common/core/buf.h"
#include "edge/link/uplink.h"

struct post {
    struct http_call *call; /* NULL: none is under way */
    struct buf answer;
    int status; /* 0: no answer */
    int64_t began_us;
    /* good: the answer is whole, with status 200. May be NULL. */
    void (*done)(struct post *p, bool good);
    void *arg;
};
struct post_order {
    const char *method, *path;
    const void *body; /* copied */
    size_t len;
    const struct uplink *uplink; /* NULL: the UNIX socket */
    const char *unix_socket;
    bool in_turn; /* as in struct http_call_spec */
};
void post_init(struct post *p, void (*done)(struct post *p, bool good), void *arg);
void post_send(struct post *p, struct http_client *client, const struct post_order *o);
void post_fini(struct post *p);

#endif
