/* Probing registries for doctor. Thread: the calls run on the fetch loop, the asker waits in the work pool. */
#include "common/node/probe.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"

#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

struct probe_run {
    struct loop_task task;
    struct http_client *client;
    struct probe *probes;
    size_t n, left;
    int64_t timeout_ms;
    sem_t over;
};

/* The call's place in the run. */
struct probe_call {
    struct probe_run *run;
    struct probe *probe;
};

static bool on_head(struct http_call *call, const struct http_answer *a, void *arg) {
    (void)call;
    struct probe *p = ((struct probe_call *)arg)->probe;
    struct tm tm = {0};
    p->status = a->status;
    snprintf(p->proxy, sizeof(p->proxy), "%s", a->proxy ? a->proxy : "");
    const char *date = a->header(a, "date"), *type = a->header(a, "content-type");
    if (type) snprintf(p->content_type, sizeof(p->content_type), "%s", type);
    if (date && strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &tm)) {
        p->has_skew = true;
        p->skew_s = clock_wall_s() - (int64_t)timegm(&tm);
    }
    return true;
}

static bool on_data(struct http_call *call, const void *data, size_t len, void *arg) {
    (void)call;
    struct probe *p = ((struct probe_call *)arg)->probe;
    if (p->status == 200 && p->body && buf_add(p->body, data, len) < 0) p->body = NULL;
    return true;
}

static bool is_page(const struct probe *p) {
    return strncasecmp(p->content_type, "text/html", strlen("text/html")) == 0;
}

/* A proxy that is asked for plain http can answer in the registry's place: with a page, a refusal, or a redirect to
 * where one signs in. Registries answer 200, 401 or 429 here. */
static bool is_proxys(const struct probe *p) {
    return p->proxy[0] &&
           ((p->status != 200 && p->status != 401 && p->status != 404 && p->status != 429) || is_page(p));
}

static void on_done(struct http_call *call, const struct http_result *r, void *arg) {
    (void)call;
    struct probe_call *c = arg;
    struct probe_run *run = c->run;
    struct probe *p = c->probe;
    p->ok = r->status > 0 && r->status < 500 && !is_proxys(p);
    if (!p->ok && p->proxy[0] && r->status > 0)
        snprintf(p->message, sizeof(p->message), "proxy %.150s answers %d%s in its stead, or passes that on", p->proxy,
                 r->status, is_page(p) ? " with a page" : "");
    else if (!p->ok && r->status > 0)
        snprintf(p->message, sizeof(p->message), "it answers %d", r->status);
    else if (!p->ok)
        snprintf(p->message, sizeof(p->message), "%.255s", r->msg);
    free(c);
    if (--run->left == 0) sem_post(&run->over);
}

static const struct http_call_events events = {.head = on_head, .data = on_data, .done = on_done};

static void on_run(struct loop_task *task) {
    struct probe_run *run = container_of(task, struct probe_run, task);
    for (size_t i = 0; i < run->n; i++) {
        struct probe *p = &run->probes[i];
        struct probe_call *c = xcalloc(1, sizeof(*c));
        *c = (struct probe_call){run, p};
        char url[2048];
        snprintf(url, sizeof(url), "%s%s", p->url, p->path ? p->path : "/v2/");
        struct http_call_spec spec = {.method = "GET",
                                      .url = url,
                                      .ca_file = p->ca_file,
                                      .insecure_tls = p->insecure_tls,
                                      .use_proxy_env = p->use_proxy_env,
                                      .connect_ms = run->timeout_ms,
                                      .head_ms = run->timeout_ms,
                                      .total_ms = run->timeout_ms,
                                      .max_body = MiB};
        http_call_start(run->client, &spec, &events, c);
    }
}

void probe_all(struct loop *l, struct http_client *client, struct probe *probes, size_t n, int64_t timeout_ms) {
    struct probe_run run = {
        .task = {.fn = on_run}, .client = client, .probes = probes, .n = n, .left = n, .timeout_ms = timeout_ms};
    if (n == 0) return;
    sem_init(&run.over, 0, 0);
    loop_post(l, &run.task);
    while (sem_wait(&run.over) != 0) {}
    sem_destroy(&run.over);
}
