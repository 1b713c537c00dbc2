/* One download, many readers: a fill brings one blob into the store while any number of readers follow it.
 * There is never a second for the same digest in a process: each digest belongs to one fetch loop, and only that loop
 * touches its fills.
 *
 * Threads: an engine's entry points say theirs. Readers live on serving loops; they hear of progress by a message and
 * read the fill's atomic state. Bytes are read from the part file (page cache), so memory does not grow with readers or
 * blob sizes.
 *
 * No reader ever gets the whole of a blob whose digest was not proved: the last piece is withheld until then, and if
 * the digest does not match the fill fails and readers cut their connections. Every byte goes through one door,
 * fill_reader_bytes, which knows by fill_reader_settle whether it is for a whole or for a part. */
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
    struct caller caller;     /* who asks; of those who join later their own */
    uint64_t settings;        /* as in struct fetch_request */
    bool manifest;            /* fetched as a manifest: size limited, media type and children recorded */
    int64_t start, end;       /* the lowest byte the reader may ask for, and the end of the highest, as far as is known
                                 before the size is; 0, 0: everything */
    struct deadline deadline; /* whoever wants it waits so long for a source's word */
    char request_id[65];
};

struct fill_engine_config {
    struct loop **loops; /* fetch loops; borrowed array */
    unsigned n_loops;
    struct store *store;
    struct workpool *pool;
    struct asker *asker; /* whether a repository has what is held for another; freed after the engine */
    /* Fetch loop: the sources to try for it, in order. Returns their number; 0 means nobody could have it. */
    unsigned (*sources)(const struct fill_spec *spec, struct source *out[SOURCES_MAX], void *arg);
    /* Fetch loop; NULL: none. A fill has begun: look up what the catalogue knows and tell it by fill_advise, whenever.
     * The fill is kept alive until fill_advise was called exactly once. */
    void (*ask_catalogue)(struct fill *f, const struct fill_spec *spec, void *arg);
    struct content *content; /* is told of each blob that is proved; NULL: nobody wants to know */
    /* Fetch loop: the name of the scope (store.h) its repository's content is served in; in out, or longer-lived. */
    const char *(*scope)(const struct fill_spec *spec, char out[REPO_STR_MAX], void *arg);
    /* Fetch loop: a manifest is held from now on. NULL: nobody wants to know. */
    void (*kept_manifest)(const struct digest *d, void *arg);
    /* Fetch loop: bytes came from a source, for counting. NULL: nobody counts. */
    void (*received)(const char *source, int64_t bytes, void *arg);
    void *arg;
};

struct fill_engine *fill_engine_new(const struct fill_engine_config *cfg);
/* Control thread: stops all fills (their part files are kept), tells their readers; done(arg) on the first fetch loop
 * once all are closed. */
void fill_engine_stop(struct fill_engine *e, void (*done)(void *arg), void *arg);
void fill_engine_free(struct fill_engine *e);

enum fill_state {
    FILL_STARTING, /* no source has agreed to send it, or the one that had has failed since */
    FILL_FLOWING,  /* a source has agreed to send; size may be known */
    FILL_PROVED,   /* every byte may be read */
    FILL_FAILED,   /* see fill_reader_error; what was readable stays so unless it is taken back */
};

/* Serving loop: joins the fill of spec->digest or starts one. event is called on this loop, never before this returns,
 * whenever state, size or visible bytes may have changed, until fill_detach. */
struct fill_reader *fill_attach(struct fill_engine *e, const struct fill_spec *spec,
                                void (*event)(struct fill_reader *r, void *arg), void *arg);
/* The serving loop that attached. No event after it. r is gone. */
void fill_detach(struct fill_reader *r);
/* Serving loop, between attach and detach. */
enum fill_state fill_reader_state(const struct fill_reader *r);
/* -1 unknown yet. It may change until FILL_PROVED, where a manifest's claim or a source was wrong: an answer whose
 * client was told it is cut then. */
int64_t fill_reader_size(const struct fill_reader *r);
/* The same, but -1 while it is only claimed, by a manifest or by a source of whose answer nothing was kept. */
int64_t fill_reader_settled_size(const struct fill_reader *r);
const char *fill_reader_media_type(const struct fill_reader *r); /* manifests, at FILL_PROVED; before it "" */
/* At FILL_PROVED: it was fetched as a manifest, and is one. */
bool fill_reader_is_manifest(const struct fill_reader *r);
const char *fill_reader_source(const struct fill_reader *r); /* who answers; "" before FILL_FLOWING */
bool fill_reader_joined(const struct fill_reader *r);        /* the fill was already running */
/* What a reader is after, once that is decided. */
struct fill_want {
    int64_t start, end; /* its lowest byte, and the end of its highest; it asks for bytes in rising order */
    int64_t size;       /* of the blob, as the client is told; -1: it is not told */
    bool whole;         /* the client gets every byte of the blob, and may take it for the blob */
};
/* Serving loop, before the first byte is asked for, and again if it is decided anew. Until then the reader is taken for
 * one that wants all from spec.start on. False: the fill has dropped some of it, as it was not told before that it
 * would be wanted (pass-through): the reader has to detach, and to attach again with a spec that says so. */
bool fill_reader_settle(struct fill_reader *r, const struct fill_want *want) must_check;
/* Bytes from pos on that may be read now, at most `want`: they are at *at in *file (reference given to the caller).
 * Returns how many; 0: wait; FILL_CUT: the answer cannot be completed, for the size that its client was told has turned
 * out wrong, or the byte is in memory no more.
 * For a whole, all but its last byte may come unproved; the last one comes when the digest of all is proved and none of
 * those before it was taken back. Pieces that were fetched ahead, which nobody has proved, go to parts alone. */
#define FILL_CUT (-1)
int64_t fill_reader_bytes(struct fill_reader *r, int64_t pos, int64_t want, struct open_file **file, int64_t *at);
/* There are some at pos, perhaps still to be proved before this reader may have them. */
bool fill_reader_sees(const struct fill_reader *r, int64_t pos);
/* Nothing below pos is needed any more, nor will be: a pass-through fill (disk full) may drop it. */
void fill_reader_consumed(struct fill_reader *r, int64_t pos);
/* Before FILL_FAILED: how the first source that has failed has done so; NULL: none has. Valid until detach. */
const struct fetch_end *fill_reader_trouble(const struct fill_reader *r);
/* Before fill_detach: whoever leaves will ask again. The source is given the time to answer, though nobody waits. */
void fill_reader_wants_it_later(struct fill_reader *r);
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

/* Any thread, for metrics and status. */
struct fill_stats {
    int64_t running, started, joined, completed, failed, mismatches, resumed_bytes, passed_through;
};
void fill_engine_stats(const struct fill_engine *e, struct fill_stats *out);

#endif
