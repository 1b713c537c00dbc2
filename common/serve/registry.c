/* Parses a request, decides which repository it means, and calls the function that answers its kind. Thread: serving
 * loop. */
#include "common/serve/serve_private.h"
#include "common/core/alloc.h"
#include "common/wire/node_headers.h"
#include "common/oci/request.h"
#include "common/store/report.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static void error_document(struct http_req *req, int status, enum regerror e, const char *message, const char *detail) {
    char doc[1024];
    size_t len = regerror_document(e, message, detail, doc, sizeof(doc));
    http_reply_header(req, "Docker-Distribution-Api-Version", "registry/2.0");
    http_reply(req, status, "application/json", doc, len);
}

void serve_error(struct http_req *req, enum regerror e, const char *message, const char *detail) {
    error_document(req, regerror_status(e), e, message, detail);
}

void serve_error_status(struct http_req *req, int status, enum regerror e, const char *message) {
    error_document(req, status, e, message, NULL);
}

static bool decide_again(struct http_req *req);

void serve_fetch_end(struct http_req *req, const struct fetch_end *end, enum regerror unknown) {
    if (end->code == ERR_OUTDATED && decide_again(req)) return;
    switch (end->code) {
    case ERR_NOT_FOUND:
    case ERR_DENIED:
        /* The Hub answers 401 for what does not exist; a client that gets 404 goes on to its next mirror. */
        serve_error(req, unknown, end->msg[0] ? end->msg : NULL, NULL);
        return;
    case ERR_RATE_LIMITED:
        http_reply_headerf(req, "Retry-After", "%lld", (long long)(end->retry_after_s > 0 ? end->retry_after_s : 60));
        serve_error(req, REGERR_TOOMANYREQUESTS, end->msg, NULL);
        return;
    case ERR_TIMEOUT:
        if (end->retry_after_s > 0) http_reply_headerf(req, "Retry-After", "%lld", (long long)end->retry_after_s);
        serve_error_status(req, 504, REGERR_UNAVAILABLE, end->msg);
        return;
    case ERR_INVALID:
        serve_error(req, REGERR_NAME_INVALID, end->msg, NULL);
        return;
    case ERR_CANCELLED:
    case ERR_BUSY:
    case ERR_OUTDATED:
        http_reply_headerf(req, "Retry-After", "%lld", (long long)(end->retry_after_s > 0 ? end->retry_after_s : 1));
        serve_error_status(req, 503, REGERR_UNAVAILABLE, end->msg);
        return;
    default:
        serve_error(req, REGERR_UNAVAILABLE, end->msg, NULL);
        return;
    }
}

#define API_LINE "Docker-Distribution-Api-Version: registry/2.0\r\n"

static enum regerror error_of(int status) {
    switch (status) {
    case 405:
    case 417:
    case 501:
        return REGERR_UNSUPPORTED;
    case 413:
        return REGERR_SIZE_INVALID;
    case 414:
        return REGERR_NAME_INVALID;
    case 429:
    case 503:
        return REGERR_TOOMANYREQUESTS;
    default:
        return REGERR_UNKNOWN;
    }
}

size_t registry_error_body(int status, const char *target, const char *msg, char *buf, size_t cap,
                           struct http_error_form *form) {
    /* A request that could not be read may have been one for the API. */
    if (target[0] && !oci_is_api(target)) {
        *form = (struct http_error_form){"text/plain; charset=utf-8", ""};
        int n = snprintf(buf, cap, "%s\n", msg);
        return n < 0 ? 0 : (size_t)n < cap ? (size_t)n : cap - 1;
    }
    *form = (struct http_error_form){"application/json", API_LINE};
    return regerror_document(error_of(status), msg, NULL, buf, cap);
}

void serve_common_headers(struct exchange *x) {
    http_reply_lines(x->req, API_LINE, sizeof(API_LINE) - 1);
    if (x->warning[0]) http_reply_header(x->req, "Warning", x->warning);
    if (x->age_s >= 0) http_reply_header_number(x->req, "Age", (uint64_t)x->age_s);
}

static void on_close(struct http_req *req, bool cut) {
    (void)cut;
    struct exchange *x = http_req_user(req);
    if (x->body) body_free(x->body);
    x->body = NULL;
    x->req = NULL;
    if (x->turn) turn_unwanted(x->turn);
    if (!x->waiting) exchange_free(x);
}

/* Adds OCI-Namespace to any answer if ns has decided the repository. */
static void tell_namespace(struct exchange *x) {
    if (x->uses_ns && !x->told_ns) http_reply_header(x->req, "OCI-Namespace", x->asked.ns);
    x->told_ns = x->uses_ns;
}

