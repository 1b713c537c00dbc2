/* A job and a message, one after the other. Thread: as the header says. */
#include "common/core/offload.h"

static void on_back(struct loop_task *task) {
    struct offload *o = container_of(task, struct offload, task);
    o->back(o);
}

static void on_work(struct work *w) {
    struct offload *o = container_of(w, struct offload, work);
    o->run(o);
    loop_post(o->loop, &o->task);
}

void offload_start(struct offload *o, struct workpool *pool, struct loop *l) {
    o->loop = l;
    o->work = (struct work){.fn = on_work, .whose = o->whose};
    o->task.fn = on_back;
    workpool_submit(pool, &o->work);
}
