/* Referrers of a digest. What an upstream lists is asked of it each time (coalesced), since nobody else knows. What is
 * hosted is found here: manifests of the repository that name it as their subject, and what older clients have listed
 * under the referrers tag (distribution-spec "Listing Referrers"). Thread: serving loop, but for what is marked. */
#include "common/serve/serve_private.h"

#include "common/core/alloc.h"
#include "common/core/budget.h"
#include "common/core/json.h"
#include "common/core/log.h"
#include "common/core/workpool.h"
#include "common/oci/manifest.h"
#include "common/store/report.h"
#include "common/store/tag.h"

#include <stdio.h>
#include <string.h>

#define PAGE_MAX 1000
#define PAGE_BYTES (4 * MiB) /* of manifests read for one page */
#define REFERRERS_MAX 100000

struct referrer {
    char digest[DIGEST_STR_MAX];
    json_t *listed; /* its descriptor under the referrers tag; NULL: one of ours, to be read */
};

struct referrers_job {
    struct turn turn;
    struct exchange *x;      /* waits: what was asked is not changed meanwhile */
    struct ask_answer *list; /* an upstream's; NULL: hosted */
    char *text, *filters, query[2048];
    int code; /* of reading an upstream's list */
    bool has_next;
    /* Hosted. */
    struct referrer *found;
    size_t n, cap;
    int64_t charged;           /* to the budget LISTS, for what is read for a page */
    char last[DIGEST_STR_MAX]; /* more follow after this one; "": it is the last page */
};

/* --- work pool: what is hosted --- */

static void add(struct referrers_job *j, const char *digest, json_t *listed) {
    if (j->n == REFERRERS_MAX) return;
    if (j->n == j->cap) {
        j->cap = j->cap ? 2 * j->cap : 16;
        j->found = xrealloc(j->found, j->cap, sizeof(*j->found));
    }
    struct referrer *r = &j->found[j->n++];
    r->listed = json_incref(listed);
    snprintf(r->digest, sizeof(r->digest), "%s", digest);
}

static bool add_own(const struct digest *d, void *arg) {
    char digest[DIGEST_STR_MAX];
    add(arg, digest_str(d, digest), NULL);
    return true;
}

/* doc may be closed in any case. */
static void read_json(struct referrers_job *j, const struct digest *d, struct manifest *m, struct json_doc *doc,
                      size_t *len) {
    char *data = NULL;
    struct blob_info info;
    *doc = (struct json_doc){0};
    if (store_read_blob(j->x->registry->cfg.store, d, MANIFEST_MAX_BYTES, &data, len, &info) < 0) return;
    int r = manifest_parse(m, data, *len, NULL);
    if (r == 0) r = json_open(doc, data, *len, JSON_ALLOW_NUL);
    if (r == ERR_BUSY) j->code = r;
    free(data);
}

/* Copies what is needed after the document is closed. */
static bool keep(struct referrers_job *j, int64_t cost) {
    if (!budget_take(BUDGET_LISTS, cost)) {
        j->code = ERR_BUSY;
        return false;
    }
    j->charged += cost;
    return true;
}

/* The tag `<alg>-<hex>`, of an index that clients keep where the registry has no such API. */
static void add_listed(struct referrers_job *j) {
    char tag[DIGEST_STR_MAX], hex[DIGEST_STR_MAX];
    const struct digest *d = &j->x->ref.digest;
    struct tag_facts rec;
    struct manifest m = {0};
    size_t len, i;
    snprintf(tag, sizeof(tag), "%.32s-%.64s", digest_alg_name(d->alg), digest_hex(d, hex));
    if (!store_tag_get(j->x->registry->cfg.store, j->x->repo_str, tag, &rec)) return;
    struct json_doc doc;
    json_t *entry, *list = NULL;
    read_json(j, &rec.digest, &m, &doc, &len);
    if (m.is_index && keep(j, doc.cost)) list = json_object_get(doc.root, "manifests");
    json_array_foreach(list, i, entry) {
        const char *text = json_string_value(json_object_get(entry, "digest"));
        struct digest listed;
        if (text && digest_parse(&listed, text, strlen(text)) == 0) add(j, text, entry);
    }
    json_close(&doc);
    manifest_fini(&m);
}

