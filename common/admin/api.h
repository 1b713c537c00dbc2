/* The admin port and the control socket: health, metrics, status, and the routes that parts of the node bring. Both are
 * served by the HTTP server; only the socket (mode 0600, in the data folder) takes changes and answers /v2/. Whatever
 * may block runs in the work pool and comes back to the loop of its request.
 *
 *   GET  /healthz /readyz /metrics /api/status   both
 *   GET  /api/doctor                             socket
 *   /v2/…                                        socket
 *   what the parts have                          as their routes say
 * Failures are {"error":{"message","hint"}}. Thread: handlers run on serving loops. */
#ifndef ENTREPOT_ADMIN_API_H
#define ENTREPOT_ADMIN_API_H

#include "common/access/route.h"
#include "common/admin/node_stats.h"

struct api;

struct api_hooks {
    struct node_facts facts;
    struct workpool *pool;
    /* Those of the parts; gets the api's own rows, too. A path it has none for is a 404. */
    struct route_table *routes;
    /* Work pool; may be NULL. Lays its keys over /api/status: "upstreams", "central". */
    void (*status)(json_t *into, void *arg);
    /* Work pool; may be NULL. Adds the facts of /api/doctor; see control_client.h for their shape. */
    void (*doctor)(json_t *into, void *arg);
    /* Serving loop, must not block; may be NULL. Adds its facts to /readyz. */
    void (*ready)(json_t *into, void *arg);
    /* Serving loop: /v2/ on the control socket. May be NULL. */
    void (*v2)(struct http_req *req, void *arg);
    void *arg;
};

/* Control thread. hooks is copied; what it points to must outlive the api. Registers the metrics collector. */
struct api *api_new(const struct api_hooks *hooks);
/* Any thread, at shutdown: no more changes, no more pulls. */
void api_stop(struct api *a);
/* After the servers are drained and the work pool is gone. */
void api_free(struct api *a);

/* http_server_config.handler with arg = struct api: for the TCP port, and for the socket. */
void api_handle_admin(struct http_req *req, void *arg);
void api_handle_control(struct http_req *req, void *arg);

/* Where the socket is: "DATA/control.sock" (a UNIX address holds at most 107 bytes: ERR_TOO_BIG says so). The server
 * wants "unix:" in front. */
#define CONTROL_PATH_MAX 108
int control_socket_path(const char *data, char out[CONTROL_PATH_MAX], struct error *err) must_check;

#endif
