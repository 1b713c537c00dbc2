/* A batch goes through these steps, each one function:
 *   lookup_run (loop)      decode, start every tag's resolution
 *   tag_found (any thread) notes one; the last of them submits the rest
 *   answer_all (work pool) reads the catalogue, fills the answers, packs them
 *   deliver (loop)         calls finish */
#include "central/fleet/lookup.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/loop.h"
#include "common/core/map.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* Queries of all running batches together: each costs about one KiB until its answer is packed. */
#define QUERIES_UNDER_WAY_MAX 20000
/* Memory for the children and proofs of one batch; packed they are smaller. */
#define BATCH_BYTES (32 * MiB)
/* Room for the response's own fields. */
#define RESPONSE_SLACK (64 * KiB)

struct lookup {
    struct lookup_config cfg;
    size_t settings_bound;
    pthread_mutex_t lock; /* guards what follows */
    size_t under_way;     /* queries, of all edges */
    struct map *by_edge;  /* caller_node() -> how many of them are its */
};

/* One query of a batch. A tag's resolution needs only a pointer to this. */
struct slot {
    struct batch *batch;
    const struct wire_query *query;
    struct wire_answer *answer;
};

struct batch {
    struct caller caller;
    struct lookup *lookup;
    struct loop *loop;
    struct wire_request request;
    struct slot *slots;
    struct catalog_fact *facts; /* one for each slot; digest unset when there is nothing to look up */
    struct wire_response response;
    atomic_size_t waiting; /* tags not resolved yet, plus one for lookup_run itself */
    struct work work;
    struct loop_task task;
    bool entered; /* its queries count as under way */
    int code;
    struct error err;
    uint8_t *packed;
    size_t packed_len;
    lookup_finish_fn *finish;
    void *arg;
};

static size_t settings_bound(const struct wire_settings *s) {
    if (!s) return 0;
    size_t n = 64 + (s->default_upstream ? strlen(s->default_upstream) : 0);
    for (size_t i = 0; i < s->n_upstreams; i++) {
        n += 32 + strlen(s->upstreams[i].name);
        for (size_t k = 0; k < s->upstreams[i].n_endpoints; k++)
            n += 8 + strlen(s->upstreams[i].endpoints[k]);
    }
    for (size_t i = 0; i < s->n_hosted; i++)
        n += 8 + strlen(s->hosted[i]);
    for (size_t i = 0; i < s->n_own_names; i++)
        n += 8 + strlen(s->own_names[i]);
    return n;
}

