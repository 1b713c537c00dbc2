/* One edge that watches:
 *
 *   asking ── its place is looked up ──▶ catching up ── all of the log is sent ──▶ live ── it does not read ──▶ gone
 *
 * Catching up it gets the log in parts, each when the one before has been sent; live it gets what the feed has in
 * memory. A poll ends when it is live and has sent something new, or after its time. Thread: the request's loop; the
 * log is read in the work pool. */
#include "central/fleet/watch.h"

#include "central/fleet/feed.h"
#include "common/access/caller.h"
#include "common/access/query.h"
#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/core/map.h"
#include "common/wire/node_headers.h"

#include <pthread.h>
#include <stdlib.h>

/* An edge that hears nothing for 12 s assumes that the connection is dead. */
#define ALIVE_MS 4000
/* Watches whose time comes within so many ms are told in one pass of their loop: for thousands of edges a pass for each
 * costs more than what is told. */
#define ALIVE_SLOT_MS 64
/* The next part of the log is read when less than so much waits to be sent. */
#define LOW_WATER (64 * KiB)
#define PART_CHANGES 1000
#define PART_BYTES (256 * KiB)
/* Bytes that the kernel holds for an edge that does not read, beside what its window has and fleet.watch_queue. */
#define UNSENT_MAX (64 * 1024)
#define POLL_MAX_S 60
/* Watches of one edge. It needs one; a line that flaps leaves some behind whose other end is gone, one in a quarter of a
 * minute at most, until the kernel gives them up after a quarter of an hour. */
#define WATCHES_OF_ONE 128

struct watch {
    struct watches *all;
    struct http_req *req; /* NULL once closed; then it lives on until its job is over */
    struct loop *loop;
    unsigned loop_number;
    struct timer alive;
    bool follows; /* it has asked for changes */
    bool polls;   /* with an end */
    bool is_due;  /* of a poll: it ends when all is sent */
    bool ended;
    bool busy;     /* a job runs */
    bool greeted;  /* the first message is sent */
    uint64_t sent; /* the number of the last change that was sent */
    bool wants_dns;
    uint64_t dns_sent;          /* its version */
    struct watch **link, *next; /* among those of its loop that follow */
    struct caller edge;
    /* The job's. */
    struct work work;
    struct loop_task back;
    struct place from, now;
    bool has_from, knows;
    int code;
    uint64_t upto; /* what the feed had when it began */
    struct buf part;
};

struct dns_task {
    struct watches *all;
    unsigned loop;
    struct loop_task task;
};

struct watches {
    struct watches_config cfg;
    struct watch_aside dns;     /* version NULL: there is none */
    struct dns_task *dns_tasks; /* of each loop */
    struct feed *feed;
    struct watch **by_loop; /* the first of each loop; only that loop uses it */
    pthread_mutex_t lock;   /* guards what follows */
    struct map *by_edge;    /* the name of a certificate -> how many watches are its */
    _Atomic int64_t watching, cut;
};

static void go_on(struct watch *w);

/* --- of each edge --- */

/* False: it has too many. Who has shown no certificate is not told apart from others behind the same tunnel. */
static bool enter(struct watches *ws, const struct caller *edge) {
    if (!edge->name[0]) return true;
    pthread_mutex_lock(&ws->lock);
    uintptr_t n = (uintptr_t)map_get_s(ws->by_edge, edge->name);
    bool fits = n < WATCHES_OF_ONE;
    if (fits) map_set_s(ws->by_edge, edge->name, (void *)(n + 1));
    pthread_mutex_unlock(&ws->lock);
    return fits;
}

static void leave(struct watches *ws, const struct caller *edge) {
    if (!edge->name[0]) return;
    pthread_mutex_lock(&ws->lock);
    uintptr_t n = (uintptr_t)map_get_s(ws->by_edge, edge->name);
    if (n > 1)
        map_set_s(ws->by_edge, edge->name, (void *)(n - 1));
    else
        map_del_s(ws->by_edge, edge->name);
    pthread_mutex_unlock(&ws->lock);
}

/* --- sending --- */

static uint64_t fleet_version(const struct watches *ws) {
    return ws->cfg.fleet ? ws->cfg.fleet(ws->cfg.arg) : 0;
}

static void send_message(struct watch *w, const struct watch_message *m) {
    struct buf out;
    buf_init(&out, WATCH_MESSAGE_MAX);
    if (watch_message_add(&out, m) == 0) http_body_mem(w->req, out.data, out.len);
    buf_fini(&out);
}

