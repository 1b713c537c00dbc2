/* Decodes and checks messages from the other tier. protobuf-c allocates from a budget, so that a body of one megabyte
 * of two-byte fields cannot become a hundred megabytes of memory. Thread: any. */
#include "common/wire/wire.h"

#include "common/core/alloc.h"
#include "proto/catalog.pb-c.h"

#include <stdio.h>
#include <string.h>

#define REQUEST_MEMORY (8 * MiB)
#define RESPONSE_MEMORY (192 * MiB)
/* Limit on the number of upstreams, hosted patterns or own names. */
#define SETTINGS_MAX 10000
#define ENDPOINTS_MAX 16 /* of one upstream */
#define ENDPOINT_TEXT_MAX 1024

static void *budget_alloc(void *data, size_t size) {
    int64_t *left = data;
    if (size > INT32_MAX || (int64_t)size + 16 > *left) return NULL;
    *left -= (int64_t)size + 16;
    return malloc(size ? size : 1);
}

static void budget_free(void *data, void *p) {
    (void)data;
    free(p);
}

/* The size that was sent, or -1 if it is not known. */
static int64_t size_of(int64_t said) {
    return said < 0 || said > BLOB_SIZE_MAX ? -1 : said;
}

/* Copies text if it fits, else "". A text for people or a platform that is too long is no reason to refuse the
 * message. */
static void copy_text(char *out, size_t cap, const char *s) {
    size_t len = strlen(s);
    if (len >= cap) len = 0;
    memcpy(out, s, len);
    out[len] = '\0';
}

static int get_digest(struct digest *d, const Entrepot__V1__Digest *p) {
    memset(d, 0, sizeof(*d));
    if (!p || p->alg > DIGEST_SHA512) return ERR_INVALID;
    return digest_from_bytes(d, (enum digest_alg)p->alg, p->value.data, p->value.len);
}

static int get_repo(struct repo_name *r, const Entrepot__V1__Repository *p) {
    memset(r, 0, sizeof(*r));
    if (!p || repo_path_check(p->path, strlen(p->path)) < 0) return ERR_INVALID;
    if (p->upstream[0] && host_check(p->upstream, strlen(p->upstream)) < 0) return ERR_INVALID;
    copy_text(r->upstream, sizeof(r->upstream), p->upstream);
    copy_text(r->path, sizeof(r->path), p->path);
    return 0;
}

static const char *get_query(struct wire_query *q, const Entrepot__V1__Query *p) {
    if (p->what_case == ENTREPOT__V1__QUERY__WHAT_TAG) {
        if (get_repo(&q->repo, p->tag->repository) < 0) return "not a canonical repository";
        if (tag_check(p->tag->tag, strlen(p->tag->tag)) < 0) return "not a tag";
        copy_text(q->tag, sizeof(q->tag), p->tag->tag);
        q->kind = WIRE_QUERY_TAG;
        return NULL;
    }
    if (p->what_case == ENTREPOT__V1__QUERY__WHAT_BLOB) {
        if (get_digest(&q->digest, p->blob->digest) < 0) return "not a digest";
        if (p->blob->repository && get_repo(&q->repo, p->blob->repository) < 0) return "not a canonical repository";
        q->want_proofs = p->blob->want_proofs;
        q->kind = WIRE_QUERY_BLOB;
        return NULL;
    }
    return "this kind of query is not known here: central may be older than the edge";
}

static void get_request_id(char out[65], const char *s) {
    copy_text(out, 65, s);
    for (const char *c = out; *c; c++) {
        bool ok = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || strchr("._-", *c);
        if (!ok) {
            out[0] = '\0';
            return;
        }
    }
}

static int get_request(struct wire_request *rq, const Entrepot__V1__LookupRequest *p, struct error *err) {
    if (wire_check_version(p->version) < 0)
        return error_set(err, ERR_UNSUPPORTED, "lookup version %u is not known here, %d is", p->version, WIRE_VERSION);
    if (p->n_queries > WIRE_MAX_QUERIES)
        return error_set(err, ERR_TOO_BIG, "a lookup has at most %d queries, this one %zu", WIRE_MAX_QUERIES,
                         p->n_queries);
    rq->version = p->version;
    rq->settings_version = p->settings_version;
    get_request_id(rq->request_id, p->request_id);
    rq->queries = xcalloc(p->n_queries ? p->n_queries : 1, sizeof(*rq->queries));
    rq->n_queries = p->n_queries;
    for (size_t i = 0; i < p->n_queries; i++)
        rq->queries[i].refused = get_query(&rq->queries[i], p->queries[i]);
    return 0;
}

int wire_request_decode(struct wire_request *rq, const void *data, size_t len, struct error *err) {
    memset(rq, 0, sizeof(*rq));
    if (len > WIRE_MAX_REQUEST)
        return error_set(err, ERR_TOO_BIG, "the lookup has %zu bytes; the limit is %zu", len, WIRE_MAX_REQUEST);
    int64_t left = REQUEST_MEMORY;
    ProtobufCAllocator alloc = {budget_alloc, budget_free, &left};
    Entrepot__V1__LookupRequest *p = entrepot__v1__lookup_request__unpack(&alloc, len, data);
    if (!p) return error_set(err, ERR_INVALID, "the body is not a lookup request");
    int r = get_request(rq, p, err);
    entrepot__v1__lookup_request__free_unpacked(p, &alloc);
    return r;
}

