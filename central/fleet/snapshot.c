/* A request is a job of the work pool. Thread: as the header says; packed tiles are under a lock. */
#include "central/fleet/snapshot.h"

#include "central/catalog/replica_reads.h"
#include "common/access/caller.h"
#include "common/access/query.h"
#include "common/core/alloc.h"
#include "common/http/http_status.h"
#include "common/records/tile_body.h"
#include "common/wire/wire.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Lookups need the rest of the catalogue's readers. */
#define RUNNING_MAX 2
#define WAITING_MAX 4000
/* Requests of one edge among them: it sends one at a time, and may have come again by another connection. */
#define WAITING_OF_ONE 4
/* An answer is ended after the tile that reaches this. */
#define ANSWER_BYTES ((size_t)(2 * MiB))
/* A tile is at most as large as its records, which the catalogue's limit bounds. */
#define ANSWER_MAX ((size_t)(256 * MiB))
/* Memory for packed tiles. */
#define KEPT_MAX (96 * MiB)

struct packed {
    struct set_digest digest;
    size_t len;
    uint8_t body[];
};

struct snapshots {
    struct catalog *catalog;
    struct workpool *pool;
    struct unread *unread;
    pthread_mutex_t lock; /* guards what follows; held for a few instructions or the copy of a tile */
    unsigned running, n_waiting;
    struct asked *waiting, **last;
    struct packed *packed[TILES];
    int64_t kept;
};

struct asked {
    struct snapshots *all;
    struct http_req *req; /* NULL once closed */
    struct loop *loop;
    atomic_bool closed; /* nobody waits for the answer */
    struct caller caller;
    bool sent; /* the answer, of so many bytes */
    size_t unread;
    bool waits; /* in the list of those that wait; guarded by the snapshots' lock */
    unsigned tiles[CATALOG_TILES_MAX];
    size_t n;  /* 0: the list */
    bool full; /* no short names */
    struct buf out;
    int code;
    struct work work;
    struct loop_task back;
    struct asked *next;
};

/* --- packed tiles --- */

/* Appends the tile if it is kept with that digest. */
static bool add_kept(struct asked *a, unsigned tile, const struct place *of) {
    struct snapshots *s = a->all;
    struct buf body;
    bool found;
    buf_init(&body, ANSWER_MAX);
    pthread_mutex_lock(&s->lock);
    const struct packed *p = s->packed[tile];
    found = p && set_digest_eq(&p->digest, &of->digest) && buf_add(&body, p->body, p->len) == 0;
    pthread_mutex_unlock(&s->lock);
    struct tile_message m = {.tile = tile, .place = *of, .body = (const uint8_t *)body.data, .body_len = body.len};
    if (found) a->code = tile_message_add(&a->out, &m);
    buf_fini(&body);
    return found;
}

static void keep(struct snapshots *s, unsigned tile, const struct place *of, const struct buf *body) {
    struct packed *p = xmalloc(sizeof(*p) + body->len), *old;
    *p = (struct packed){.digest = of->digest, .len = body->len};
    memcpy(p->body, body->data, body->len);
    pthread_mutex_lock(&s->lock);
    old = s->packed[tile];
    s->kept += (int64_t)p->len - (old ? (int64_t)old->len : 0);
    s->packed[tile] = p;
    if (s->kept > KEPT_MAX) { /* which tile is asked for least is not known, so any may be dropped */
        s->kept -= (int64_t)p->len;
        s->packed[tile] = NULL;
        free(p);
    }
    pthread_mutex_unlock(&s->lock);
    free(old);
}

static bool wants(unsigned tile, const struct place *of, void *arg) {
    struct asked *a = arg;
    return a->code == 0 && !atomic_load(&a->closed) && a->out.len < ANSWER_BYTES && (a->full || !add_kept(a, tile, of));
}

static bool take(unsigned tile, const struct place *of, const struct tile_records *records,
                 const struct record_blobs *blobs, void *arg) {
    struct asked *a = arg;
    struct buf body;
    buf_init(&body, ANSWER_MAX);
    a->code = records ? tile_body_pack(records, a->full ? NULL : blobs, &body) : ERR_TOO_BIG;
    struct tile_message m = {.tile = tile, .place = *of, .body = (const uint8_t *)body.data, .body_len = body.len};
    if (a->code == 0) a->code = tile_message_add(&a->out, &m);
    if (a->code == 0 && !a->full) keep(a->all, tile, of, &body);
    if (a->code == ERR_TOO_BIG) { /* the edge must hear so, or it would ask for ever */
        m = (struct tile_message){.tile = tile, .place = *of, .too_big = true};
        a->code = tile_message_add(&a->out, &m);
    }
    buf_fini(&body);
    return a->code == 0 && !atomic_load(&a->closed) && a->out.len < ANSWER_BYTES;
}

/* --- jobs --- */

static void asked_free(struct asked *a) {
    buf_fini(&a->out);
    free(a);
}

static void make_list(struct asked *a) {
    struct tile_list list;
    uint8_t *data = NULL;
    size_t len = 0;
    a->code = catalog_tiles(a->all->catalog, &list);
    if (a->code == 0) a->code = tile_list_encode(&list, &data, &len);
    if (a->code == 0) a->code = buf_add(&a->out, data, len);
    free(data);
    tile_list_fini(&list);
}

