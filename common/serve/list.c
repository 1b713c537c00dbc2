/* Lists: tags of a repository, referrers of a digest, repositories of this node. What an upstream lists is asked of it
 * each time (coalesced), since nobody else knows; when it cannot be asked, what is known here is listed and marked.
 * Thread: serving loop. */
#include "common/serve/serve_private.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define PAGE_DEFAULT 1000
#define PAGE_MAX 10000
#define TAGS_MAX 100000
#define TAG_PAGES_MAX 200

/* --- small things shared by the lists --- */

/* Appends s percent-encoded as a query value. */
static int add_encoded(struct buf *b, const char *s) {
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~/", c);
        int r = plain ? buf_add(b, s, 1) : buf_printf(b, "%%%02X", c);
        if (r < 0) return r;
    }
    return 0;
}

/* The query that a source is asked with. The caller frees it; NULL for none. */
static char *query_of(const struct oci_request *rq) {
    struct buf b;
    buf_init(&b, 8192);
    int r = 0;
    if (rq->n >= 0) r = buf_printf(&b, "n=%lld", (long long)rq->n);
    if (r == 0 && rq->has_last) {
        r = buf_add_str(&b, b.len ? "&last=" : "last=");
        if (r == 0) r = add_encoded(&b, rq->last);
    }
    if (r == 0 && rq->artifact_type[0]) {
        r = buf_add_str(&b, b.len ? "&artifactType=" : "artifactType=");
        if (r == 0) r = add_encoded(&b, rq->artifact_type);
    }
    if (r < 0 || b.len == 0) {
        buf_fini(&b);
        return NULL;
    }
    return buf_steal(&b, NULL);
}

/* Link to the next page under our own path; query is already encoded. */
static void link_next(struct exchange *x, const char *what, const char *query) {
    struct buf b;
    buf_init(&b, 16384);
    const char *path = x->asked.path;
    int r = x->asked.endpoint == OCI_CATALOG ? buf_printf(&b, "</v2/_catalog?%s", query)
                                             : buf_printf(&b, "</v2/%s/%s?%s", path, what, query);
    if (r == 0 && x->asked.has_ns) {
        r = buf_add_str(&b, "&ns=");
        if (r == 0) r = add_encoded(&b, x->asked.ns);
    }
    if (r == 0) r = buf_add_str(&b, ">; rel=\"next\"");
    if (r == 0) http_reply_header(x->req, "Link", b.data);
    buf_fini(&b);
}

/* The query inside a source's Link header: `</v2/…?QUERY>; rel="next"`. False if it is not such a link. */
static bool query_of_link(const char *link, char *out, size_t cap) {
    const char *end = link ? strchr(link, '>') : NULL, *q = link ? strchr(link, '?') : NULL;
    if (!end || !q || q > end || !strstr(end, "next") || (size_t)(end - q) > cap) return false;
    size_t n = (size_t)(end - q - 1);
    memcpy(out, q + 1, n);
    out[n] = '\0';
    for (char *p = out; *p; p++) {
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f || strchr("<>\"", *p)) return false;
    }
    return true;
}

static void reply_json(struct exchange *x, json_t *doc, const char *type) {
    char *text = json_dumps(doc, JSON_COMPACT);
    json_decref(doc);
    if (!text) {
        serve_error(x->req, REGERR_UNKNOWN, NULL, NULL);
        return;
    }
    http_reply(x->req, 200, type, text, strlen(text));
    free(text);
}

static size_t page_size(const struct oci_request *rq) {
    if (rq->n < 0) return PAGE_MAX;
    return rq->n < PAGE_MAX ? (size_t)rq->n : PAGE_MAX;
}

/* --- tags/list: a source's list is taken whole, put in order, and paged here: not every registry pages, or keeps the
 * order the specification asks for --- */

/* A list being gathered from a source's pages. */
struct tag_list {
    struct exchange *x;
    char **tags;
    size_t n, cap;
    unsigned pages;
};

static void tag_list_free(struct tag_list *l) {
    for (size_t i = 0; i < l->n; i++)
        free(l->tags[i]);
    free(l->tags);
    free(l);
}

static void tag_list_add(struct tag_list *l, const char *tag) {
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 64;
        l->tags = realloc(l->tags, l->cap * sizeof(*l->tags));
        if (!l->tags) abort();
    }
    l->tags[l->n] = strdup(tag);
    if (!l->tags[l->n++]) abort();
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* In order, each once. */
static void tag_list_sort(struct tag_list *l) {
    if (l->n == 0) return;
    qsort(l->tags, l->n, sizeof(*l->tags), by_name);
    size_t kept = 1;
    for (size_t i = 1; i < l->n; i++) {
        if (strcmp(l->tags[i], l->tags[kept - 1]) == 0)
            free(l->tags[i]);
        else
            l->tags[kept++] = l->tags[i];
    }
    l->n = kept;
}

