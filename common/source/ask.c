/* Coalesced small questions. Thread: the table and questions under way belong to the fetch loop. */
#include "common/source/ask.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/map.h"
#include "common/core/offload.h"
#include "common/source/failure.h"
#include "common/source/remembered.h"

#include <stdio.h>
#include <string.h>

#define BODY_MAX (8 * MiB)
/* How long a failure is remembered, so that not every client waits for the time-out of a source that hangs. */
#define FAILURE_MS 2000
/* A list is asked for page by page. */
#define LIST_MS 3000

#define SWEEP_MS 1000

struct asker {
    struct asker_config cfg;
    struct timer sweep; /* while anything is remembered */
    bool sweeps;
    struct map *running; /* key -> question */
    struct remembered *remembered;
};

struct ask_waiter {
    struct asker *asker;
    struct loop *loop;
    struct fetch_request rq;
    struct deadline deadline;
    char *query;
    void (*done)(const struct ask_answer *answer, void *arg); /* NULL: has left; its own loop's alone */
    void *arg;
    struct ask_answer *answer;
    struct loop_task task;
    /* Fetch loop, while it waits. */
    struct question *question;
    struct timer timer; /* the deadline's */
    struct ask_waiter *next;
};

struct question {
    struct asker *asker;
    char *key;
    struct fetch_request rq; /* query is owned by the first waiter, who then has no deadline */
    struct ask_waiter *waiters;
    struct source *sources[SOURCES_MAX];
    unsigned n_sources, source;
    struct fetch *fetch;
    struct ask_answer *answer;
    struct failures failures;
    struct buf body;
    struct judging *judging; /* the work pool reads what came */
    bool agreed, repeated;   /* the present source has sent a head; it is asked for the second time */
    bool no_room;            /* our own memory was used up: not a source's answer, so not remembered */
};

static void ask_one(struct question *q);

void ask_answer_unref(struct ask_answer *a) {
    if (!a || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) > 1) return;
    free(a->link);
    free(a->warning);
    free(a->filters);
    free(a->body);
    budget_give(a->budget, a->charged);
    free(a);
}

struct ask_answer *ask_answer_ref(const struct ask_answer *shared) {
    struct ask_answer *a = (struct ask_answer *)(uintptr_t)shared;
    atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
    return a;
}

static struct ask_answer *answer_new(enum fetch_kind kind) {
    struct ask_answer *a = xcalloc(1, sizeof(*a));
    a->budget = kind == FETCH_TAGS || kind == FETCH_REFERRERS ? BUDGET_LISTS : BUDGET_ANSWERS;
    atomic_init(&a->refs, 1);
    a->source = "";
    a->total = -1;
    return a;
}

static char *key_of(const struct fetch_request *rq) {
    char repo[REPO_STR_MAX], ref[DIGEST_STR_MAX] = "";
    if (rq->kind != FETCH_TAGS) reference_str(&rq->ref, ref);
    /* The settings are part of the key, because under other settings this repository may be refused. */
    return xasprintf("%d %llx %s %s %s", (int)rq->kind, (unsigned long long)rq->settings,
                     repo_name_str(&rq->repo, repo), ref, rq->query ? rq->query : "");
}

/* On the waiter's own loop. */
static void deliver(struct loop_task *task) {
    struct ask_waiter *w = container_of(task, struct ask_waiter, task);
    if (w->done) w->done(w->answer, w->arg);
    ask_answer_unref(w->answer);
    free(w->query);
    free(w);
}

/* The waiter is in no list any more. */
static void answer_waiter(struct ask_waiter *w, struct ask_answer *a) {
    if (w->question) timer_fini(&w->timer);
    w->answer = ask_answer_ref(a);
    w->task.fn = deliver;
    loop_post(w->loop, &w->task);
}

void asker_forget(struct asker *a) {
    remembered_clear(a->remembered);
}

static void stop_sweeping(struct asker *a) {
    if (a->sweeps) timer_fini(&a->sweep);
    a->sweeps = false;
}

