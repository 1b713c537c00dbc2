/* POST /api/verify: re-reads the whole store in the work pool and streams its progress, one JSON object a line. Only
 * one runs at a time. Its life: started → (progress)* → ended; it is freed when it has both ended and its request is
 * closed. Thread: serving loop; check_progress and verify_work run in the work pool. */
#include "common/node/store_part.h"

#include "common/admin/api_answer.h"
#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/inventory/store_json.h"

#include <pthread.h>
#include <string.h>

enum { PROGRESS_MS = 200, PENDING_MAX = 64 * 1024 };

struct verify {
    struct work work;
    struct loop_task tick, end;
    struct store_part *part;
    struct http_req *req; /* loop thread; NULL once closed */
    struct loop *loop;
    bool ended;      /* loop thread */
    atomic_bool cut; /* the client has gone: stop reading disks for it */
    pthread_mutex_t lock;
    struct verify_report so_far; /* under lock */
    int64_t total_bytes;         /* under lock */
    int64_t told_ms;             /* work pool */
    int code;                    /* written by the pool before end is posted */
    struct error err;
};

static void verify_free(struct verify *v) {
    pthread_mutex_destroy(&v->lock);
    free(v);
}

static void write_line(struct verify *v, json_t *doc) {
    char *text = json_dumps(doc, JSON_COMPACT);
    json_decref(doc);
    if (!text) out_of_memory();
    http_body_mem(v->req, text, strlen(text));
    http_body_mem(v->req, "\n", 1);
    free(text);
}

static void on_tick(struct loop_task *task) {
    struct verify *v = container_of(task, struct verify, tick);
    if (!v->req || http_body_pending(v->req) > PENDING_MAX) return;
    pthread_mutex_lock(&v->lock);
    struct verify_report r = v->so_far;
    int64_t total = v->total_bytes;
    pthread_mutex_unlock(&v->lock);
    write_line(v, json_pack("{s:o}", "progress", verify_json(&r, total)));
}

static void on_end(struct loop_task *task) {
    struct verify *v = container_of(task, struct verify, end);
    v->ended = true;
    atomic_store(&v->part->verifying, false);
    if (!v->req) {
        verify_free(v);
        return;
    }
    write_line(v, v->code < 0 ? api_error_json(v->err.msg[0] ? v->err.msg : error_name(v->code), v->err.hint)
                              : json_pack("{s:o}", "done", verify_json(&v->so_far, v->total_bytes)));
    http_reply_end(v->req); /* on_closed frees v */
}

static void on_closed(struct http_req *req, bool cut) {
    (void)cut;
    struct verify *v = http_req_user(req);
    v->req = NULL;
    atomic_store(&v->cut, true);
    if (v->ended) verify_free(v);
}

static bool check_progress(const struct verify_report *so_far, int64_t total_bytes, void *arg) {
    struct verify *v = arg;
    int64_t now = clock_mono_ms();
    if (now - v->told_ms >= PROGRESS_MS) {
        v->told_ms = now;
        pthread_mutex_lock(&v->lock);
        v->so_far = *so_far;
        v->total_bytes = total_bytes;
        pthread_mutex_unlock(&v->lock);
        loop_post_once(v->loop, &v->tick);
    }
    return !atomic_load(&v->cut) && !atomic_load(&v->part->ending);
}

static void verify_work(struct work *w) {
    struct verify *v = container_of(w, struct verify, work);
    struct verify_report r = {0};
    v->code = store_verify(v->part->node->store, check_progress, v, &r, &v->err);
    if (v->code == 0 && (atomic_load(&v->cut) || atomic_load(&v->part->ending)))
        v->code = error_set(&v->err, ERR_CANCELLED, "verify was stopped before its end");
    pthread_mutex_lock(&v->lock);
    v->so_far = r;
    pthread_mutex_unlock(&v->lock);
    loop_post(v->loop, &v->end);
}

void store_verify_route(struct http_req *req, void *store_part) {
    struct store_part *p = store_part;
    if (atomic_exchange(&p->verifying, true)) {
        api_reply_error(req, 409, "a verify is already running", "wait for it to end");
        return;
    }
    struct verify *v = xcalloc(1, sizeof(*v));
    v->part = p;
    v->req = req;
    v->loop = http_req_loop(req);
    v->tick.fn = on_tick;
    v->end.fn = on_end;
    v->work.fn = verify_work;
    pthread_mutex_init(&v->lock, NULL);
    http_req_set_user(req, v);
    http_req_on_close(req, on_closed);
    http_reply_begin(req, 200, "application/x-ndjson", -1);
    workpool_submit(p->node->pool, &v->work);
}
