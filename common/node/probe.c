/* Probing registries for doctor. Thread: the calls run on the fetch loop, the asker waits in the work pool. */
#include "common/node/probe.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/printable.h"
#include "common/wire/node_headers.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

struct probes {
    struct loop *loop;
    struct http_client *client;
    struct loop_task stop;
    void (*stopped)(void *arg);
    void *stopped_arg;
    struct probe_run *runs; /* loop thread: those that have begun */
    pthread_mutex_t lock;   /* guards the two below */
    bool stopping;
    size_t waiting; /* threads that wait for the loop */
};

/* One asker, on its stack. */
struct probe_run {
    struct loop_task task;
    struct probes *probes;
    struct probe_run *next;
    struct probe *list;
    struct probe_call *calls; /* those that run */
    size_t n;
    int64_t timeout_ms;
    sem_t over;
};

/* A call that runs, and its place in the run. */
struct probe_call {
    struct probe_call *next;
    struct probe_run *run;
    struct probe *probe;
    struct http_call *call;
    bool dates_only;
};

static void send_probe(struct probe_call *c);
static void ask_date(struct probe_call *c);

/* --- ending --- */

static void tell_stopping(struct probe *list, size_t n) {
    for (size_t i = 0; i < n; i++)
        snprintf(list[i].message, sizeof(list[i].message), "not finished: this node is stopping");
}

/* True if nobody waits, and nobody can begin to. */
static bool nobody_waits(struct probes *p) {
    pthread_mutex_lock(&p->lock);
    bool none = p->stopping && p->waiting == 0;
    pthread_mutex_unlock(&p->lock);
    return none;
}

static bool is_stopping(struct probes *p) {
    pthread_mutex_lock(&p->lock);
    bool stopping = p->stopping;
    pthread_mutex_unlock(&p->lock);
    return stopping;
}

static void tell_stopped(struct probes *p) {
    void (*stopped)(void *arg) = p->stopped;
    p->stopped = NULL;
    if (stopped) stopped(p->stopped_arg);
}

/* The run is gone afterwards: it is on its asker's stack. */
static void run_over(struct probe_run *run) {
    struct probes *p = run->probes;
    for (struct probe_run **link = &p->runs; *link; link = &(*link)->next) {
        if (*link != run) continue;
        *link = run->next;
        break;
    }
    pthread_mutex_lock(&p->lock);
    p->waiting--;
    pthread_mutex_unlock(&p->lock);
    sem_post(&run->over);
}

/* Takes the call out of its run. */
static void unlink_call(struct probe_call *c) {
    for (struct probe_call **link = &c->run->calls; *link; link = &(*link)->next) {
        if (*link != c) continue;
        *link = c->next;
        break;
    }
    free(c);
}

static void cancel(struct probe_run *run) {
    while (run->calls) {
        struct probe_call *c = run->calls;
        http_call_cancel(c->call);
        tell_stopping(c->probe, 1);
        unlink_call(c);
    }
    run_over(run);
}

static void on_stop(struct loop_task *task) {
    struct probes *p = container_of(task, struct probes, stop);
    while (p->runs)
        cancel(p->runs);
    if (nobody_waits(p)) tell_stopped(p); /* else the run that was just posted does so */
}

/* The call has ended by itself. */
static void over(struct probe_call *c) {
    struct probe_run *run = c->run;
    unlink_call(c);
    if (!run->calls) run_over(run);
}

/* --- one call --- */

/* Recognised by OpenSSL's text. */
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
    const char *type = a->header(a, "content-type"), *seen = a->header(a, SEEN_HEADER);
    p->head_us = clock_mono_us();
    p->v6 = a->remote[0] == '[';
    snprintf(p->local, sizeof(p->local), "%.45s", a->local);
    if (seen && !ip_parse(&p->seen, seen, strlen(seen))) p->seen = (struct ip){{0}};
    if (type) snprintf(p->content_type, sizeof(p->content_type), "%s", type);
    const char *refused = a->status == 403 ? a->header(a, REFUSED_HEADER) : NULL;
    snprintf(p->refused, sizeof(p->refused), "%.220s", refused ? refused : "");
    text_make_printable(p->refused);
    const char *location = a->status / 100 == 3 ? a->header(a, "location") : NULL;
    snprintf(p->location, sizeof(p->location), "%s", location ? location : "");
    text_make_printable(p->location);
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
    p->code = r->code;
    p->connected = r->connected;
    p->secured = r->secured;
    p->body_bytes = r->body_bytes;
    p->done_us = clock_mono_us();
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
    struct probe *p = c->probe;
    char url[2048];
    p->began_us = clock_mono_us();
    snprintf(url, sizeof(url), "%s%s", p->url, p->path ? p->path : "/v2/");
    struct http_call_spec spec = {.method = p->post ? "POST" : "GET",
                                  .body = p->post,
                                  .body_len = p->post_len,
                                  .alone = p->alone,
                                  .segment = p->segment,
                                  .url = url,
                                  .ca_file = p->ca_file,
                                  .insecure_tls = p->insecure_tls || c->dates_only,
                                  .tls = p->tls,
                                  .use_proxy_env = p->use_proxy_env,
                                  .proxy = p->by_proxy,
                                  .connect_ms = run->timeout_ms,
                                  .head_ms = run->timeout_ms,
                                  .total_ms = run->timeout_ms,
                                  .max_body = MiB};
    c->call = http_call_start(run->probes->client, &spec, c->dates_only ? &date_events : &events, c);
}

/* --- all of them --- */

static void start_call(struct probe_run *run, struct probe *p) {
    struct probe_call *c = xcalloc(1, sizeof(*c));
    *c = (struct probe_call){.next = run->calls, .run = run, .probe = p};
    run->calls = c;
    send_probe(c);
}

static void on_run(struct loop_task *task) {
    struct probe_run *run = container_of(task, struct probe_run, task);
    struct probes *p = run->probes;
    if (is_stopping(p)) {
        tell_stopping(run->list, run->n);
        run_over(run);
        if (nobody_waits(p)) tell_stopped(p);
        return;
    }
    run->next = p->runs;
    p->runs = run;
    for (size_t i = 0; i < run->n; i++)
        start_call(run, &run->list[i]);
}

void probes_ask(struct probes *p, struct probe *list, size_t n, int64_t timeout_ms) {
    if (n == 0) return;
    pthread_mutex_lock(&p->lock);
    bool stopping = p->stopping;
    if (!stopping) p->waiting++;
    pthread_mutex_unlock(&p->lock);
    if (stopping) {
        tell_stopping(list, n);
        return;
    }
    struct probe_run run = {.task = {.fn = on_run}, .probes = p, .list = list, .n = n, .timeout_ms = timeout_ms};
    sem_init(&run.over, 0, 0);
    loop_post(p->loop, &run.task);
    while (sem_wait(&run.over) != 0) {}
    sem_destroy(&run.over);
}

void probes_stop(struct probes *p, void (*done)(void *arg), void *arg) {
    p->stopped = done;
    p->stopped_arg = arg;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_mutex_unlock(&p->lock);
    loop_post(p->loop, &p->stop);
}

struct probes *probes_new(struct loop *l, struct http_client *client) {
    struct probes *p = xcalloc(1, sizeof(*p));
    p->loop = l;
    p->client = client;
    p->stop.fn = on_stop;
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

void probes_free(struct probes *p) {
    if (!p) return;
    pthread_mutex_destroy(&p->lock);
    free(p);
}
