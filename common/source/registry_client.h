/* What every source that speaks the registry API over HTTP does alike: the headers of its requests, which bytes of an
 * answer's body were asked for, and how the one who asked is called back. The source itself decides whom it asks, and
 * what a failure means. Thread: the fetch loop. */
#ifndef ENTREPOT_SOURCE_REGISTRY_CLIENT_H
#define ENTREPOT_SOURCE_REGISTRY_CLIENT_H

#include "common/core/buf.h"
#include "common/source/source.h"

/* --- headers --- */

#define REGISTRY_HEADERS_MAX 6
/* The headers of one request; their text lives here until the request is started. */
struct registry_headers {
    const char *list[REGISTRY_HEADERS_MAX + 1]; /* NULL-ended, as http_call_spec wants it */
    unsigned n;
    char range[80], id[96], accept[256];
};
/* Range, Accept and X-Request-Id, as far as rq has use for them. */
void registry_headers_of(struct registry_headers *h, const struct fetch_request *rq);
/* Adds one, which is borrowed. At most REGISTRY_HEADERS_MAX in all. */
void registry_headers_add(struct registry_headers *h, const char *line);

/* --- the body --- */

/* The part of a body that was asked for. */
struct registry_body {
    int64_t offset, length; /* as in the request; length 0: to the end */
    int64_t total;          /* size of the whole content, -1: unknown */
    int64_t skip;           /* bytes before offset that still come, of a 200 to a request with Range */
    int64_t given;          /* bytes passed on */
};
/* The head of a wanted answer has come. total and skip: as fetch_head_from_answer tells them. */
void registry_body_begin(struct registry_body *b, const struct fetch_request *rq, int64_t total, int64_t skip);
/* Takes what has come, and leaves in *data and *len what of it was asked for; *len may become 0. */
void registry_body_take(struct registry_body *b, const char **data, size_t *len);
/* Bytes that are still wanted; -1: unknown. */
int64_t registry_body_left(const struct registry_body *b);
/* True if all bytes that were asked for have come. A 200 may still send more, which is not needed. */
bool registry_body_is_enough(const struct registry_body *b);
/* Call at the end of an answer that is complete by HTTP. True if it has fewer bytes than its head or request says. */
bool registry_body_is_short(const struct registry_body *b);

/* --- the body of a refusal --- */

#define REGISTRY_REFUSAL_KEPT_MAX ((size_t)(8 * KiB))
#define REGISTRY_REFUSAL_READ_MAX ((size_t)(64 * KiB))
/* The body of a refusal: an error document, whose beginning is kept, to be shown. The rest is only read so that the
 * connection can be used again. */
struct registry_refusal {
    struct buf body;
    size_t read; /* bytes, those not kept included */
};
void registry_refusal_init(struct registry_refusal *r);
void registry_refusal_fini(struct registry_refusal *r);
/* A refusal's head has come: what was kept of an earlier one is forgotten. */
void registry_refusal_begin(struct registry_refusal *r);
/* False: it is too long to be read to its end. */
bool registry_refusal_take(struct registry_refusal *r, const void *data, size_t len) must_check;

/* --- the listener --- */

/* It may cancel the fetch from within its callbacks. Then nothing more is told, and the fetch is freed once the
 * callback has returned. */
struct fetch_listener {
    struct fetch *fetch;
    const struct fetch_events *events;
    void *arg;
    bool in_callback, has_cancelled;
};
/* These call it back. False: it has cancelled, and the caller frees the fetch. */
bool listener_head(struct fetch_listener *l, const struct fetch_head *head) must_check;
bool listener_data(struct fetch_listener *l, const void *data, size_t len) must_check;
bool listener_lull(struct fetch_listener *l) must_check;
/* The last callback; the caller frees the fetch after it. */
void listener_done(struct fetch_listener *l, const struct fetch_end *end);
/* It cancels. True: the caller frees the fetch now. False: it is within a callback, and the one who called it back
 * frees the fetch. */
bool listener_cancel(struct fetch_listener *l) must_check;

#endif
