/* One download, many readers: a fill brings one blob into the store while any number of readers follow it. There is
 * only one fill for a digest in a process: each digest belongs to one fetch loop, and only that loop touches its fills.
 *
 * Threads: each function of an engine says its thread. Readers live on serving loops; they get a message when there is
 * progress, and read the fill's atomic state. Bytes are read from the part file (page cache), so memory does not grow
 * with readers or blob sizes.
 *
 * No reader gets the whole of a blob whose digest was not proved: the last piece is withheld until then, and if the
 * digest does not match, the fill fails and the readers cut their connections. All bytes are read through
 * fill_reader_bytes, which knows by fill_reader_settle whether they are for a whole or for a part. */
#ifndef ENTREPOT_FILL_FILL_H
#define ENTREPOT_FILL_FILL_H

#include "common/content/content.h"
#include "common/core/loop.h"
#include "common/core/clock.h"
#include "common/source/supply.h"
#include "common/store/store.h"

struct asker;
struct fill_engine;
struct fill;
struct fill_reader;

/* What is wanted. Copied. */
struct fill_spec {
    struct digest digest;
    struct repo_name repo;
    struct caller caller;     /* who asks; each later reader has its own */
    uint64_t settings;        /* as in struct fetch_request */
    bool manifest;            /* fetched as a manifest: size limited, media type and children recorded */
    int64_t start, end;       /* the lowest byte the reader may ask for, and the end of the highest, as far as is known
                                 before the size is; 0, 0: everything */
    struct deadline deadline; /* when the reader must have an answer from a source */
    char request_id[65];
};

struct fill_engine_config {
    struct loop **loops; /* fetch loops; borrowed array */
    unsigned n_loops;
    struct store *store;
    struct workpool *pool;
    struct asker *asker; /* asks whether a repository has a blob that is held for another; freed after the engine */
    /* Fetch loop. The sources to try, in order. Returns their number; 0: nobody can have it. */
    unsigned (*sources)(const struct fill_spec *spec, struct source *out[SOURCES_MAX], void *arg);
    /* Fetch loop; may be NULL. A fill has begun: look up what the catalogue knows and report it by fill_advise, at any
     * time. The fill is kept alive until fill_advise has been called exactly once. */
    void (*ask_catalogue)(struct fill *f, const struct fill_spec *spec, void *arg);
    struct content *content; /* is told of each blob that is proved; may be NULL */
    /* Fetch loop. The name of the scope (store.h) in which its repository's content is served; in out, or
     * longer-lived. */
    const char *(*scope)(const struct fill_spec *spec, char out[REPO_STR_MAX], void *arg);
    /* Fetch loop; may be NULL. A manifest is held from now on. */
    void (*kept_manifest)(const struct digest *d, void *arg);
    /* Fetch loop; may be NULL. Bytes came from a source. */
    void (*received)(const char *source, int64_t bytes, void *arg);
    int64_t slow_reader_ms; /* a reader may make others of a pass-through fill wait so long; 0: the default */
    void *arg;
};

struct fill_engine *fill_engine_new(const struct fill_engine_config *cfg);
/* Control thread. Stops all fills (their part files are kept) and tells their readers. done(arg) is called on the first
 * fetch loop once all are closed. */
void fill_engine_stop(struct fill_engine *e, void (*done)(void *arg), void *arg);
void fill_engine_free(struct fill_engine *e);

enum fill_state {
    FILL_STARTING, /* no source has agreed to send it, or the one that had has failed */
    FILL_FLOWING,  /* a source has agreed to send; size may be known */
    FILL_PROVED,   /* every byte may be read */
    FILL_FAILED,   /* see fill_reader_error; what was readable stays readable unless it is taken back */
};

/* Serving loop. Joins the fill of spec->digest or starts one. event is called on this loop, never before this returns,
 * whenever state, size or readable bytes may have changed, until fill_detach. */
struct fill_reader *fill_attach(struct fill_engine *e, const struct fill_spec *spec,
                                void (*event)(struct fill_reader *r, void *arg), void *arg);
/* On the serving loop that attached. No event is called afterwards, and r is freed. */
void fill_detach(struct fill_reader *r);
/* The functions below: serving loop, between attach and detach. */
enum fill_state fill_reader_state(const struct fill_reader *r);
/* Bytes of the blob; -1: unknown. It may change until FILL_PROVED if a manifest's claim or a source was wrong; then an
 * answer whose client was sent the wrong size is cut. */