/* What waits for one edge is bounded: one that does not read is told the newest later. Returns whether there was
 * something new. */
static bool send_dns(struct watch *w) {
    const struct watch_aside *a = &w->all->dns;
    if (!w->wants_dns || !a->version || !w->greeted || w->ended || a->version(a->arg) == w->dns_sent ||
        http_body_pending(w->req) > w->all->cfg.queue)
        return false;
    struct buf out;
    buf_init(&out, WATCH_MESSAGE_MAX + 8);
    uint64_t version = a->add(&out, a->arg);
    bool is_new = version && out.len;
    if (is_new) {
        http_body_mem(w->req, out.data, out.len);
        w->dns_sent = version;
    }
    buf_fini(&out);
    return is_new;
}

static void end_watch(struct watch *w) {
    w->ended = true;
    timer_clear(&w->alive);
    http_reply_end(w->req);
}

/* What it needs next it cannot be told here: it comes again, and takes the tiles that differ. */
static void end_watch_as_gone(struct watch *w) {
    send_message(w, &(struct watch_message){.gone = true, .now_s = clock_wall_s()});
    end_watch(w);
}

/* Returns whether the watch has ended. */
static bool end_if_it_does_not_read(struct watch *w) {
    if (http_body_pending(w->req) <= w->all->cfg.queue) return false;
    log_warn("watch_cut", KV_S("why", "the edge does not read its changes"), KV_I("waiting", http_body_pending(w->req)),
             KV_S("then", "it takes the tiles that differ when it comes again"));
    atomic_fetch_add(&w->all->cut, 1);
    end_watch_as_gone(w);
    return true;
}

/* The time of a poll is over. */
static void on_poll_over(struct watch *w) {
    w->is_due = true;
    timer_set(&w->alive, ALIVE_MS); /* it may not have been greeted yet */
    go_on(w);
}

/* At most ALIVE_MS from now. */
static void set_alive(struct watch *w) {
    int64_t now = loop_enter(w->loop) / 1000;
    timer_set(&w->alive, ALIVE_MS - (now + ALIVE_MS) % ALIVE_SLOT_MS);
}

static void on_alive(void *arg) {
    struct watch *w = arg;
    static const char empty_message[1] = {0};
    if (w->polls) {
        on_poll_over(w);
        return;
    }
    set_alive(w);
    /* The server cuts a client that reads nothing; until then nothing more is queued. */
    if (http_body_pending(w->req) != 0) return;
    if (!w->greeted) {
        http_body_mem(w->req, empty_message, sizeof(empty_message));
        return;
    }
    (void)send_dns(w);
    /* An edge that hears nothing stops trusting what it has, which is right while changes cannot be told. */
    if (w->follows && feed_is_behind(w->all->feed)) return;
    struct watch_message m = {.now_s = clock_wall_s(), .fleet = fleet_version(w->all)};
    feed_place(w->all->feed, &m.place);
    m.has_place = m.place.number == w->sent;
    send_message(w, &m);
}

/* --- the log --- */

static void read_log(struct work *work) {
    struct watch *w = container_of(work, struct watch, work);
    struct catalog *c = w->all->cfg.catalog;
    uint64_t last = w->sent;
    if (!w->greeted) {
        w->code = w->has_from ? catalog_knows_place(c, &w->from, &w->knows, &w->now) : catalog_place(c, &w->now);
    } else {
        w->code = catalog_changes_after(c, w->sent, PART_CHANGES, PART_BYTES, &w->part, &last);
        w->now.number = w->part.len ? last : w->upto;
    }
    loop_post(w->loop, &w->back);
}

static void submit(struct watch *w) {
    struct place now;
    feed_place(w->all->feed, &now);
    w->busy = true;
    w->upto = now.number;
    buf_clear(&w->part);
    workpool_submit(w->all->cfg.pool, &w->work);
}

static void greet(struct watch *w) {
    struct watch_message m = {.version = WATCH_VERSION,
                              .has_place = true,
                              .place = w->knows ? w->from : w->now,
                              .gone = !w->knows,
                              .now_s = clock_wall_s(),
                              .upto = w->now.number,
                              .fleet = fleet_version(w->all)};
    w->greeted = true;
    w->is_due = w->is_due || m.gone;
    w->sent = m.place.number;
    send_message(w, &m);
    (void)send_dns(w);
}

static void watch_free(struct watch *w) {
    buf_fini(&w->part);
    free(w);
}

/* The memory goes along, so that a watch that is live keeps none of it. */
static void send_part(struct watch *w) {
    size_t len;
    char *part = buf_steal(&w->part, &len);
    http_body_ref(w->req, part, len, free, part);
}

