/* Lists: repositories of this node, and what all lists share. Thread: serving loop, but for what is marked. */
#include "common/serve/serve_private.h"
#include "common/core/alloc.h"
#include "common/core/budget.h"
#include "common/serve/list_text.h"
#include "common/store/report.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define PAGE_DEFAULT 1000
#define PAGE_MAX 10000
#define ENTRY_COST 128 /* bytes of memory of a repository in a list, beside its name */
#define COST_STEP (256 * KiB)

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

void serve_link_next(struct exchange *x, const char *what, const char *query) {
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

bool serve_query_of_link(const char *link, char *out, size_t cap) {
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

void serve_query_after(size_t max, const char *last, char *out, size_t cap) {
    struct buf q;
    buf_init(&q, 4096);
    int r = buf_printf(&q, "n=%zu", max);
    if (r == 0 && last) r = buf_add_str(&q, "&last=");
    if (r == 0 && last) r = add_encoded(&q, last);
    snprintf(out, cap, "%s", r == 0 && q.len < cap ? q.data : "");
    buf_fini(&q);
}

void serve_link_after(struct exchange *x, const char *what, size_t max, const char *last) {
    struct buf q;
    buf_init(&q, 4096);
    int r = buf_printf(&q, "n=%zu&last=", max);
    if (r == 0) r = add_encoded(&q, last);
    if (r == 0 && x->asked.artifact_type[0]) {
        r = buf_add_str(&q, "&artifactType=");
        if (r == 0) r = add_encoded(&q, x->asked.artifact_type);
    }
    if (r == 0) serve_link_next(x, what, q.data);
    buf_fini(&q);
}

void serve_no_room(struct exchange *x) {
    http_reply_header(x->req, "Retry-After", "1");
    serve_error_status(x->req, 503, REGERR_UNAVAILABLE,
                       "the memory for lists is in use (memory.lists, memory.json): try again");
}

void serve_list_text(struct exchange *x, char *text, int64_t taken, const char *type) {
    if (!text) {
        budget_give(BUDGET_LISTS, taken);
        serve_error(x->req, REGERR_UNKNOWN, NULL, NULL);
        return;
    }
    struct list_text *t = list_text_new(text, taken);
    if (!t) {
        serve_no_room(x);
        return;
    }
    size_t len;
    const char *body = list_text_get(t, &len);
    serve_common_headers(x);
    http_reply_ref(x->req, 200, type, body, len, list_text_free, t);
}

size_t serve_page_size(const struct oci_request *rq) {
    if (rq->n < 0) return PAGE_MAX;
    return rq->n < PAGE_MAX ? (size_t)rq->n : PAGE_MAX;
}

void serve_ask(struct exchange *x, enum fetch_kind kind, void (*done)(const struct ask_answer *a, void *arg)) {
    char *query = query_of(&x->asked);
    struct fetch_request rq = {
        .kind = kind, .repo = x->repo, .caller = x->caller, .settings = x->settings, .ref = x->ref, .query = query};
    snprintf(rq.request_id, sizeof(rq.request_id), "%s", http_req_id(x->req));
    x->waiting = true;
    /* Lists may be long, and no engine waits for their head: there is no deadline. */
    ask(x->registry->cfg.asker, &rq, NULL, done, x);
    free(query);
}

bool serve_turn(struct exchange *x, struct turn *t) {
    if (turns_take(x->registry->turns, t, &x->caller) == 0) {
        x->waiting = true;
        x->turn = t;
        return true;
    }
    if (!http_reply_started(x->req)) {
        http_reply_header(x->req, "Retry-After", "1");
        serve_error(x->req, REGERR_TOOMANYREQUESTS, "too many lists are being made for this client", NULL);
    }
    return false;
}

bool serve_is_hosted(const struct exchange *x) {
    const struct policy *p = x->registry->cfg.policy;
    return p->fresh_for_ms(&x->repo, p->arg) == INT64_MAX;
}

/* --- _catalog: read from the index in the work pool --- */

struct catalog_job {
    struct turn turn;
    struct exchange *x;
    size_t max;
    char last[REPO_STR_MAX], next[REPO_STR_MAX];
    json_t *list;
    char *text;
    bool more;
    int64_t cost, charged; /* of the list and its text; to the budget LISTS, in larger steps */
    int code;
};

static bool take_room(struct catalog_job *j, size_t name_len) {
    j->cost += 2 * (int64_t)name_len + ENTRY_COST;
    if (j->cost <= j->charged) return true;
    if (!budget_take(BUDGET_LISTS, COST_STEP)) return false;
    j->charged += COST_STEP;
    return true;
}

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
    if (!take_room(j, strlen(repo))) {
        j->code = ERR_BUSY;
        return false;
    }
    json_array_append_new(j->list, json_string(repo));
    snprintf(j->next, sizeof(j->next), "%s", repo);
    return true;
}

static void catalog_run(struct turn *t) {
    struct catalog_job *j = container_of(t, struct catalog_job, turn);
    int r = j->max > 0 ? store_each_repo(j->x->registry->cfg.store, add_repo, j, NULL) : 0;
    if (r < 0) j->code = r;
    json_t *doc = json_pack("{s:O}", "repositories", j->list);
    if (j->code == 0) j->text = json_dumps(doc, JSON_COMPACT);
    json_decref(doc);
}

static void catalog_back(struct loop_task *task) {
    struct catalog_job *j = container_of(task, struct catalog_job, turn.back);
    struct exchange *x = j->x;
    json_decref(j->list);
    if (!exchange_back(x)) {
        /* gone meanwhile */
    } else if (j->code == ERR_BUSY) {
        serve_no_room(x);
    } else if (j->code < 0) {
        serve_error(x->req, REGERR_UNKNOWN, "the index cannot be read", NULL);
    } else {
        if (j->more) serve_link_after(x, "", j->max, j->next);
        serve_list_text(x, j->text, j->charged, "application/json");
        j->text = NULL;
        j->charged = 0;
    }
    free(j->text);
    budget_give(BUDGET_LISTS, j->charged);
    free(j);
}

void serve_catalog(struct exchange *x) {
    struct catalog_job *j = xcalloc(1, sizeof(*j));
    j->x = x;
    j->max = x->asked.n < 0 ? PAGE_DEFAULT : serve_page_size(&x->asked);
    if (x->asked.has_last) snprintf(j->last, sizeof(j->last), "%s", x->asked.last);
    j->list = json_array();
    j->turn.run = catalog_run;
    j->turn.back.fn = catalog_back;
    if (serve_turn(x, &j->turn)) return;
    json_decref(j->list);
    free(j);
}