/* Resolves the repository; on failure the request is answered. */
static bool resolve(struct exchange *x, const struct name_rules *rules) {
    const struct policy *policy = x->registry->cfg.policy;
    struct error err = {0};
    const char *ns = x->asked.has_ns ? x->asked.ns : NULL;
    x->uses_ns = ns && !resolve_is_own(rules, ns);
    x->settings = rules->version;
    int r = resolve_repo(rules, ns, x->asked.path, strlen(x->asked.path), &x->repo, &err);
    if (r == 0) {
        repo_name_str(&x->repo, x->repo_str);
        char scope[REPO_STR_MAX];
        struct store *store = x->registry->cfg.store;
        x->scope_epoch = store_scope_epoch(store);
        x->scope = store_scope_find(store, policy->scope(&x->repo, scope, policy->arg));
        return true;
    }
    tell_namespace(x);
    serve_error(x->req, r == ERR_NOT_FOUND ? REGERR_NAME_UNKNOWN : REGERR_NAME_INVALID, err.msg,
                err.hint[0] ? err.hint : NULL);
    return false;
}

static void on_rechecked(void *arg) {
    struct exchange *x = arg;
    if (exchange_back(x)) x->row->answer(x);
}

/* True if another node got wrong bytes of this blob, and we would send the same again. */
static bool is_doubted(const struct exchange *x) {
    if (x->caller.kind != CALLER_NODE || x->is_head || !x->ref.is_digest) return false;
    const char *word = http_req_header(x->req, DOUBT_HEADER);
    return word && strcmp(word, DOUBT_MISMATCH) == 0 &&
           store_lookup_in(x->registry->cfg.store, &x->ref.digest, x->scope, &(struct blob_info){0});
}

static void answer(struct exchange *x) {
    x->ref = x->asked.ref;
    http_req_about(x->req, x->repo_str);
    tell_namespace(x);
    if (!is_doubted(x)) {
        x->row->answer(x);
        return;
    }
    x->waiting = true;
    doubts_raise(x->registry->doubts, &x->ref.digest, on_rechecked, x);
}

static const struct name_rules *rules_of(const struct registry *g) {
    return g->cfg.policy->rules(g->cfg.policy->arg);
}

/* --- under which settings --- */

/* False: another node has decided the name under other settings than ours, so it may mean something else here; that is
 * answered. */
static bool goes_by_ours(struct exchange *x, const struct name_rules *rules) {
    const char *word = http_req_header(x->req, SETTINGS_HEADER);
    char ours[17];
    if (x->caller.kind != CALLER_NODE || rules->version == 0 || settings_header_parse(word) == rules->version)
        return true;
    http_reply_header(x->req, SETTINGS_HEADER, settings_header_format(rules->version, ours));
    serve_error(x->req, REGERR_SETTINGS_OUTDATED,
                word ? NULL
                     : "this request does not say which settings its name was decided under (" SETTINGS_HEADER
                       "): if an edge has sent it, upgrade entrepot-edge to central's version",
                NULL);
    return false;
}

/* Decides the name by the current rules. */
static void decide(struct exchange *x) {
    struct registry *g = x->registry;
    const struct policy *policy = g->cfg.policy;
    const struct name_rules *rules = rules_of(g);
    char why[512];
    if (policy->names && policy->names(why, sizeof(why), policy->arg) == NAMES_UNKNOWN) {
        http_reply_header(x->req, "Retry-After", "1");
        serve_error_status(x->req, 503, REGERR_UNAVAILABLE, why);
        return;
    }
    if (!goes_by_ours(x, rules) || !resolve(x, rules)) return;
    if (METHODS_READ & METHOD_SET(http_req_method(x->req))) memo_keep(x, rules, http_req_target(x->req));
    answer(x);
}

static void on_names(struct names_wait *w) {
    struct exchange *x = container_of(w, struct exchange, names_wait);
    if (!exchange_back(x)) return;
    if (!w->outdated) {
        decide(x);
        return;
    }
    http_reply_header(x->req, "Retry-After", "1");
    serve_error_status(x->req, 503, REGERR_UNAVAILABLE,
                       "central's settings have changed and cannot be had yet: what this name means is not known");
}

static bool may_decide(const struct registry *g) {
    char why[512];
    const struct policy *policy = g->cfg.policy;
    return !policy->names || policy->names(why, sizeof(why), policy->arg) == NAMES_SETTLED;
}

/* Decides the name, after asking whether the rules still hold if that is not known. */
static void decide_when_settled(struct exchange *x) {
    const struct policy *policy = x->registry->cfg.policy;
    char why[512];
    if (!policy->names || policy->names(why, sizeof(why), policy->arg) != NAMES_UNCONFIRMED) {
        decide(x);
        return;
    }
    x->names_wait = (struct names_wait){.done = on_names};
    x->waiting = true;
    policy->names_await(&x->names_wait, policy->arg);
}

static void on_again(struct loop_task *task) {
    struct exchange *x = container_of(task, struct exchange, again);
    if (!exchange_back(x)) return;
    if (x->body) body_free(x->body);
    x->body = NULL;
    x->is_manifest = x->has_last = false;
    x->warning[0] = '\0';
    x->age_s = -1;
    decide_when_settled(x);
}

/* The source uses other settings: the name is decided again, once. False: that has been done, or an answer has
 * begun. */
static bool decide_again(struct http_req *req) {
    struct exchange *x = http_req_user(req);
    if (x->decided_again || http_reply_started(req)) return false;
    x->decided_again = x->waiting = true;
    x->again = (struct loop_task){.fn = on_again};
    loop_post(http_req_loop(req), &x->again);
    return true;
}