static void on_read(struct loop_task *task) {
    struct watch *w = container_of(task, struct watch, back);
    w->busy = false;
    if (!w->req) {
        watch_free(w);
        return;
    }
    if (w->ended) return;
    if (w->code == ERR_NOT_FOUND) {
        end_watch_as_gone(w);
    } else if (w->code < 0) {
        end_watch(w); /* it comes again */
    } else if (!w->greeted) {
        greet(w);
        go_on(w);
    } else {
        bool any = w->part.len > 0;
        w->sent = w->now.number;
        if (any) send_part(w);
        w->is_due = w->is_due || any;
        go_on(w);
    }
}

static void on_drain(struct http_req *r) {
    go_on(http_req_user(r));
}

/* --- what is new --- */

static void send_block(struct watch *w, struct feed_block *b) {
    w->sent = b->place.number;
    http_body_ref(w->req, b->bytes, b->len, feed_block_unref, b); /* b may be gone after this */
}

/* All is sent. While changes cannot be told a poll does not end: an edge must not take what it has for current. */
static void end_poll_if_due(struct watch *w) {
    if (!w->polls || !w->is_due) return;
    if (feed_is_behind(w->all->feed))
        set_alive(w);
    else
        end_watch(w);
}

/* Sends the changes after the last one sent. */
static void go_on(struct watch *w) {
    struct feed_block *blocks[FEED_BLOCKS];
    unsigned n;
    if (!w->req || w->ended || w->busy || !w->greeted || end_if_it_does_not_read(w)) return;
    if (feed_after(w->all->feed, w->sent, blocks, &n)) {
        for (unsigned i = 0; i < n; i++)
            send_block(w, blocks[i]);
        w->is_due = w->is_due || n > 0;
        end_poll_if_due(w);
    } else if (http_body_pending(w->req) < LOW_WATER) {
        submit(w);
    } else {
        http_body_on_drain(w->req, LOW_WATER, on_drain);
    }
}

static void on_told(unsigned loop, void *arg) {
    struct watches *ws = arg;
    for (struct watch *w = ws->by_loop[loop], *next; w; w = next) {
        next = w->next;
        go_on(w);
    }
}

/* It was told something beside changes, and reads nothing of a poll before the end. */
static void end_poll_soon(struct watch *w) {
    w->is_due = true;
    if (w->polls) go_on(w);
}

/* --- the fleet's state --- */

struct telling {
    struct watches *all;
    unsigned loop;
};

static void tell_fleet(struct watch *w) {
    send_message(w, &(struct watch_message){.now_s = clock_wall_s(), .fleet = fleet_version(w->all)});
    end_poll_soon(w);
}

/* On each loop. The queue of an edge is bounded; an edge that does not read is told later. */
static void on_fleet(void *arg) {
    struct telling *t = arg;
    for (struct watch *w = t->all->by_loop[t->loop], *next; w; w = next) {
        next = w->next;
        if (w->req && w->greeted && !w->ended && http_body_pending(w->req) <= w->all->cfg.queue) tell_fleet(w);
    }
    free(t);
}

void watches_tell_fleet(struct watches *ws) {
    for (unsigned i = 0; i < ws->cfg.n_loops; i++) {
        struct telling *t = xcalloc(1, sizeof(*t));
        *t = (struct telling){ws, i};
        loop_call(ws->cfg.loops[i], on_fleet, t);
    }
}

/* --- the DNS --- */

void watches_set_dns(struct watches *ws, const struct watch_aside *dns) {
    ws->dns = *dns;
}

static void tell_dns(struct watch *w) {
    if (!w->req || !send_dns(w)) return;
    end_poll_soon(w);
}

static void on_dns(struct loop_task *task) {
    struct dns_task *t = container_of(task, struct dns_task, task);
    for (struct watch *w = t->all->by_loop[t->loop], *next; w; w = next) {
        next = w->next;
        tell_dns(w);
    }
}

void watches_tell_dns(struct watches *ws) {
    for (unsigned i = 0; i < ws->cfg.n_loops; i++)
        loop_post_once(ws->cfg.loops[i], &ws->dns_tasks[i].task);
}

/* --- the request --- */

static void on_close(struct http_req *r, bool cut) {
    (void)cut;
    struct watch *w = http_req_user(r);
    timer_fini(&w->alive);
    w->req = NULL;
    leave(w->all, &w->edge);
    if (w->follows) {
        *w->link = w->next;
        if (w->next) w->next->link = w->link;
        atomic_fetch_sub(&w->all->watching, 1);
    }
    if (!w->busy) watch_free(w);
}