static void on_sweep(void *arg) {
    struct asker *a = arg;
    if (remembered_sweep(a->remembered))
        timer_set(&a->sweep, SWEEP_MS);
    else
        stop_sweeping(a);
}

/* How long an answer is remembered. */
static int64_t lifetime_ms(const struct question *q) {
    if (q->no_room) return 0;
    switch (q->answer->end.code) {
    case 0:
        return q->rq.kind == FETCH_TAGS ? LIST_MS : 0;
    case ERR_NOT_FOUND:
    case ERR_DENIED:
        /* Hosted content costs no upstream request, and whoever has just loaded it pulls it next. */
        return q->rq.repo.upstream[0] ? q->asker->cfg.negative_ms : 0;
    case ERR_BUSY: /* only this caller has no place; another may have one */
        return 0;
    default:
        return q->answer->end.not_sent ? 0 : FAILURE_MS;
    }
}

static void remember(struct question *q) {
    struct asker *a = q->asker;
    int64_t ms = lifetime_ms(q);
    if (ms <= 0) return;
    remembered_add(a->remembered, q->key, q->answer, ms);
    if (a->sweeps) return;
    timer_init(&a->sweep, a->cfg.loop, on_sweep, a);
    timer_set(&a->sweep, SWEEP_MS);
    a->sweeps = true;
}

static void question_free(struct question *q) {
    buf_fini(&q->body);
    ask_answer_unref(q->answer);
    free(q->key);
    free(q);
}

/* Shrinks the buffer, which may be twice the size of the body. The body of a failed answer is dropped. */
static void fit_body(struct ask_answer *a) {
    int64_t need = a->body ? (int64_t)a->body_len + 1 : 0;
    if (a->charged <= need) return;
    if (need > 0) a->body = xrealloc(a->body, (size_t)need, 1);
    budget_give(a->budget, a->charged - need);
    a->charged = need;
}

static void finish(struct question *q) {
    struct asker *a = q->asker;
    map_take(a->running, q->key, strlen(q->key));
    if (q->answer->end.code == 0) q->answer->body = buf_steal(&q->body, &q->answer->body_len);
    fit_body(q->answer);
    remember(q);
    while (q->waiters) {
        struct ask_waiter *w = q->waiters;
        q->waiters = w->next;
        answer_waiter(w, q->answer);
    }
    question_free(q);
}

static void on_head(struct fetch *fetch, const struct fetch_head *h, void *arg) {
    struct question *q = arg;
    struct ask_answer *a = q->answer;
    q->agreed = true;
    a->total = h->total;
    snprintf(a->media_type, sizeof(a->media_type), "%s", h->media_type);
    a->has_digest = h->has_digest;
    a->digest = h->digest;
    a->age_s = h->age_s;
    free(a->link);
    free(a->warning);
    free(a->filters);
    a->filters = xstrdup_or_null(h->filters);
    a->link = xstrdup_or_null(h->link);
    a->warning = xstrdup_or_null(h->warning);
    a->has_tag = h->tag != NULL;
    if (h->tag) a->tag = *h->tag;
    a->source = fetch->source->name;
}

/* Takes from the budget what the buffer will grow by. */
static bool take_room(struct question *q, size_t len) {
    struct ask_answer *a = q->answer;
    int64_t need = (int64_t)(q->body.len + len + 1), cap = a->charged ? a->charged : 256;
    while (cap < need)
        cap *= 2;
    if (budget_take(a->budget, cap - a->charged)) {
        a->charged = cap;
        return true;
    }
    fetch_end_set(&a->end, ERR_BUSY, "the memory for answers is in use (memory.%s): try again",
                  a->budget == BUDGET_LISTS ? "lists" : "answers");
    return false;
}

static void on_data(struct fetch *fetch, const void *data, size_t len, void *arg) {
    struct question *q = arg;
    bool fits = q->body.len + len <= BODY_MAX;
    if (fits && take_room(q, len) && buf_add(&q->body, data, len) == 0) return;
    fetch_cancel(fetch);
    q->fetch = NULL;
    if (!fits) fetch_end_set(&q->answer->end, ERR_TOO_BIG, "the answer is larger than %lld bytes", (long long)BODY_MAX);
    q->no_room = fits;
    finish(q);
}

