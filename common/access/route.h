/* A table of routes: paths, methods, ports and handlers. The admin port, the control socket and the fleet port are
 * served from it, and parts of a node (node/node_part.h) add their rows. Thread: filled by the control thread before the
 * servers start, then read by any. */
#ifndef ENTREPOT_ACCESS_ROUTE_H
#define ENTREPOT_ACCESS_ROUTE_H

#include "common/http/server.h"

/* Sets of methods. */
#define METHOD_SET(m) (1u << (m))
#define METHODS_READ (METHOD_SET(HTTP_GET) | METHOD_SET(HTTP_HEAD))
#define METHODS_POST METHOD_SET(HTTP_POST)
/* For the header Allow: "GET, HEAD"; "" for none. */
#define METHODS_TEXT_MAX 64
const char *methods_text(unsigned methods, char out[METHODS_TEXT_MAX]);

/* The ports on which a path is answered. */
enum { PORT_ADMIN = 1, PORT_CONTROL = 2, PORT_NODE = 4 };

struct route {
    const char *path; /* the whole path, without the query; NULL ends a list of routes */
    unsigned methods; /* METHODS_* */
    unsigned ports;   /* PORT_* */
    /* Called on a serving loop. */
    void (*handler)(struct http_req *req, void *arg);
};

#define ROUTES_MAX 64
struct route_table {
    struct route_row {
        const struct route *route;
        void *arg;
    } rows[ROUTES_MAX];
    size_t n;
};
/* Adds routes, a borrowed list that ends with a path of NULL. arg is passed to their handlers. Two rows for one path,
 * method and port are a programming error and end the process. */
void routes_add(struct route_table *t, const struct route *routes, void *arg);

enum route_verdict {
    ROUTE_FOUND,
    ROUTE_NO_PATH,
    ROUTE_OTHER_PORT,   /* the path exists on other ports only; see ports */
    ROUTE_OTHER_METHOD, /* the path exists with other methods only; see allowed */
};
struct route_hit {
    const struct route *route; /* ROUTE_FOUND */
    void *arg;
    unsigned allowed; /* methods of this path on this port */
    unsigned ports;   /* other ports this path is answered on */
};
/* Finds the route of a request. target: as in the request, query included. */
enum route_verdict routes_find(const struct route_table *t, unsigned port, const char *target, enum http_method method,
                               struct route_hit *out);

#endif