/* The page that was asked for, of a sorted list. */
static void reply_tags(struct exchange *x, char *const *tags, size_t n) {
    size_t max = x->asked.n < 0 ? n : page_size(&x->asked), i = 0;
    json_t *list = json_array();
    while (x->asked.has_last && i < n && strcmp(tags[i], x->asked.last) <= 0)
        i++;
    for (; i < n && json_array_size(list) < max; i++)
        json_array_append_new(list, json_string(tags[i]));
    serve_common_headers(x);
    if (max > 0 && i < n) {
        struct buf q;
        buf_init(&q, 4096);
        if (buf_printf(&q, "n=%zu&last=", max) == 0 && add_encoded(&q, tags[i - 1]) == 0)
            link_next(x, "tags/list", q.data);
        buf_fini(&q);
    }
    reply_json(x, json_pack("{s:s, s:o}", "name", x->asked.path, "tags", list), "application/json");
}

/* From what is known here. False: nothing is. */
static bool tags_from_store(struct exchange *x) {
    char **tags = NULL;
    size_t n = store_tags(x->registry->cfg.store, x->repo_str, "", TAGS_MAX, &tags);
    if (n > 0) reply_tags(x, tags, n);
    for (size_t i = 0; i < n; i++)
        free(tags[i]);
    free(tags);
    return n > 0;
}

static void on_tags(const struct ask_answer *a, void *arg);

static void ask_tags(struct tag_list *l, const char *query) {
    struct exchange *x = l->x;
    struct fetch_request rq = {.kind = FETCH_TAGS, .repo = x->repo, .query = query};
    snprintf(rq.request_id, sizeof(rq.request_id), "%s", http_req_id(x->req));
    x->waiting = true;
    ask(x->registry->asker, &rq, on_tags, l);
}

/* One page into the list; false if it is not one. */
static bool take_page(struct tag_list *l, const struct ask_answer *a) {
    json_t *doc = json_loadb(a->body, a->body_len, 0, NULL), *list = json_object_get(doc, "tags"), *tag;
    bool good = json_is_object(doc) && (!list || json_is_array(list) || json_is_null(list));
    size_t i;
    json_array_foreach(list, i, tag) {
        const char *text = json_string_value(tag);
        if (text && tag_check(text, strlen(text)) == 0 && l->n < TAGS_MAX) tag_list_add(l, text);
    }
    json_decref(doc);
    return good;
}

static void tags_unavailable(struct exchange *x, const struct fetch_end *end) {
    bool no = end->code == ERR_NOT_FOUND || end->code == ERR_DENIED;
    if (!no) {
        snprintf(x->warning, sizeof(x->warning), "299 - \"stale: the tags known here; the source cannot be asked\"");
        if (tags_from_store(x)) {
            atomic_fetch_add_explicit(&x->registry->stale, 1, memory_order_relaxed);
            return;
        }
        x->warning[0] = '\0';
    }
    serve_fetch_end(x->req, end, REGERR_NAME_UNKNOWN);
}

static void on_tags(const struct ask_answer *a, void *arg) {
    struct tag_list *l = arg;
    struct exchange *x = l->x;
    if (!exchange_back(x)) {
        tag_list_free(l);
        return;
    }
    http_req_note(x->req, "miss");
    if (a->warning) snprintf(x->warning, sizeof(x->warning), "%s", a->warning);
    struct fetch_end end = a->end;
    if (end.code == 0 && !take_page(l, a))
        fetch_end_set(&end, ERR_UPSTREAM, "%s sends a list of tags that is not readable", a->source);
    char query[2048];
    if (end.code == 0 && ++l->pages < TAG_PAGES_MAX && query_of_link(a->link, query, sizeof(query))) {
        ask_tags(l, query);
        return;
    }
    if (end.code == 0) {
        tag_list_sort(l);
        reply_tags(x, l->tags, l->n);
    } else {
        tags_unavailable(x, &end);
    }
    tag_list_free(l);
}

static void ask_source(struct exchange *x, enum fetch_kind kind, void (*done)(const struct ask_answer *a, void *arg)) {
    char *query = query_of(&x->asked);
    struct fetch_request rq = {.kind = kind, .repo = x->repo, .ref = x->ref, .query = query};
    snprintf(rq.request_id, sizeof(rq.request_id), "%s", http_req_id(x->req));
    x->waiting = true;
    ask(x->registry->asker, &rq, done, x);
    free(query);
}