/* A source has answered: asks the next one, or takes this as the answer. */
static void source_over(struct question *q) {
    struct fetch_end *end = &q->answer->end;
    if (end->code != 0) failure_note(&q->failures, q->sources[q->source - 1], end);
    if (end->code != 0 && q->source < q->n_sources) {
        buf_clear(&q->body);
        ask_one(q);
        return;
    }
    if (end->code != 0) *end = q->failures.told;
    finish(q);
}

/* --- a manifest that came for a tag --- */

/* While the work pool reads it, the question may have been cancelled. */
struct judging {
    struct offload offload;
    struct question *question; /* NULL: cancelled; the fetch loop's */
    char *body;
    size_t len;
    enum digest_alg alg;
    struct digest digest;
    char media_type[MEDIA_TYPE_MAX + 1]; /* that the document has; "": unknown */
    bool is_manifest;
};

static void judge(struct judging *j) {
    digest_of(&j->digest, j->alg, j->body, j->len);
    struct manifest m = {0};
    if (manifest_judge(&m, j->body, j->len, &j->is_manifest) == 0)
        memcpy(j->media_type, m.media_type, sizeof(j->media_type));
    manifest_fini(&m);
}

/* It must be a manifest, and the one that its source has named. What its bytes tell of it counts before what its source
 * says. */
static void judged(struct question *q, const struct judging *j) {
    struct ask_answer *a = q->answer;
    const char *wrong = NULL;
    if (!j->is_manifest)
        wrong = "what is no manifest";
    else if (a->has_digest && !digest_eq(&j->digest, &a->digest))
        wrong = "other bytes than it says";
    a->digest = j->digest;
    a->has_digest = true;
    a->total = (int64_t)j->len;
    if (j->media_type[0]) memcpy(a->media_type, j->media_type, sizeof(a->media_type));
    if (wrong) fetch_end_set(&a->end, ERR_UPSTREAM, "%.100s sends %s for the tag %s", a->source, wrong, q->rq.ref.tag);
}

static void judging_run(struct offload *o) {
    struct judging *j = container_of(o, struct judging, offload);
    judge(j);
}

static void judging_back(struct offload *o) {
    struct judging *j = container_of(o, struct judging, offload);
    struct question *q = j->question;
    if (q) {
        q->judging = NULL;
        judged(q, j);
        source_over(q);
    }
    free(j->body);
    free(j);
}

/* True: it is being read, and judging_back follows. */
static bool judge_manifest(struct question *q) {
    const struct ask_answer *a = q->answer;
    struct judging here = {.body = q->body.len ? q->body.data : "",
                           .len = q->body.len,
                           .alg = a->has_digest ? a->digest.alg : DIGEST_SHA256};
    if (q->body.len <= MANIFEST_QUICK_BYTES || !q->asker->cfg.pool) {
        judge(&here);
        judged(q, &here);
        return false;
    }
    struct judging *j = xmalloc(sizeof(*j));
    *j = here;
    /* A copy: the question's own goes when it is cancelled. */
    j->body = xmalloc(j->len);
    memcpy(j->body, q->body.data, j->len);
    j->question = q;
    j->offload = (struct offload){.run = judging_run, .back = judging_back, .whose = caller_number(&q->rq.caller)};
    q->judging = j;
    offload_start(&j->offload, q->asker->cfg.pool, q->asker->cfg.loop);
    return true;
}

/* A fill goes on where such an answer broke off; a question is asked once more. */
static bool may_repeat(const struct question *q, const struct fetch_end *e) {
    return e->code == ERR_UPSTREAM && q->agreed && !q->repeated;
}

static void on_done(struct fetch *fetch, const struct fetch_end *e, void *arg) {
    (void)fetch;
    struct question *q = arg;
    q->fetch = NULL;
    q->repeated = may_repeat(q, e);
    q->agreed = false;
    if (q->repeated) {
        buf_clear(&q->body);
        ask_one(q);
        return;
    }
    q->answer->end = *e;
    q->source++;
    if (e->code == 0 && q->rq.kind == FETCH_MANIFEST && judge_manifest(q)) return;
    source_over(q);
}

