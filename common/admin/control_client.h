/* How commands talk to the running daemon: HTTP over the UNIX socket in the data folder, with libcurl. Thread: main; a
 * session may also be used by one other thread at a time.
 *
 * What a node's parts add to /api/status and /api/doctor is made by the functions `status` and `doctor` of each part
 * (NAME_part.c); any of those keys may be missing. */
#ifndef ENTREPOT_ADMIN_CONTROL_CLIENT_H
#define ENTREPOT_ADMIN_CONTROL_CLIENT_H

#include <jansson.h>

#include "common/core/buf.h"
#include "common/core/error.h"
#include "common/config/node_config.h"

/* One request. */
struct control_request {
    const char *method; /* "GET", "HEAD", "POST" */
    const char *path;   /* with query, already encoded */
    const char *accept; /* NULL: any */
    const int *passed;  /* a descriptor that the daemon gets a copy of; NULL: none. Over the UNIX socket alone */
    int64_t max_body;   /* over: ERR_TOO_BIG; 0: no limit */
    int64_t timeout_ms; /* for the whole answer; 0: none */
    int64_t stall_s;    /* no byte for so long: ERR_TIMEOUT; 0: none */
    /* Body of an answer of 2xx, in parts; false ends the request (ERR_CANCELLED). NULL: dropped. Other answers' bodies
     * are kept for the error. */
    bool (*data)(const void *data, size_t len, void *arg);
    void *arg;
};
struct control_answer {
    int status;
    char cache_status[512], media_type[256], digest[160], warning[512]; /* headers; "" when absent */
    int64_t length;                                                     /* Content-Length, -1 when absent */
};

struct control;
/* Does not connect yet. Names the node in its errors. */
int control_open(struct control **out, const struct node_config *node, struct error *err) must_check;
/* As control_open, but to http(s)://HOST:PORT, for doctor: certificates are checked unless insecure. */
int control_open_url(struct control **out, const struct node_config *node, const char *base, bool insecure,
                     struct error *err) must_check;
void control_close(struct control *c);
void control_closep(struct control **c);
/* Adds what to try if the data folder holds nothing and no daemon uses it: to become root, if a plain user asks and a
 * service's folder exists; else to start the daemon. */
void control_no_daemon_hint(const struct node_config *node, struct error *err);
/* 0: 2xx, *answer filled. ERR_UNREACHABLE: no daemon runs (the error says how to start it). Other statuses are errors
 * with the words of the answer: 404 ERR_NOT_FOUND, 401 and 403 ERR_DENIED, 429 ERR_RATE_LIMITED, 504 ERR_TIMEOUT, 409
 * ERR_BUSY, 400 ERR_INVALID, else ERR_UPSTREAM. answer may be NULL. */
int control_ask(struct control *c, const struct control_request *rq, struct control_answer *answer,
                struct error *err) must_check;
/* GET or POST whose answer is one JSON object. */
int control_json(struct control *c, const char *method, const char *path, json_t **out, struct error *err) must_check;
/* As control_json, by POST; the daemon gets a copy of the descriptor `passed`. */
int control_post_passing(struct control *c, const char *path, int passed, json_t **out, struct error *err) must_check;
/* Percent-encodes all but unreserved characters; the caller frees. */
char *control_escape(const char *s);

#endif
