/* A request to the admin port or the control socket whose answer is made in the work pool. At most 32 run at a time;
 * further ones are answered 503. Thread: as each function says. */
#ifndef ENTREPOT_ADMIN_JOB_H
#define ENTREPOT_ADMIN_JOB_H

#include <jansson.h>

#include "common/core/buf.h"
#include "common/core/offload.h"
#include "common/http/server.h"

struct job {
    void *arg;
    char *a, *b; /* parameters of the request, NULL where there are none */
    int64_t number;
    int passed; /* a descriptor, closed with the job; -1: none */
    /* What run makes: */
    int status;       /* 500 unless run sets it */
    const char *type; /* application/json unless run sets it */
    struct buf out;
    /* job.c's own: */
    struct offload offload;
    struct http_req *req; /* loop thread; NULL once closed */
    bool done;            /* loop thread: the pool has finished with it */
    void (*run)(struct job *j);
};

struct job_order {
    struct workpool *pool;
    void (*run)(struct job *j); /* work pool */
    void *arg;
    const char *a, *b; /* copied */
    int64_t number;
    bool takes_passed; /* the job gets the descriptor that came with the request (http_req_take_passed) */
};
/* Serving loop: req is answered when run has ended, which may be after its connection is gone. */
void job_start(const struct job_order *o, struct http_req *req);
/* Work pool: the answer is this document, which is taken. */
void job_json(struct job *j, int status, json_t *doc);
/* Work pool: the answer is this error: 404, 400, 409 or 500 by its code. */
void job_error(struct job *j, const struct error *err);

#endif