void wire_request_fini(struct wire_request *rq) {
    free(rq->queries);
    rq->queries = NULL;
    rq->n_queries = 0;
}

static int get_child(struct manifest_child *c, const Entrepot__V1__Child *p) {
    if (get_digest(&c->digest, p->digest) < 0 || (unsigned)p->kind > CHILD_SUBJECT) return ERR_INVALID;
    c->size = size_of(p->size);
    c->kind = (enum child_kind)p->kind;
    c->foreign = p->foreign;
    copy_text(c->os, sizeof(c->os), p->os);
    copy_text(c->arch, sizeof(c->arch), p->arch);
    copy_text(c->variant, sizeof(c->variant), p->variant);
    return 0;
}

static int get_manifest(struct wire_manifest *m, const Entrepot__V1__Manifest *p) {
    if (get_digest(&m->digest, p->digest) < 0 || p->n_children > MANIFEST_MAX_CHILDREN) return ERR_INVALID;
    m->size = size_of(p->size);
    media_type_clean(p->media_type, m->doc.media_type);
    m->doc.is_index =
        strcmp(m->doc.media_type, MEDIA_OCI_INDEX) == 0 || strcmp(m->doc.media_type, MEDIA_DOCKER_LIST) == 0;
    m->doc.children = xcalloc(p->n_children ? p->n_children : 1, sizeof(*m->doc.children));
    for (size_t i = 0; i < p->n_children; i++) {
        /* A child of a kind that this version does not know is left out. */
        if (get_child(&m->doc.children[m->doc.n_children], p->children[i]) == 0) m->doc.n_children++;
    }
    return 0;
}

static int get_tag(struct wire_tag *t, const Entrepot__V1__Tag *p) {
    if (get_repo(&t->repo, p->repository) < 0 || tag_check(p->tag, strlen(p->tag)) < 0) return ERR_INVALID;
    if (get_digest(&t->facts.digest, p->digest) < 0) return ERR_INVALID;
    copy_text(t->tag, sizeof(t->tag), p->tag);
    t->facts.size = size_of(p->size);
    media_type_clean(p->media_type, t->facts.media_type);
    t->age_s = p->age_s < 0 ? 0 : p->age_s;
    t->facts.stale = p->stale;
    t->facts.deleted = p->deleted;
    copy_text(t->facts.warning, sizeof(t->facts.warning), p->warning);
    return 0;
}

static void *new_zero(size_t size) {
    void *p = xcalloc(1, size);
    return p;
}

static int get_proofs(struct wire_answer *a, const ProtobufCBinaryData *p) {
    if (!p->len) return 0;
    if (!a->blob || p->len > WIRE_MAX_PROOFS || p->len % digest_len(a->blob->digest.alg)) return ERR_INVALID;
    a->proofs = new_zero(p->len);
    memcpy(a->proofs, p->data, p->len);
    a->proofs_len = p->len;
    return 0;
}

static int get_answer(struct wire_answer *a, const Entrepot__V1__Answer *p) {
    bool known = (unsigned)p->status >= WIRE_KNOWN && (unsigned)p->status <= WIRE_TIMEOUT;
    a->status = known ? (enum wire_status)p->status : WIRE_UNAVAILABLE;
    copy_text(a->message, sizeof(a->message), p->message);
    a->retry_after_s = p->retry_after_s < 0 ? 0 : p->retry_after_s;
    if (p->blob) {
        a->blob = new_zero(sizeof(*a->blob));
        if (get_digest(&a->blob->digest, p->blob->digest) < 0) return ERR_INVALID;
        a->blob->size = size_of(p->blob->size);
        a->blob->held = p->blob->held;
        a->blob->claimed = p->blob->claimed;
    }
    if (p->manifest) {
        a->manifest = new_zero(sizeof(*a->manifest));
        if (get_manifest(a->manifest, p->manifest) < 0) return ERR_INVALID;
    }
    if (p->tag) {
        a->tag = new_zero(sizeof(*a->tag));
        if (get_tag(a->tag, p->tag) < 0) return ERR_INVALID;
    }
    return get_proofs(a, &p->proofs);
}

static int get_strings(char ***out, size_t *n_out, char *const *in, size_t n) {
    if (n > SETTINGS_MAX) return ERR_INVALID;
    *out = new_zero((n ? n : 1) * sizeof(**out));
    for (; *n_out < n; (*n_out)++) {
        (*out)[*n_out] = xstrdup(in[*n_out]);
    }
    return 0;
}

static bool is_url(const char *text) {
    bool has_scheme = strncmp(text, "https://", 8) == 0 || strncmp(text, "http://", 7) == 0;
    size_t len = strnlen(text, ENDPOINT_TEXT_MAX + 1);
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] > '~') return false;
    return has_scheme && len <= ENDPOINT_TEXT_MAX;
}

