/* The bytes are zeros: TLS makes of them what nothing on the way can compress. Thread: the request's loop. */
#include "central/fleet/road_end.h"

#include <stdlib.h>

#include "common/access/query.h"
#include "common/wire/node_headers.h"
#include "common/wire/wire.h"

static const char zeros[WIRE_MAX_ROAD_ANSWER];

/* False: it is no such number. */
static bool wanted(const struct http_req *req, size_t *bytes) {
    char text[QUERY_PARAM_MAX], *end;
    if (query_param(http_req_target(req), "bytes", text) != 1 || text[0] < '0' || text[0] > '9') return false;
    unsigned long n = strtoul(text, &end, 10);
    *bytes = n;
    return *end == '\0' && n <= WIRE_MAX_ROAD_ANSWER;
}

/* The zeros are nobody's to free. */
static void keep(void *arg) {
    (void)arg;
}

static void answer(struct http_req *req) {
    static const char why[] = "bytes: a number of at most 262144 is needed";
    _Static_assert(WIRE_MAX_ROAD_ANSWER == 262144, "why names it");
    size_t bytes;
    struct ip peer;
    char text[IP_TEXT_MAX];
    if (!wanted(req, &bytes)) {
        http_reply_text(req, 400, why);
        return;
    }
    if (http_req_peer(req, &peer)) http_reply_header(req, SEEN_HEADER, ip_text(&peer, text));
    http_reply_ref(req, 200, "application/octet-stream", zeros, bytes, keep, NULL);
}

static void on_body(struct http_req *req, const char *body, size_t len) {
    (void)body;
    (void)len;
    answer(req);
}

void road_end_handle(struct http_req *req) {
    if (http_req_method(req) == HTTP_POST)
        http_req_collect_body(req, WIRE_MAX_ROAD_REQUEST, on_body);
    else
        answer(req);
}