/* Orders entries by digest; of the same digest, the manifest that is read here comes before a listed one. */
static int by_digest(const void *a, const void *b) {
    const struct referrer *one = a, *other = b;
    int r = strcmp(one->digest, other->digest);
    return r ? r : (one->listed != NULL) - (other->listed != NULL);
}

/* Copies the annotations that are strings, as all must be: a client that relies on that would refuse the whole list. */
static json_t *annotations_of(const json_t *doc) {
    json_t *all = json_object_get(doc, "annotations"), *value, *out = NULL;
    const char *key;
    json_object_foreach(all, key, value) {
        if (!json_is_string(value)) continue;
        if (!out) out = json_object();
        json_object_set(out, key, value);
    }
    return out;
}

/* What the manifest says of itself; NULL if it does not name the subject. *cost: bytes that were read. */
static json_t *describe(struct referrers_job *j, const struct referrer *r, size_t *cost) {
    struct digest d;
    struct manifest m = {0};
    size_t len = 0;
    if (digest_parse(&d, r->digest, strlen(r->digest)) < 0) return NULL;
    struct json_doc doc;
    json_t *desc = NULL;
    read_json(j, &d, &m, &doc, &len);
    *cost += len;
    for (size_t i = 0; doc.root && !desc && i < m.n_children; i++) {
        const struct manifest_child *c = &m.children[i];
        if (c->kind != CHILD_SUBJECT || !digest_eq(&c->digest, &j->x->ref.digest)) continue;
        desc = json_pack("{s:s, s:s, s:I}", "mediaType", m.media_type, "digest", r->digest, "size", (json_int_t)len);
        if (m.artifact_type[0]) json_object_set_new(desc, "artifactType", json_string(m.artifact_type));
        json_t *annotations = annotations_of(doc.root);
        if (annotations) json_object_set_new(desc, "annotations", annotations);
    }
    json_close(&doc);
    manifest_fini(&m);
    return desc;
}

static bool wanted(const struct referrers_job *j, const json_t *desc) {
    const char *type = json_string_value(json_object_get(desc, "artifactType")), *filter = j->x->asked.artifact_type;
    return desc && (!filter[0] || (type && strcmp(type, filter) == 0));
}

static void write_page(struct referrers_job *j) {
    const struct oci_request *asked = &j->x->asked;
    json_t *list = json_array();
    size_t cost = 0, i = 0;
    const char *told = "";
    while (asked->has_last && i < j->n && strcmp(j->found[i].digest, asked->last) <= 0)
        i++;
    for (; i < j->n && json_array_size(list) < PAGE_MAX && cost < PAGE_BYTES; i++) {
        struct referrer *r = &j->found[i];
        if (strcmp(r->digest, told) == 0) continue;
        json_t *desc = r->listed ? json_incref(r->listed) : describe(j, r, &cost);
        if (desc) told = r->digest;
        if (wanted(j, desc)) json_array_append(list, desc);
        json_decref(desc);
    }
    if (i > 0 && i < j->n) snprintf(j->last, sizeof(j->last), "%s", j->found[i - 1].digest);
    json_t *doc = json_pack("{s:i, s:s, s:o}", "schemaVersion", 2, "mediaType", MEDIA_OCI_INDEX, "manifests", list);
    j->text = json_dumps(doc, JSON_COMPACT);
    json_decref(doc);
}

static void run_hosted(struct turn *t) {
    struct referrers_job *j = container_of(t, struct referrers_job, turn);
    const struct exchange *x = j->x;
    struct error err = {0};
    if (!budget_take(BUDGET_LISTS, PAGE_BYTES)) { /* only now: those that wait would keep it from others */
        j->code = ERR_BUSY;
        return;
    }
    j->charged = PAGE_BYTES;
    if (store_each_parent(x->registry->cfg.store, x->repo_str, &x->ref.digest, add_own, j, &err) < 0) {
        log_warn("referrers_unreadable", KV_S("repository", x->repo_str), KV_S("why", err.msg));
    } else {
        add_listed(j);
        if (j->n) qsort(j->found, j->n, sizeof(*j->found), by_digest);
        write_page(j);
    }
}

/* --- work pool: an upstream's list is looked at, for it may be long; it is passed on as it is, one for all who have
 * asked at the same time --- */