int64_t fill_reader_size(const struct fill_reader *r);
/* The same, but -1 while the size is only claimed, by a manifest or by a source of whose answer nothing was kept. */
int64_t fill_reader_settled_size(const struct fill_reader *r);
const char *fill_reader_media_type(const struct fill_reader *r); /* of a manifest at FILL_PROVED; else "" */
/* At FILL_PROVED: true if it was fetched as a manifest and is one. */
bool fill_reader_is_manifest(const struct fill_reader *r);
const char *fill_reader_source(const struct fill_reader *r); /* name of the source that sends; "" before FILL_FLOWING */
bool fill_reader_source_stands_in(const struct fill_reader *r);
bool fill_reader_joined(const struct fill_reader *r); /* the fill was already running */
/* What a reader wants, once that is decided. */
struct fill_want {
    int64_t start, end; /* its lowest byte, and the end of its highest; it asks for bytes in rising order */
    int64_t size;       /* the blob's size as sent to the client; -1: it is not sent */
    bool whole;         /* the client gets every byte of the blob, and may take it for the blob */
};
/* Serving loop, before the first byte is requested, and again if the decision changes. Until then the reader counts as
 * one that wants everything from spec.start on. False: the fill has dropped some of it, because it did not know that it
 * would be wanted (pass-through): the reader must detach, and attach again with a spec that says so. */
bool fill_reader_settle(struct fill_reader *r, const struct fill_want *want) must_check;
/* Finds bytes from pos on that may be read now, at most `want`: they are at *at in *file (a reference for the caller).
 * Returns how many. 0: wait. FILL_CUT: the answer cannot be completed, because the size sent to its client was wrong or
 * the byte is no longer in memory. For a whole, all but the last byte may be unproved; the last byte is given only when
 * the digest of all is proved and nothing before it was taken back. Pieces that were fetched ahead and not proved are
 * given only to parts. */
#define FILL_CUT (-1)
int64_t fill_reader_bytes(struct fill_reader *r, int64_t pos, int64_t want, struct open_file **file, int64_t *at);
/* True if the byte at pos is there, even if it must be proved before this reader may have it. */
bool fill_reader_sees(const struct fill_reader *r, int64_t pos);
/* Tells that nothing below pos is needed any more: a pass-through fill (full disk) may drop it. */
void fill_reader_consumed(struct fill_reader *r, int64_t pos);
/* True if others wait for this reader of a pass-through fill and go on without it from now on. At FILL_PROVED nobody
 * waits, and it may take the rest. Before, it must detach; or it sees to it that no bytes it was given are still to be
 * sent, calls fill_reader_stand_aside, and waits for the end: at FILL_PROVED all it was given is right, and it may
 * attach again for the rest. */
bool fill_reader_left_behind(const struct fill_reader *r);
/* It is given no more bytes. */
void fill_reader_stand_aside(struct fill_reader *r);
/* Before FILL_FAILED: how the first source that failed has failed; NULL: none has. Valid until detach. */
const struct fetch_end *fill_reader_trouble(const struct fill_reader *r);
/* Before fill_detach: whoever leaves will ask again. The source is given the time to answer, though nobody waits. */
void fill_reader_will_return(struct fill_reader *r);
/* FILL_FAILED: why. Valid until detach. */
const struct fetch_end *fill_reader_error(const struct fill_reader *r);

/* What the catalogue knows of a blob. */
struct fill_advice {
    int64_t size;          /* -1 unknown */
    bool claimed;          /* the size is what manifests say, which anyone can write: a source's word outranks it */
    const uint8_t *proofs; /* borrowed, may be NULL: chaining values at the ends of all pieces but the last */
    size_t n_proofs;
};
/* Fetch loop of f, exactly once for every ask_catalogue. */
void fill_advise(struct fill *f, const struct fill_advice *a);

/* Any thread. True for a manifest of which a reader may have had every byte, and that is not held yet only because the
 * store is still taking it in; scope: in which it was found. */
bool fill_keeps_manifest(struct fill_engine *e, const struct digest *d, const char *scope);

/* Any thread, for metrics and status. */
struct fill_stats {
    int64_t running, started, joined, completed, failed, mismatches, resumed_bytes, passed_through;
    int64_t left_behind; /* readers that others of a pass-through fill have waited for */
};
void fill_engine_stats(const struct fill_engine *e, struct fill_stats *out);

#endif
