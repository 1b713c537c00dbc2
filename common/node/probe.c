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
    bool dates_only;
};

static void send_probe(struct probe_call *c);
static void ask_date(struct probe_call *c);

static void over(struct probe_call *c) {
    struct probe_run *run = c->run;
    free(c);
    if (--run->left == 0) sem_post(&run->over);
}

/* In OpenSSL's words. */
static bool is_about_time(const char *msg) {
    return strstr(msg, "certificate has expired") || strstr(msg, "certificate is not yet valid");
}

static void take_date(struct probe *p, const struct http_answer *a) {
    struct tm tm = {0};
    const char *date = a->header(a, "date");
    if (!date || !strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &tm)) return;
    p->has_skew = true;
    p->skew_s = clock_wall_s() - (int64_t)timegm(&tm);
}

static bool on_head(struct http_call *call, const struct http_answer *a, void *arg) {
    (void)call;
    struct probe *p = ((struct probe_call *)arg)->probe;
    p->status = a->status;
    snprintf(p->proxy, sizeof(p->proxy), "%s", a->proxy ? a->proxy : "");
    const char *type = a->header(a, "content-type");
    if (type) snprintf(p->content_type, sizeof(p->content_type), "%s", type);
    take_date(p, a);
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
    struct probe *p = c->probe;
    p->ok = r->status > 0 && r->status < 500 && !is_proxys(p);
    if (!p->ok && p->proxy[0] && r->status > 0)
        snprintf(p->message, sizeof(p->message), "proxy %.150s answers %d%s in its stead, or passes that on", p->proxy,
                 r->status, is_page(p) ? " with a page" : "");
    else if (!p->ok && r->status > 0)
        snprintf(p->message, sizeof(p->message), "it answers %d", r->status);
    else if (!p->ok)
        snprintf(p->message, sizeof(p->message), "%.255s", r->msg);
    if (r->status == 0 && is_about_time(r->msg))
        ask_date(c);
    else
        over(c);
}

static const struct http_call_events events = {.head = on_head, .data = on_data, .done = on_done};

/* --- a certificate that looks expired, or not yet valid, may be a clock of ours that is wrong --- */

static bool date_head(struct http_call *call, const struct http_answer *a, void *arg) {
    (void)call;
    take_date(((struct probe_call *)arg)->probe, a);
    return true;
}

static void date_done(struct http_call *call, const struct http_result *r, void *arg) {
    (void)call;
    (void)r;
    over(arg);
}

static const struct http_call_events date_events = {.head = date_head, .done = date_done};

/* Asks again, for the Date alone, without looking at the certificate: nothing else of this answer is used. */
static void ask_date(struct probe_call *c) {
    c->probe->certificate_time = true;
    c->dates_only = true;
    send_probe(c);
}

static void send_probe(struct probe_call *c) {
    const struct probe_run *run = c->run;
    const struct probe *p = c->probe;
    char url[2048];
    snprintf(url, sizeof(url), "%s%s", p->url, p->path ? p->path : "/v2/");
    struct http_call_spec spec = {.method = "GET",
                                  .url = url,
                                  .ca_file = p->ca_file,
                                  .insecure_tls = p->insecure_tls || c->dates_only,
                                  .use_proxy_env = p->use_proxy_env,
                                  .connect_ms = run->timeout_ms,
                                  .head_ms = run->timeout_ms,
                                  .total_ms = run->timeout_ms,
                                  .max_body = MiB};
    http_call_start(run->client, &spec, c->dates_only ? &date_events : &events, c);
}

static void on_run(struct loop_task *task) {
    struct probe_run *run = container_of(task, struct probe_run, task);
    for (size_t i = 0; i < run->n; i++) {
        struct probe_call *c = xcalloc(1, sizeof(*c));
        *c = (struct probe_call){.run = run, .probe = &run->probes[i]};
        send_probe(c);
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