static void run_upstream(struct turn *t) {
    struct referrers_job *j = container_of(t, struct referrers_job, turn);
    struct json_doc d;
    j->code = json_open(&d, j->list->body, j->list->body_len, JSON_ALLOW_NUL);
    if (j->code == 0 && !json_is_array(json_object_get(d.root, "manifests"))) j->code = ERR_INVALID;
    json_close(&d);
}

/* --- serving loop --- */

static void job_free(struct referrers_job *j) {
    for (size_t i = 0; i < j->n; i++)
        json_decref(j->found[i].listed);
    free(j->found);
    ask_answer_unref(j->list);
    budget_give(BUDGET_LISTS, j->charged);
    free(j->filters);
    free(j->text);
    free(j);
}

static void link_on(struct referrers_job *j) {
    struct exchange *x = j->x;
    char digest[DIGEST_STR_MAX], what[DIGEST_STR_MAX + 16];
    snprintf(what, sizeof(what), "referrers/%s", digest_str(&x->ref.digest, digest));
    if (j->has_next) serve_link_next(x, what, j->query);
    if (j->last[0]) serve_link_after(x, what, PAGE_MAX, j->last);
}

static void release_list(void *list) {
    ask_answer_unref(list);
}

static void reply(struct referrers_job *j) {
    if (j->list) {
        serve_common_headers(j->x);
        http_reply_ref(j->x->req, 200, MEDIA_OCI_INDEX, j->list->body, j->list->body_len, release_list, j->list);
        j->list = NULL;
    } else {
        serve_list_text(j->x, j->text, j->charged, MEDIA_OCI_INDEX);
        j->text = NULL;
        j->charged = 0;
    }
}

static void on_worked(struct loop_task *task) {
    struct referrers_job *j = container_of(task, struct referrers_job, turn.back);
    struct exchange *x = j->x;
    if (!exchange_back(x)) {
        /* gone meanwhile */
    } else if (j->code == ERR_BUSY) {
        serve_no_room(x);
    } else if (j->text || (j->list && j->code == 0)) {
        if (j->filters) http_reply_header(x->req, "OCI-Filters-Applied", j->filters);
        link_on(j);
        reply(j);
    } else if (j->list && j->code == ERR_TOO_BIG) {
        serve_error(x->req, REGERR_UNAVAILABLE, "the upstream's list of referrers holds too many values", NULL);
    } else if (j->list) {
        serve_error(x->req, REGERR_UNAVAILABLE, "the upstream's list of referrers is not readable", NULL);
    } else {
        serve_error(x->req, REGERR_UNKNOWN, "the index cannot be read", NULL);
    }
    job_free(j);
}

static void submit(struct exchange *x, struct referrers_job *j, void (*run)(struct turn *t)) {
    j->x = x;
    j->turn.run = run;
    j->turn.back.fn = on_worked;
    if (!serve_turn(x, &j->turn)) job_free(j);
}

static struct referrers_job *job_new(void) {
    struct referrers_job *j = xcalloc(1, sizeof(*j));
    return j;
}

/* How upstreams without the API answer; the digest itself was checked here. Clients look for the referrers tag after a
 * 404 alone. */
static bool has_no_api(int status) {
    return status == 400 || status == 405 || status == 406 || status == 501;
}

static void on_referrers(const struct ask_answer *a, void *arg) {
    struct exchange *x = arg;
    if (!exchange_back(x)) return;
    http_req_note(x->req, "miss");
    if (a->end.code != 0) {
        /* A 404 says that the upstream has no such API: the client then looks for the referrers tag, which is served
         * like any. */
        if (has_no_api(a->end.status))
            serve_error(x->req, REGERR_MANIFEST_UNKNOWN, a->end.msg, NULL);
        else
            serve_fetch_end(x->req, &a->end, REGERR_MANIFEST_UNKNOWN);
        return;
    }
    struct referrers_job *j = job_new();
    j->list = ask_answer_ref(a);
    j->has_next = serve_query_of_link(a->link, j->query, sizeof(j->query));
    if (a->filters) j->filters = xstrdup(a->filters);
    submit(x, j, run_upstream);
}

void serve_referrers(struct exchange *x) {
    if (!serve_is_hosted(x)) {
        serve_ask(x, FETCH_REFERRERS, on_referrers);
        return;
    }
    struct referrers_job *j = job_new();
    if (x->asked.artifact_type[0]) j->filters = xstrdup("artifactType");
    submit(x, j, run_hosted);
}
