/* Encodes the plain values of wire.h: builds protobuf-c's structures in one arena, packs them, and frees the arena.
 * Thread: any. */
#include "common/wire/wire.h"

#include "common/core/alloc.h"
#include "common/wire/pack.h"
#include "proto/catalog.pb-c.h"

#include <string.h>

/* The memory of one encoding, freed together. */
struct arena {
    struct block *blocks;
};
struct block {
    struct block *next;
    size_t used, cap;
    _Alignas(16) char data[];
};

static void *take(struct arena *a, size_t n) {
    n = (n + 15) & ~(size_t)15;
    if (!a->blocks || a->blocks->cap - a->blocks->used < n) {
        size_t cap = n > 16384 ? n : 16384;
        struct block *b = xmalloc(sizeof(*b) + cap);
        *b = (struct block){.next = a->blocks, .cap = cap};
        a->blocks = b;
    }
    void *p = a->blocks->data + a->blocks->used;
    a->blocks->used += n;
    return p;
}

static void arena_fini(struct arena *a) {
    for (struct block *b = a->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
}

/* Casts our read-only text to protobuf-c's fields, which it only reads when packing. */
static char *text(const char *s) {
    return (char *)(uintptr_t)s;
}

static Entrepot__V1__Digest *put_digest(struct arena *a, const struct digest *d) {
    if (!digest_len(d->alg)) return NULL;
    Entrepot__V1__Digest *p = take(a, sizeof(*p));
    entrepot__v1__digest__init(p);
    p->alg = d->alg;
    p->value.len = digest_len(d->alg);
    p->value.data = (uint8_t *)(uintptr_t)d->bytes;
    return p;
}

static Entrepot__V1__Repository *put_repo(struct arena *a, const struct repo_name *r) {
    if (!r->path[0]) return NULL;
    Entrepot__V1__Repository *p = take(a, sizeof(*p));
    entrepot__v1__repository__init(p);
    p->upstream = text(r->upstream);
    p->path = text(r->path);
    return p;
}

static Entrepot__V1__Query *put_query(struct arena *a, const struct wire_query *q) {
    Entrepot__V1__Query *p = take(a, sizeof(*p));
    entrepot__v1__query__init(p);
    if (q->kind == WIRE_QUERY_TAG) {
        Entrepot__V1__TagQuery *t = take(a, sizeof(*t));
        entrepot__v1__tag_query__init(t);
        t->repository = put_repo(a, &q->repo);
        t->tag = text(q->tag);
        p->what_case = ENTREPOT__V1__QUERY__WHAT_TAG;
        p->tag = t;
    } else if (q->kind == WIRE_QUERY_BLOB) {
        Entrepot__V1__BlobQuery *b = take(a, sizeof(*b));
        entrepot__v1__blob_query__init(b);
        b->digest = put_digest(a, &q->digest);
        b->repository = put_repo(a, &q->repo);
        b->want_proofs = q->want_proofs;
        p->what_case = ENTREPOT__V1__QUERY__WHAT_BLOB;
        p->blob = b;
    }
    return p;
}

static Entrepot__V1__Child *put_child(struct arena *a, const struct manifest_child *c) {
    Entrepot__V1__Child *p = take(a, sizeof(*p));
    entrepot__v1__child__init(p);
    p->digest = put_digest(a, &c->digest);
    p->size = c->size;
    p->kind = (Entrepot__V1__ChildKind)c->kind;
    p->os = text(c->os);
    p->arch = text(c->arch);
    p->variant = text(c->variant);
    p->foreign = c->foreign;
    return p;
}

static Entrepot__V1__Manifest *put_manifest(struct arena *a, const struct wire_manifest *m) {
    Entrepot__V1__Manifest *p = take(a, sizeof(*p));
    entrepot__v1__manifest__init(p);
    p->digest = put_digest(a, &m->digest);
    p->size = m->size;
    p->media_type = text(m->doc.media_type);
    p->n_children = m->doc.n_children;
    p->children = take(a, p->n_children * sizeof(*p->children));
    for (size_t i = 0; i < p->n_children; i++)
        p->children[i] = put_child(a, &m->doc.children[i]);
    return p;
}

static Entrepot__V1__Tag *put_tag(struct arena *a, const struct wire_tag *t) {
    Entrepot__V1__Tag *p = take(a, sizeof(*p));
    entrepot__v1__tag__init(p);
    p->repository = put_repo(a, &t->repo);
    p->tag = text(t->tag);
    p->digest = put_digest(a, &t->facts.digest);
    p->size = t->facts.size;
    p->media_type = text(t->facts.media_type);
    p->age_s = t->age_s;
    p->stale = t->facts.stale;
    p->deleted = t->facts.deleted;
    p->warning = text(t->facts.warning);
    return p;
}

static Entrepot__V1__Answer *put_answer(struct arena *a, const struct wire_answer *in) {
    Entrepot__V1__Answer *p = take(a, sizeof(*p));
    entrepot__v1__answer__init(p);
    p->status = (Entrepot__V1__Status)in->status;
    p->message = text(in->message);
    p->retry_after_s = in->retry_after_s;
    if (in->blob) {
        p->blob = take(a, sizeof(*p->blob));
        entrepot__v1__blob__init(p->blob);
        p->blob->digest = put_digest(a, &in->blob->digest);
        p->blob->size = in->blob->size;
        p->blob->held = in->blob->held;
        p->blob->claimed = in->blob->claimed;
    }
    if (in->manifest) p->manifest = put_manifest(a, in->manifest);
    if (in->tag) p->tag = put_tag(a, in->tag);
    p->proofs.len = in->proofs_len;
    p->proofs.data = in->proofs;
    return p;
}

static Entrepot__V1__Settings *put_settings(struct arena *a, const struct wire_settings *s) {
    Entrepot__V1__Settings *p = take(a, sizeof(*p));
    entrepot__v1__settings__init(p);
    p->version = s->version;
    p->n_upstreams = s->n_upstreams;
    p->upstreams = take(a, s->n_upstreams * sizeof(*p->upstreams));
    for (size_t i = 0; i < s->n_upstreams; i++) {
        Entrepot__V1__Upstream *u = p->upstreams[i] = take(a, sizeof(*u));
        entrepot__v1__upstream__init(u);
        u->name = text(s->upstreams[i].name);
        u->fresh_for_ms = s->upstreams[i].fresh_for_ms;
        u->per_repository = s->upstreams[i].per_repository;
        u->n_endpoints = s->upstreams[i].n_endpoints;
        u->endpoints = s->upstreams[i].endpoints;
    }
    if (s->default_upstream) p->default_upstream = s->default_upstream;
    p->n_hosted = s->n_hosted;
    p->hosted = s->hosted;
    p->n_own_names = s->n_own_names;
    p->own_names = s->own_names;
    return p;
}

static int pack(const ProtobufCMessage *m, size_t limit, const char *what, uint8_t **out, size_t *len,
                struct error *err) {
    int r = wire_pack(m, limit, out, len);
    if (r == 0) return 0;
    error_set(err, r, "the %s takes %zu bytes; the limit is %zu", what, *len, limit);
    *len = 0;
    return r;
}

int wire_request_encode(const struct wire_request *rq, uint8_t **out, size_t *len, struct error *err) {
    *out = NULL;
    *len = 0;
    if (rq->n_queries > WIRE_MAX_QUERIES)
        return error_set(err, ERR_TOO_BIG, "a lookup has at most %d queries", WIRE_MAX_QUERIES);
    struct arena a = {0};
    Entrepot__V1__LookupRequest p = ENTREPOT__V1__LOOKUP_REQUEST__INIT;
    p.version = WIRE_VERSION;
    p.request_id = text(rq->request_id);
    p.settings_version = rq->settings_version;
    p.n_queries = rq->n_queries;
    p.queries = take(&a, rq->n_queries * sizeof(*p.queries));
    for (size_t i = 0; i < rq->n_queries; i++)
        p.queries[i] = put_query(&a, &rq->queries[i]);
    int r = pack(&p.base, WIRE_MAX_REQUEST, "lookup", out, len, err);
    arena_fini(&a);
    return r;
}

int wire_response_encode(const struct wire_response *rs, uint8_t **out, size_t *len, struct error *err) {
    *out = NULL;
    *len = 0;
    struct arena a = {0};
    Entrepot__V1__LookupResponse p = ENTREPOT__V1__LOOKUP_RESPONSE__INIT;
    p.version = WIRE_VERSION;
    p.sequence = rs->sequence;
    if (rs->settings) p.settings = put_settings(&a, rs->settings);
    p.n_answers = rs->n_answers;
    p.answers = take(&a, rs->n_answers * sizeof(*p.answers));
    for (size_t i = 0; i < rs->n_answers; i++)
        p.answers[i] = put_answer(&a, &rs->answers[i]);
    int r = pack(&p.base, WIRE_MAX_RESPONSE, "answer", out, len, err);
    arena_fini(&a);
    return r;
}

size_t wire_answer_bound(const struct wire_answer *a) {
    /* A digest with its framing takes at most 72 bytes, any number 11. */
    size_t n = 64 + strlen(a->message) + a->proofs_len;
    if (a->blob) n += 128;
    if (a->tag) n += sizeof(*a->tag) + 128;
    if (!a->manifest) return n;
    n += 128 + strlen(a->manifest->doc.media_type);
    for (size_t i = 0; i < a->manifest->doc.n_children; i++) {
        const struct manifest_child *c = &a->manifest->doc.children[i];
        n += digest_len(c->digest.alg) + 40 + strlen(c->os) + strlen(c->arch) + strlen(c->variant);
    }
    return n;
}