/* Without them an edge goes by the settings all the same. */
static int get_endpoints(struct wire_upstream *u, const Entrepot__V1__Upstream *p) {
    if (p->n_endpoints > ENDPOINTS_MAX) return 0;
    for (size_t i = 0; i < p->n_endpoints; i++)
        if (!is_url(p->endpoints[i])) return 0;
    return get_strings(&u->endpoints, &u->n_endpoints, p->endpoints, p->n_endpoints);
}

static int get_settings(struct wire_settings *s, const Entrepot__V1__Settings *p) {
    if (p->n_upstreams > SETTINGS_MAX) return ERR_INVALID;
    s->version = p->version;
    s->upstreams = new_zero((p->n_upstreams ? p->n_upstreams : 1) * sizeof(*s->upstreams));
    for (size_t i = 0; i < p->n_upstreams; i++) {
        const Entrepot__V1__Upstream *u = p->upstreams[i];
        if (host_check(u->name, strlen(u->name)) < 0) return ERR_INVALID;
        copy_text(s->upstreams[i].name, sizeof(s->upstreams[i].name), u->name);
        s->upstreams[i].fresh_for_ms = u->fresh_for_ms < 0 ? 0 : u->fresh_for_ms;
        s->upstreams[i].per_repository = u->per_repository;
        s->n_upstreams++;
        if (get_endpoints(&s->upstreams[i], u) < 0) return ERR_INVALID;
    }
    if (p->default_upstream[0]) {
        if (host_check(p->default_upstream, strlen(p->default_upstream)) < 0) return ERR_INVALID;
        s->default_upstream = xstrdup(p->default_upstream);
    }
    if (get_strings(&s->hosted, &s->n_hosted, p->hosted, p->n_hosted) < 0) return ERR_INVALID;
    return get_strings(&s->own_names, &s->n_own_names, p->own_names, p->n_own_names);
}

static int get_response(struct wire_response *rs, const Entrepot__V1__LookupResponse *p, struct error *err) {
    if (p->version == 0) return error_set(err, ERR_INVALID, "the body is not a lookup response");
    if (p->n_answers > WIRE_MAX_QUERIES)
        return error_set(err, ERR_INVALID, "more answers than a lookup can have queries");
    rs->version = p->version;
    rs->sequence = p->sequence;
    rs->answers = new_zero((p->n_answers ? p->n_answers : 1) * sizeof(*rs->answers));
    rs->n_answers = p->n_answers;
    for (size_t i = 0; i < p->n_answers; i++) {
        if (get_answer(&rs->answers[i], p->answers[i]) < 0)
            return error_set(err, ERR_INVALID, "answer %zu breaks the rules of names, digests or counts", i);
    }
    if (!p->settings) return 0;
    rs->settings = new_zero(sizeof(*rs->settings));
    if (get_settings(rs->settings, p->settings) < 0)
        return error_set(err, ERR_INVALID, "the settings sent along break the rules of names or counts");
    return 0;
}

int wire_response_decode(struct wire_response *rs, const void *data, size_t len, struct error *err) {
    memset(rs, 0, sizeof(*rs));
    if (len > WIRE_MAX_RESPONSE)
        return error_set(err, ERR_TOO_BIG, "the answer has %zu bytes; the limit is %zu", len, WIRE_MAX_RESPONSE);
    int64_t left = RESPONSE_MEMORY;
    ProtobufCAllocator alloc = {budget_alloc, budget_free, &left};
    Entrepot__V1__LookupResponse *p = entrepot__v1__lookup_response__unpack(&alloc, len, data);
    if (!p) return error_set(err, ERR_INVALID, "the body is not a lookup response");
    int r = get_response(rs, p, err);
    entrepot__v1__lookup_response__free_unpacked(p, &alloc);
    return r;
}

void wire_answer_fini(struct wire_answer *a) {
    if (a->manifest) manifest_fini(&a->manifest->doc);
    free(a->manifest);
    free(a->blob);
    free(a->tag);
    free(a->proofs);
    a->manifest = NULL;
    a->blob = NULL;
    a->tag = NULL;
    a->proofs = NULL;
    a->proofs_len = 0;
}

void wire_settings_fini(struct wire_settings *s) {
    for (size_t i = 0; i < s->n_hosted; i++)
        free(s->hosted[i]);
    for (size_t i = 0; i < s->n_own_names; i++)
        free(s->own_names[i]);
    for (size_t i = 0; i < s->n_upstreams; i++) {
        for (size_t k = 0; k < s->upstreams[i].n_endpoints; k++)
            free(s->upstreams[i].endpoints[k]);
        free(s->upstreams[i].endpoints);
    }
    free(s->hosted);
    free(s->own_names);
    free(s->upstreams);
    free(s->default_upstream);
    memset(s, 0, sizeof(*s));
}

void wire_response_fini(struct wire_response *rs) {
    for (size_t i = 0; i < rs->n_answers; i++)
        wire_answer_fini(&rs->answers[i]);
    free(rs->answers);
    rs->answers = NULL;
    rs->n_answers = 0;
    if (rs->settings) wire_settings_fini(rs->settings);
    free(rs->settings);
    rs->settings = NULL;
}