struct lookup *lookup_new(const struct lookup_config *cfg) {
    struct lookup *l = xcalloc(1, sizeof(*l));
    l->cfg = *cfg;
    l->settings_bound = settings_bound(cfg->settings);
    l->by_edge = map_new(NULL);
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

uint64_t lookup_settings_version(const struct lookup *l) {
    return l->cfg.settings ? l->cfg.settings->version : 0;
}

struct unread *lookup_unread(const struct lookup *l) {
    return l->cfg.unread;
}

void lookup_free(struct lookup *l) {
    if (!l) return;
    assert(l->under_way == 0);
    map_free(l->by_edge);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* A batch waits for its slowest tag. So an edge that would then have more under way than is left may not add any: it
 * can fill half of the room alone, and whoever comes after it finds some. */
static bool enter(struct lookup *l, const struct caller *caller, size_t n) {
    const struct caller edge = caller_node(caller);
    pthread_mutex_lock(&l->lock);
    size_t left = QUERIES_UNDER_WAY_MAX - l->under_way,
           mine = (size_t)(uintptr_t)map_get(l->by_edge, &edge, sizeof(edge));
    bool fits = n <= left && (mine == 0 || mine + n <= left);
    if (fits && n > 0) {
        l->under_way += n;
        map_set(l->by_edge, &edge, sizeof(edge), (void *)(uintptr_t)(mine + n));
    }
    pthread_mutex_unlock(&l->lock);
    return fits;
}

static void leave(struct lookup *l, const struct caller *caller, size_t n) {
    const struct caller edge = caller_node(caller);
    pthread_mutex_lock(&l->lock);
    size_t mine = (size_t)(uintptr_t)map_get(l->by_edge, &edge, sizeof(edge));
    l->under_way -= n;
    if (mine > n)
        map_set(l->by_edge, &edge, sizeof(edge), (void *)(uintptr_t)(mine - n));
    else
        map_del(l->by_edge, &edge, sizeof(edge));
    pthread_mutex_unlock(&l->lock);
}

static void batch_free(struct batch *b) {
    for (size_t i = 0; b->facts && i < b->request.n_queries; i++)
        catalog_fact_fini(&b->facts[i]);
    free(b->facts);
    free(b->slots);
    b->response.settings = NULL; /* owned by the configuration */
    wire_response_fini(&b->response);
    wire_request_fini(&b->request);
    free(b->packed);
    free(b);
}

static void deliver(struct loop_task *task) {
    struct batch *b = container_of(task, struct batch, task);
    if (b->entered) leave(b->lookup, &b->caller, b->request.n_queries);
    b->finish(b->arg, b->code, b->packed, b->packed_len, &b->err);
    batch_free(b);
}

static void refuse(struct wire_answer *a, enum wire_status status, const char *message) {
    a->status = status;
    snprintf(a->message, sizeof(a->message), "%s", message);
}

static void *new_zero(size_t size) {
    void *p = xcalloc(1, size ? size : 1);
    return p;
}

static void fill_known(struct wire_answer *a, struct catalog_fact *f) {
    a->blob = new_zero(sizeof(*a->blob));
    *a->blob = (struct wire_blob){f->digest, f->size, f->held, f->claimed};
    if (f->is_manifest) {
        a->manifest = new_zero(sizeof(*a->manifest));
        a->manifest->digest = f->digest;
        a->manifest->size = f->size;
        a->manifest->doc = f->manifest;
        memset(&f->manifest, 0, sizeof(f->manifest));
    }
    a->proofs = f->proofs;
    a->proofs_len = f->proofs_len;
    f->proofs = NULL;
    f->proofs_len = 0;
}

/* Fills an answer. A tag is known by its resolution; what the catalogue knows of its digest is added. */
static void fill_answer(struct slot *s, struct catalog_fact *f) {
    bool tag = s->query->kind == WIRE_QUERY_TAG;
    if (!digest_len(f->digest.alg)) return;
    if (f->code == 0) {
        s->answer->status = WIRE_KNOWN;
        fill_known(s->answer, f);
        if (tag && (f->held || s->answer->tag->facts.size < 0))
            s->answer->tag->facts.size = f->size; /* the size that a HEAD gave may be wrong */
    } else if (tag) {
        return;
    } else if (f->code == ERR_NOT_FOUND) {
        refuse(s->answer, WIRE_NOT_FOUND, "the catalogue does not have it");
    } else if (f->code == ERR_TOO_BIG) {
        refuse(s->answer, WIRE_UNAVAILABLE, "too much for one answer: ask for fewer things at once");
    } else {
        refuse(s->answer, WIRE_UNAVAILABLE, "the catalogue cannot be read");
    }
}

/* Drops optional parts of an answer so that the response stays within its limit. Returns the answer's size. */
static size_t fit_answer(struct slot *s, size_t room) {
    struct wire_answer *a = s->answer;
    if (wire_answer_bound(a) <= room) return wire_answer_bound(a);
    free(a->proofs);
    a->proofs = NULL;
    a->proofs_len = 0;
    if (s->query->kind == WIRE_QUERY_TAG && a->manifest) {
        manifest_fini(&a->manifest->doc);
        free(a->manifest);
        a->manifest = NULL;
    }
    if (wire_answer_bound(a) <= room) return wire_answer_bound(a);
    wire_answer_fini(a);
    refuse(a, WIRE_UNAVAILABLE, "too much for one answer: ask for fewer things at once");
    return wire_answer_bound(a);
}

static void answer_all(struct work *w) {
    struct batch *b = container_of(w, struct batch, work);
    struct lookup *l = b->lookup;
    size_t n = b->request.n_queries;
    /* Read before the facts: whoever follows the log from this number may get a fact twice, but misses none. */
    b->response.sequence = catalog_sequence(l->cfg.catalog);
    catalog_lookup(l->cfg.catalog, b->facts, n, BATCH_BYTES);

    size_t refusals = n * 256; /* kept free, so that every answer has room to say why it is empty */
    size_t room = WIRE_MAX_RESPONSE - RESPONSE_SLACK - refusals;
    if (l->cfg.settings && l->cfg.settings->version != b->request.settings_version && l->settings_bound < room) {
        b->response.settings = (struct wire_settings *)(uintptr_t)l->cfg.settings; /* the encoder only reads it */
        room -= l->settings_bound;
    }
    for (size_t i = 0; i < n; i++) {
        fill_answer(&b->slots[i], &b->facts[i]);
        size_t took = fit_answer(&b->slots[i], room);
        room -= took < room ? took : room;
    }
    b->code = wire_response_encode(&b->response, &b->packed, &b->packed_len, &b->err);
    b->task.fn = deliver;
    loop_post(b->loop, &b->task);
}

static void one_less(struct batch *b) {
    if (atomic_fetch_sub(&b->waiting, 1) > 1) return;
    b->work = (struct work){.fn = answer_all, .whose = caller_number(&b->caller)};
    workpool_submit(b->lookup->cfg.pool, &b->work);
}

static void tag_found(void *arg, const struct lookup_tag *found) {
    struct slot *s = arg;
    struct batch *b = s->batch;
    struct wire_answer *a = s->answer;
    refuse(a, wire_status_of(found->code),
           found->code == 0 ? ""
           : found->message ? found->message
                            : error_name(found->code));
    a->retry_after_s = found->retry_after_s > 0 ? found->retry_after_s : 0;
    if (found->code == 0) {
        a->tag = new_zero(sizeof(*a->tag));
        int64_t age = clock_wall_s() - found->facts->checked_at;
        *a->tag = (struct wire_tag){.repo = s->query->repo, .age_s = age > 0 ? age : 0, .facts = *found->facts};
        memcpy(a->tag->tag, s->query->tag, sizeof(a->tag->tag));
        media_type_clean(found->facts->media_type, a->tag->facts.media_type);
        b->facts[s - b->slots].digest = found->facts->digest;
    }
    one_less(b);
}

static void start_slot(struct batch *b, size_t i) {
    struct slot *s = &b->slots[i];
    const struct lookup_config *cfg = &b->lookup->cfg;
    *s = (struct slot){b, &b->request.queries[i], &b->response.answers[i]};
    switch (s->query->kind) {
    case WIRE_QUERY_BLOB:
        b->facts[i].digest = s->query->digest;
        b->facts[i].want_proofs = s->query->want_proofs;
        return;
    case WIRE_QUERY_TAG:
        if (!cfg->resolve_tag) {
            refuse(s->answer, WIRE_UNAVAILABLE, "tags are not resolved here");
            return;
        }
        atomic_fetch_add(&b->waiting, 1);
        cfg->resolve_tag(cfg->arg, &b->caller, &s->query->repo, s->query->tag, b->request.request_id, tag_found, s);
        return;
    case WIRE_QUERY_UNKNOWN:
        refuse(s->answer, WIRE_INVALID, s->query->refused);
        return;
    }
}

void lookup_run(struct lookup *l, const struct caller *caller, const void *body, size_t len, const char *request_id,
                lookup_finish_fn *finish, void *arg) {
    struct batch *b = new_zero(sizeof(*b));
    b->lookup = l;
    b->caller = *caller;
    b->loop = loop_current();
    b->finish = finish;
    b->arg = arg;
    b->task.fn = deliver;
    assert(b->loop);
    b->code = wire_request_decode(&b->request, body, len, &b->err);
    if (!b->request.request_id[0]) snprintf(b->request.request_id, sizeof(b->request.request_id), "%s", request_id);
    size_t n = b->request.n_queries;
    bool outdated = n > 0 && l->cfg.settings && b->request.settings_version != l->cfg.settings->version;
    if (b->code == 0 && outdated)
        b->code = error_set(&b->err, ERR_OUTDATED, "%s",
                            b->request.settings_version
                                ? "these queries use other settings than central's: ask for the settings first, by a "
                                  "request without queries"
                                : "these queries do not say which settings they use: ask for the settings first, by a "
                                  "request without queries, or upgrade entrepot-edge to central's version");
    b->entered = b->code == 0 && n > 0 && enter(l, caller, n);
    if (b->code == 0 && n > 0 && !b->entered)
        b->code = error_set(&b->err, ERR_BUSY, "too many lookups at once: try again in a second");
    if (b->code < 0) {
        loop_post(b->loop, &b->task);
        return;
    }
    b->slots = new_zero(n * sizeof(*b->slots));
    b->facts = new_zero(n * sizeof(*b->facts));
    b->response.answers = new_zero(n * sizeof(*b->response.answers));
    b->response.n_answers = n;
    atomic_init(&b->waiting, 1);
    for (size_t i = 0; i < n; i++)
        start_slot(b, i);
    one_less(b);
}
