/* A job is freed when both its work has come back and its request has closed. Thread: serving loop; job_work and what
 * it calls, the work pool. */
#include "common/admin/job.h"

#include "common/http/http_status.h"
#include "common/admin/api_answer.h"
#include "common/core/alloc.h"

#include <stdatomic.h>
#include <string.h>

enum { JOBS_MAX = 32 };
static atomic_uint running;

static void job_free(struct job *j) {
    atomic_fetch_sub(&running, 1);
    buf_fini(&j->out);
    closep(&j->passed);
    free(j->a);
    free(j->b);
    free(j);
}

static void job_closed(struct http_req *req, bool cut) {
    (void)cut;
    struct job *j = http_req_user(req);
    j->req = NULL;
    if (j->done) job_free(j);
}

static void job_back(struct offload *o) {
    struct job *j = container_of(o, struct job, offload);
    j->done = true;
    if (!j->req) {
        job_free(j);
        return;
    }
    size_t len;
    struct http_req *req = j->req;
    int status = j->status;
    const char *type = j->type;
    char *body = buf_steal(&j->out, &len);
    http_reply_ref(req, status, type, body ? body : "", len, free, body); /* may free j */
}

static void job_work(struct offload *o) {
    struct job *j = container_of(o, struct job, offload);
    j->run(j);
}

void job_json(struct job *j, int status, json_t *doc) {
    char *text = json_dumps(doc, JSON_COMPACT);
    json_decref(doc);
    if (!text || buf_add_str(&j->out, text) < 0) {
        buf_clear(&j->out);
        status = 500;
    }
    free(text);
    j->status = status;
}

void job_error(struct job *j, const struct error *err) {
    /* 409, not 503: what was asked for is already being done, so sending it again at once does not help. */
    int status = err->code == ERR_BUSY ? 409 : http_error_status(err->code);
    job_json(j, status, api_error_json(err->msg[0] ? err->msg : error_name(err->code), err->hint));
}

void job_start(const struct job_order *o, struct http_req *req) {
    if (atomic_fetch_add(&running, 1) >= JOBS_MAX) {
        atomic_fetch_sub(&running, 1);
        http_reply_header(req, "Retry-After", "1");
        api_reply_error(req, 503, "too many requests at once", "ask again in a moment");
        return;
    }
    struct job *j = xcalloc(1, sizeof(*j));
    j->req = req;
    j->run = o->run;
    j->arg = o->arg;
    j->a = xstrdup_or_null(o->a);
    j->b = xstrdup_or_null(o->b);
    j->number = o->number;
    j->passed = o->takes_passed ? http_req_take_passed(req) : -1;
    j->type = "application/json";
    j->status = 500;
    j->offload = (struct offload){.run = job_work, .back = job_back};
    buf_init(&j->out, 0);
    http_req_set_user(req, j);
    http_req_on_close(req, job_closed);
    offload_start(&j->offload, o->pool, http_req_loop(req));
}