static bool is_hosted(const struct exchange *x) {
    return x->registry->cfg.fresh_for_ms(&x->repo, x->registry->cfg.arg) == INT64_MAX;
}

void serve_tags(struct exchange *x) {
    if (is_hosted(x)) {
        if (!tags_from_store(x)) serve_error(x->req, REGERR_NAME_UNKNOWN, NULL, NULL);
        return;
    }
    struct tag_list *l = calloc(1, sizeof(*l));
    if (!l) abort();
    l->x = x;
    ask_tags(l, NULL);
}

/* --- referrers --- */

static void on_referrers(const struct ask_answer *a, void *arg) {
    struct exchange *x = arg;
    if (!exchange_back(x)) return;
    http_req_note(x->req, "miss");
    if (a->end.code != 0) {
        /* A 404 says that the upstream has no such API: the client then looks for the referrers tag, which is served
         * like any. */
        serve_fetch_end(x->req, &a->end, REGERR_MANIFEST_UNKNOWN);
        return;
    }
    json_t *doc = json_loadb(a->body, a->body_len, 0, NULL);
    if (!json_is_object(doc)) {
        json_decref(doc);
        serve_error(x->req, REGERR_UNAVAILABLE, "the upstream's list of referrers is not readable", NULL);
        return;
    }
    serve_common_headers(x);
    char query[2048], digest[DIGEST_STR_MAX], what[DIGEST_STR_MAX + 16];
    snprintf(what, sizeof(what), "referrers/%s", digest_str(&x->ref.digest, digest));
    if (query_of_link(a->link, query, sizeof(query))) link_next(x, what, query);
    reply_json(x, doc, MEDIA_OCI_INDEX);
}

void serve_referrers(struct exchange *x) {
    if (is_hosted(x)) {
        serve_common_headers(x);
        reply_json(x, json_pack("{s:i, s:s, s:[]}", "schemaVersion", 2, "mediaType", MEDIA_OCI_INDEX, "manifests"),
                   MEDIA_OCI_INDEX);
        return;
    }
    ask_source(x, FETCH_REFERRERS, on_referrers);
}

/* --- _catalog: read from the index in the work pool --- */

struct catalog_job {
    struct work work;
    struct loop_task back;
    struct loop *loop;
    struct exchange *x;
    size_t max;
    char last[REPO_MAX + 1], next[REPO_STR_MAX];
    json_t *list;
    bool more;
    int code;
};

static bool add_repo(const char *repo, int64_t tags, int64_t manifests, int64_t bytes, void *arg) {
    (void)tags;
    (void)manifests;
    (void)bytes;
    struct catalog_job *j = arg;
    if (strcmp(repo, j->last) <= 0) return true;
    if (json_array_size(j->list) >= j->max) {
        j->more = true;
        return false;
    }
    json_array_append_new(j->list, json_string(repo));
    snprintf(j->next, sizeof(j->next), "%s", repo);
    return true;
}

static void catalog_run(struct work *w) {
    struct catalog_job *j = container_of(w, struct catalog_job, work);
    if (j->max > 0) j->code = store_each_repo(j->x->registry->cfg.store, add_repo, j, NULL);
    loop_post(j->loop, &j->back);
}

static void catalog_back(struct loop_task *task) {
    struct catalog_job *j = container_of(task, struct catalog_job, back);
    struct exchange *x = j->x;
    if (!exchange_back(x)) {
        json_decref(j->list);
        free(j);
        return;
    }
    if (j->code < 0) {
        json_decref(j->list);
        serve_error(x->req, REGERR_UNKNOWN, "the index cannot be read", NULL);
    } else {
        serve_common_headers(x);
        struct buf q;
        buf_init(&q, 4096);
        if (j->more && buf_printf(&q, "n=%zu&last=", j->max) == 0 && add_encoded(&q, j->next) == 0)
            link_next(x, "", q.data);
        buf_fini(&q);
        reply_json(x, json_pack("{s:o}", "repositories", j->list), "application/json");
    }
    free(j);
}

void serve_catalog(struct exchange *x) {
    struct catalog_job *j = calloc(1, sizeof(*j));
    if (!j) abort();
    j->x = x;
    j->loop = http_req_loop(x->req);
    j->max = x->asked.n < 0 ? PAGE_DEFAULT : page_size(&x->asked);
    if (x->asked.has_last) snprintf(j->last, sizeof(j->last), "%s", x->asked.last);
    j->list = json_array();
    j->work.fn = catalog_run;
    j->back.fn = catalog_back;
    x->waiting = true;
    workpool_submit(x->registry->cfg.pool, &j->work);
}
