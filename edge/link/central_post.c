/* A message is under way, kept until central is back, or about to fail (refuse).
 *
 *   sent ── central has gone ──▶ kept ── it is back ──▶ sent      kept ── it does not return ──▶ fails
 *   sent ── broken off amid its answer ──▶ sent again             sent ── answered ──▶ done */
#include "edge/link/central_post.h"

#include "common/core/alloc.h"
#include "common/core/buf.h"
#include "common/wire/node_headers.h"
#include "common/source/registry_http.h"
#include "common/wire/wire.h"

#include <stdio.h>
#include <string.h>

#define ANSWER_MAX (16 * MiB)
#define TOTAL_MS 60000

struct central_posts {
    const struct central *central;
    struct central_post *first;
};

struct central_post {
    bool waiting;  /* counted in awaiting */
    bool kept;     /* until central is back */
    unsigned sent; /* how often */
    struct central_posts *all;
    struct central_message message; /* its body and request_id are ours */
    struct http_call *call;
    central_post_done_fn *done; /* NULL: whoever asked has gone */
    void *arg;
    struct buf body;
    int64_t retry_after_s;
    char why[CENTRAL_WHY_MAX]; /* it is not central that answers; "": it is */
    struct timer refuse;
    struct central_post *next;
};

static void post_free(struct central_post *p) {
    for (struct central_post **link = &p->all->first; *link; link = &(*link)->next) {
        if (*link != p) continue;
        *link = p->next;
        break;
    }
    if (p->waiting) breaker_await_over(p->all->central->breaker, false);
    timer_fini(&p->refuse);
    buf_fini(&p->body);
    free((void *)(uintptr_t)p->message.body);
    free((void *)(uintptr_t)p->message.request_id);
    free(p);
}

static bool post_head(struct http_call *call, const struct http_answer *a, void *arg) {
    (void)call;
    struct central_post *p = arg;
    (void)breaker_take(p->all->central->breaker, a, p->why);
    p->waiting = false;
    p->retry_after_s = answer_retry_after_s(a);
    breaker_await_over(p->all->central->breaker, true);
    return true;
}

static bool post_data(struct http_call *call, const void *data, size_t len, void *arg) {
    (void)call;
    struct central_post *p = arg;
    if (buf_add(&p->body, data, len) == 0) return true;
    struct fetch_end e;
    fetch_end_set(&e, ERR_TOO_BIG, "central's answer is too large");
    if (p->done) p->done(&e, NULL, 0, p->arg);
    post_free(p);
    return false;
}

/* Central has gone before it answered in full. True: the message is kept until central is back. */
static bool post_keep(struct central_post *p) {
    if (!p->done || !p->message.patient || p->sent >= CENTRAL_SENT_MAX || !breaker_may_return(p->all->central->breaker))
        return false;
    if (p->waiting) breaker_await_over(p->all->central->breaker, false);
    p->waiting = false;
    p->call = NULL;
    p->kept = true;
    return true;
}

static void post_send(struct central_post *p);

static void post_done(struct http_call *call, const struct http_result *r, void *arg) {
    (void)call;
    struct central_post *p = arg;
    struct fetch_end e = {.code = 0, .status = r->status};
    bool cut = r->code != 0 && r->code != ERR_TIMEOUT && r->code != ERR_TOO_BIG;
    if (cut && r->status == 0) breaker_set(p->all->central->breaker, false, r->msg);
    if ((cut || p->why[0]) && post_keep(p)) return;
    if (cut && r->status != 0 && p->done && p->sent < CENTRAL_SENT_MAX) {
        post_send(p); /* cut in the middle of its answer: sending again shows whether central has gone */
        return;
    }
    if (p->why[0]) {
        central_end_unreachable(p->all->central, &e);
    } else if (r->code != 0) {
        fetch_end_set(&e, r->code, "central: %s", r->msg);
    } else if (r->status == SETTINGS_REFUSED) {
        central_end_outdated(p->all->central, &e, p->message.settings);
    } else if (r->status != 200) {
        fetch_end_from_node_status(&e, "central", r->status, p->retry_after_s, p->body.data, p->body.len);
    }
    if (p->done) p->done(&e, p->body.data, p->body.len, p->arg);
    post_free(p);
}