/* Not under /v2. */
static void answer_elsewhere(struct http_req *req, const char *target) {
    static const char text[] = "This is an Entrepot registry; its API is under /v2/.\n";
    enum http_method method = http_req_method(req);
    int status = strcmp(target, "/") == 0 ? 200 : 404;
    if (method != HTTP_GET && method != HTTP_HEAD) {
        http_reply_header(req, "Allow", "GET, HEAD");
        status = 405;
    }
    http_reply(req, status, "text/plain; charset=utf-8", text, sizeof(text) - 1);
}

void registry_handle(struct registry *g, struct http_req *req, const struct caller *caller) {
    enum http_method method = http_req_method(req);
    const char *target = http_req_target(req);
    if (!oci_is_api(target)) {
        answer_elsewhere(req, target);
        return;
    }
    struct exchange *x = exchange_new();
    x->registry = g;
    x->req = req;
    x->is_head = method == HTTP_HEAD;
    x->caller = *caller;
    http_req_asked_by(req, caller_number(caller));
    http_req_set_user(req, x);
    http_req_on_close(req, on_close);
    bool reads = METHODS_READ & METHOD_SET(method);
    bool settled = may_decide(g); /* before the rules are read, which may change in between */
    const struct name_rules *rules = rules_of(g);
    if (reads && settled && memo_find(x, rules, target)) {
        x->settings = rules->version;
        x->row = endpoint_find(x->asked.endpoint, method);
        if (goes_by_ours(x, rules)) answer(x);
        return;
    }
    struct oci_refusal no;
    if (oci_request_parse(&x->asked, target, &no) < 0) {
        serve_error_status(req, no.status, regerror_by_code(no.code), no.msg);
        return;
    }
    x->row = endpoint_find(x->asked.endpoint, method);
    if (!x->row || !x->row->answer) {
        endpoint_refuse(req, x->asked.endpoint, x->row);
    } else if (!x->row->in_repository) {
        x->row->answer(x);
    } else {
        decide_when_settled(x);
    }
}

/* The boundary of multipart answers. It is random, because content could contain a predictable one on purpose. */
static void make_boundary(char out[33]) {
    uint64_t random[2];
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) abort();
    snprintf(out, 33, "%016llx%016llx", (unsigned long long)random[0], (unsigned long long)random[1]);
}

static int recheck(const struct digest *d, void *store) {
    return store_recheck(store, d);
}

/* On their way at a time, answers that a client is slow to take included; a long one takes megabytes. */
#define TAG_LISTS_MAX 64

struct registry *registry_new(const struct registry_config *cfg) {
    exchanges_prepare();
    struct registry *g = xcalloc(1, sizeof(*g));
    static _Atomic uint64_t serials;
    g->serial = ++serials;
    g->cfg = *cfg;
    g->hit_line_len = (size_t)snprintf(g->hit_line, sizeof(g->hit_line), "Cache-Status: %s; hit\r\n", cfg->name);
    make_boundary(g->boundary);
    struct doubts_config dc = {.loop = cfg->fetch_loop, .pool = cfg->pool, .recheck = recheck, .arg = cfg->store};
    g->doubts = doubts_new(&dc);
    g->moves = moves_new();
    g->turns = turns_new(&(struct turns_config){
        .pool = cfg->lists, .threads = cfg->list_threads, .queue_of_one = cfg->queue_of_one, .queue = cfg->queue});
    g->tag_lists = slots_new(TAG_LISTS_MAX);
    return g;
}

int registry_canonical(const struct registry *g, const char *name, char out[REPO_STR_MAX]) {
    struct repo_name repo;
    int r = resolve_repo(rules_of(g), NULL, name, strlen(name), &repo, NULL);
    if (r == 0) repo_name_str(&repo, out);
    return r;
}

void registry_free(struct registry *g) {
    if (!g) return;
    doubts_free(g->doubts);
    moves_free(g->moves);
    turns_free(g->turns);
    slots_free(g->tag_lists);
    free(g);
}

void registry_lists(const struct registry *g, struct share_stats *made, struct share_stats *tag_lists) {
    turns_stats(g->turns, made);
    slots_stats(g->tag_lists, tag_lists);
}

void registry_stats(const struct registry *g, struct registry_stats *out) {
    *out = (struct registry_stats){
        .hits = atomic_load_explicit(&g->hits, memory_order_relaxed),
        .misses = atomic_load_explicit(&g->misses, memory_order_relaxed),
        .joined = atomic_load_explicit(&g->joined, memory_order_relaxed),
        .hit_bytes = atomic_load_explicit(&g->hit_bytes, memory_order_relaxed),
        .fill_bytes = atomic_load_explicit(&g->fill_bytes, memory_order_relaxed),
        .stale = atomic_load_explicit(&g->stale, memory_order_relaxed),
        .negative = atomic_load_explicit(&g->negative, memory_order_relaxed),
        .redirected = atomic_load_explicit(&g->redirected, memory_order_relaxed),
    };
}
