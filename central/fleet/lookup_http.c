/* The HTTP side of a lookup: checks the type, collects the body, sends the answer. Thread: the request's loop. */
#include "central/fleet/lookup.h"

#include "common/core/alloc.h"
#include "common/http/http_status.h"
#include "common/http/server.h"
#include "common/wire/node_headers.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Outlives the request if the connection is cut while the batch is running. */
struct asked {
    struct lookup *lookup;
    struct http_req *req; /* NULL once closed */
    bool running;
    struct caller caller;
    size_t unread; /* bytes of the answer */
};

static void on_close(struct http_req *r, bool cut) {
    (void)cut;
    struct asked *a = http_req_user(r);
    a->req = NULL;
    unread_give(lookup_unread(a->lookup), &a->caller, a->unread);
    if (!a->running) free(a);
}

static void finish(void *arg, int code, const void *response, size_t len, const struct error *err) {
    struct asked *a = arg;
    struct http_req *r = a->req;
    a->running = false;
    if (!r) {
        free(a);
        return;
    }
    if (code == 0 && unread_take(lookup_unread(a->lookup), &a->caller, len)) {
        a->unread = len;
        http_reply(r, 200, WIRE_CONTENT_TYPE, response, len);
        return;
    }
    struct error too_much = {0};
    if (code == 0) {
        code = error_set(&too_much, ERR_BUSY, UNREAD_TOO_MUCH);
        err = &too_much;
    }
    char ours[17];
    if (code == ERR_OUTDATED)
        http_reply_header(r, SETTINGS_HEADER, settings_header_format(lookup_settings_version(a->lookup), ours));
    http_reply_text(r, http_error_status(code), err->msg);
}

static void on_body(struct http_req *r, const char *body, size_t len) {
    struct asked *a = http_req_user(r);
    a->running = true;
    caller_of_node(&a->caller, r); /* lookups exist on the fleet port only */
    lookup_run(a->lookup, &a->caller, body, len, http_req_id(r), finish, a);
}

void lookup_handle(struct lookup *l, struct http_req *r) {
    const char *type = http_req_header(r, "Content-Type");
    size_t n = type ? strcspn(type, "; \t") : 0;
    if (n != strlen(WIRE_CONTENT_TYPE) || strncasecmp(type, WIRE_CONTENT_TYPE, n) != 0) {
        http_reply_text(r, 415, "a lookup is sent as Content-Type: " WIRE_CONTENT_TYPE);
        return;
    }
    struct asked *a = xcalloc(1, sizeof(*a));
    *a = (struct asked){.lookup = l, .req = r};
    http_req_set_user(r, a);
    http_req_on_close(r, on_close);
    http_req_collect_body(r, WIRE_MAX_REQUEST, on_body);
}