/* Takes it out of the list of those that wait. Under the lock. */
static void leave(struct snapshots *s, struct asked *a) {
    struct asked **link = &s->waiting;
    while (*link != a)
        link = &(*link)->next;
    *link = a->next;
    if (!*link) s->last = link;
    a->waits = false;
    s->n_waiting--;
}

static void make_answer(struct work *w) {
    struct asked *a = container_of(w, struct asked, work);
    struct snapshots *s = a->all;
    const struct tile_reader reader = {.wants = wants, .tile = take, .arg = a};
    if (a->n == 0) {
        make_list(a);
    } else {
        int r = catalog_read_tiles(s->catalog, a->tiles, a->n, &reader);
        if (a->code == 0) a->code = r;
    }
    loop_post(a->loop, &a->back);
    pthread_mutex_lock(&s->lock);
    struct asked *next = s->waiting;
    if (next) {
        leave(s, next);
    } else {
        s->running--;
    }
    pthread_mutex_unlock(&s->lock);
    if (next) workpool_submit(s->pool, &next->work);
}

static void on_made(struct loop_task *task) {
    struct asked *a = container_of(task, struct asked, back);
    struct http_req *r = a->req;
    if (!r) {
        asked_free(a);
        return;
    }
    if (a->code == 0 && unread_take(a->all->unread, &a->caller, a->out.len)) {
        char *body = buf_steal(&a->out, &a->unread);
        a->sent = true;
        http_reply_ref(r, 200, WIRE_CONTENT_TYPE, body ? body : "", a->unread, free, body);
        return;
    }
    http_req_set_user(r, NULL);
    if (a->code < 0)
        http_reply_text(r, http_error_status(a->code), "the catalogue cannot be read");
    else
        http_reply_text(r, 503, UNREAD_TOO_MUCH);
    asked_free(a);
}

static bool submit(struct asked *a) {
    struct snapshots *s = a->all;
    pthread_mutex_lock(&s->lock);
    unsigned of_one = 0;
    for (const struct asked *x = s->waiting; x; x = x->next)
        of_one += x->work.whose == a->work.whose;
    bool now = s->running < RUNNING_MAX, fits = now || (s->n_waiting < WAITING_MAX && of_one < WAITING_OF_ONE);
    if (now) {
        s->running++;
    } else if (fits) {
        *s->last = a;
        s->last = &a->next;
        s->n_waiting++;
        a->waits = true;
    }
    pthread_mutex_unlock(&s->lock);
    if (now) workpool_submit(s->pool, &a->work);
    return fits;
}

/* --- requests --- */

static void on_close(struct http_req *r, bool cut) {
    (void)cut;
    struct asked *a = http_req_user(r);
    if (!a) return;
    struct snapshots *s = a->all;
    if (a->sent) {
        unread_give(s->unread, &a->caller, a->unread);
        asked_free(a);
        return;
    }
    pthread_mutex_lock(&s->lock);
    bool waited = a->waits;
    if (waited) leave(s, a);
    pthread_mutex_unlock(&s->lock);
    if (waited) {
        asked_free(a);
        return;
    }
    a->req = NULL;
    atomic_store(&a->closed, true); /* its job ends soon */
}

/* Reads a list as "1,2,3". False: it is no such list. */
static bool read_numbers(const char *s, struct asked *a) {
    for (;;) {
        char *end;
        if (*s < '0' || *s > '9' || a->n == CATALOG_TILES_MAX) return false;
        unsigned long n = strtoul(s, &end, 10);
        if (n >= TILES || end - s > 5) return false;
        a->tiles[a->n++] = (unsigned)n;
        if (!*end) return true;
        if (*end != ',') return false;
        s = end + 1;
    }
}

void snapshot_handle(struct snapshots *s, struct http_req *r) {
    char value[QUERY_PARAM_MAX];
    struct asked *a = xcalloc(1, sizeof(*a));
    int asked = query_param(http_req_target(r), "tiles", value);
    if (asked < 0 || (asked > 0 && !read_numbers(value, a))) {
        free(a);
        http_reply_text(r, 400, "tiles is a list of at most 64 numbers of tiles, with commas between them");
        return;
    }
    caller_of_peer(&a->caller, CALLER_NODE, r);
    a->all = s;
    a->full = query_param(http_req_target(r), "full", value) > 0 && strcmp(value, "1") == 0;
    a->req = r;
    a->loop = http_req_loop(r);
    a->work = (struct work){.fn = make_answer, .whose = caller_number(&a->caller)};
    a->back.fn = on_made;
    buf_init(&a->out, ANSWER_MAX);
    if (!submit(a)) {
        asked_free(a);
        http_reply_text(r, 503, "too many edges compare their catalogue now: try again in a second");
        return;
    }
    http_req_set_user(r, a);
    http_req_on_close(r, on_close);
}

struct snapshots *snapshots_new(struct catalog *c, struct workpool *pool, struct unread *unread) {
    struct snapshots *s = xcalloc(1, sizeof(*s));
    s->catalog = c;
    s->pool = pool;
    s->unread = unread;
    s->last = &s->waiting;
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

void snapshots_free(struct snapshots *s) {
    if (!s) return;
    for (unsigned i = 0; i < TILES; i++)
        free(s->packed[i]);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