static const struct fetch_events events = {.head = on_head, .data = on_data, .done = on_done};

static void ask_one(struct question *q) {
    q->fetch = fetch_start(q->sources[q->source], &q->rq, &events, q);
}

/* The question goes on, so that its answer serves later waiters. */
static void on_deadline(void *arg) {
    struct ask_waiter *w = arg, **link = &w->question->waiters;
    char repo[REPO_STR_MAX];
    while (*link != w)
        link = &(*link)->next;
    *link = w->next;
    struct ask_answer *a = answer_new(w->rq.kind);
    fetch_end_no_answer(&a->end, repo_name_str(&w->rq.repo, repo), w->deadline.within_ms);
    answer_waiter(w, a);
    ask_answer_unref(a);
}

static void wait_for(struct ask_waiter *w, struct question *q) {
    w->question = q;
    w->next = q->waiters;
    q->waiters = w;
    timer_init(&w->timer, w->asker->cfg.loop, on_deadline, w);
    if (w->deadline.at_ms) timer_set(&w->timer, deadline_left_ms(&w->deadline));
}

static void on_ask(struct loop_task *task) {
    struct ask_waiter *w = container_of(task, struct ask_waiter, task);
    struct asker *a = w->asker;
    char *key = key_of(&w->rq);
    struct ask_answer *known = remembered_get(a->remembered, key);
    if (known) {
        answer_waiter(w, known);
        ask_answer_unref(known);
        free(key);
        return;
    }
    struct question *q = map_get_s(a->running, key);
    if (q) {
        wait_for(w, q);
        if (q->fetch) fetch_wanted_by(q->fetch, &w->rq.caller);
        free(key);
        return;
    }
    q = xcalloc(1, sizeof(*q));
    *q = (struct question){.asker = a, .key = key, .rq = w->rq, .answer = answer_new(w->rq.kind)};
    buf_init(&q->body, BODY_MAX);
    map_set_s(a->running, key, q);
    wait_for(w, q);
    q->n_sources = a->cfg.sources(&q->rq.repo, q->sources, a->cfg.arg);
    if (q->n_sources) {
        ask_one(q);
        return;
    }
    fetch_end_no_source(&q->answer->end);
    finish(q);
}

struct ask_waiter *ask(struct asker *a, const struct fetch_request *rq, const struct deadline *deadline,
                       void (*done)(const struct ask_answer *answer, void *arg), void *arg) {
    struct ask_waiter *w = xcalloc(1, sizeof(*w));
    w->asker = a;
    w->loop = loop_current();
    w->rq = *rq;
    if (deadline) w->deadline = *deadline;
    w->query = xstrdup_or_null(rq->query);
    w->rq.query = w->query;
    w->rq.max_body = BODY_MAX;
    w->done = done;
    w->arg = arg;
    w->task.fn = on_ask;
    loop_post(a->cfg.loop, &w->task);
    return w;
}

void ask_leave(struct ask_waiter *w) {
    w->done = NULL;
}

struct asker *asker_new(const struct asker_config *cfg) {
    struct asker *a = xcalloc(1, sizeof(*a));
    a->cfg = *cfg;
    a->running = map_new(NULL);
    a->remembered = remembered_new();
    return a;
}

static bool first_question(const void *key, size_t len, void *value, void *arg) {
    (void)key;
    (void)len;
    *(struct question **)arg = value;
    return false;
}

void asker_cancel(struct asker *a) {
    stop_sweeping(a);
    for (;;) {
        struct question *q = NULL;
        map_each(a->running, first_question, &q);
        if (!q) return;
        if (q->fetch) fetch_cancel(q->fetch);
        if (q->judging) q->judging->question = NULL;
        fetch_end_set(&q->answer->end, ERR_CANCELLED, "this node is shutting down");
        finish(q);
    }
}

void asker_free(struct asker *a) {
    if (!a) return;
    stop_sweeping(a);
    map_free(a->running);
    remembered_free(a->remembered);
    free(a);
}