static const struct http_call_events post_events = {.head = post_head, .data = post_data, .done = post_done};

static void post_refused(void *arg) {
    struct central_post *p = arg;
    struct fetch_end e;
    central_end_unreachable(p->all->central, &e);
    if (p->done) p->done(&e, NULL, 0, p->arg);
    post_free(p);
}

static void post_send(struct central_post *p) {
    const struct central *c = p->all->central;
    char url[1024], id[96], client[CLIENT_HEADER_MAX];
    snprintf(url, sizeof(url), "%s%s", uplink_url(c->uplink), p->message.path);
    if (p->message.request_id) snprintf(id, sizeof(id), "X-Request-Id: %s", p->message.request_id);
    const char *headers[4] = {"Content-Type: " WIRE_CONTENT_TYPE};
    size_t n = 1;
    if (p->message.request_id) headers[n++] = id;
    if (p->message.client) headers[n++] = client_header_format(p->message.client, client);
    struct http_call_spec spec = {.method = "POST",
                                  .url = url,
                                  .headers = headers,
                                  .body = p->message.body,
                                  .body_len = p->message.len,
                                  .in_turn = p->message.in_turn,
                                  .connect_ms = CENTRAL_CONNECT_MS,
                                  .head_ms = CENTRAL_HEAD_MS,
                                  .total_ms = TOTAL_MS,
                                  .max_body = ANSWER_MAX};
    uplink_secure(c->uplink, &spec);
    p->sent++;
    p->kept = false;
    p->why[0] = '\0';
    buf_clear(&p->body);
    p->call = http_call_start(c->client, &spec, &post_events, p);
    p->waiting = true;
    breaker_await(c->breaker);
}

struct central_post *central_post(struct central_posts *all, const struct central_message *m,
                                  central_post_done_fn *done, void *arg) {
    struct central_post *p = xcalloc(1, sizeof(*p));
    *p = (struct central_post){.all = all, .message = *m, .done = done, .arg = arg, .next = all->first};
    void *body_copy = xmalloc(m->len);
    memcpy(body_copy, m->body, m->len);
    p->message.body = body_copy;
    p->message.request_id = m->request_id && m->request_id[0] ? xstrdup(m->request_id) : NULL;
    all->first = p;
    buf_init(&p->body, (size_t)ANSWER_MAX);
    timer_init(&p->refuse, all->central->loop, post_refused, p);
    if (!breaker_is_open(all->central->breaker))
        post_send(p);
    else if (!post_keep(p))
        timer_set(&p->refuse, 0);
    return p;
}

void central_post_leave(struct central_post *p) {
    p->done = NULL;
}

/* --- what the breaker reports --- */

static struct central_post *first_that_waits(const struct central_posts *all) {
    struct central_post *p = all->first;
    while (p && !p->waiting)
        p = p->next;
    return p;
}

bool central_posts_wait(const struct central_posts *all) {
    return first_that_waits(all) != NULL;
}

void central_posts_gone(struct central_posts *all) {
    struct central_post *p = first_that_waits(all);
    if (!p) return;
    http_call_cancel(p->call);
    if (!post_keep(p)) post_refused(p);
}

void central_posts_back(struct central_posts *all) {
    for (struct central_post *p = all->first, *next; p; p = next) {
        next = p->next;
        if (p->kept && p->done)
            post_send(p);
        else if (p->kept)
            post_free(p); /* whoever asked has gone */
    }
}

void central_posts_gave_up(struct central_posts *all) {
    for (struct central_post *p = all->first; p; p = p->next) {
        if (p->kept) timer_set(&p->refuse, 0);
    }
}

/* --- all of them --- */

struct central_posts *central_posts_new(const struct central *c) {
    struct central_posts *all = xcalloc(1, sizeof(*all));
    all->central = c;
    return all;
}

void central_posts_free(struct central_posts *all) {
    if (!all) return;
    while (all->first) {
        if (all->first->call) http_call_cancel(all->first->call);
        post_free(all->first);
    }
    free(all);
}
