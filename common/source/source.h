/* A source of content and answers: one interface for an upstream registry, central or a peer. Thread: the fetch
 * loop. */
#ifndef ENTREPOT_SOURCE_SOURCE_H
#define ENTREPOT_SOURCE_SOURCE_H

#include "common/access/caller.h"
#include "common/core/error.h"
#include "common/oci/name.h"
#include "common/oci/manifest.h"
#include "common/oci/tag_facts.h"

enum fetch_kind {
    FETCH_BLOB,          /* GET by digest, from `offset` to the end or for `length` bytes */
    FETCH_MANIFEST,      /* GET by digest or tag */
    FETCH_MANIFEST_HEAD, /* HEAD by digest or tag */
    FETCH_BLOB_HEAD,     /* does this repository have it: HEAD by digest */
    FETCH_TAGS,          /* GET tags/list, `query` passed on ("n=100&last=x") */
    FETCH_REFERRERS,     /* GET referrers/<digest>, `query` passed on */
};

/* All copied by start. */
struct fetch_request {
    enum fetch_kind kind;
    struct repo_name repo;
    struct reference ref;
    int64_t offset;           /* first byte wanted; blobs only */
    int64_t length;           /* bytes wanted from offset; 0: to the end */
    const char *query;        /* may be NULL */
    int64_t max_body;         /* a longer body ends with ERR_TOO_BIG; 0: no limit */
    const char *avoid_origin; /* an origin (fetch_head.origin) that sent wrong bytes just now, or NULL */
    struct caller caller;     /* who asks: scarce resources are shared among callers */
    uint64_t settings;        /* the version of the settings under which repo was decided; 0: none was needed */
    bool doubted;             /* what the other side sent before did not match its digest */
    bool begun;               /* it goes on, if only from 0: it had to give way before */
    char request_id[65];      /* sent as X-Request-Id */
};

/* The head of an answer is all that is wanted. */
static inline bool fetch_wants_head(const struct fetch_request *rq) {
    return rq->kind == FETCH_MANIFEST_HEAD || rq->kind == FETCH_BLOB_HEAD;
}

/* The head of the answer, once the other side has agreed to send (2xx). Borrowed. */
struct fetch_head {
    int64_t total; /* bytes of the whole content, whatever part was requested; -1: unknown */
    char media_type[MEDIA_TYPE_MAX + 1];
    bool has_digest; /* there was a well-formed Docker-Content-Digest */
    struct digest digest;
    const char *link;            /* Link header or NULL */
    const char *warning;         /* Warning header or NULL */
    const char *filters;         /* OCI-Filters-Applied header or NULL */
    int64_t age_s;               /* seconds since the source itself checked it (Age header); 0: now */
    const struct tag_facts *tag; /* what the other side knows of the tag beyond what a head has; else NULL */
    const char *origin;          /* endpoint or peer that answers; NULL, or as long-lived as the source */
};

struct fetch_end {
    int code;   /* 0: all bytes asked for have come (length checked). Else enum err: NOT_FOUND, DENIED, RATE_LIMITED,
                   UPSTREAM, TIMEOUT, UNREACHABLE, TOO_BIG, MISMATCH, BUSY, INVALID (such a thing cannot be asked for),
                   OUTDATED */
    int status; /* HTTP status behind it, 0 if none */
    int64_t retry_after_s; /* RATE_LIMITED, TIMEOUT: 0 if unknown */
    bool not_sent;         /* nothing was sent, because nobody would have answered: asking again costs nothing */
    bool gave_way;         /* BUSY, in mid-body: another needs its place. No failure: the rest is to be asked for again,
                              with `begun` */
    char msg[256];         /* for a person, names the other side */
};

/* How the message for a missing tag begins, on both tiers; its reference follows. */
#define NO_SUCH_TAG "no such tag:"

/* Sets *e to a code and a message for a person (cut to fit). Returns code. */
int fetch_end_set(struct fetch_end *e, int code, const char *fmt, ...) printf_like(3, 4);
/* Sets *e: there is no source. Returns its code. */
int fetch_end_no_source(struct fetch_end *e);
/* Sets *e: no source has answered in time. Returns its code. */
int fetch_end_no_answer(struct fetch_end *e, const char *repo, int64_t waited_ms);

struct fetch;
struct fetch_events {
    /* Called at most once. If the source retries inside after a head, the new head must agree with the first one and is
     * not reported; else the fetch ends with MISMATCH. */
    void (*head)(struct fetch *f, const struct fetch_head *h, void *arg);
    /* Bytes in order, beginning at offset. */
    void (*data)(struct fetch *f, const void *data, size_t len, void *arg);
    /* The last call; f is freed after it. Not called after fetch_cancel. */
    void (*done)(struct fetch *f, const struct fetch_end *e, void *arg);
    /* May be NULL. Data has come and no more is available now, so gathered data may be passed on. Every data is
     * followed by this or by done. */
    void (*lull)(struct fetch *f, void *arg);
};

struct source;
struct source_ops {
    /* Starts a fetch. No callback is made before it has returned. */
    struct fetch *(*start)(struct source *s, const struct fetch_request *rq, const struct fetch_events *ev, void *arg);
    /* Ends a fetch without further callbacks. Allowed within its own callbacks. */
    void (*cancel)(struct fetch *f);
    void (*pause)(struct fetch *f); /* no data callback until resume; allowed from within data */
    void (*resume)(struct fetch *f);
    /* Another caller wants the same fetch: it then waits in the shorter of both callers' queues. May be NULL. */
    void (*wanted_by)(struct fetch *f, const struct caller *caller);
};
struct source {
    const struct source_ops *ops;
    char name[HOST_MAX + 1]; /* "docker.io", "central", a peer's name: in logs, metrics, Cache-Status */
    bool stands_in;          /* it answers in the place of another, which is away */
};
/* Every source's own struct begins with this, so that its operations can be found. */
struct fetch {
    struct source *source; /* who answers; a source that passes a request on to another may change it before the head */
};

static inline struct fetch *fetch_start(struct source *s, const struct fetch_request *rq, const struct fetch_events *ev,
                                        void *arg) {
    return s->ops->start(s, rq, ev, arg);
}
static inline void fetch_cancel(struct fetch *f) {
    f->source->ops->cancel(f);
}
static inline void fetch_pause(struct fetch *f) {
    f->source->ops->pause(f);
}
static inline void fetch_resume(struct fetch *f) {
    f->source->ops->resume(f);
}
static inline void fetch_wanted_by(struct fetch *f, const struct caller *caller) {
    if (f->source->ops->wanted_by) f->source->ops->wanted_by(f, caller);
}

#endif