static void on_stop(struct http_req *r) {
    struct watch *w = http_req_user(r);
    if (!w->ended) end_watch(w);
}

static unsigned number_of(const struct watches *ws, const struct loop *l) {
    unsigned i = 0;
    while (i < ws->cfg.n_loops && ws->cfg.loops[i] != l)
        i++;
    return i;
}

static void follow(struct watch *w) {
    struct watch **first = &w->all->by_loop[w->loop_number];
    w->follows = true;
    w->next = *first;
    w->link = first;
    if (w->next) w->next->link = &w->next;
    *first = w;
    atomic_fetch_add(&w->all->watching, 1);
    submit(w);
}

/* Of a poll, how long it may take, ms; -1: it is none. */
static int64_t poll_ms(const char *target) {
    char text[QUERY_PARAM_MAX], *end;
    if (query_param(target, "wait", text) <= 0) return -1;
    unsigned long s = strtoul(text, &end, 10);
    if (end == text || *end) return -1;
    return (int64_t)(s < POLL_MAX_S ? s : POLL_MAX_S) * 1000;
}

void watch_handle(struct watches *ws, struct http_req *r) {
    struct caller edge;
    caller_of_peer(&edge, CALLER_NODE, r);
    if (!enter(ws, &edge)) {
        http_reply_text(r, 503, "this edge watches by too many connections");
        return;
    }
    char ours[17], from[QUERY_PARAM_MAX], dns[QUERY_PARAM_MAX];
    int64_t poll = poll_ms(http_req_target(r));
    struct watch *w = xcalloc(1, sizeof(*w));
    *w = (struct watch){.all = ws,
                        .req = r,
                        .edge = edge,
                        .loop = http_req_loop(r),
                        .work = {.fn = read_log, .whose = caller_number(&edge)},
                        .back = {.fn = on_read}};
    w->loop_number = number_of(ws, w->loop);
    buf_init(&w->part, 8 * MiB);
    int asked = query_param(http_req_target(r), "from", from);
    bool follows = asked != 0 && w->loop_number < ws->cfg.n_loops;
    w->wants_dns = query_param(http_req_target(r), "dns", dns) == 1;
    w->has_from = asked > 0 && place_parse(from, &w->from) == 0;
    w->polls = follows && poll >= 0;
    w->is_due = poll == 0;
    timer_init(&w->alive, w->loop, on_alive, w);
    http_req_set_user(r, w);
    http_req_on_close(r, on_close);
    http_reply_header(r, SETTINGS_HEADER, settings_header_format(ws->cfg.settings, ours));
    http_reply_begin(r, 200, WIRE_CONTENT_TYPE, -1);
    http_body_limit_unsent(r, UNSENT_MAX);
    if (follows)
        follow(w);
    else
        on_alive(w);
    if (w->polls)
        timer_set(&w->alive, poll);
    else
        set_alive(w);
    http_req_on_stop(r, on_stop);
}

/* --- all of them --- */

struct watches *watches_new(const struct watches_config *cfg) {
    struct watches *ws = xcalloc(1, sizeof(*ws));
    ws->cfg = *cfg;
    pthread_mutex_init(&ws->lock, NULL);
    ws->by_edge = map_new(NULL);
    ws->by_loop = xcalloc(cfg->n_loops, sizeof(struct watch *));
    ws->dns_tasks = xcalloc(cfg->n_loops, sizeof(*ws->dns_tasks));
    for (unsigned i = 0; i < cfg->n_loops; i++)
        ws->dns_tasks[i] = (struct dns_task){.all = ws, .loop = i, .task = {.fn = on_dns}};
    ws->feed = feed_new(&(struct feed_config){.catalog = cfg->catalog,
                                              .pool = cfg->pool,
                                              .loops = cfg->loops,
                                              .n_loops = cfg->n_loops,
                                              .told = on_told,
                                              .arg = ws});
    return ws;
}

void watches_stop(struct watches *ws) {
    feed_stop(ws->feed);
}

void watches_free(struct watches *ws) {
    if (!ws) return;
    feed_free(ws->feed);
    map_free(ws->by_edge);
    pthread_mutex_destroy(&ws->lock);
    free(ws->by_loop);
    free(ws->dns_tasks);
    free(ws);
}

void watches_stats(const struct watches *ws, struct watches_stats *out) {
    out->watching = atomic_load(&ws->watching);
    out->cut = atomic_load(&ws->cut);
}
