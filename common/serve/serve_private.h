/* Shared by the files of this folder only. Thread: serving loop. */
#ifndef ENTREPOT_SERVE_SERVE_PRIVATE_H
#define ENTREPOT_SERVE_SERVE_PRIVATE_H

#include "common/http/range.h"
#include "common/oci/regerror.h"
#include "common/oci/request.h"
#include "common/serve/ask.h"
#include "common/serve/registry.h"

struct registry {
    struct registry_config cfg;
    struct asker *asker;
    _Atomic int64_t hits, misses, joined, hit_bytes, fill_bytes, stale, negative;
};

/* One request under way: what was asked, resolved. Freed when the request closes. */
struct exchange {
    struct registry *registry;
    struct http_req *req; /* NULL once closed while an answer is still awaited */
    struct oci_request asked;
    struct repo_name repo;
    char repo_str[REPO_STR_MAX];
    bool is_head;
    bool waiting;         /* a callback with this exchange is still to come */
    struct reference ref; /* what is served: a tag becomes its digest */
    char warning[300];    /* Warning header, "" for none */
    int64_t age_s;        /* since the tag was checked at its source; -1: not by tag */
    int64_t promised;     /* size by a descriptor or tag record, -1 unknown */
    bool is_manifest;
    struct body *body;
};

/* Ends an exchange's wait: false if the request has gone meanwhile (x is freed then). */
bool exchange_back(struct exchange *x);

/* message, detail: NULL for the table's own. */
void serve_error(struct http_req *req, enum regerror e, const char *message, const char *detail);
/* Maps how a fetch ended to a registry error: 404 with `unknown` for a no, 429, 502, 504, … */
void serve_fetch_end(struct http_req *req, const struct fetch_end *end, enum regerror unknown);
void serve_common_headers(struct exchange *x);

/* blob.c */
void serve_content(struct exchange *x); /* x->ref is a digest */
void serve_blob(struct exchange *x);
/* manifest.c */
void serve_manifest(struct exchange *x);
/* list.c */
void serve_tags(struct exchange *x);
void serve_referrers(struct exchange *x);
void serve_catalog(struct exchange *x);

/* body.c: sends (part of) one blob, from a committed file or from behind a fill. */
struct body_spec {
    struct open_file *file; /* committed: a reference that the body takes; NULL: follow the fill */
    int64_t size;           /* -1: not known yet (fill) */
    char media_type[MEDIA_TYPE_MAX + 1];
    struct fill_spec fill;
};
void body_send(struct exchange *x, const struct body_spec *spec);
/* The request has closed. */
void body_free(struct body *b);

#endif
